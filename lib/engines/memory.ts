/**
 * The memory engine: messages are lost when the process ends. For tests, for channels whose messages need not survive,
 * and as the simplest implementation of the Log port.
 */
import { SliceClock } from "../base/slices.ts";
import { Selections } from "../core/selections.ts";
import { MessagingError } from "../core/errors.ts";
import type { Cursor, Log, LogInsight, LogPage, LogQuery, Receipt, StoredChannel } from "../core/log.ts";
import { type Draft, formatId, isTransient, type Message, payloadSize } from "../core/message.ts";
import type { Rules } from "../core/rules.ts";
import { createSteadyClock } from "../base/steady_clock.ts";
import { type Schedule, Turn } from "../base/turn.ts";
import { isForeignCursor } from "../core/cursor.ts";
import { MemoryState } from "../core/memory_state.ts";
import {
  createChannelLimitError,
  createEpoch,
  createReuseError,
  fingerprintOf,
  IDEMPOTENCY_MILLISECONDS,
  settle,
  stampMessage,
} from "./stamp.ts";

export interface MemoryEngineOptions {
  readonly rules: Rules;
  readonly maxChannels?: number;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
}

interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

interface Stored {
  readonly message: Message;
  /** When it was stored, by the clock for deadlines. Its own time may be later, if the system's clock was set back. */
  readonly since: number;
  readonly expires: number | undefined;
}

interface Channel {
  readonly name: string;
  offset: number;
  stored: Stored[];
  /** The number of stored messages with a ttl. */
  expiring: number;
  /** The newest message that was removed. */
  removedSequence: number;
  removedTime: number;
  /** The newest message of the last removal other than by ttl, and the number of that removal in the engine. */
  cutSequence: number;
  cutAt: number;
}

/** Channels whose retention is checked with each batch, besides those written to. */
const SWEPT_CHANNELS = 4;
/** Messages that a read of several channels collects before it drops those that do not fit into the page. */
const MAX_COLLECTED = 4_096;

