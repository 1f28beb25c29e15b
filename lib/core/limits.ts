/**
 * Limits the number of connections, in total and per address, and the rate of publishing, per client and per address.
 * The app counts each connection and each message by HTTP here, protocols each message on a connection. The state of an
 * address is a few numbers, dropped once it has no connection and its rate has recovered; with workers all threads
 * share it.
 */
import { toLimitKey } from "../base/address.ts";
import { applies, type Bound } from "./bound.ts";
import { type ErrorCode, MessagingError } from "./errors.ts";
import { type Rate, TokenBucket } from "../base/token_bucket.ts";
import { type LimitState, type LimitStates, LocalLimitStates } from "./limit_states.ts";
import { Shares } from "./shares.ts";

export type { Bound };

export interface LimitSettings {
  /** WebSockets and streams in total. */
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: Bound;
  /** Messages per second from one connection or, by HTTP, from one user. */
  readonly maxPublishRate: Bound;
  readonly maxPublishRatePerAddress: Bound;
  /** Size of a burst, in seconds at the full rate. */
  readonly publishBurst: number;
  /** Percent of each pool that one user or address may take; no limit if left out. */
  readonly maxShare?: Bound;
  /** See `Shares`. */
  readonly digestOwner?: (whose: string) => string;
}

/** One counted connection. */
export interface Connection {
  /** IP address of the other end. */
  readonly address: string;
  /**
   * Counts a message that the client publishes.
   *
   * @throws {MessagingError} `too_many_publishes` or `too_many_publishes_from_address`
   */
  countPublish(): void;
  /** Stops counting the connection. Releasing it again does nothing. */
  release(): void;
}

export class Limits {
  /** How much of what is kept for all one user or address may take. */
  readonly shares: Shares;
  readonly #settings: LimitSettings;
  readonly #clientRate: Rate;
  readonly #addressRate: Rate;
  readonly #now: () => number;
  readonly #states: LimitStates;

  /**
   * @param now a monotonic clock in milliseconds
   * @param states of all threads that share the limits
   */
  constructor(
    settings: LimitSettings,
    now: () => number = () => performance.now(),
    states: LimitStates = new LocalLimitStates(),
  ) {
    this.#settings = settings;
    this.shares = new Shares(settings.maxShare, settings.digestOwner);
    this.#clientRate = toRate(settings.maxPublishRate, settings.publishBurst);
    this.#addressRate = toRate(settings.maxPublishRatePerAddress, settings.publishBurst);
    this.#now = now;
    this.#states = states;
  }

  /** The number of connections. */
  get connections(): number {
    return this.#states.connections;
  }

  /**
   * Counts a connection until it is released.
   *
   * @throws {MessagingError} `too_many_connections` or `too_many_connections_from_address`
   */
  connect(address: string): Connection {
    const { maxConnections, maxConnectionsPerAddress, maxPublishRatePerAddress } = this.#settings;
    if (!this.#states.connect(maxConnections)) {
      throw new MessagingError(
        "too_many_connections",
        `The server has ${maxConnections} connections, the limit of --max-connections: try again later`,
      );
    }
    const now = this.#now();
    const state = this.#states.open(toLimitKey(address), now);
    const most = applies(maxConnectionsPerAddress, address) ? maxConnectionsPerAddress.value : Infinity;
    if (!state.connect(most)) {
      this.#states.disconnect();
      throw new MessagingError(
        "too_many_connections_from_address",
        `Your address has ${most} connections, the limit of --max-connections-per-address: close some`,
      );
    }
    const bucket = applies(this.#settings.maxPublishRate, address)
      ? new TokenBucket(this.#clientRate, now)
      : undefined;
    const ofAddress = applies(maxPublishRatePerAddress, address) ? state : undefined;
    let released = false;
    return {
      address,
      countPublish: () => this.#take(bucket, ofAddress),
      release: () => {
        if (released) return;
        released = true;
        state.disconnect();
        this.#states.disconnect();
      },
    };
  }

  /**
   * Counts a message that is published by HTTP.
   *
   * @param user the user of its token
   * @throws {MessagingError} `too_many_publishes` or `too_many_publishes_from_address`
   */
  countPublish(address: string, user: string | undefined): void {
    const { maxPublishRate, maxPublishRatePerAddress } = this.#settings;
    if (user !== undefined && applies(maxPublishRate, address)) {
      // The space keeps it apart from addresses.
      const state = this.#states.open(`user ${user}`, this.#now());
      const client = {
        take: (now: number) => state.take(this.#clientRate, now),
        giveBack: () => state.giveBack(this.#clientRate),
      };
      this.#take(client, this.#openRate(address, maxPublishRatePerAddress));
    } else this.#take(undefined, this.#openRate(address, maxPublishRatePerAddress));
  }

  #openRate(address: string, bound: Bound): LimitState | undefined {
    return applies(bound, address) ? this.#states.open(toLimitKey(address), this.#now()) : undefined;
  }

  #take(client: Pick<TokenBucket, "take" | "giveBack"> | undefined, address: LimitState | undefined): void {
    if (client === undefined && address === undefined) return;
    const now = this.#now();
    const { maxPublishRate, maxPublishRatePerAddress } = this.#settings;
    let wait = client?.take(now) ?? 0;
    if (wait > 0) {
      throw tooFast(
        "too_many_publishes",
        `${maxPublishRate.value} messages a second from one client`,
        "",
        wait,
      );
    }
    wait = address?.take(this.#addressRate, now) ?? 0;
    if (wait === 0) return;
    client?.giveBack();
    throw tooFast(
      "too_many_publishes_from_address",
      `${maxPublishRatePerAddress.value} messages a second from one address`,
      "-per-address",
      wait,
    );
  }
}

/** The error for a client that subscribes to more channels than one connection may. */
export function describeSubscriptionLimit(limit: number): MessagingError {
  return new MessagingError(
    "too_many_subscriptions",
    `One connection may subscribe to ${limit} channels: open another, or raise --max-subscriptions`,
  );
}

function toRate({ value }: Bound, burst: number): Rate {
  return { perSecond: value, burst: Math.max(1, value * burst) };
}

function tooFast(code: ErrorCode, what: string, suffix: string, wait: number): MessagingError {
  const retryAfter = Math.ceil(wait / 1_000);
  return new MessagingError(
    code,
    `More than ${what}: send less, or raise --max-publish-rate${suffix}`,
    { retryAfter },
  );
}
