/**
 * The memory engine: messages are lost when the process ends. For tests, for channels whose messages need not survive,
 * and as the simplest implementation of the Log port.
 */
import { SliceClock } from "../../base/slices.ts";
import { type Selection, Selections } from "../../core/selections.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Cursor, Log, LogInsight, LogPage, LogQuery, Receipt, StoredChannel } from "../../core/log.ts";
import {
  type Draft,
  formatId,
  isTransient,
  type Message,
  type MessageId,
  type Removal,
} from "../../core/message.ts";
import type { Rules } from "../../core/rules.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import { isForeignCursor } from "../../core/cursor.ts";
import { type Ghost, isGapOf } from "../forgotten.ts";
import {
  type Channel,
  FORGET_INTERVAL,
  MemoryChannels,
  SHORT_FORGET_INTERVAL,
  type Stored,
} from "./channels.ts";
import { countLeft, describeChannel, findFirst, isAfter, takeFitting } from "./pages.ts";
import { MemoryState } from "../../core/memory_state.ts";
import {
  createChannelLimitError,
  createEpoch,
  createReuseError,
  decodeMarker,
  encodeMarker,
  fingerprintOf,
  IDEMPOTENCY_MILLISECONDS,
  MAX_BATCH,
  settle,
  stampMessage,
} from "../stamp.ts";

export interface MemoryEngineOptions {
  readonly rules: Rules;
  readonly maxChannels?: number;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** How long after its newest message an empty channel is forgotten, in milliseconds; a day by default. */
  readonly forgetAfter?: number;
  /** How many forgotten channels are remembered apart. */
  readonly maxTombstones?: number;
}

interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

/** Messages taken back that are remembered, of each channel. */
const MAX_TAKEN_BACK = 1_000;
/** Channels whose retention is checked with each batch, besides those written to. */
const SWEPT_CHANNELS = 4;
/** Messages that a read of several channels collects before it drops those that do not fit into the page. */
const MAX_COLLECTED = 4_096;