export class MemoryEngine implements Log, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  readonly state: MemoryState = new MemoryState();
  readonly #epoch = createEpoch();
  readonly #rules: Rules;
  readonly #maxChannels: number;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #turn: Turn<Pending>;
  readonly #channels = new Map<string, Channel>();
  readonly #all: Channel[] = [];
  readonly #selections = new Selections<Channel>({ all: this.#all, get: (name) => this.#channels.get(name) });
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
    this.#turn = new Turn((batch) => this.#store(batch), options.schedule);
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
    const channels = selection?.channels ??
      [this.#channels.get(selector.channel ?? "")].filter((channel) => channel !== undefined);
    const now = this.#now();
    const sequence = query.after.kind === "latest" ? asked : this.#sequence;
    const offset = selector.channel === undefined ? 0 : channels[0]?.offset ?? 0;
    const top = { ...this.top, offset, time: Math.max(now, this.#time) };
    const isForeign = isForeignCursor(query.after, top);
    const after: Cursor = isForeign ? { kind: "earliest" } : query.after;
    const found = channels.length < 2
      ? channels.flatMap((channel) => this.#readOne(channel, after, limit))
      : await this.#readMany(channels, after, limit, sequence);
    const messages = after.kind === "latest"
      ? takeFitting(found.reverse(), limit, maxBytes).reverse()
      : takeFitting(found, limit, maxBytes);
    const more = after.kind !== "latest" && found.length > messages.length;
    const first = found[0];
    const page = {
      messages,
      more,
      position: { epoch: this.#epoch, offset },
      next: {
        kind: "id" as const,
        epoch: this.#epoch,
        sequence: more && first !== undefined ? messages.at(-1)?.sequence ?? first.sequence - 1 : sequence,
        asOf: { removals: this.#removals, time: now },
      },
    };
    if (!isForeign && !this.#isGap(channels, after, offset)) return { kind: "complete", ...page };
    const newest = selector.channel === undefined ? sequence : channels[0]?.removedSequence ?? 0;
    return { kind: "gap", earliest: formatId(this.#epoch, first?.sequence ?? newest), ...page };
  }

  clear(name: string): Promise<number> {
    this.#turn.flush();
    const channel = this.#channels.get(name);
    return Promise.resolve(channel === undefined ? 0 : this.#remove(channel, channel.stored.length));
  }

  checkReady(): string | undefined {
    return this.#closed ? "The engine is closed" : undefined;
  }

  *listStored(): Iterable<StoredChannel> {
    for (const channel of this.#channels.values()) yield describeChannel(channel);
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
    const messages: Message[] = [];
    const receipts: (Receipt | MessagingError)[] = [];
    const written = new Set<Channel>();
    for (const { draft } of batch) {
      const { idempotencyKey } = draft;
      const key = idempotencyKey === undefined ? undefined : `${draft.channel} ${idempotencyKey}`;
      const first = key === undefined ? undefined : this.#receipts.get(key);
      if (first !== undefined) {
        receipts.push(
          first.fingerprint === fingerprintOf(draft)
            ? { ...first.receipt, duplicate: true }
            : createReuseError(draft.channel),
        );
        continue;
      }
      if (
        !isTransient(draft) && !this.#channels.has(draft.channel) && this.#channels.size >= this.#maxChannels
      ) {
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
      messages.push(message);
      receipts.push(receipt);
    }
    for (const channel of written) this.#retain(channel, steadyNow);
    for (let i = 0; i < SWEPT_CHANNELS && this.#channels.size > 0; i++) {
      const next = this.#sweep.next();
      if (next.done) this.#sweep = this.#channels.values();
      else this.#expire(next.value, steadyNow);
    }
    if (messages.length > 0) this.onStored(messages);
    batch.forEach((pending, i) => settle(pending, receipts[i]!));
  }

  #stamp(draft: Draft, now: number, since: number, written: Set<Channel>): Message {
    if (isTransient(draft)) return stampMessage(draft, this.#epoch, 0, 0, now);
    const channel = this.#openChannel(draft.channel);
    const message = stampMessage(draft, this.#epoch, ++channel.offset, ++this.#sequence, now);
    const expires = draft.ttl === undefined ? undefined : since + draft.ttl * 1_000;
    if (expires !== undefined) channel.expiring++;
    channel.stored.push({ message, since, expires });
    written.add(channel);
    return message;
  }

  #openChannel(name: string): Channel {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = {
        name,
        offset: 0,
        stored: [],
        expiring: 0,
        removedSequence: 0,
        removedTime: 0,
        cutSequence: 0,
        cutAt: 0,
      };
      this.#channels.set(name, channel);
      this.#all.push(channel);
    }
    return channel;
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

  #isGap(channels: readonly Channel[], after: Cursor, offset: number): boolean {
    switch (after.kind) {
      case "earliest":
      case "latest":
        return false;
      case "id":
        return channels.some((channel) =>
          after.asOf === undefined
            ? channel.removedSequence > after.sequence
            : channel.cutAt > after.asOf.removals && channel.cutSequence > after.sequence
        );
      case "offset":
        return channels.some(({ stored, removedSequence }) =>
          removedSequence > 0 && hasHoleAfter(stored, after.offset, offset)
        );
      case "time":
        return channels.some((channel) => channel.removedTime >= after.time && channel.removedTime > 0);
    }
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
    return count;
  }

  #noteRemoved(channel: Channel, removed: readonly Stored[]): void {
    for (const { message, expires } of removed) {
      if (expires !== undefined) channel.expiring--;
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

function describeChannel({ name, offset, stored }: Channel): StoredChannel {
  return { channel: name, offset, stored: stored.length };
}

/** The first messages within both limits, but at least one if there is one. */
function takeFitting(messages: readonly Message[], limit: number, maxBytes: number): Message[] {
  let count = 0;
  for (let bytes = 0; count < Math.min(limit, messages.length) && bytes < maxBytes; count++) {
    bytes += payloadSize(messages[count]!.payload);
  }
  return messages.slice(0, count);
}

/** The index of the first element that passes the test; all later ones must pass it too. */
function findFirst<T>(list: readonly T[], test: (element: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(list[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

function isAfter(message: Message, after: Cursor): boolean {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return true;
    case "id":
      return message.sequence > after.sequence;
    case "offset":
      return message.offset > after.offset;
    case "time":
      return message.time >= after.time;
  }
}

/** Whether any offset in `after + 1 ... top` is no longer stored. */
function hasHoleAfter(stored: readonly Stored[], after: number, top: number): boolean {
  const start = findFirst(stored, ({ message }) => message.offset > after);
  return stored.length - start < top - after;
}
