/**
 * Limits the number of connections, in total and per address, and the rate of publishing, per client and per address.
 * The app counts each connection and each message by HTTP here, protocols each message on a connection. The state of an
 * address is a few numbers, dropped once it has no connection and its rate has recovered.
 */
import { isLoopbackAddress, toLimitKey } from "../base/address.ts";
import { type ErrorCode, MessagingError } from "./errors.ts";
import { type Rate, TokenBucket } from "../base/token_bucket.ts";

/** A limit per client or address. */
export interface Bound {
  /** Infinity for no limit. */
  readonly value: number;
  /** Whether clients on this machine are exempt. */
  readonly sparesLoopback: boolean;
}

export interface LimitSettings {
  /** WebSockets and streams in total. */
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: Bound;
  /** Messages per second from one connection or, by HTTP, from one user. */
  readonly maxPublishRate: Bound;
  readonly maxPublishRatePerAddress: Bound;
  /** Size of a burst, in seconds at the full rate. */
  readonly publishBurst: number;
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

/** The state of one address, or of one user who publishes by HTTP. */
interface LimitState {
  connections: number;
  readonly bucket: TokenBucket | undefined;
}

/** States that are checked for removal whenever one is added. */
const SWEPT_STATES = 4;

export class Limits {
  readonly #settings: LimitSettings;
  readonly #clientRate: Rate;
  readonly #addressRate: Rate;
  readonly #now: () => number;
  readonly #states = new Map<string, LimitState>();
  #sweep: Iterator<[string, LimitState]> = [].values();
  #connections = 0;

  /** @param now a monotonic clock in milliseconds */
  constructor(settings: LimitSettings, now: () => number = () => performance.now()) {
    this.#settings = settings;
    this.#clientRate = toRate(settings.maxPublishRate, settings.publishBurst);
    this.#addressRate = toRate(settings.maxPublishRatePerAddress, settings.publishBurst);
    this.#now = now;
  }

  /** The number of connections. */
  get connections(): number {
    return this.#connections;
  }

  /** The number of addresses and users with a state. */
  get stateCount(): number {
    return this.#states.size;
  }

  /**
   * Counts a connection until it is released.
   *
   * @throws {MessagingError} `too_many_connections` or `too_many_connections_from_address`
   */
  connect(address: string): Connection {
    const { maxConnections, maxConnectionsPerAddress } = this.#settings;
    if (this.#connections >= maxConnections) {
      throw new MessagingError(
        "too_many_connections",
        `The server has ${maxConnections} connections, the limit of --max-connections: try again later`,
      );
    }
    const now = this.#now();
    const state = this.#openState(
      toLimitKey(address),
      now,
      applies(this.#settings.maxPublishRatePerAddress, address),
    );
    if (applies(maxConnectionsPerAddress, address) && state.connections >= maxConnectionsPerAddress.value) {
      throw new MessagingError(
        "too_many_connections_from_address",
        `Your address has ${state.connections} connections, the limit of --max-connections-per-address: ` +
          "close some",
      );
    }
    state.connections++;
    this.#connections++;
    const bucket = applies(this.#settings.maxPublishRate, address)
      ? new TokenBucket(this.#clientRate, now)
      : undefined;
    let released = false;
    return {
      address,
      countPublish: () => this.#take(bucket, state.bucket),
      release: () => {
        if (released) return;
        released = true;
        state.connections--;
        this.#connections--;
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
    const client = user !== undefined && applies(maxPublishRate, address)
      // The space keeps it apart from addresses.
      ? this.#openState(`user ${user}`, this.#now(), true, this.#clientRate).bucket
      : undefined;
    const addressBucket = applies(maxPublishRatePerAddress, address)
      ? this.#openState(toLimitKey(address), this.#now(), true).bucket
      : undefined;
    this.#take(client, addressBucket);
  }

  #take(client: TokenBucket | undefined, address: TokenBucket | undefined): void {
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
    wait = address?.take(now) ?? 0;
    if (wait === 0) return;
    client?.giveBack();
    throw tooFast(
      "too_many_publishes_from_address",
      `${maxPublishRatePerAddress.value} messages a second from one address`,
      "-per-address",
      wait,
    );
  }

  #openState(key: string, now: number, isLimited: boolean, rate = this.#addressRate): LimitState {
    let state = this.#states.get(key);
    if (state === undefined) {
      this.#forgetSome(now);
      state = { connections: 0, bucket: isLimited ? new TokenBucket(rate, now) : undefined };
      this.#states.set(key, state);
    }
    return state;
  }

  /** Checks a few states for each one added, so that unused ones cannot pile up. */
  #forgetSome(now: number): void {
    for (let i = 0; i < SWEPT_STATES; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#states.entries();
        return;
      }
      const [key, { connections, bucket }] = next.value;
      if (connections === 0 && (bucket?.isFull(now) ?? true)) this.#states.delete(key);
    }
  }
}

/** The error for a client that subscribes to more channels than one connection may. */
export function describeSubscriptionLimit(limit: number): MessagingError {
  return new MessagingError(
    "too_many_subscriptions",
    `One connection may subscribe to ${limit} channels: open another, or raise --max-subscriptions`,
  );
}

function applies({ value, sparesLoopback }: Bound, address: string): boolean {
  return value !== Infinity && !(sparesLoopback && isLoopbackAddress(address));
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
