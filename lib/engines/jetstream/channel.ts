/** The in-memory state of one channel of the JetStream engine: where its messages are, and what was removed. */
import type { ChannelRules } from "../../core/rules.ts";
import type { Receipt } from "../../core/log.ts";
import type { Known } from "./record.ts";
import { recordOf, sequenceOf } from "./record.ts";

/** Sequences of messages taken back that are remembered, of each channel. */
const MAX_TAKEN_BACK = 1_000;
/** The same for their offsets, and a quarter more. Who resumes by an offset before older ones is told of a gap. */
const MAX_TAKEN_BACK_OFFSETS = 10_000;
/** So many are worth no looking. */
const FEW_TAKEN_BACK = 64;
/** Stands for a sequence that is not known. */
const UNKNOWN = -1;
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

/** What a node keeps of a channel that it has forgotten: a few numbers. The server keeps its newest record. */
export type LeftOfChannel = readonly number[];

/** Stored messages are held as columns of numbers, 40 bytes per message. */
export class JetStreamChannel {
  readonly name: string;
  /** What its rule keeps: looked up once, as reads of many channels look at each. */
  readonly history: ChannelRules["history"];
  /** Above that of every channel that this node knew before. */
  readonly id: number;
  /** The offset of the newest message. */
  offset = 0;
  /** The newest record, whether it holds no messages, and its time. */
  record = 0;
  isAnchored = false;
  recordTime = 0;
  /** When it had a message last, by this node's clock for deadlines. */
  touched = 0;
  /** The sequence of its newest message, whether or not it is still stored; undefined if older versions do not tell. */
  newest: number | undefined = 0;
  /** The newest record for which a later record states the channel's offset. */
  known = 0;
  /** In the order of their records. */
  keyed: KnownKey[] = [];
  /** In the order in which their first duplicates came. */
  spans: DuplicateSpan[] = [];
  /** Records before this one were purged by this node. */
  purgedTo = 0;
  /** While loading: everything before this record is to be cleared, and these messages are to be removed. */
  clearedTo = 0;
  toRemove: number[] = [];
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
  /** The offsets of messages that were removed one by one, and the sequences of the newest of these. */
  #takenBack: number[] = [];
  #fullAt = FEW_TAKEN_BACK;
  #takenBackSequences: readonly number[] = [];
  #sequences: number[] = [];
  #offsets: number[] = [];
  #times: number[] = [];
  /** When messages were stored, by this node's clock for deadlines. */
  #since: number[] = [];
  /** Infinite for those without a ttl. */
  #expires: number[] = [];
  #head = 0;

  /** @param left of a channel that was forgotten: this one goes on from there */
  constructor(name: string, id: number, history: ChannelRules["history"], left: LeftOfChannel = []) {
    this.name = name;
    this.id = id;
    this.history = history;
    let newest;
    [
      this.offset = 0,
      this.record = 0,
      this.recordTime = 0,
      this.known = 0,
      newest = 0,
      this.purgedTo = 0,
      this.removedSequence = 0,
      this.removedTime = 0,
      this.cutSequence = 0,
      this.cutAt = 0,
      ...this.#takenBack
    ] = left;
    this.newest = newest === UNKNOWN ? undefined : newest;
    // A channel is forgotten only when its records are purged, but for the one that tells its offset.
    this.isAnchored = left.length > 0;
  }

  /** What a node keeps of the channel when it forgets it. */
  get left(): LeftOfChannel {
    return [
      this.offset,
      this.record,
      this.recordTime,
      this.known,
      this.newest ?? UNKNOWN,
      this.purgedTo,
      this.removedSequence,
      this.removedTime,
      this.cutSequence,
      this.cutAt,
      ...this.#takenBack,
    ];
  }

