/**
 * The newest messages of a webhook, encoded as they are announced and kept in memory, so that a lane that keeps up need
 * not read them from the engine. A lane that does not keep up reads the engine, and the tail begins anew.
 *
 * Messages are encoded at once, so that it holds bytes, of which it knows how many there are, and no objects.
 */
import { encodeMessageMembers, type Message } from "../core/message.ts";
import { utf8Length } from "../base/utf8.ts";
import { BODY_HEAD, BODY_TAIL, type Outgoing } from "./message_body.ts";

/** What it holds at most. */
const MAX_MESSAGES = 4_000;
const MAX_BYTES = 1024 * 1024;
/** The first size of the memory for it. */
const FIRST_BYTES = 16 * 1024;
/** Once a text has so many characters, it is encoded. */
const MAX_TEXT = 16 * 1024;
/** A character takes at most so many bytes of UTF-8. */
const BYTES_PER_CHARACTER = 3;

const encoder = new TextEncoder();

interface Place {
  readonly epoch: string;
  readonly sequence: number;
}

export class LiveTail {
  /** The events, each with a comma behind it. */
  #bytes = new Uint8Array(FIRST_BYTES);
  /** Of each event: where it ends in there, its sequence, its time. */
  #ends: number[] = [];
  #sequences: number[] = [];
  #times: number[] = [];
  /** Those that were sent already, at the start of all these. */
  #first = 0;
  #epoch = "";
  #isRecording = false;
  /** It holds everything after this place; undefined while that is not known. */
  #since: Place | undefined;

  /** Keeps what is announced from now on. To be called before the engine is read. */
  start(): void {
    this.#isRecording = true;
  }

  /** Takes stored messages that were announced, in order. */
  note(messages: readonly Message[]): void {
    const [first] = messages;
    if (!this.#isRecording || first === undefined) return;
    if (first.epoch !== this.#epoch) {
      // What came before belongs to an engine that is no more.
      if (this.#sequences.length > 0) return this.reset();
      this.#epoch = first.epoch;
    }
    if (this.#sequences.length - this.#first + messages.length > MAX_MESSAGES) return this.reset();
    let text = "";
    let ends: number[] = [];
    for (const message of messages) {
      if (message.epoch !== this.#epoch) return this.reset();
      if (text.length > MAX_TEXT) {
        if (!this.#add(text, ends)) return this.reset();
        text = "";
        ends = [];
      }
      text += `{"type":"message",${encodeMessageMembers(message)}},`;
      ends.push(text.length);
      this.#sequences.push(message.sequence);
      this.#times.push(message.time);
    }
    if (!this.#add(text, ends)) this.reset();
  }

  /** Whether the events that were not sent fill a body of so many bytes. */
  fills(bytes: number): boolean {
    return (this.#ends.at(-1) ?? 0) - this.#startOf(this.#first) >=
      bytes - BODY_HEAD.length - BODY_TAIL.length;
  }

  /** The engine was read to its end, which was at this place, after {@linkcode start}. */
  follow({ epoch, sequence }: Place): void {
    if (!this.#isRecording) return;
    this.#since = { epoch, sequence };
    this.drop(sequence);
  }

  /** Forgets everything. */
  reset(): void {
    this.#ends = [];
    this.#sequences = [];
    this.#times = [];
    this.#first = 0;
    this.#epoch = "";
    this.#isRecording = false;
    this.#since = undefined;
  }

  /**
   * The next messages after a place.
   *
   * @param limits of messages and of the bytes of the body; one message goes whatever its size
   * @returns undefined where it holds none, or cannot tell
   */
  read(
    { epoch, sequence }: Place,
    limits: { readonly messages: number; readonly bytes: number },
  ): Outgoing | undefined {
    const since = this.#since;
    if (since === undefined || since.epoch !== epoch || sequence < since.sequence) return undefined;
    this.drop(sequence);
    const start = this.#startOf(this.#first);
    const room = limits.bytes - BODY_HEAD.length - BODY_TAIL.length;
    let end = this.#first;
    while (end < this.#sequences.length && end - this.#first < limits.messages) {
      if (end > this.#first && this.#ends[end]! - 1 - start > room) break;
      end++;
    }
    const count = end - this.#first;
    if (count === 0 || this.#epoch !== epoch) return undefined;
    return {
      kind: "complete",
      body: wrap(this.#bytes.subarray(start, this.#ends[end - 1]! - 1), count),
      count,
      next: { kind: "id", epoch, sequence: this.#sequences[end - 1]! },
      more: end < this.#sequences.length,
      oldest: this.#times[this.#first],
      newest: this.#times[end - 1],
    };
  }

  /** How many it holds after a sequence. */
  countAfter(sequence: number): number {
    const next = this.#sequences.findIndex((other) => other > sequence);
    return next === -1 ? 0 : this.#sequences.length - Math.max(next, this.#first);
  }

  /** Forgets what was sent: everything up to a sequence. */
  drop(upTo: number): void {
    while ((this.#sequences[this.#first] ?? Infinity) <= upTo) this.#first++;
    if (this.#first < this.#sequences.length) return;
    this.#ends.length =
      this.#sequences.length =
      this.#times.length =
      this.#first =
        0;
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1]!;
  }

  /**
   * Encodes several events at once, which is cheaper; false if there is no room.
   *
   * @param ends where the text of each ends
   */
  #add(text: string, ends: readonly number[]): boolean {
    if (!this.#makeRoom(text.length)) return false;
    let end = this.#ends.at(-1) ?? 0;
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(end));
    if (written === text.length) {
      // Most texts are ASCII.
      for (const next of ends) this.#ends.push(end + next);
      return true;
    }
    let start = 0;
    for (const next of ends) {
      this.#ends.push(end += utf8Length(text.slice(start, next)));
      start = next;
    }
    return true;
  }

  /** Makes room for text behind what is there; false if that would be too much. */
  #makeRoom(length: number): boolean {
    const needed = length * BYTES_PER_CHARACTER;
    let used = this.#ends.at(-1) ?? 0;
    if (used + needed <= this.#bytes.length) return true;
    // What was sent goes first.
    const start = this.#startOf(this.#first);
    this.#bytes.copyWithin(0, start, used);
    this.#ends = this.#ends.slice(this.#first).map((end) => end - start);
    this.#sequences = this.#sequences.slice(this.#first);
    this.#times = this.#times.slice(this.#first);
    this.#first = 0;
    used -= start;
    if (used + needed <= this.#bytes.length) return true;
    if (used + needed > MAX_BYTES) return false;
    const larger = new Uint8Array(Math.min(MAX_BYTES, Math.max(2 * this.#bytes.length, used + needed)));
    larger.set(this.#bytes.subarray(0, used));
    this.#bytes = larger;
    return true;
  }
}

/** One event alone, several in a list. */
function wrap(events: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
  if (count === 1) return new Uint8Array(events);
  const body = new Uint8Array(BODY_HEAD.length + events.length + BODY_TAIL.length);
  encoder.encodeInto(BODY_HEAD, body);
  body.set(events, BODY_HEAD.length);
  encoder.encodeInto(BODY_TAIL, body.subarray(BODY_HEAD.length + events.length));
  return body;
}
