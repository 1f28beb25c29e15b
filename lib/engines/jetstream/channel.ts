/** The in-memory state of one channel of the JetStream engine: where its messages are, and what was removed. */
import type { Receipt } from "../../core/log.ts";
import type { Known, StreamRecord } from "./record.ts";
import { recordOf, sequenceOf } from "./record.ts";

/** Removed entries at the front of the columns before they are truncated. */
const SLACK = 1_024;

/** An idempotency key that is not forgotten yet. */
export interface KnownKey {
  readonly record: number;
  /** The clock in its head, on which all nodes agree. */
  readonly clock: number;
  receipt: Receipt;
  /** What its message said; undefined for one of an older version. */
  readonly fingerprint: string | undefined;
  /** Set once the stream holds duplicates of a stored message. */
  span?: DuplicateSpan;
  /** Records of stored messages that repeat the key of a claim. */
  duplicatesOfClaim?: number[];
}

/**
 * From the record of a keyed message to its last duplicate. Only the first record tells that the others are duplicates:
 * a node that starts without it would count the next one as a message.
 */
export interface DuplicateSpan {
  readonly first: number;
  last: number;
}

/** The records before `record` may be purged from the server at `time`. */
export interface PlannedPurge {
  readonly record: number;
  readonly time: number;
  /** How many removed messages the purge covers. */
  readonly unpurged: number;
}

/** The position of one stored message. */
export interface Place {
  readonly channel: string;
  readonly sequence: number;
  readonly offset: number;
  readonly time: number;
}

/** Stored messages are held as columns of numbers, 40 bytes per message. */
export class JetStreamChannel {
  readonly name: string;
  /** The offset of the newest message. */
  offset = 0;
  /** The newest record, whether it holds no messages, and its time. */
  record = 0;
  isAnchored = false;
  recordTime = 0;
  /** The newest record for which a later record states the channel's offset. */
  known = 0;
  /** In the order of their records. */
  keyed: KnownKey[] = [];
  /** In the order in which their first duplicates came. */
  spans: DuplicateSpan[] = [];
  /** Records before this one were purged by this node. */
  purgedTo = 0;
  /** While loading: everything before this record is to be cleared. */
  clearedTo = 0;
  /** How many removed messages the server may still hold. */
  unpurged = 0;
  planned: PlannedPurge | undefined;
  /** The number of stored messages with a ttl. */
  expiring = 0;
  /** The newest message that was removed. */
  removedSequence = 0;
  removedTime = 0;
  /** The newest message of the last removal other than by ttl, and the number of that removal in the engine. */
  cutSequence = 0;
  cutAt = 0;
  #sequences: number[] = [];
  #offsets: number[] = [];
  #times: number[] = [];
  /** When messages were stored, by this node's clock for deadlines. */
  #since: number[] = [];
  /** Infinite for those without a ttl. */
  #expires: number[] = [];
  #head = 0;

  constructor(name: string) {
    this.name = name;
  }

  /** How many messages are stored. */
  get length(): number {
    return this.#sequences.length - this.#head;
  }

  sequenceAt(i: number): number {
    return this.#sequences[this.#head + i]!;
  }

  offsetAt(i: number): number {
    return this.#offsets[this.#head + i]!;
  }

  timeAt(i: number): number {
    return this.#times[this.#head + i]!;
  }

  sinceAt(i: number): number {
    return this.#since[this.#head + i]!;
  }

  placeAt(i: number): Place {
    return {
      channel: this.name,
      sequence: this.sequenceAt(i),
      offset: this.offsetAt(i),
      time: this.timeAt(i),
    };
  }

  /** What this node states in the head of its next record. */
  get state(): Known {
    return { record: this.record, offset: this.offset, time: this.recordTime };
  }

  /** The first record that holds a stored message, or the one after the newest record. */
  get firstRecord(): number {
    return this.length === 0 ? this.record + 1 : recordOf(this.sequenceAt(0));
  }

  /** Remembers that a record repeats the key of a stored message. */
  noteDuplicate(key: KnownKey, record: number): void {
    if (key.span === undefined) this.spans.push(key.span = { first: key.record, last: record });
    else key.span.last = record;
  }

