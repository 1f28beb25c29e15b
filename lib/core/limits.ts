/**
 * How many connections there may be and how fast their clients may publish, in all, by address and by client. The app
 * asks for each connection and each message by HTTP, protocols for each message on a connection. What is known of an
 * address is a few numbers, and is forgotten once it has no connection and has not published for a while.
 */
import { isLoopbackAddress, toLimitKey } from "../base/address.ts";
import { type ErrorCode, MessagingError } from "./errors.ts";
import { type Rate, TokenBucket } from "../base/token_bucket.ts";

/** A limit on each client or address. */
export interface Bound {
  /** Infinite for none. */
  readonly value: number;
  /** Whether clients on this machine are not held to it. */
  readonly sparesLoopback: boolean;
}

export interface LimitSettings {
  /** Connections in all: WebSockets and streams. */
  readonly connections: number;
  readonly connectionsPerAddress: Bound;
  /** Messages a second from one connection; by HTTP, from one user. */
  readonly publishRate: Bound;
  readonly publishRatePerAddress: Bound;
  /** How many seconds' worth of messages may come at once. */
  readonly publishBurst: number;
}

/** One connection, as limits see it. */
export interface Connection {
  /** IP address of the other end. */
  readonly address: string;
  /**
   * Counts a message that the client publishes.
   *
   * @throws {MessagingError} `too_many_publishes` or `too_many_publishes_from_address`
   */
  countPublish(): void;
  /** The connection is over. Releasing it again does nothing. */
  release(): void;
}

/** What is known of one address, or of one user who publishes by HTTP. */
interface LimitState {
  connections: number;
  readonly bucket: TokenBucket | undefined;
}

/** Lines that are looked at whenever there is a new one, to see whether they can be forgotten. */
const SWEPT_STATES = 4;

export class Limits {
  readonly #settings: LimitSettings;
  readonly #clientRate: Rate;
  readonly #addressRate: Rate;
  readonly #now: () => number;
  readonly #states = new Map<string, LimitState>();
  #sweep: Iterator<[string, LimitState]> = [].values();
  #connections = 0;

  /** @param now a clock in milliseconds that never goes back */
  constructor(settings: LimitSettings, now: () => number = () => performance.now()) {
    this.#settings = settings;
    this.#clientRate = toRate(settings.publishRate, settings.publishBurst);
    this.#addressRate = toRate(settings.publishRatePerAddress, settings.publishBurst);
    this.#now = now;
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#connections;
  }

  /** How many addresses and users something is known of. */
  get stateCount(): number {
    return this.#states.size;
  }

  /**
   * Counts a connection from now on until it is released.
   *
   * @throws {MessagingError} `too_many_connections` or `too_many_connections_from_address`
   */
  connect(address: string): Connection {
    const { connections, connectionsPerAddress } = this.#settings;
    if (this.#connections >= connections) {
      throw new MessagingError(
        "too_many_connections",
        `The server has ${connections} connections, as many as --max-connections allows: try again later`,
      );
    }
    const now = this.#now();
    const state = this.#openState(
      toLimitKey(address),
      now,
      applies(this.#settings.publishRatePerAddress, address),
    );
    if (applies(connectionsPerAddress, address) && state.connections >= connectionsPerAddress.value) {
      throw new MessagingError(
        "too_many_connections_from_address",
        `Your address has ${state.connections} connections, as many as --max-connections-per-address allows: ` +
          "close some",
      );
    }
    state.connections++;
    this.#connections++;
    const bucket = applies(this.#settings.publishRate, address)
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
   * Counts a message that comes by HTTP.
   *
   * @param user whom its token names
   * @throws {MessagingError} `too_many_publishes` or `too_many_publishes_from_address`
   */
  countPublish(address: string, user: string | undefined): void {
    const { publishRate, publishRatePerAddress } = this.#settings;
    const client = user !== undefined && applies(publishRate, address)
      // No address has a space.
      ? this.#openState(`user ${user}`, this.#now(), true, this.#clientRate).bucket
      : undefined;
    const addressBucket = applies(publishRatePerAddress, address)
      ? this.#openState(toLimitKey(address), this.#now(), true).bucket
      : undefined;
    this.#take(client, addressBucket);
  }

  #take(client: TokenBucket | undefined, address: TokenBucket | undefined): void {
    if (client === undefined && address === undefined) return;
    const now = this.#now();
    const { publishRate, publishRatePerAddress } = this.#settings;
    let wait = client?.take(now) ?? 0;
    if (wait > 0) {
      throw tooFast("too_many_publishes", `${publishRate.value} messages a second of one client`, "", wait);
    }
    wait = address?.take(now) ?? 0;
    if (wait === 0) return;
    client?.giveBack();
    throw tooFast(
      "too_many_publishes_from_address",
      `${publishRatePerAddress.value} messages a second of one address`,
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

  /** More than one is looked at for each that comes: those that nobody needs cannot pile up. */
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

/** What is said to a client that wants to be on more channels than one connection may. */
export function describeSubscriptionLimit(limit: number): MessagingError {
  return new MessagingError(
    "too_many_subscriptions",
    `One connection may be on ${limit} channels: open another, or raise --max-subscriptions`,
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