  /** Whether nothing of it is left but numbers: no messages, no keys, and nothing to purge from the server. */
  get isEmpty(): boolean {
    const isPurged = this.unpurged === 0 && this.planned === undefined && this.spans.length === 0;
    return this.length === 0 && isPurged && this.keyed.length === 0 && this.isAnchored;
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

  /** The stored messages after a sequence, as they are now. */
  placesAfter(sequence: number): Place[] {
    const first = this.findFirst((i) => this.sequenceAt(i) > sequence);
    return Array.from({ length: this.length - first }, (_, i) => this.placeAt(first + i));
  }

  /** What this node states in the head of its next record. */
  get state(): Known {
    const { record, offset, recordTime: time, newest: sequence } = this;
    return { record, offset, time, ...(sequence === undefined ? {} : { sequence }) };
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
    this.newest = sequence;
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
  correct(record: number, known: Known, time: number): void {
    const missing = known.offset - this.#offsetAfter(known.record);
    if (missing <= 0) return;
    const isExact = this.record === 0;
    const first = this.length > 0 ? this.sequenceAt(0) : sequenceOf(record, 0);
    // All that are missing were before the first that is left.
    const newest = known.sequence !== undefined && known.sequence < first ? known.sequence : undefined;
    if (isExact || this.length === 0) this.newest = newest;
    this.offset += missing;
    for (const key of this.keyed) key.receipt = { ...key.receipt, offset: key.receipt.offset + missing };
    for (let i = this.#head; i < this.#offsets.length; i++) this.#offsets[i]! += missing;
    this.removedSequence = Math.max(
      this.removedSequence,
      newest ?? (isExact ? sequenceOf(known.record + 1, -1) : first - 1),
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
    const offset = this.#offsets[last]!;
    // Before a message that is gone, nobody needs to know of others.
    this.#takenBack = this.#takenBack.filter((other) => other > offset);
    this.#takenBackSequences = this.#takenBackSequences.filter((other) => other > this.cutSequence);
    this.#head += count;
    if (this.#head < SLACK && this.length > 0) return;
    for (const column of [this.#sequences, this.#offsets, this.#times, this.#since, this.#expires]) {
      column.splice(0, this.#head);
    }
    this.#head = 0;
  }

  /** How many messages after an offset were taken back. */
  countTakenBack(after: number): number {
    return this.#takenBack.filter((offset) => offset > after).length;
  }

  /** The sequences of those with `after < sequence <= upTo`. */
  listTakenBack(after: number, upTo: number): readonly number[] {
    return this.#takenBackSequences.filter((sequence) => sequence > after && sequence <= upTo);
  }

  /** How many messages with `after < sequence <= upTo` are stored. */
  countBetween(after: number, upTo: number): number {
    const first = this.findFirst((i) => this.sequenceAt(i) > after);
    return this.findFirst((i) => this.sequenceAt(i) > Math.max(after, upTo)) - first;
  }

  /**
   * Removes one message, which nobody is to miss.
   *
   * @returns its offset; undefined if there is no such message
   */
  removeOne(sequence: number): number | undefined {
    const found = this.findFirst((i) => this.sequenceAt(i) >= sequence);
    if (found === this.length || this.sequenceAt(found) !== sequence) return undefined;
    const i = this.#head + found;
    const offset = this.#offsets[i]!;
    if (this.#expires[i] !== Infinity) this.expiring--;
    this.unpurged++;
    this.#takenBack.push(offset);
    if (this.#takenBack.length >= this.#fullAt) this.#forgetTakenBack();
    this.#takenBackSequences = [...this.#takenBackSequences.slice(1 - MAX_TAKEN_BACK), sequence];
    for (const column of [this.#sequences, this.#offsets, this.#times, this.#since, this.#expires]) {
      column.splice(i, 1);
    }
    return offset;
  }

  /** Forgets offsets of messages that were taken back: who resumes before the limit is told of a gap anyway. */
  #forgetTakenBack(): void {
    const limit = this.offset - this.history.messages;
    this.#takenBack = this.#takenBack.slice(-MAX_TAKEN_BACK_OFFSETS).filter((other) => other > limit);
    // Not at each removal from now on: it looks at all of them.
    this.#fullAt = Math.max(FEW_TAKEN_BACK, this.#takenBack.length * 1.25);
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