  /**
   * The record up to which the stream may be purged, at most `record`: neither a key that still counts may go, nor a
   * keyed record without its duplicates.
   */
  findPurgeBound(record: number): number {
    let bound = Math.min(record, this.keyed[0]?.record ?? Infinity);
    // The newest first: where one span lowers the bound, an older one may lower it further.
    for (const { first, last } of this.spans.toSorted((a, b) => b.first - a.first)) {
      if (first < bound && bound <= last) bound = first;
    }
    return bound;
  }

  /** Forgets the spans whose records are gone. */
  notePurged(record: number): void {
    this.purgedTo = Math.max(this.purgedTo, record);
    this.spans = this.spans.filter(({ last }) => last >= record);
  }

  push(sequence: number, time: number, since: number, expires: number): void {
    this.#sequences.push(sequence);
    this.#offsets.push(++this.offset);
    this.#times.push(time);
    this.#since.push(since);
    this.#expires.push(expires);
    if (expires !== Infinity) this.expiring++;
  }

  /**
   * Corrects the offsets by what a later publisher knew, as purged messages leave no other trace. Call it only while
   * loading, since offsets shift.
   */
  correct({ sequence, head }: StreamRecord, time: number): void {
    if (head === undefined) return;
    const { known } = head;
    const missing = known.offset - this.#offsetAfter(known.record);
    if (missing <= 0) return;
    const isExact = this.record === 0;
    this.offset += missing;
    for (const key of this.keyed) key.receipt = { ...key.receipt, offset: key.receipt.offset + missing };
    for (let i = this.#head; i < this.#offsets.length; i++) this.#offsets[i]! += missing;
    this.removedSequence = Math.max(
      this.removedSequence,
      isExact ? sequenceOf(known.record + 1, -1) : this.length > 0 ? this.sequenceAt(0) - 1 : sequence - 1,
    );
    this.removedTime = Math.max(
      this.removedTime,
      isExact ? known.time : this.length > 0 ? this.timeAt(0) : time,
    );
  }

  /** The index of the first message that passes the test; all later ones must pass it too. */
  findFirst(test: (i: number) => boolean): number {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (test(middle)) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Removes the oldest messages; `cut` is the number of this removal in the engine. */
  removeFirst(count: number, cut: number): void {
    if (count === 0) return;
    const last = this.#head + count - 1;
    for (let i = this.#head; i <= last; i++) if (this.#expires[i] !== Infinity) this.expiring--;
    this.#noteRemoved(this.#sequences[last]!, this.#times[last]!, count);
    this.cutSequence = this.#sequences[last]!;
    this.cutAt = cut;
    this.#head += count;
    if (this.#head < SLACK && this.length > 0) return;
    for (const column of [this.#sequences, this.#offsets, this.#times, this.#since, this.#expires]) {
      column.splice(0, this.#head);
    }
    this.#head = 0;
  }

  /** Removes messages whose ttl has passed. */
  expire(now: number): void {
    if (this.expiring === 0) return;
    const kept: number[] = [];
    for (let i = this.#head; i < this.#sequences.length; i++) {
      if (this.#expires[i]! > now) kept.push(i);
      else {
        this.#noteRemoved(this.#sequences[i]!, this.#times[i]!, 1);
        this.expiring--;
      }
    }
    if (kept.length === this.length) return;
    const pick = (column: readonly number[]) => kept.map((i) => column[i]!);
    this.#offsets = pick(this.#offsets);
    this.#times = pick(this.#times);
    this.#since = pick(this.#since);
    this.#expires = pick(this.#expires);
    this.#sequences = pick(this.#sequences);
    this.#head = 0;
  }

  #noteRemoved(sequence: number, time: number, count: number): void {
    this.unpurged += count;
    this.removedSequence = Math.max(this.removedSequence, sequence);
    this.removedTime = Math.max(this.removedTime, time);
  }

  /** The offset of the newest message up to and including a record, as counted so far. */
  #offsetAfter(record: number): number {
    if (record >= this.record) return this.offset;
    const next = this.findFirst((i) => this.sequenceAt(i) >= sequenceOf(record + 1, 0));
    return next === this.length ? this.offset : this.offsetAt(next) - 1;
  }
}
