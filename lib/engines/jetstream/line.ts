/**
 * The line of what was handed in to this node of the JetStream engine: records are sent at once, many in flight, and
 * leave the line when they come back from the stream. What is only delivered waits until all before it have left.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Draft } from "../../core/message.ts";
import { MESSAGES_PER_RECORD, type RecordKind } from "./record.ts";
import type { Applied } from "./state.ts";

/** Something that waits in the line. */
export interface Entry {
  readonly kind: RecordKind | "transient";
  readonly channel: string;
  readonly drafts: readonly Draft[];
  /** When it was handed in, in milliseconds since 1970. */
  readonly time: number;
  readonly ttl?: number | undefined;
  /** The idempotency key, encoded. */
  readonly key?: string | undefined;
  /** Roughly what it takes on the wire. */
  readonly bytes: number;
  /** Takes what became of its record, which is 0 for what has none. */
  settle(applied: Applied, record: number): void;
  reject(error: MessagingError): void;
}

/** What the server says of a record it was sent. */
export type Ack =
  /** It is stored, as this record of the stream. */
  | { readonly kind: "stored"; readonly record: number }
  /** It is not, and would not be if it were sent again. */
  | { readonly kind: "refused"; readonly error: MessagingError }
  /** It is not, for now. */
  | { readonly kind: "failed" };

interface Waiting {
  readonly entry: Entry;
  readonly number: number;
  readonly since: number;
  /** When it was sent last; undefined when it never was. */
  sent: number | undefined;
  /** Whether the server said that it is not stored, for now. */
  failed: boolean;
  /** Which record it is, once the server says that it is stored. */
  stored: number | undefined;
}

/** Longest that an append waits for the server to have it: longer than a cluster takes to elect a leader. */
export const APPEND_MILLISECONDS = 10_000;
/** After which a record that was not acknowledged is sent again, under the same id. */
const RESEND_MILLISECONDS = 1_000;
const TICK_MILLISECONDS = 250;
/** What may be on its way to the server. */
const FLIGHT_RECORDS = 8 * MESSAGES_PER_RECORD;
const FLIGHT_BYTES = 8 * 1024 * 1024;
/** What may wait altogether; beyond it, appends are refused at once. */
const WAITING_ENTRIES = 65_536;
const WAITING_BYTES = 64 * 1024 * 1024;

export class JetStreamLine implements Disposable {
  readonly #send: (entry: Entry, number: number) => void;
  readonly #reached: () => number;
  readonly #line = new Map<number, Waiting>();
  #unsent: Waiting[] = [];
  #number = 0;
  #isOpen = false;
  #flightRecords = 0;
  #flightBytes = 0;
  #bytes = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * @param send hands a record to the server; the same number is always the same record
   * @param reached the newest record of the stream that has come back
   */
  constructor(send: (entry: Entry, number: number) => void, reached: () => number) {
    this.#send = send;
    this.#reached = reached;
  }

  get isEmpty(): boolean {
    return this.#line.size === 0;
  }

