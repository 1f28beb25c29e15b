/**
 * How many connections there may be and how fast their clients may publish, in all, by address and by client. The app
 * asks for each connection and each message by HTTP, protocols for each message on a connection. What is known of an
 * address is a few numbers, and is forgotten once it has no connection and has not published for a while.
 */
import { isLoopbackAddress, toLine } from "../base/address.ts";
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
  readonly maxConnections: number;
  readonly maxConnectionsPerAddress: Bound;
  /** Messages a second from one connection; by HTTP, from one user. */
  readonly maxPublishRate: Bound;
  readonly maxPublishRatePerAddress: Bound;
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
interface Line {
  connections: number;
  readonly bucket: TokenBucket | undefined;
}

/** Lines that are looked at whenever there is a new one, to see whether they can be forgotten. */
const SWEPT_LINES = 4;

export class Limits {
  readonly #settings: LimitSettings;
  readonly #clientRate: Rate;
  readonly #addressRate: Rate;
  readonly #now: () => number;
  readonly #lines = new Map<string, Line>();
  #sweep: Iterator<[string, Line]> = [].values();
  #connections = 0;

  /** @param now a clock in milliseconds that never goes back */
  constructor(settings: LimitSettings, now: () => number = () => performance.now()) {
    this.#settings = settings;
    this.#clientRate = toRate(settings.maxPublishRate, settings.publishBurst);
    this.#addressRate = toRate(settings.maxPublishRatePerAddress, settings.publishBurst);
    this.#now = now;
  }

  /** How many connections there are. */
  get connections(): number {
    return this.#connections;
  }

  /** How many addresses and users something is known of. */
  get lines(): number {
    return this.#lines.size;
  }

  /**
   * Counts a connection from now on until it is released.
   *
   * @throws {MessagingError} `too_many_connections` or `too_many_connections_from_address`
   */
  connect(address: string): Connection {
    const { maxConnections, maxConnectionsPerAddress } = this.#settings;
    if (this.#connections >= maxConnections) {
      throw new MessagingError(
        "too_many_connections",
        `The server has ${maxConnections} connections, as many as --max-connections allows: try again later`,
      );
    }
    const now = this.#now();
    const line = this.#openLine(
      toLine(address),
      now,
      applies(this.#settings.maxPublishRatePerAddress, address),
    );
    if (applies(maxConnectionsPerAddress, address) && line.connections >= maxConnectionsPerAddress.value) {
      throw new MessagingError(
        "too_many_connections_from_address",
        `Your address has ${line.connections} connections, as many as --max-connections-per-address allows: ` +
          "close some",
      );
    }
    line.connections++;
    this.#connections++;
    const bucket = applies(this.#settings.maxPublishRate, address)
      ? new TokenBucket(this.#clientRate, now)
      : undefined;
    let released = false;
    return {
      address,
      countPublish: () => this.#take(bucket, line.bucket),
      release: () => {
        if (released) return;
        released = true;
        line.connections--;
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
    const { maxPublishRate, maxPublishRatePerAddress } = this.#settings;
    const client = user !== undefined && applies(maxPublishRate, address)
      // No address has a space.
      ? this.#openLine(`user ${user}`, this.#now(), true, this.#clientRate).bucket
      : undefined;
    const line = applies(maxPublishRatePerAddress, address)
      ? this.#openLine(toLine(address), this.#now(), true).bucket
      : undefined;
    this.#take(client, line);
  }

  #take(client: TokenBucket | undefined, address: TokenBucket | undefined): void {
    if (client === undefined && address === undefined) return;
    const now = this.#now();
    const { maxPublishRate, maxPublishRatePerAddress } = this.#settings;
    let wait = client?.take(now) ?? 0;
    if (wait > 0) {
      throw tooFast(
        "too_many_publishes",
        `${maxPublishRate.value} messages a second of one client`,
        "",
        wait,
      );
    }
    wait = address?.take(now) ?? 0;
    if (wait === 0) return;
    client?.giveBack();
    throw tooFast(
      "too_many_publishes_from_address",
      `${maxPublishRatePerAddress.value} messages a second of one address`,
      "-per-address",
      wait,
    );
  }

  #openLine(key: string, now: number, isLimited: boolean, rate = this.#addressRate): Line {
    let line = this.#lines.get(key);
    if (line === undefined) {
      this.#forgetSome(now);
      line = { connections: 0, bucket: isLimited ? new TokenBucket(rate, now) : undefined };
      this.#lines.set(key, line);
    }
    return line;
  }

  /** More than one is looked at for each that comes: those that nobody needs cannot pile up. */
  #forgetSome(now: number): void {
    for (let i = 0; i < SWEPT_LINES; i++) {
      const next = this.#sweep.next();
      if (next.done) {
        this.#sweep = this.#lines.entries();
        return;
      }
      const [key, { connections, bucket }] = next.value;
      if (connections === 0 && (bucket?.isFull(now) ?? true)) this.#lines.delete(key);
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
