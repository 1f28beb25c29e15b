/**
 * What the stream's records add up to, in memory: every node applies the same records in the same order and so gives
 * the same offsets, knows the same keys and removes the same messages. The rules of `jetstream.ts` say why.
 */
import { matchesSelector, type Selector } from "../../core/channel.ts";
import type { Log, Receipt } from "../../core/log.ts";
import type { Rules } from "../../core/rules.ts";
import { JetStreamChannel, type KnownKey } from "./channel.ts";
import { type RecordHead, sequenceOf, type StreamRecord } from "./record.ts";
import { IDEMPOTENCY_MILLISECONDS } from "../stamp.ts";

/** What became of a record. */
export type Applied =
  /** Its messages have offsets from this one on. */
  | {
    readonly kind: "stored";
    readonly channel: JetStreamChannel;
    readonly offset: number;
    readonly time: number;
  }
  /** A key that was seen before: it counts for nothing. */
  | { readonly kind: "duplicate"; readonly receipt: Receipt }
  /** The key of a message that is only delivered was not seen before. */
  | { readonly kind: "claimed"; readonly receipt: Receipt }
  | { readonly kind: "cleared"; readonly count: number }
  | { readonly kind: "nothing" };

/** How much longer keys are remembered than they count, and their records kept. */
const KEY_SLACK_MILLISECONDS = 60_000;
const CACHED_SELECTIONS = 256;

export class JetStreamState {
  readonly epoch: string;
  /** The newest record that was applied, or is known to be gone. */
  processed = 0;
  /** The newest record that was applied: which it is tells whether the stream is still the same. */
  newest: Pick<StreamRecord, "sequence" | "id"> | undefined;
  /** The newest message's sequence, or that of a record without messages. */
  sequence = 0;
  /** The newest message's time: none is older than one before it. */
  time = 0;
  /** How often messages were removed, other than for their ttl. */
  removals = 0;
  /** Claims that the stream may still hold, in the order of their records. */
  #claims: { readonly record: number; readonly time: number; readonly known: KnownKey }[] = [];
  #loading = true;
  readonly #rules: Rules;
  readonly #channels = new Map<string, JetStreamChannel>();
  readonly #keys = new Map<string, KnownKey>();
  readonly #selections = new Map<string, { channels: JetStreamChannel[]; seen: number }>();
  readonly #all: JetStreamChannel[] = [];

  constructor(epoch: string, rules: Rules) {
    this.epoch = epoch;
    this.#rules = rules;
  }

  get top(): Log["top"] {
    return { epoch: this.epoch, sequence: this.sequence };
  }

  /** All channels that ever had a record; the list only grows. */
  get channels(): readonly JetStreamChannel[] {
    return this.#all;
  }

  get(name: string): JetStreamChannel | undefined {
    return this.#channels.get(name);
  }

