/**
 * The queue of what was appended on this node of the JetStream engine. Records are sent immediately, many in flight,
 * and leave the queue when they come back from the stream. Transient messages wait until everything before them has
 * left.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Draft } from "../../core/message.ts";
import { MESSAGES_PER_RECORD, type RecordKind } from "./record.ts";
import type { Applied } from "./state.ts";

/** An element of the queue. */
export interface Entry {
  readonly kind: RecordKind | "transient";
  readonly channel: string;
  readonly drafts: readonly Draft[];
  /** When it was appended, in milliseconds since 1970. */
  readonly time: number;
  /** See the head of records. */
  readonly clock: number;
  readonly ttl?: number | undefined;
  /** The idempotency key, encoded. */
  readonly key?: string | undefined;
  /** What the message of the key says. */
  readonly fingerprint?: string | undefined;
  /** Approximate size on the wire, in bytes. */
  readonly bytes: number;
  /** Reports the outcome; `record` is 0 for entries without one. */
  settle(applied: Applied, record: number): void;
  reject(error: MessagingError): void;
}

/** The server's answer to a record. */
export type Ack =
  /** Stored, as this record of the stream. */
  | { readonly kind: "stored"; readonly record: number }
  /** Not stored, and sending it again would not help. */
  | { readonly kind: "refused"; readonly error: MessagingError }
  /** Not stored this time. */
  | { readonly kind: "failed" };

interface QueuedEntry {
  readonly entry: Entry;
  readonly number: number;
  readonly since: number;
  /** When it was last sent; undefined if it never was. */
  sent: number | undefined;
  /** Whether the server failed to store it the last time. */
  failed: boolean;
  /** The record's sequence, once the server has acknowledged it. */
  stored: number | undefined;
}

/** How long an append waits to be stored: longer than a cluster takes to elect a leader. */
export const APPEND_MILLISECONDS = 10_000;
/** After this time, a record that was not acknowledged is sent again with the same id. */
const RESEND_MILLISECONDS = 1_000;
const TICK_MILLISECONDS = 250;
/** Limits on what is in flight to the server. */
const MAX_IN_FLIGHT_RECORDS = 8 * MESSAGES_PER_RECORD;
const MAX_IN_FLIGHT_BYTES = 8 * 1024 * 1024;
/** Limits on the whole queue; beyond them, appends are refused immediately. */
const MAX_WAITING_ENTRIES = 65_536;
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

export class AppendQueue implements Disposable {
  readonly #send: (entry: Entry, number: number) => void;
  readonly #getApplied: () => number;
  readonly #entries = new Map<number, QueuedEntry>();
  #unsent: QueuedEntry[] = [];
  #number = 0;
  #isRunning = false;
  #inFlightRecords = 0;
  #inFlightBytes = 0;
  #bytes = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  #onEmpty: (() => void) | undefined;

  /**
   * @param send sends a record to the server; the same number always means the same record
   * @param applied returns the newest record of the stream that this node has applied
   */
  constructor(send: (entry: Entry, number: number) => void, applied: () => number) {
    this.#send = send;
    this.#getApplied = applied;
  }

  get isEmpty(): boolean {
    return this.#entries.size === 0;
  }