  /** Undefined while there is room for more. */
  get refusal(): MessagingError | undefined {
    if (this.#line.size < WAITING_ENTRIES && this.#bytes < WAITING_BYTES) return undefined;
    return new MessagingError(
      "log_unavailable",
      "Cannot store the message: too many wait for the engine already",
    );
  }

  add(entry: Entry): void {
    const number = ++this.#number;
    const waiting = {
      entry,
      number,
      since: performance.now(),
      sent: undefined,
      failed: false,
      stored: undefined,
    };
    this.#line.set(number, waiting);
    this.#bytes += entry.bytes;
    if (entry.kind !== "transient") this.#unsent.push(waiting);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MILLISECONDS);
  }

  /** The server can be reached: sends what waits, and again what it may not have. */
  open(): void {
    this.#isOpen = true;
    this.#resend();
    this.pump();
  }

  /** The server cannot be reached. */
  shut(): void {
    this.#isOpen = false;
  }

  /** Sends what has not been sent, as far as there is room in flight. */
  pump(): void {
    if (!this.#isOpen) return;
    let i = 0;
    for (; i < this.#unsent.length; i++) {
      const waiting = this.#unsent[i]!;
      if (!this.#line.has(waiting.number)) continue;
      if (this.#flightRecords >= FLIGHT_RECORDS || this.#flightBytes >= FLIGHT_BYTES) break;
      this.#flightRecords++;
      this.#flightBytes += waiting.entry.bytes;
      waiting.sent = performance.now();
      this.#send(waiting.entry, waiting.number);
    }
    if (i > 0) this.#unsent = this.#unsent.slice(i);
  }

  /** Takes the record of a number out of the line, as it has come back from the stream. */
  take(number: number): Pick<Waiting, "entry" | "sent"> | undefined {
    return this.#remove(number);
  }

  /** Takes what is only delivered from the head of the line, where nothing is before it any more. */
  takeReady(): Entry[] {
    const ready: Entry[] = [];
    if (!this.#isOpen) return ready;
    for (const { entry, number } of this.#line.values()) {
      if (entry.kind !== "transient") break;
      ready.push(entry);
      this.#remove(number);
    }
    return ready;
  }

  /** Takes note of what the server said of a record. */
  acknowledge(number: number, ack: Ack): void {
    const waiting = this.#line.get(number);
    if (waiting === undefined) return;
    if (ack.kind === "stored") waiting.stored = ack.record;
    else if (ack.kind === "failed") waiting.failed = true;
    else this.#remove(number)?.entry.reject(ack.error);
  }

  /** Gives up what was sent: nobody can tell any more what became of it. */
  abandon(): void {
    for (const { number, sent } of [...this.#line.values()]) {
      if (sent !== undefined) this.#remove(number)?.entry.reject(unavailable());
    }
  }

  /** Resolves when nothing waits any more. */
  async drained(): Promise<void> {
    if (this.#line.size > 0) await new Promise<void>((resolve) => this.#onEmpty = resolve);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { number } of [...this.#line.values()]) this.#remove(number)?.entry.reject(unavailable());
  }

  #tick(): void {
    const now = performance.now();
    let isLate = false;
    const reached = this.#reached();
    for (const { entry, number, since, sent, failed, stored } of [...this.#line.values()]) {
      // What the server has is announced in the end, and to reject it would be a lie: unless the stream went past it,
      // as a server does that lost it, or nodes that removed it while this one was cut off.
      const isLost = stored === undefined ? now - since > APPEND_MILLISECONDS : stored <= reached;
      if (isLost) this.#remove(number)?.entry.reject(unavailable());
      else if (stored === undefined && entry.kind !== "transient" && sent !== undefined) {
        isLate ||= failed || now - sent > RESEND_MILLISECONDS;
      }
    }
    if (isLate && this.#isOpen) this.#resend();
    this.pump();
  }

  /** Sends again, in order, what the server has not acknowledged: by its id it knows what it has. */
  #resend(): void {
    for (const waiting of this.#line.values()) {
      if (waiting.sent === undefined || waiting.stored !== undefined) continue;
      waiting.sent = performance.now();
      waiting.failed = false;
      this.#send(waiting.entry, waiting.number);
    }
  }

  #remove(number: number): Waiting | undefined {
    const waiting = this.#line.get(number);
    if (waiting === undefined) return undefined;
    this.#line.delete(number);
    this.#bytes -= waiting.entry.bytes;
    if (waiting.sent !== undefined) {
      this.#flightRecords--;
      this.#flightBytes -= waiting.entry.bytes;
    }
    if (this.#line.size === 0) {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#onEmpty?.();
    }
    return waiting;
  }
}

function unavailable(): MessagingError {
  return new MessagingError(
    "log_unavailable",
    "Cannot store the message: the NATS server did not confirm it in time; try again in a moment",
  );
}