  /** The channels a selector reads. */
  select(selector: Selector): readonly JetStreamChannel[] {
    if (selector.channel !== undefined) {
      const channel = this.#channels.get(selector.channel);
      return channel === undefined ? [] : [channel];
    }
    let cached = this.#selections.get(selector.key);
    if (cached === undefined) {
      if (this.#selections.size >= CACHED_SELECTIONS) this.#selections.clear();
      this.#selections.set(selector.key, cached = { channels: [], seen: 0 });
    }
    if (cached.seen < this.#all.length) {
      const added = this.#all.slice(cached.seen).filter(({ name }) => matchesSelector(selector, name));
      cached.seen = this.#all.length;
      if (added.length > 0) cached.channels = [...cached.channels, ...added];
    }
    return cached.channels;
  }

  /** The receipt of the first message with a key, while that counts. */
  findKey(channel: string, key: string, time: number): Receipt | undefined {
    return this.#findKnown(channel, key, time)?.receipt;
  }

  /** Applies the next record. */
  apply(record: StreamRecord): Applied {
    const { sequence, head } = record;
    this.processed = sequence;
    this.newest = { sequence, id: record.id };
    this.sequence = sequenceOf(sequence, 0);
    if (head === undefined) return { kind: "nothing" };
    this.time = Math.max(this.time, head.time);
    if (head.kind === "claim") return this.#applyClaim(record, head);

    const channel = this.#open(record.channel);
    // Who knows of a later record than his own knew another stream by this name.
    if (head.known.record < sequence) {
      if (this.#loading) channel.correct(record, this.time);
      // Records that repeat the key of a claim are deleted one by one: nothing may depend on what they know.
      if (!this.#isDuplicateOfClaim(channel, head)) {
        channel.known = Math.max(channel.known, head.known.record);
      }
    }
    const applied = this.#applyTo(channel, record, head);
    channel.record = sequence;
    channel.recordTime = this.time;
    channel.isAnchored = head.kind === "anchor" || head.kind === "clear";
    return applied;
  }

  /** Ends the loading of what the stream held: from now on offsets stand still and rules are applied. */
  finishLoading(upTo: number, now: number): void {
    if (upTo > this.processed) this.sequence = sequenceOf(upTo, 0);
    this.processed = Math.max(this.processed, upTo);
    this.#loading = false;
    for (const channel of this.#all) {
      if (channel.clearedTo > 0) this.#clear(channel, channel.clearedTo);
      this.expire(channel, now);
    }
  }

  /**
   * Removes what is beyond the channel's bounds in number and age. The number is one of offsets, whatever became of
   * them, and in steps of a tenth: so all nodes remove the same, however the messages reached them.
   */
  retain(channel: JetStreamChannel, now: number): void {
    if (channel.length === 0) return;
    const { messages, seconds } = this.#rules.for(channel.name).history;
    const tooOld = now - seconds * 1_000;
    const step = Math.max(1, Math.floor(messages / 10));
    const tooFar = Math.floor((channel.offset - messages) / step) * step;
    if (channel.timeAt(0) >= tooOld && channel.offsetAt(0) > tooFar) return;
    const kept = channel.findFirst((i) => channel.timeAt(i) >= tooOld && channel.offsetAt(i) > tooFar);
    channel.removeFirst(kept, ++this.removals);
  }

  /** Removes also what has outlived its ttl. */
  expire(channel: JetStreamChannel, now: number): void {
    this.retain(channel, now);
    channel.expire(now);
  }

  /** Forgets keys that count no more. */
  forget(now: number): void {
    const isOver = ({ time }: { time: number }) =>
      now - time > IDEMPOTENCY_MILLISECONDS + KEY_SLACK_MILLISECONDS;
    for (const [key, known] of this.#keys) {
      if (!isOver(known)) break;
      this.#keys.delete(key);
    }
    for (const channel of this.#all) {
      if (channel.keyed.some(isOver)) channel.keyed = channel.keyed.filter((keyed) => !isOver(keyed));
    }
  }

  /** The claims that are forgotten by now: the record before which all are, and the records that repeat their keys. */
  findOldClaims(now: number): { readonly end: number; readonly duplicates: readonly number[] } | undefined {
    const limit = now - IDEMPOTENCY_MILLISECONDS - KEY_SLACK_MILLISECONDS;
    const fresh = this.#claims.findIndex(({ time }) => time >= limit);
    const old = fresh === -1 ? this.#claims : this.#claims.slice(0, fresh);
    const last = old.at(-1);
    if (last === undefined) return undefined;
    return { end: last.record + 1, duplicates: old.flatMap(({ known }) => known.duplicatesOfClaim ?? []) };
  }

  /** Forgets the claims before a record. */
  dropClaims(end: number): void {
    const kept = this.#claims.findIndex(({ record }) => record >= end);
    this.#claims.splice(0, kept === -1 ? this.#claims.length : kept);
  }

  #applyTo(channel: JetStreamChannel, { sequence }: StreamRecord, head: RecordHead): Applied {
    if (head.kind === "anchor") return { kind: "nothing" };
    if (head.kind === "clear") {
      if (!this.#loading) return { kind: "cleared", count: this.#clear(channel, sequence) };
      // What later records know is compared with what was there before.
      channel.clearedTo = sequence;
      return { kind: "cleared", count: 0 };
    }
    const first = head.key === undefined ? undefined : this.#findKnown(channel.name, head.key, head.time);
    if (first !== undefined) {
      if (first.receipt.offset === 0) (first.duplicatesOfClaim ??= []).push(sequence);
      else channel.noteDuplicate(first, sequence);
      return { kind: "duplicate", receipt: first.receipt };
    }
    const offset = channel.offset + 1;
    const expires = head.ttl === undefined ? Infinity : this.time + head.ttl;
    for (let i = 0; i < head.count; i++) channel.push(sequenceOf(sequence, i), this.time, expires);
    this.sequence = sequenceOf(sequence, Math.max(head.count - 1, 0));
    if (head.key !== undefined) {
      const receipt = this.#receipt(offset, sequenceOf(sequence, 0));
      channel.keyed.push(this.#learn(channel.name, head.key, { record: sequence, time: head.time, receipt }));
    }
    return { kind: "stored", channel, offset, time: this.time };
  }

  #applyClaim({ sequence, channel }: StreamRecord, { key = "", time }: RecordHead): Applied {
    const first = this.#findKnown(channel, key, time);
    const known = first ??
      this.#learn(channel, key, { record: sequence, time, receipt: this.#receipt(0, 0) });
    this.#claims.push({ record: sequence, time, known });
    return { kind: first === undefined ? "claimed" : "duplicate", receipt: known.receipt };
  }

  #findKnown(channel: string, key: string, time: number): KnownKey | undefined {
    const known = this.#keys.get(`${channel} ${key}`);
    return known === undefined || time - known.time >= IDEMPOTENCY_MILLISECONDS ? undefined : known;
  }

  #isDuplicateOfClaim({ name }: JetStreamChannel, { key, time }: RecordHead): boolean {
    return key !== undefined && this.#findKnown(name, key, time)?.receipt.offset === 0;
  }

  #learn(channel: string, key: string, known: KnownKey): KnownKey {
    // Deleted first: the map is in the order in which keys are forgotten.
    this.#keys.delete(`${channel} ${key}`);
    this.#keys.set(`${channel} ${key}`, known);
    return known;
  }

  #receipt(offset: number, sequence: number): Receipt {
    return { epoch: this.epoch, offset, sequence, time: this.time, duplicate: false };
  }

  #clear(channel: JetStreamChannel, record: number): number {
    const count = channel.findFirst((i) => channel.sequenceAt(i) >= sequenceOf(record, 0));
    if (count > 0) channel.removeFirst(count, ++this.removals);
    return count;
  }

  #open(name: string): JetStreamChannel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      this.#channels.set(name, channel = new JetStreamChannel(name));
      this.#all.push(channel);
    }
    return channel;
  }
}
