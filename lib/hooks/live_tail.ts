/**
 * The newest messages of a webhook, encoded as they are announced and kept in memory, so that a lane that keeps up need
 * not read them from the engine. A lane that does not keep up reads the engine, and the tail begins anew.
 *
 * Messages are encoded at once, so that it holds bytes, of which it knows how many there are, and no objects: to keep
 * hundreds of objects for a moment costs the garbage collector more than to encode them.
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
  readonly #ends = new Uint32Array(MAX_MESSAGES);
  readonly #sequences = new Float64Array(MAX_MESSAGES);
  readonly #times = new Float64Array(MAX_MESSAGES);
  /** Where those begin that were not sent yet, and where they end. */
  #first = 0;
  #end = 0;
  /** The newest body of several events. */
  #body = new Uint8Array(0);
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
      if (this.#first < this.#end) return this.reset();
      this.#epoch = first.epoch;
    }
    if (this.#end - this.#first + messages.length > MAX_MESSAGES) return this.reset();
    let text = "";
    let taken: Message[] = [];
    let ends: number[] = [];
    for (const message of messages) {
      if (message.epoch !== this.#epoch) return this.reset();
      if (text.length > MAX_TEXT) {
        if (!this.#add(taken, text, ends)) return this.reset();
        text = "";
        taken = [];
        ends = [];
      }
      text += `{"type":"message",${encodeMessageMembers(message)}},`;
      taken.push(message);
      ends.push(text.length);
    }
    if (!this.#add(taken, text, ends)) this.reset();
  }

  /** Whether the events that were not sent fill a body of so many bytes. */
  fills(bytes: number): boolean {
    return this.#startOf(this.#end) - this.#startOf(this.#first) >=
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
    this.#first = this.#end = 0;
    this.#epoch = "";
    this.#isRecording = false;
    this.#since = undefined;
  }

  /**
   * The next messages after a place, in a body that is valid until the next one is read.
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
    const first = this.#first;
    if (first === this.#end || this.#epoch !== epoch) return undefined;
    const start = this.#startOf(first);
    const room = limits.bytes - BODY_HEAD.length - BODY_TAIL.length;
    const last = Math.min(this.#end, first + limits.messages);
    let end = first + 1;
    while (end < last && this.#ends[end]! - 1 - start <= room) end++;
    const count = end - first;
    return {
      kind: "complete",
      body: this.#wrap(this.#bytes.subarray(start, this.#ends[end - 1]! - 1), count),
      count,
      next: { kind: "id", epoch, sequence: this.#sequences[end - 1]! },
      more: end < this.#end,
      oldest: this.#times[first],
      newest: this.#times[end - 1],
    };
  }

  /** How many it holds after a sequence. */
  countAfter(sequence: number): number {
    return this.#end - this.#find(sequence);
  }

  /** Forgets what was sent: everything up to a sequence. */
  drop(upTo: number): void {
    this.#first = this.#find(upTo);
    if (this.#first === this.#end) this.#first = this.#end = 0;
  }

  /** Where the events after a sequence begin. */
  #find(sequence: number): number {
    let at = this.#first;
    while (at < this.#end && this.#sequences[at]! <= sequence) at++;
    return at;
  }

  #startOf(index: number): number {
    return index === 0 ? 0 : this.#ends[index - 1]!;
  }

  /** One event alone, several in a list. */
  #wrap(events: Uint8Array, count: number): Uint8Array<ArrayBuffer> {
    if (count === 1) return new Uint8Array(events);
    const end = BODY_HEAD.length + events.length;
    const length = end + BODY_TAIL.length;
    if (this.#body.length < length) {
      this.#body = new Uint8Array(Math.max(2 * this.#body.length, length));
      encoder.encodeInto(BODY_HEAD, this.#body);
    }
    this.#body.set(events, BODY_HEAD.length);
    encoder.encodeInto(BODY_TAIL, this.#body.subarray(end));
    return this.#body.subarray(0, length);
  }

  /**
   * Encodes several events at once, which is cheaper; false if there is no room.
   *
   * @param ends where the text of each ends
   */
  #add(messages: readonly Message[], text: string, ends: readonly number[]): boolean {
    if (!this.#makeRoom(messages.length, text.length)) return false;
    const start = this.#startOf(this.#end);
    const { written } = encoder.encodeInto(text, this.#bytes.subarray(start));
    // Most texts are ASCII.
    const isAscii = written === text.length;
    let end = start;
    for (let i = 0; i < messages.length; i++) {
      end = isAscii ? start + ends[i]! : end + utf8Length(text.slice(ends[i - 1] ?? 0, ends[i]));
      this.#ends[this.#end] = end;
      this.#sequences[this.#end] = messages[i]!.sequence;
      this.#times[this.#end++] = messages[i]!.time;
    }
    return true;
  }

  /** Makes room behind what is there for events and their text; false if that would be too much. */
  #makeRoom(events: number, length: number): boolean {
    const needed = length * BYTES_PER_CHARACTER;
    let used = this.#startOf(this.#end);
    if (used + needed <= this.#bytes.length && this.#end + events <= MAX_MESSAGES) return true;
    // What was sent goes first.
    const start = this.#startOf(this.#first);
    this.#bytes.copyWithin(0, start, used);
    for (const list of [this.#ends, this.#sequences, this.#times]) list.copyWithin(0, this.#first, this.#end);
    this.#end -= this.#first;
    this.#first = 0;
    for (let i = 0; i < this.#end; i++) this.#ends[i]! -= start;
    used -= start;
    if (used + needed <= this.#bytes.length) return true;
    if (used + needed > MAX_BYTES) return false;
    const larger = new Uint8Array(Math.min(MAX_BYTES, Math.max(2 * this.#bytes.length, used + needed)));
    larger.set(this.#bytes.subarray(0, used));
    this.#bytes = larger;
    return true;
  }
}
