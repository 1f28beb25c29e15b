/**
 * The in-memory state that results from the stream's records. Every node applies the same records in the same order,
 * and so assigns the same offsets, knows the same keys and removes the same messages; see `engine.ts`.
 */
import type { Selector } from "../../core/channel.ts";
import type { Log, Receipt } from "../../core/log.ts";
import type { Rules } from "../../core/rules.ts";
import { type Selection, Selections } from "../../core/selections.ts";
import { FORGET_MILLISECONDS, type Ghost, mergeTombstones, NO_TOMBSTONE } from "../forgotten.ts";
import { JetStreamChannel, type KnownKey, type LeftOfChannel } from "./channel.ts";
import { clampTimes, decodeRemoved, type RecordHead, sequenceOf, type StreamRecord } from "./record.ts";
import { IDEMPOTENCY_MILLISECONDS } from "../stamp.ts";

/** The outcome of applying a record. */
export type Applied =
  /** Its messages were stored; `offset` is that of the first. */
  | {
    readonly kind: "stored";
    readonly channel: JetStreamChannel;
    readonly offset: number;
    readonly time: number;
  }
  /** Its key was seen before, so it is ignored. */
  | { readonly kind: "duplicate"; readonly receipt: Receipt }
  /** Its key was seen before with another message, so it is refused. */
  | { readonly kind: "reused" }
  /** The key of a transient message was not seen before. */
  | { readonly kind: "claimed"; readonly receipt: Receipt }
  /** `offset` is the channel's newest. */
  | { readonly kind: "cleared"; readonly count: number; readonly offset: number }
  /** One message was removed. */
  | { readonly kind: "removed"; readonly sequence: number; readonly offset: number }
  | { readonly kind: "nothing" };

/** How much longer than their validity keys and their records are kept. */
const KEY_SLACK_MILLISECONDS = 60_000;

export class JetStreamState {
  readonly epoch: string;
  /** The newest record that was applied, or is known to have been purged. */
  processed = 0;
  /** The newest record that was applied; by its id, a replaced stream is recognised. */
  newest: Pick<StreamRecord, "sequence" | "id"> | undefined;
  /** The sequence of the newest message or record. */
  sequence = 0;
  /** The time of the newest message: times never decrease. */
  time = 0;
  /** The latest clock of a record's head, and when it was applied by this node's clock for deadlines. */
  #clock = 0;
  #clockSince = 0;
  /** How often messages were removed, other than by their ttl. */
  removals = 0;
  /** Claims that the stream may still hold, in the order of their records. */
  #claims: { readonly record: number; readonly clock: number; readonly known: KnownKey }[] = [];
  #loading = true;
  readonly #rules: Rules;
  readonly #steadyNow: () => number;
  readonly #channels = new Map<string, JetStreamChannel>();
  readonly #keys = new Map<string, KnownKey>();
  #all: JetStreamChannel[] = [];
  readonly #selections = new Selections<JetStreamChannel>(this);
  /** What is left of channels that were forgotten, by their names. Every node forgets them by itself. */
  readonly #left = new Map<string, LeftOfChannel>();
  #ghost: Ghost = { ...NO_TOMBSTONE, cutSequence: 0, cutAt: 0 };
  readonly #forgetAfter: number;
  readonly #begins: number;
  #forgets = 0;
  #id = 0;

  /**
   * @param steadyNow this node's clock for deadlines
   * @param options how long after its newest message an empty channel is forgotten, in milliseconds; and after which
   * record the epoch begins, if that is known
   */
  constructor(
    epoch: string,
    rules: Rules,
    steadyNow: () => number,
    options: { readonly forgetAfter?: number | undefined; readonly begins?: number | undefined } = {},
  ) {
    this.epoch = epoch;
    this.#forgetAfter = options.forgetAfter ?? FORGET_MILLISECONDS;
    this.#begins = options.begins ?? Infinity;
    this.#steadyNow = steadyNow;
    this.#rules = rules;
  }

  get top(): Log["top"] {
    return { epoch: this.epoch, sequence: this.sequence };
  }

  /** All channels that had a record, but for those that were forgotten. */
  get all(): readonly JetStreamChannel[] {
    return this.#all;
  }

  /** How often channels were forgotten. */
  get forgets(): number {
    return this.#forgets;
  }

  /** What was removed from channels that were forgotten since. */
  get ghost(): Ghost {
    return this.#ghost;
  }

  get(name: string): JetStreamChannel | undefined {
    return this.#channels.get(name);
  }

