/**
 * The server's counters. The app owns one Metrics; hub, log, protocols and HTTP handlers update it, `/metrics`,
 * OpenTelemetry and the inspector read it. An update only adds numbers: costlier work is done on reading.
 */
import type { ErrorCode } from "../errors.ts";
import { Histogram } from "../../base/histogram.ts";
import { redact } from "../../base/redact.ts";

/** Connections of one protocol: all since the start, and those open now. */
interface ConnectionCount {
  opened: number;
  open: number;
}

/** Details of a refusal or failure. No secrets, no query strings. */
interface RefusalDetail {
  /** The request, such as `POST /news`. */
  readonly what?: string | undefined;
  /** The reason, as the client was told. */
  readonly message?: string | undefined;
  /** The client's id. */
  readonly client?: string | undefined;
  /** Its IP address. */
  readonly address?: string | undefined;
}

export interface Refusal extends RefusalDetail {
  /** Counts refusals from 1, so that a caller can ask for those after a number. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly reason: string;
}

/** A number that is read on demand, such as the number of channels. */
export interface Gauge {
  /** By the conventions of Prometheus, such as `raindrops_channels`; a counter's name ends in `_total`. */
  readonly name: string;
  readonly help: string;
  /** A counter never decreases. */
  readonly kind: "gauge" | "counter";
  /** None when left out. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Whether it is one number for the process, and not one of each thread that add up. */
  readonly ofProcess?: boolean;
  /** Undefined while the value is not available. */
  read(): number | undefined;
}

/** Refusals that are kept, the newest ones. */
export const RECENT_REFUSALS = 256;

/** Characters of a text that are kept of a refusal. */
const MAX_TEXT_LENGTH = 500;

/** What a thread has counted between two moments. */
export interface MetricsDelta {
  readonly counters: Readonly<Record<typeof COUNTERS[number], number>>;
  readonly histograms: Readonly<
    Record<typeof HISTOGRAMS[number], { readonly counts: readonly number[]; readonly sum: number }>
  >;
  readonly connections: readonly (readonly [protocol: string, Readonly<ConnectionCount>])[];
  readonly refusals: readonly (readonly [reason: string, count: number])[];
  readonly recent: readonly Refusal[];
}

export const COUNTERS = [
  "publishedMessages",
  "publishedBytes",
  "deliveredMessages",
  "deliveredBytes",
] as const;
export const HISTOGRAMS = ["latency", "commit", "lag"] as const;

export class Metrics {
  /** Messages that the log accepted from publishers, and the bytes of their payloads. */
  publishedMessages = 0;
  publishedBytes = 0;
  /** Live messages offered to sockets, counted once per message and socket, and the bytes of their frames. */
  deliveredMessages = 0;
  deliveredBytes = 0;
  /** From `Hub.publish()` until all sockets have the message, of each message. */
  readonly latency = new Histogram();
  /** How long the log took to commit each batch. */
  readonly commit = new Histogram();
  /** The delay of timers behind their due time. */
  readonly lag = new Histogram();
  readonly #connections = new Map<string, ConnectionCount>();
  readonly #refusals = new Map<string, number>();
  readonly #recent: Refusal[] = [];
  readonly #gauges: Gauge[] = [];
  #lastRefusal = 0;

  /** Connections by protocol. */
  get connections(): ReadonlyMap<string, Readonly<ConnectionCount>> {
    return this.#connections;
  }

  /** The number of refusals and failures, by reason. */
  get refusals(): ReadonlyMap<string, number> {
    return this.#refusals;
  }

  /** Clients that were disconnected because they did not keep up. */
  get slowSubscribers(): number {
    return this.#refusals.get("slow_subscriber") ?? 0;
  }

  get gauges(): readonly Gauge[] {
    return this.#gauges;
  }

  /** The number of the newest refusal. */
  get lastRefusal(): number {
    return this.#lastRefusal;
  }

  /** Counts a client that connected. */
  connected(protocol: string): void {
    const count = this.#connections.get(protocol);
    if (count === undefined) this.#connections.set(protocol, { opened: 1, open: 1 });
    else {
      count.opened++;
      count.open++;
    }
  }

  /** Counts a client that disconnected. */
  disconnected(protocol: string): void {
    const count = this.#connections.get(protocol);
    if (count !== undefined) count.open--;
  }

  /**
   * Counts a refusal or failure.
   *
   * @param reason from a small fixed set, such as error codes: each is a time series of its own
   */
  refused(reason: ErrorCode, detail: RefusalDetail = {}): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
    const number = ++this.#lastRefusal;
    const { what, message, client, address } = detail;
    this.#recent[number % RECENT_REFUSALS] = {
      number,
      time: Date.now(),
      reason,
      what: show(what),
      message: show(message),
      client,
      address,
    };
  }

  /** The refusals after a number that are still kept, oldest first. */
  listRefusals(after = 0): readonly Refusal[] {
    return this.#recent.filter(({ number }) => number > after).sort((a, b) => a.number - b.number);
  }

  /** Adds what another thread has counted, with some of its refusals. */
  absorb({ counters, histograms, connections, refusals, recent }: MetricsDelta): void {
    for (const name of COUNTERS) this[name] += counters[name];
    for (const name of HISTOGRAMS) {
      const { counts, sum } = histograms[name];
      counts.forEach((count, i) => this[name].counts[i]! += count);
      this[name].sum += sum;
    }
    for (const [protocol, { opened, open }] of connections) {
      const count = this.#connections.get(protocol) ?? { opened: 0, open: 0 };
      this.#connections.set(protocol, { opened: count.opened + opened, open: count.open + open });
    }
    let unseen = -recent.length;
    for (const [reason, count] of refusals) {
      this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + count);
      unseen += count;
    }
    this.#lastRefusal += Math.max(0, unseen);
    for (const refusal of recent) {
      const number = ++this.#lastRefusal;
      this.#recent[number % RECENT_REFUSALS] = { ...refusal, number };
    }
  }

  /** Brings everything up to date before a report, where other threads count too. */
  refresh: () => Promise<void> = () => Promise.resolve();

  /** What the gauges of other threads add to one of this thread. */
  addition: (gauge: Gauge) => number = () => 0;

  /** Adds a gauge to all reports. */
  addGauge(gauge: Gauge): void {
    this.#gauges.push(gauge);
  }

  addGauges(...gauges: readonly Gauge[]): void {
    this.#gauges.push(...gauges);
  }
}

/** A text without credentials, truncated. */
function show(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const shown = redact(text);
  return shown.length <= MAX_TEXT_LENGTH ? shown : shown.slice(0, MAX_TEXT_LENGTH - 1).toWellFormed() + "…";
}
