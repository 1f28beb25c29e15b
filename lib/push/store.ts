/**
 * Keeps push subscriptions in the state of the engine, one entry a channel, so that all nodes share them. Of two nodes
 * that change one channel at the same time the second reads anew, so that none is lost and the limit holds.
 */
import { MessagingError } from "../core/errors.ts";
import type { LogState } from "../core/log.ts";
import { describeShare, type Place, Pool } from "../core/pool.ts";
import { Shares } from "../core/shares.ts";
import type { Subscription } from "./subscription.ts";

/** Keys of the engine's state: this, and the digest of the channel, as names have characters that keys have not. */
const PREFIX = "push-channel-";
/** NATS servers take 1 MB. */
const MAX_ENTRY_LENGTH = 900_000;
/** How old the number of all subscriptions may be where other nodes add to it, in milliseconds. */
const COUNT_MILLISECONDS = 30_000;

interface Entry {
  readonly channel: string;
  readonly subscriptions: readonly Subscription[];
}

export interface StoreOptions {
  readonly state: LogState;
  readonly maxPushSubscriptions: number;
  readonly maxChannelPushSubscriptions: number;
  /** How many of each one user or address may have; all if left out. */
  readonly shares?: Shares | undefined;
}

export class SubscriptionStore {
  readonly #options: StoreOptions;
  readonly #shares: Shares;
  /** All subscriptions, as of when they were last counted and by what this node did since. */
  #pool: Pool;
  #countedAt = -Infinity;

  constructor(options: StoreOptions) {
    this.#options = options;
    this.#shares = options.shares ?? new Shares();
    this.#pool = this.#createPool();
  }

  /** All subscriptions, as of when they were last counted and by what this node did since. */
  get count(): number {
    return this.#pool.size;
  }

  /** @throws {MessagingError} what the engine rejects with */
  async list(channel: string): Promise<readonly Subscription[]> {
    return (await this.#read(await keyOf(channel)))?.entry.subscriptions ?? [];
  }

  /**
   * Adds a subscription; one of the same endpoint is replaced.
   *
   * @returns whether it is new
   * @throws {MessagingError} `too_many_subscriptions`, `share_used_up`, and what the engine rejects with
   */
  async add(channel: string, subscription: Subscription): Promise<boolean> {
    await this.#recount();
    const place = placeOf(subscription);
    let holder: Pool | undefined;
    try {
      const change = await this.#change(channel, (known) => {
        const others = known.filter(({ endpoint }) => endpoint !== subscription.endpoint);
        if (others.length === known.length) {
          if (holder === undefined) this.#demandRoom(place);
          this.#demandRoomOf(others, place);
          // Those that come while it is written find it counted.
          if (holder === undefined) (holder = this.#pool).add(place);
        }
        return [...others, subscription];
      });
      return change > 0;
    } finally {
      holder?.remove(place);
    }
  }

  #createPool(): Pool {
    return new Pool({ maxCount: this.#options.maxPushSubscriptions, shares: this.#shares });
  }

  #demandRoom(place: Place): void {
    const shortage = this.#pool.findShortage(place);
    if (shortage?.isShare) throw describeShare(shortage, "push subscriptions", "remove some");
    if (shortage === undefined) return;
    throw tooMany(`There are ${this.#pool.size} push subscriptions`, "max-push-subscriptions");
  }

  /** The same for the subscriptions of one channel. */
  #demandRoomOf(others: readonly Subscription[], place: Place): void {
    const pool = new Pool({ maxCount: this.#options.maxChannelPushSubscriptions, shares: this.#shares });
    for (const other of others) pool.add(placeOf(other));
    const shortage = pool.findShortage(place);
    if (shortage?.isShare) throw describeShare(shortage, "push subscriptions to one channel", "remove some");
    if (shortage === undefined) return;
    throw tooMany(`This channel has ${others.length} push subscriptions`, "max-channel-push-subscriptions");
  }

  /**
   * Removes the subscriptions of some endpoints.
   *
   * @returns how many there were
   * @throws {MessagingError} what the engine rejects with
   */
  async remove(channel: string, endpoints: ReadonlySet<string>): Promise<number> {
    if (endpoints.size === 0) return 0;
    return -await this.#change(channel, (known) => known.filter(({ endpoint }) => !endpoints.has(endpoint)));
  }

  /**
   * Removes the subscriptions of a user to all channels.
   *
   * @returns how many there were
   * @throws {MessagingError} what the engine rejects with
   */
  async removeUser(user: string): Promise<number> {
    let removed = 0;
    for await (const { value } of this.#options.state.list(PREFIX)) {
      const { channel, subscriptions } = parseEntry(value);
      if (!subscriptions.some((subscription) => subscription.user === user)) continue;
      removed -= await this.#change(
        channel,
        (known) => known.filter((subscription) => subscription.user !== user),
      );
    }
    return removed;
  }

  /** @returns by how many there are more than before */
  async #change(
    channel: string,
    update: (known: readonly Subscription[]) => readonly Subscription[],
  ): Promise<number> {
    const { state } = this.#options;
    const key = await keyOf(channel);
    while (true) {
      const found = await this.#read(key);
      const known = found?.entry.subscriptions ?? [];
      const subscriptions = update(known);
      const value = JSON.stringify({ channel, subscriptions } satisfies Entry);
      if (value.length > MAX_ENTRY_LENGTH && subscriptions.length >= known.length) {
        throw tooMany("The push subscriptions of this channel take too much space", undefined);
      }
      const isDone = subscriptions.length === 0
        ? found === undefined || await state.delete(key, found.revision)
        : await state.write(key, value, found?.revision ?? 0) !== undefined;
      if (!isDone) continue;
      for (const one of known) if (!subscriptions.includes(one)) this.#pool.remove(placeOf(one));
      for (const one of subscriptions) if (!known.includes(one)) this.#pool.add(placeOf(one));
      return subscriptions.length - known.length;
    }
  }

  async #read(key: string): Promise<{ readonly entry: Entry; readonly revision: number } | undefined> {
    const found = await this.#options.state.read(key);
    return found && { entry: parseEntry(found.value), revision: found.revision };
  }

  async #recount(): Promise<void> {
    const now = performance.now();
    if (now - this.#countedAt < COUNT_MILLISECONDS) return;
    this.#countedAt = now;
    const pool = this.#createPool();
    for await (const { value } of this.#options.state.list(PREFIX)) {
      for (const subscription of parseEntry(value).subscriptions) pool.add(placeOf(subscription));
    }
    this.#pool = pool;
  }
}

async function keyOf(channel: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(channel));
  return PREFIX + new Uint8Array(digest).toBase64({ alphabet: "base64url", omitPadding: true });
}

function placeOf({ owner }: Subscription): Place {
  return { owner, bytes: 0 };
}

function parseEntry(text: string): Entry {
  return JSON.parse(text) as Entry;
}

function tooMany(what: string, flag: string | undefined): MessagingError {
  const cure = flag === undefined ? "" : `, or raise --${flag}`;
  return new MessagingError(
    "too_many_subscriptions",
    `${what}, which is as many as may be: remove some${cure}`,
  );
}
