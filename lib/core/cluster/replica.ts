/**
 * A replica of the entries of one peer. Numbered changes keep it up to date; when one is missing, all entries are read
 * again, page by page. The cluster keeps a replica for each peer.
 */
import { nextSlice } from "../../base/slices.ts";
import type { Change } from "./codec.ts";
import type { ClusterIndex, RemoteClient, RemoteSubscription } from "./index.ts";

/** Changes that may wait while pages are read; beyond that, reading starts over. */
const MAX_WAITING = 20_000;
/** Entries that are removed in one turn of the event loop: with a peer go all that it had. */
const TURN_ENTRIES = 6_000;

type Entry =
  | { readonly kind: "client"; readonly client: RemoteClient }
  | { readonly kind: "subscription"; readonly subscription: RemoteSubscription };

/** The state of reading all entries. */
interface Reading {
  /** The key after which the next page begins. */
  after: number;
  /** The sequence of the first page. */
  from: number | undefined;
  /** The keys that were known before, ascending, and how many of them the pages so far have passed. */
  readonly former: readonly number[];
  passed: number;
}

/** A request to the peer for its entries after a key; undefined for none. */
export type PageRequest = { readonly ask: number } | undefined;

export class Replica {
  readonly #node: string;
  readonly #index: ClusterIndex;
  readonly #entries = new Map<number, Entry>();
  /** The sequence of the last changes applied. */
  #sequence = 0;
  #reading: Reading | undefined;
  #waiting = new Map<number, readonly Change[]>();

  constructor(node: string, index: ClusterIndex) {
    this.#node = node;
    this.#index = index;
  }

  /** The clients and subscriptions of the peer, as far as they are known. */
  count(): { readonly clients: number; readonly subscriptions: number } {
    let clients = 0;
    for (const { kind } of this.#entries.values()) if (kind === "client") clients++;
    return { clients, subscriptions: this.#entries.size - clients };
  }

  /** Whether it is up to date with all messages received. */
  get isWhole(): boolean {
    return this.#reading === undefined;
  }

  /** Takes the sequence of a heartbeat, to see whether changes are missing. */
  noteSequence(sequence: number): PageRequest {
    return this.#reading === undefined && sequence > this.#sequence ? this.#read() : undefined;
  }

  /** Repeats the request for a page that did not arrive. */
  repeatRequest(): PageRequest {
    return this.#reading === undefined ? undefined : { ask: this.#reading.after };
  }

  /** Takes the changes of one turn. */
  applyChanges(sequence: number, changes: readonly Change[]): PageRequest {
    if (this.#reading !== undefined) {
      this.#waiting.set(sequence, changes);
      return this.#waiting.size > MAX_WAITING ? this.#read() : undefined;
    }
    if (sequence <= this.#sequence) return undefined;
    if (sequence > this.#sequence + 1) {
      const request = this.#read();
      this.#waiting.set(sequence, changes);
      return request;
    }
    for (const change of changes) this.#apply(change);
    this.#sequence = sequence;
    return undefined;
  }

  /** Takes a page that was asked for. */
  applyPage(
    page: {
      readonly after: number;
      readonly sequence: number;
      readonly changes: readonly Change[];
      readonly more: boolean;
    },
  ): PageRequest {
    const reading = this.#reading;
    // A page that was requested twice may arrive twice.
    if (reading === undefined || page.after !== reading.after) return undefined;
    reading.from ??= page.sequence;
    const last = page.changes.at(-1);
    const end = page.more && last !== undefined ? last[1] : undefined;
    this.#removeFormer(reading, new Set(page.changes.map(([, key]) => key)), end ?? Infinity);
    // At once: all of them at the end would be more than one turn of the event loop should do.
    for (const change of page.changes) this.#apply(change);
    if (end !== undefined) {
      reading.after = end;
      return { ask: end };
    }
    return this.#finish(reading.from);
  }

  /**
   * Removes what a page lacks of the entries whose keys it has passed, before it is applied: who comes back under another
   * key leaves first. Keys ascend and are never reused.
   */
  #removeFormer(reading: Reading, kept: ReadonlySet<number>, upTo: number): void {
    const { former } = reading;
    for (; reading.passed < former.length && former[reading.passed]! <= upTo; reading.passed++) {
      const key = former[reading.passed]!;
      if (!kept.has(key)) this.#remove(key);
    }
  }

  /** Removes all entries, as the peer is gone: in slices, as there may be very many. Resolves when all are removed. */
  async clear(): Promise<void> {
    while (this.#entries.size > 0) {
      // With a client go its subscriptions.
      this.#removeDownTo(this.#entries.size - TURN_ENTRIES);
      if (this.#entries.size > 0) await nextSlice();
    }
  }

  /** Removes what is left of them at once. */
  clearAtOnce(): void {
    this.#removeDownTo(0);
  }

  #removeDownTo(count: number): void {
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= count) return;
      this.#remove(key);
    }
  }

  #read(): PageRequest {
    this.#reading = {
      after: 0,
      from: undefined,
      former: [...this.#entries.keys()].sort((a, b) => a - b),
      passed: 0,
    };
    this.#waiting = new Map();
    return { ask: 0 };
  }

  /**
   * Ends the reading. Pages after the first may include later changes; applying these again is
   * harmless, as keys are never reused. Entries that ended meanwhile are removed by these changes.
   */
  #finish(sequence: number): PageRequest {
    const waiting = this.#waiting;
    this.#reading = undefined;
    this.#waiting = new Map();
    this.#sequence = sequence;
    let request: PageRequest;
    for (const [later, changes] of [...waiting].sort(([a], [b]) => a - b)) {
      // If one is missing, this starts reading again, and the rest waits.
      request = this.applyChanges(later, changes) ?? request;
    }
    return request;
  }

  #apply(change: Change): void {
    const [kind, key] = change;
    if (kind === "gone") return this.#remove(key);
    if (this.#entries.has(key)) return;
    if (kind === "client") {
      const { address, name, ...facts } = change[2];
      const client = this.#index.addClient({ ...facts, name, node: this.#node }, address);
      this.#entries.set(key, { kind, client });
      return;
    }
    const [, , clientKey, selector, channelInfo, user] = change;
    const entry = this.#entries.get(clientKey);
    if (entry?.kind !== "client") return;
    try {
      const subscription = this.#index.addSubscription(key, entry.client, selector, {
        ...(channelInfo === undefined || channelInfo === null ? {} : { channelInfo }),
        ...(user === undefined ? {} : { user }),
      });
      this.#entries.set(key, { kind, subscription });
    } catch (error) {
      // A peer of another version. Refusing the rest too would make every heartbeat request all entries again.
      if (!(error instanceof SyntaxError)) throw error;
    }
  }

  #remove(key: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    if (entry.kind === "subscription") return this.#index.removeSubscription(entry.subscription);
    for (const subscription of [...entry.client.subscriptions]) {
      this.#entries.delete(subscription.key);
      this.#index.removeSubscription(subscription);
    }
    this.#index.removeClient(entry.client);
  }
}