export class MemoryEngine implements Log, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  onRemoved: (removal: Removal) => void = () => {};
  onCleared: (removal: Removal) => void = () => {};
  readonly state: MemoryState = new MemoryState();
  readonly #epoch = createEpoch();
  readonly #rules: Rules;
  readonly #maxChannels: number;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #turn: Turn<Pending>;
  readonly #channels: MemoryChannels;
  readonly #selections: Selections<Channel>;
  readonly #receipts = new Map<string, { receipt: Receipt; fingerprint: string; expires: number }>();
  #sweep: Iterator<Channel> = [].values();
  #sequence = 0;
  #removals = 0;
  #time = 0;
  #closed = false;

  constructor(options: MemoryEngineOptions) {
    this.#rules = options.rules;
    this.#maxChannels = options.maxChannels ?? Infinity;
    this.#now = options.now ?? Date.now;
    this.#steadyNow = createSteadyClock(options.now);
    this.#turn = new Turn((batch) => this.#store(batch), options.schedule, MAX_BATCH);
    this.#channels = new MemoryChannels(options);
    this.#selections = new Selections<Channel>(this.#channels);
  }

  get top(): Log["top"] {
    return { epoch: this.#epoch, sequence: this.#sequence };
  }

  append(draft: Draft): Promise<Receipt> {
    if (this.#closed) return Promise.reject(new MessagingError("log_unavailable", "The engine is closed"));
    return new Promise((resolve, reject) => this.#turn.add({ draft, resolve, reject }));
  }

  async read(query: LogQuery): Promise<LogPage> {
    const { selector, limit, maxBytes = Infinity } = query;
    // The newest are those of the moment when they were asked for.
    const asked = this.#sequence;
    const selecting = selector.channel === undefined ? this.#selections.select(selector) : undefined;
    const selection = selecting instanceof Promise ? await selecting : selecting;
    // From here on everything is as of one moment: what is stored later is not in the page.
    let channels = selection?.channels ??
      [this.#channels.get(selector.channel ?? "")].filter((channel) => channel !== undefined);
    const now = this.#now();
    const sequence = query.after.kind === "latest" ? asked : this.#sequence;
    const unknown = selector.channel !== undefined && channels.length === 0
      ? this.#channels.tombstones.ghostOf(selector.channel)
      : undefined;
    const offset = selector.channel === undefined
      ? 0
      : channels[0]?.offset ?? this.#channels.tombstones.find(selector.channel).offset;
    const top = { ...this.top, offset, time: Math.max(now, this.#time) };
    const isForeign = isForeignCursor(query.after, top);
    const after: Cursor = isForeign ? { kind: "earliest" } : query.after;
    const found = channels.length < 2
      ? channels.flatMap((channel) => this.#readOne(channel, after, limit))
      : await this.#readMany(channels, after, limit, sequence);
    // Those that have come meanwhile may have lost messages, which the next page takes for told.
    channels = selection?.channels ?? channels;
    const messages = after.kind === "latest"
      ? takeFitting(found.reverse(), limit, maxBytes).reverse()
      : takeFitting(found, limit, maxBytes);
    const more = after.kind !== "latest" && found.length > messages.length;
    const first = found[0];
    const epoch = this.#epoch;
    const end = more && first !== undefined ? messages.at(-1)?.sequence ?? first.sequence - 1 : sequence;
    const asOf = { removals: this.#removals, time: now };
    const position = { epoch, offset };
    const told = after.kind === "id" ? after.told : undefined;
    if (told !== undefined) this.#expireAll(channels);
    const ghosts = unknown !== undefined ? [unknown] : selection ? this.#listGhosts(selection) : [];
    const isGoneAfter = (cursor: Cursor) =>
      this.#isGap(channels, cursor) || ghosts.some((ghost) => isGapOf(ghost, cursor));
    const isGap = isForeign || isGoneAfter(after) ||
      (told !== undefined && after.kind === "id" && after.asOf === undefined &&
        countLeft(channels, after.sequence, told.upTo).isLessThan(told));
    if (!isGap && told === undefined) {
      const next = { kind: "id" as const, epoch, sequence: end, asOf };
      return { kind: "complete", messages, more, position, next };
    }
    const start = first === undefined ? end : first.sequence - 1;
    if (isGap) this.#expireAll(channels);
    const isBehind = isGoneAfter({ kind: "id", epoch, sequence: start });
    const upTo = !isGap ? told?.upTo ?? 0 : isBehind ? this.#sequence : 0;
    const remnant = countLeft(channels, start, upTo);
    const next = { kind: "id" as const, ...remnant.place(epoch, end, messages), asOf };
    if (!isGap) return { kind: "complete", messages, more, position, next };
    const newest = selector.channel === undefined
      ? sequence
      : channels[0]?.removedSequence ?? unknown?.removedSequence ?? 0;
    const earliest = formatId(epoch, first?.sequence ?? newest);
    return {
      kind: "gap",
      earliest,
      resume: remnant.place(epoch, start, []),
      messages,
      more,
      position,
      next,
    };
  }

  clear(name: string): Promise<number> {
    this.#turn.flush();
    const channel = this.#channels.get(name);
    const count = channel?.stored.length ?? 0;
    const removal = { kind: "all" as const, channel: name, ...this.top, offset: channel?.offset ?? 0 };
    if (channel !== undefined && count > 0) this.#remove(channel, count);
    this[count > 0 ? "onRemoved" : "onCleared"](removal);
    return Promise.resolve(count);
  }

  remove(name: string, { epoch, sequence }: MessageId): Promise<boolean> {
    this.#turn.flush();
    const channel = this.#channels.get(name);
    if (channel === undefined || epoch !== this.#epoch) return Promise.resolve(false);
    this.#expire(channel, this.#steadyNow());
    const index = channel.stored.findIndex(({ message }) => message.sequence === sequence);
    const stored = channel.stored[index];
    if (stored === undefined) return Promise.resolve(false);
    channel.stored.splice(index, 1);
    if (stored.expires !== undefined) channel.expiring--;
    const { offset } = stored.message;
    channel.takenBack = [...channel.takenBack.slice(1 - MAX_TAKEN_BACK), sequence];
    this.onRemoved({ kind: "message", channel: name, epoch, sequence, offset });
    return Promise.resolve(true);
  }

  checkReady(): string | undefined {
    return this.#closed ? "The engine is closed" : undefined;
  }

  *listStored(): Iterable<StoredChannel> {
    for (const channel of this.#channels.all) yield describeChannel(channel);
  }

  findStored(channel: string): StoredChannel | undefined {
    const found = this.#channels.get(channel);
    return found === undefined ? undefined : describeChannel(found);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#turn.flush();
    this.#closed = true;
    return Promise.resolve();
  }

  #store(batch: readonly Pending[]): void {
    const now = this.#time = Math.max(this.#now(), this.#time);
    const steadyNow = this.#steadyNow();
    this.#forgetReceipts(steadyNow);
    this.#forgetChannels(steadyNow, FORGET_INTERVAL);
    const messages: Message[] = [];
    const receipts: (Receipt | MessagingError)[] = [];
    const written = new Set<Channel>();
    for (const { draft } of batch) {
      const { idempotencyKey, marker } = draft;
      const marked = marker === undefined ? undefined : this.state.find(marker);
      if (marked !== undefined) {
        receipts.push(decodeMarker(marked));
        continue;
      }
      const key = idempotencyKey === undefined ? undefined : `${draft.channel} ${idempotencyKey}`;
      const first = key === undefined ? undefined : this.#receipts.get(key);
      if (first !== undefined) {
        const isSame = first.fingerprint === fingerprintOf(draft);
        if (isSame && marker !== undefined) this.state.place(marker, encodeMarker(first.receipt));
        receipts.push(isSame ? { ...first.receipt, duplicate: true } : createReuseError(draft.channel));
        continue;
      }
      if (!isTransient(draft) && !this.#hasRoomFor(draft.channel, steadyNow)) {
        receipts.push(createChannelLimitError(draft.channel, this.#maxChannels));
        continue;
      }
      const message = this.#stamp(draft, now, steadyNow, written);
      const { epoch, offset, sequence } = message;
      const receipt: Receipt = { epoch, offset, sequence, time: now, duplicate: false };
      if (key !== undefined) {
        const expires = steadyNow + IDEMPOTENCY_MILLISECONDS;
        this.#receipts.set(key, { receipt, fingerprint: fingerprintOf(draft), expires });
      }
      if (marker !== undefined) this.state.place(marker, encodeMarker(receipt));
      messages.push(message);
      receipts.push(receipt);
    }
    for (const channel of written) this.#retain(channel, steadyNow);
    for (let i = 0; i < SWEPT_CHANNELS && this.#channels.size > 0; i++) {
      const next = this.#sweep.next();
      if (next.done) this.#sweep = this.#channels.all.values();
      else this.#expire(next.value, steadyNow);
    }
    if (messages.length > 0) this.onStored(messages);
    batch.forEach((pending, i) => settle(pending, receipts[i]!));
  }

  #stamp(draft: Draft, now: number, since: number, written: Set<Channel>): Message {
    if (isTransient(draft)) return stampMessage(draft, this.#epoch, 0, 0, now);
    const channel = this.#channels.open(draft.channel);
    const message = stampMessage(draft, this.#epoch, ++channel.offset, ++this.#sequence, now);
    const expires = draft.ttl === undefined ? undefined : since + draft.ttl * 1_000;
    if (expires !== undefined) channel.expiring++;
    channel.stored.push({ message, since, expires });
    channel.touched = since;
    written.add(channel);
    return message;
  }

  /** Reads one message more than the limit, which shows that there are more. Of the newest, just these. */
  #readOne(channel: Channel, after: Cursor, limit: number, upTo = Infinity): Message[] {
    this.#expire(channel, this.#steadyNow());
    const { stored } = channel;
    const end = upTo === Infinity
      ? stored.length
      : findFirst(stored, ({ message }) => message.sequence > upTo);
    const [first, last] = after.kind === "latest"
      ? [Math.max(0, end - limit), end]
      : [findFirst(stored, ({ message }) => isAfter(message, after)), end];
    return stored.slice(first, Math.min(last, first + limit + 1)).map(({ message }) => message);
  }

  /** The same of several channels, in slices: as they were when the read began, by the newest sequence of then. */
  async #readMany(
    channels: readonly Channel[],
    after: Cursor,
    limit: number,
    upTo: number,
  ): Promise<Message[]> {
    const isLatest = after.kind === "latest";
    const wanted = isLatest ? limit : limit + 1;
    const clock = new SliceClock();
    let found: Message[] = [];
    let floor = 0;
    const trim = () => {
      found.sort((a, b) => a.sequence - b.sequence);
      if (found.length < wanted || wanted === 0) return;
      found = isLatest ? found.slice(-wanted) : found.slice(0, wanted);
      // What does not come into the page any more need not be looked at.
      if (isLatest) floor = found[0]!.sequence;
      else upTo = found.at(-1)!.sequence;
    };
    // Channels are in the order in which they came: most of the newest messages are at one end.
    const count = channels.length;
    for (let i = 0; i < count; i++) {
      if (clock.isOver) await clock.next();
      const channel = channels[isLatest ? count - 1 - i : i]!;
      const oldest = channel.stored[0]?.message.sequence ?? Infinity;
      const newest = channel.stored.at(-1)?.message.sequence ?? 0;
      if (newest < floor || oldest > upTo) continue;
      for (const message of this.#readOne(channel, after, limit, upTo)) found.push(message);
      if (found.length > MAX_COLLECTED + 2 * wanted) trim();
    }
    trim();
    return found;
  }

  #isGap(channels: readonly Channel[], after: Cursor): boolean {
    return channels.some((channel) => isGapOf(channel, after));
  }

  /** What is left of forgotten channels that a list or pattern selects, or of all of them where names do not tell. */
  #listGhosts({ isOpen, unknown }: Selection<Channel>): readonly Ghost[] {
    if (isOpen) return [this.#channels.tombstones.ghostOfAll];
    return unknown.map((name) => this.#channels.tombstones.ghostOf(name));
  }

  #hasRoomFor(channel: string, now: number): boolean {
    if (this.#channels.get(channel) !== undefined || this.#channels.size < this.#maxChannels) return true;
    this.#forgetChannels(now, SHORT_FORGET_INTERVAL);
    return this.#channels.size < this.#maxChannels;
  }

  #forgetChannels(now: number, interval: number): void {
    this.#channels.forget(now, interval, (channel) => this.#expire(channel, now));
  }

  /** Removes messages beyond the channel's limits in number and age. */
  #retain(channel: Channel, now: number): void {
    const { messages, seconds } = this.#rules.for(channel.name).history;
    const tooOld = now - seconds * 1_000;
    const old = findFirst(channel.stored, ({ since }) => since >= tooOld);
    const excess = Math.max(old, channel.stored.length - messages);
    // Removing from the front of an array takes linear time: wait until a tenth is due, except for age.
    if (excess > 0 && (old > 0 || excess * 10 >= messages)) this.#remove(channel, excess);
  }

  #expireAll(channels: readonly Channel[]): void {
    const now = this.#steadyNow();
    for (const channel of channels) this.#expire(channel, now);
  }

  #expire(channel: Channel, now: number): void {
    this.#retain(channel, now);
    if (channel.expiring === 0) return;
    const isDue = ({ expires }: Stored) => expires !== undefined && expires <= now;
    const due = channel.stored.filter(isDue);
    this.#noteRemoved(channel, due);
    channel.stored = channel.stored.filter((stored) => !isDue(stored));
  }

  #remove(channel: Channel, count: number): number {
    const removed = channel.stored.splice(0, count);
    this.#noteRemoved(channel, removed);
    channel.cutSequence = removed.at(-1)?.message.sequence ?? channel.cutSequence;
    channel.cutAt = ++this.#removals;
    // Before a message that is gone, nobody needs to know of others.
    const last = removed.at(-1)?.message.sequence ?? 0;
    channel.takenBack = channel.takenBack.filter((sequence) => sequence > last);
    return count;
  }

  #noteRemoved(channel: Channel, removed: readonly Stored[]): void {
    for (const { message, expires } of removed) {
      if (expires !== undefined) channel.expiring--;
      channel.removedOffset = Math.max(channel.removedOffset, message.offset);
      channel.removedSequence = Math.max(channel.removedSequence, message.sequence);
      channel.removedTime = Math.max(channel.removedTime, message.time);
    }
  }

  #forgetReceipts(now: number): void {
    for (const [key, { expires }] of this.#receipts) {
      if (expires > now) return;
      this.#receipts.delete(key);
    }
  }
}