  /** The same, and a copy of a channel that was forgotten, as it would come back. */
  peek(name: string): JetStreamChannel | undefined {
    const channel = this.#channels.get(name);
    if (channel !== undefined) return channel;
    const left = this.#left.get(name);
    return left && new JetStreamChannel(name, 0, this.#rules.for(name).history, left);
  }

  /** The channels of a list or pattern. */
  select(selector: Selector): Selection<JetStreamChannel> | Promise<Selection<JetStreamChannel>> {
    return this.#selections.select(selector);
  }

  /**
   * The clock of the next record, from which its deadlines count: the system's, but it goes on from that of the newest
   * record when clocks are set back.
   */
  readClock(now: number): number {
    return Math.max(now, this.#clock + this.#steadyNow() - this.#clockSince);
  }

  /** What becomes of another message with a key; undefined if the key is new, or no longer valid. */
  findKey(channel: string, key: string, fingerprint: string | undefined, clock: number): Applied | undefined {
    const known = this.#findKnown(channel, key, clock);
    return known === undefined ? undefined : repeat(known, fingerprint);
  }

  /** Applies the next record. */
  apply(record: StreamRecord): Applied {
    const { sequence } = record;
    const head = record.head && clampTimes(record.head, record.stored);
    this.processed = sequence;
    this.newest = { sequence, id: record.id };
    this.sequence = sequenceOf(sequence, 0);
    if (head === undefined) return { kind: "nothing" };
    this.time = Math.max(this.time, head.time);
    if (head.clock > this.#clock) {
      this.#clock = head.clock;
      this.#clockSince = this.#steadyNow();
    }
    if (head.kind === "claim") return this.#applyClaim(record, head);

    const channel = this.#open(record.channel);
    // A head that knows a later record than its own refers to another stream of this name, as does one of another
    // epoch: its publisher did not know yet that records were lost, or the stream replaced.
    if (head.known.record < sequence && !this.#isStale(sequence, head)) {
      if (this.#loading) channel.correct(sequence, head.known, this.time);
      // Records that repeat the key of a claim are deleted one by one: nothing may depend on what they know.
      if (!this.#isDuplicateOfClaim(channel, head)) {
        channel.known = Math.max(channel.known, head.known.record);
      }
    }
    const applied = this.#applyTo(channel, record, head);
    const touched = head.kind === "messages" ? head.clock : head.known.time;
    channel.touched = Math.max(channel.touched, Math.min(touched, this.#steadyNow()));
    channel.record = sequence;
    channel.recordTime = this.time;
    channel.isAnchored = head.kind === "anchor" || head.kind === "clear" || head.kind === "remove";
    return applied;
  }

  /** Ends loading: from now on offsets no longer shift, and rules are applied. */
  finishLoading(upTo: number, now: number): void {
    if (upTo > this.processed) this.sequence = sequenceOf(upTo, 0);
    this.processed = Math.max(this.processed, upTo);
    this.#loading = false;
    for (const channel of this.#all) {
      if (channel.clearedTo > 0) this.#clear(channel, channel.clearedTo);
      for (const sequence of channel.toRemove.splice(0)) channel.removeOne(sequence);
      this.expire(channel, now);
    }
    this.forget(this.#all.filter((channel) => this.mayForget(channel, now)));
  }

  /** Whether a channel is empty, and had no message for long. */
  mayForget(channel: JetStreamChannel, now: number): boolean {
    return now - channel.touched >= this.#forgetAfter && channel.isEmpty;
  }

  /** Forgets channels but for a few numbers, with which they go on should they come back. */
  forget(channels: readonly JetStreamChannel[]): void {
    if (channels.length === 0) return;
    for (const channel of channels) {
      this.#left.set(channel.name, channel.left);
      this.#channels.delete(channel.name);
      const { cutSequence, cutAt } = this.#ghost;
      this.#ghost = {
        ...mergeTombstones(this.#ghost, { ...NO_TOMBSTONE, ...pickRemoved(channel) }),
        cutSequence: Math.max(cutSequence, channel.cutSequence),
        cutAt: Math.max(cutAt, channel.cutAt),
      };
    }
    this.#all = this.#all.filter(({ name }) => this.#channels.has(name));
    this.#forgets++;
  }

  /**
   * Applies the channel's limits in number and age. The number counts offsets, whether or not their messages are still
   * stored, and in steps of a tenth: so all nodes remove the same messages, however they were batched.
   */
  retain(channel: JetStreamChannel, now: number): void {
    if (channel.length === 0) return;
    const { messages, seconds } = channel.history;
    const tooOld = now - seconds * 1_000;
    const step = Math.max(1, Math.floor(messages / 10));
    const tooFar = Math.floor((channel.offset - messages) / step) * step;
    if (channel.sinceAt(0) >= tooOld && channel.offsetAt(0) > tooFar) return;
    const kept = channel.findFirst((i) => channel.sinceAt(i) >= tooOld && channel.offsetAt(i) > tooFar);
    channel.removeFirst(kept, ++this.removals);
  }

  /** Applies the limits, and removes messages whose ttl has passed. */
  expire(channel: JetStreamChannel, now: number): void {
    this.retain(channel, now);
    channel.expire(now);
  }

  /** Whether there are keys or claims that are no longer valid. */
  hasOldKeys(clock: number): boolean {
    const isOld = (first: { readonly clock: number } | undefined) =>
      first !== undefined && isForgotten(first, clock);
    const [oldest] = this.#keys.values();
    return isOld(oldest) || isOld(this.#claims[0]) || this.#all.some(({ keyed }) => isOld(keyed[0]));
  }

  /** Forgets keys that are no longer valid. Every record in which they may be repeated must have been applied. */
  forgetOldKeys(clock: number): void {
    for (const [key, known] of this.#keys) {
      if (!isForgotten(known, clock)) break;
      this.#keys.delete(key);
    }
    for (const channel of this.#all) {
      if (channel.keyed.some((known) => isForgotten(known, clock))) {
        channel.keyed = channel.keyed.filter((known) => !isForgotten(known, clock));
      }
    }
  }

  /** The claims whose keys are forgotten: the record before which all are, and the messages that repeat their keys. */
  findOldClaims(clock: number): { readonly end: number; readonly duplicates: readonly number[] } | undefined {
    const fresh = this.#claims.findIndex((claim) => !isForgotten(claim, clock));
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

  #isStale(sequence: number, { epoch }: RecordHead): boolean {
    return epoch !== undefined && epoch !== this.epoch && sequence > this.#begins;
  }

  #applyTo(channel: JetStreamChannel, { sequence }: StreamRecord, head: RecordHead): Applied {
    if (head.kind === "anchor") return { kind: "nothing" };
    if (head.kind === "clear") {
      const { offset } = channel;
      if (!this.#loading) return { kind: "cleared", count: this.#clear(channel, sequence), offset };
      // Cleared after loading: the heads of later records are compared with what was there before.
      channel.clearedTo = sequence;
      return { kind: "cleared", count: 0, offset };
    }
    if (head.kind === "remove") return this.#applyRemove(channel, decodeRemoved(head.key));
    const first = head.key === undefined ? undefined : this.#findKnown(channel.name, head.key, head.clock);
    if (first !== undefined) {
      if (first.receipt.offset === 0) (first.duplicatesOfClaim ??= []).push(sequence);
      else channel.noteDuplicate(first, sequence);
      return repeat(first, head.fingerprint);
    }
    const offset = channel.offset + 1;
    // By the head, so that all nodes agree, but not ahead of this node: a publisher's clock may have been.
    const since = Math.min(head.clock, this.#steadyNow());
    const expires = head.ttl === undefined ? Infinity : since + head.ttl;
    for (let i = 0; i < head.count; i++) channel.push(sequenceOf(sequence, i), this.time, since, expires);
    this.sequence = sequenceOf(sequence, Math.max(head.count - 1, 0));
    if (head.key !== undefined) {
      const receipt = this.#receipt(offset, sequenceOf(sequence, 0));
      const known = { record: sequence, clock: head.clock, receipt, fingerprint: head.fingerprint };
      channel.keyed.push(this.#rememberKey(channel.name, head.key, known));
    }
    return { kind: "stored", channel, offset, time: this.time };
  }

  #applyRemove(channel: JetStreamChannel, sequence: number | undefined): Applied {
    if (sequence === undefined) return { kind: "nothing" };
    if (this.#loading) channel.toRemove.push(sequence);
    // What has expired is gone already, on every node.
    else this.expire(channel, this.#steadyNow());
    const offset = this.#loading ? undefined : channel.removeOne(sequence);
    if (offset === undefined) return { kind: "nothing" };
    return { kind: "removed", sequence, offset };
  }

  #applyClaim({ sequence, channel }: StreamRecord, { key = "", clock, fingerprint }: RecordHead): Applied {
    const first = this.#findKnown(channel, key, clock);
    const known = first ??
      this.#rememberKey(channel, key, { record: sequence, clock, receipt: this.#receipt(0, 0), fingerprint });
    this.#claims.push({ record: sequence, clock, known });
    return first === undefined ? { kind: "claimed", receipt: known.receipt } : repeat(first, fingerprint);
  }

  #findKnown(channel: string, key: string, clock: number): KnownKey | undefined {
    const known = this.#keys.get(`${channel} ${key}`);
    return known === undefined || clock - known.clock >= IDEMPOTENCY_MILLISECONDS ? undefined : known;
  }

  #isDuplicateOfClaim({ name }: JetStreamChannel, { key, clock }: RecordHead): boolean {
    return key !== undefined && this.#findKnown(name, key, clock)?.receipt.offset === 0;
  }

  #rememberKey(channel: string, key: string, known: KnownKey): KnownKey {
    // Deleted first to keep the map in the order in which keys are forgotten.
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
      channel = new JetStreamChannel(name, ++this.#id, this.#rules.for(name).history, this.#left.get(name));
      this.#channels.set(name, channel);
      this.#left.delete(name);
      this.#all.push(channel);
    }
    return channel;
  }
}

/** What becomes of a message with a known key: the answer to a retry, unless it is another message. */
function repeat({ receipt, fingerprint: first }: KnownKey, fingerprint: string | undefined): Applied {
  const isRetry = first === undefined || fingerprint === undefined || first === fingerprint;
  return isRetry ? { kind: "duplicate", receipt } : { kind: "reused" };
}

function pickRemoved({ removedSequence, removedTime }: JetStreamChannel) {
  return { removedSequence, removedTime };
}

function isForgotten(known: { readonly clock: number }, clock: number): boolean {
  return clock - known.clock > IDEMPOTENCY_MILLISECONDS + KEY_SLACK_MILLISECONDS;
}
