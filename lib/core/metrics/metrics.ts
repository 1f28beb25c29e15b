/**
 * What the server counts of itself. The app owns one; hub, log, protocols and HTTP handlers feed it, `/metrics`,
 * OpenTelemetry and the inspector read it. Feeding it is adding numbers: whatever costs more is done on reading.
 */
import { Histogram } from "../../base/histogram.ts";
import { redact } from "../../base/redact.ts";

/** Connections of one protocol: how many there have been, and how many there are. */
export interface ConnectionCount {
  opened: number;
  open: number;
}

/** What is known of something that was refused or went wrong. No secrets, no query strings. */
export interface RefusalDetail {
  /** What was asked for, such as `POST /news`. */
  readonly what?: string | undefined;
  /** Why not, in the words the client was told. */
  readonly message?: string | undefined;
  /** The client's id. */
  readonly client?: string | undefined;
  /** Its IP address. */
  readonly address?: string | undefined;
}

export interface Refusal extends RefusalDetail {
  /** Counts them from 1: whoever has read up to one asks for those behind it. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly reason: string;
}

/** A number that is read when somebody asks, such as how many channels there are. */
export interface Gauge {
  /** In the way of Prometheus, such as `raindrops_channels`; a counter's ends in `_total`. */
  readonly name: string;
  readonly help: string;
  /** A counter never decreases. */
  readonly kind: "gauge" | "counter";
  /** None when left out. */
  readonly labels?: Readonly<Record<string, string>>;
  /** Undefined when it cannot be told here and now. */
  read(): number | undefined;
}

/** The newest refusals that are kept. */
export const RECENT_REFUSALS = 256;

/** Longest text of a refusal that is kept. */
const MAX_TEXT_LENGTH = 200;

export class Metrics {
  /** Messages that publishers handed in and the log took, with the bytes of their payloads. */
  publishedMessages = 0;
  publishedBytes = 0;
  /** Messages offered to sockets as they came in: one for each message and socket, with the bytes of their frames. */
  deliveredMessages = 0;
  deliveredBytes = 0;
  /** From `Hub.publish()` until every socket has the message, for each message. */
  readonly latency = new Histogram();
  /** How long the log took to store what it stores at once. */
  readonly commit = new Histogram();
  /** By how much timers came late. */
  readonly lag = new Histogram();
  readonly #connections = new Map<string, ConnectionCount>();
  readonly #refusals = new Map<string, number>();
  readonly #recent: Refusal[] = [];
  readonly #gauges: Gauge[] = [];
  #lastRefusal = 0;

  /** By protocol. */
  get connections(): ReadonlyMap<string, Readonly<ConnectionCount>> {
    return this.#connections;
  }

  /** How often something was refused or went wrong, by reason. */
  get refusals(): ReadonlyMap<string, number> {
    return this.#refusals;
  }

  /** Readers that were cut off for not keeping up. */
  get slowReaders(): number {
    return this.#refusals.get("slow_reader") ?? 0;
  }

  get gauges(): readonly Gauge[] {
    return this.#gauges;
  }

  /** The number of the newest refusal. */
  get lastRefusal(): number {
    return this.#lastRefusal;
  }

  /** Notes a client that came. */
  connected(protocol: string): void {
    const count = this.#connections.get(protocol);
    if (count === undefined) this.#connections.set(protocol, { opened: 1, open: 1 });
    else {
      count.opened++;
      count.open++;
    }
  }

  /** Notes a client that left. */
  disconnected(protocol: string): void {
    const count = this.#connections.get(protocol);
    if (count !== undefined) count.open--;
  }

  /**
   * Notes something that was refused, or that went wrong.
   *
   * @param reason one of a fixed few, such as an error's code: each is a time series of its own
   */
  refused(reason: string, detail: RefusalDetail = {}): void {
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

  /** The newest refusals behind a number, oldest first; those no longer kept are left out. */
  listRefusals(after = 0): readonly Refusal[] {
    return this.#recent.filter(({ number }) => number > after).sort((a, b) => a.number - b.number);
  }

  /** Adds a number that is read on demand. */
  addGauge(gauge: Gauge): void {
    this.#gauges.push(gauge);
  }
}

/** A text as it may be shown: without credentials, and cut. */
function show(text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const shown = redact(text);
  return shown.length <= MAX_TEXT_LENGTH ? shown : shown.slice(0, MAX_TEXT_LENGTH - 1).toWellFormed() + "…";
}