  /** Why an append is refused; undefined while there is room. */
  get refusal(): MessagingError | undefined {
    if (this.#entries.size < MAX_WAITING_ENTRIES && this.#bytes < MAX_WAITING_BYTES) return undefined;
    return new MessagingError(
      "log_unavailable",
      "Cannot store the message: too many messages are waiting for the engine; try again in a moment",
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
    this.#entries.set(number, waiting);
    this.#bytes += entry.bytes;
    if (entry.kind !== "transient") this.#unsent.push(waiting);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MILLISECONDS);
  }

  /** The server is reachable: sends what is waiting, and resends what it may not have received. */
  resume(): void {
    this.#isRunning = true;
    this.#resend();
    this.pump();
  }

  /** The server is unreachable: sends nothing until `resume`. */
  pause(): void {
    this.#isRunning = false;
  }

  /** Sends waiting records, as many as the limits in flight allow. */
  pump(): void {
    if (!this.#isRunning) return;
    let i = 0;
    for (; i < this.#unsent.length; i++) {
      const waiting = this.#unsent[i]!;
      if (!this.#entries.has(waiting.number)) continue;
      if (this.#inFlightRecords >= MAX_IN_FLIGHT_RECORDS || this.#inFlightBytes >= MAX_IN_FLIGHT_BYTES) break;
      this.#inFlightRecords++;
      this.#inFlightBytes += waiting.entry.bytes;
      waiting.sent = performance.now();
      this.#send(waiting.entry, waiting.number);
    }
    if (i > 0) this.#unsent = this.#unsent.slice(i);
  }

  /** Removes the entry whose record has come back from the stream. */
  take(number: number): Pick<QueuedEntry, "entry" | "sent"> | undefined {
    return this.#remove(number);
  }

  /** Removes the transient entries at the head of the queue, before which nothing is waiting any more. */
  takeReadyTransients(): Entry[] {
    const ready: Entry[] = [];
    if (!this.#isRunning) return ready;
    for (const { entry, number } of this.#entries.values()) {
      if (entry.kind !== "transient") break;
      ready.push(entry);
      this.#remove(number);
    }
    return ready;
  }

  /** Notes the server's answer to a record. */
  acknowledge(number: number, ack: Ack): void {
    const waiting = this.#entries.get(number);
    if (waiting === undefined) return;
    if (ack.kind === "stored") waiting.stored = ack.record;
    else if (ack.kind === "failed") waiting.failed = true;
    else this.#remove(number)?.entry.reject(ack.error);
  }

  /** Rejects all entries that were sent: their outcome can no longer be known. */
  rejectSent(): void {
    for (const { number, sent } of [...this.#entries.values()]) {
      if (sent !== undefined) this.#remove(number)?.entry.reject(unavailable());
    }
  }

  /** Resolves when the queue is empty. */
  async drained(): Promise<void> {
    if (this.#entries.size > 0) await new Promise<void>((resolve) => this.#onEmpty = resolve);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    for (const { number } of [...this.#entries.values()]) this.#remove(number)?.entry.reject(unavailable());
  }

  #tick(): void {
    const now = performance.now();
    let needsResend = false;
    const applied = this.#getApplied();
    for (const { entry, number, since, sent, failed, stored } of [...this.#entries.values()]) {
      // A stored record will eventually come back, so it must not be rejected, unless the stream has moved past it: the
      // server lost it, or other nodes purged it while this one was disconnected.
      const isLost = stored === undefined ? now - since > APPEND_MILLISECONDS : stored <= applied;
      if (isLost) this.#remove(number)?.entry.reject(unavailable());
      else if (stored === undefined && entry.kind !== "transient" && sent !== undefined) {
        needsResend ||= failed || now - sent > RESEND_MILLISECONDS;
      }
    }
    if (needsResend && this.#isRunning) this.#resend();
    this.pump();
  }

  /** Resends unacknowledged records in order; the server recognises by their ids what it already has. */
  #resend(): void {
    for (const waiting of this.#entries.values()) {
      if (waiting.sent === undefined || waiting.stored !== undefined) continue;
      waiting.sent = performance.now();
      waiting.failed = false;
      this.#send(waiting.entry, waiting.number);
    }
  }

  #remove(number: number): QueuedEntry | undefined {
    const waiting = this.#entries.get(number);
    if (waiting === undefined) return undefined;
    this.#entries.delete(number);
    this.#bytes -= waiting.entry.bytes;
    if (waiting.sent !== undefined) {
      this.#inFlightRecords--;
      this.#inFlightBytes -= waiting.entry.bytes;
    }
    if (this.#entries.size === 0) {
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
