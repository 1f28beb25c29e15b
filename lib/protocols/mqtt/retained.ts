/**
 * The retained message of each channel, on every node: taken from what the hub delivers, kept by the engine whatever
 * the channel's history rule. The protocol owns one; subscriptions read it, the hub has it keep what is published.
 */
import { createHash } from "node:crypto";
import { nextSlice, SliceClock } from "../../base/slices.ts";
import { sleep } from "../../base/sleep.ts";
import { matchesPattern, type Selector } from "../../core/channel.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Retainer } from "../../core/hub.ts";
import type { LogState, Receipt, StateEntry } from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import { type Draft, type Message, payloadSize, type Removal } from "../../core/message.ts";
import { describeShare, type Place as PoolPlace, Pool } from "../../core/pool.ts";
import { Shares } from "../../core/shares.ts";
import { secondsLeft } from "./properties.ts";
import { readStoredPayload, type Stored, toStored } from "./stored_message.ts";
import { isHidden } from "./topics.ts";

/** Keys of the engine's state; a digest of the channel follows, as names have other characters than keys. */
const PREFIX = "mqtt-retained-";
/** Keys under which earlier versions kept many messages each. */
const SHARD_KEY = /^mqtt-retained-\d{1,2}$/;
/** How often a write that another node overtook is tried. */
const MAX_ATTEMPTS = 8;
/** Messages that are stored side by side. */
const CONCURRENCY = 32;
/** Between two tries to read what the engine keeps. */
const RETRY_MILLISECONDS = 1_000;

export interface RetainedOptions {
  readonly state: LogState;
  readonly logger: Logger;
  /** Most channels with a retained message. */
  readonly maxMessages: number;
  /** Most bytes of all retained messages, with their properties. */
  readonly maxBytes: number;
  /** How much of that one user or address may take; all if left out. */
  readonly shares?: Shares | undefined;
}

/** A retained message, with what is often asked of it. */
interface Retained {
  readonly message: Message;
  readonly segments: readonly string[];
  readonly place: PoolPlace;
}

export class RetainedMessages implements AsyncDisposable, Retainer {
  readonly #options: RetainedOptions;
  readonly #all = new Map<string, Retained>();
  readonly #pool: Pool;
  /** Of what the engine keeps, by channel. */
  readonly #revisions = new Map<string, number>();
  /** What ended a retained message, until the engine keeps that no more. */
  readonly #cleared = new Map<string, Message>();
  /** Channels whose message is to be stored or removed. */
  readonly #dirty = new Set<string>();
  readonly #writing = new Set<string>();
  /** Called when the message of a channel is stored, or with why it is not. */
  readonly #waiting = new Map<string, ((error?: MessagingError) => void)[]>();
  #saving: Promise<void> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  readonly #stop = new AbortController();
  #closed = false;

  constructor(options: RetainedOptions) {
    this.#options = options;
    const { maxMessages: maxCount, maxBytes, shares = new Shares() } = options;
    this.#pool = new Pool({ maxCount, maxBytes, shares });
  }

  /** Loads what the engine keeps; while the engine cannot be reached, again and again behind the scenes. */
  async load(): Promise<void> {
    const { state, logger } = this.#options;
    try {
      for await (const { key, ...entry } of state.list(PREFIX)) {
        if (SHARD_KEY.test(key)) await this.#divide(key, entry);
        else this.#adopt(parseEntry(entry), entry.revision);
      }
    } catch (error) {
      if (this.#closed) return;
      const reason = error instanceof Error ? error.message : String(error);
      logger.write("warn", "retained messages cannot be read, trying again", { reason });
      this.#retry = setTimeout(() => void this.load(), RETRY_MILLISECONDS);
    }
  }

  /** Stores what has changed, if the engine can be reached. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#stop.abort();
    await this.#saving;
    const stopped = new MessagingError(
      "log_unavailable",
      "The server stops, and has not retained the message",
    );
    for (const channel of this.#waiting.keys()) this.#notify(channel, stopped);
  }

  /** The number of retained messages. */
  get size(): number {
    return this.#all.size;
  }

  /** Bytes that they take. */
  get bytes(): number {
    return this.#pool.bytes;
  }

  /** Takes what the hub delivers. */
  observe(messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.properties?.retain !== true || message.to !== undefined) continue;
      const { channel } = message;
      if (payloadSize(message.payload) === 0) {
        if (this.#all.has(channel)) this.#end(channel, message);
      } else {
        // It had room where it was published: all nodes keep it.
        this.#put(message);
        this.#cleared.delete(channel);
        this.#dirty.add(channel);
      }
    }
    this.#save();
  }

  /**
   * Forgets the retained message of a channel that an operator has removed. Clearing the history leaves it, as rules
   * do.
   */
  forget({ kind, channel, epoch, sequence }: Removal): void {
    const message = this.#all.get(channel)?.message;
    if (kind !== "message" || message?.sequence !== sequence || message.epoch !== epoch) return;
    this.#end(channel, message);
    this.#save();
  }

  async retain(draft: Draft, append: () => Promise<Receipt>): Promise<Receipt> {
    if (draft.to !== undefined) return await append();
    const place = this.#demandRoom(draft);
    // Those that come while it is stored find it counted.
    this.#pool.add(place);
    const receipt = await append().finally(() => this.#pool.remove(place));
    // The server may have been killed after the message was stored, and before it was retained.
    if (receipt.duplicate) this.#repeat(draft, receipt);
    await this.settled(draft.channel);
    return receipt;
  }

  /** Takes a message that was stored before, unless a later one of its channel is known. */
  #repeat({ channel, payload, event, from, properties = {} }: Draft, receipt: Receipt): void {
    const known = this.#find(channel);
    const { epoch, offset, sequence, time } = receipt;
    const place = { channel, epoch, offset, sequence, time };
    if (known !== undefined && !isLater(place, known)) return;
    this.observe([{ ...place, payload, event, from, socketId: undefined, to: undefined, properties }]);
  }

  /**
   * Resolves when what was observed of a channel so far is stored.
   *
   * @throws {MessagingError} when the engine refuses it, or the server stops
   */
  settled(channel: string): Promise<void> {
    if (!this.#dirty.has(channel) && !this.#writing.has(channel)) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const settle = (error?: MessagingError) => error === undefined ? resolve() : reject(error);
      const waiting = this.#waiting.get(channel);
      if (waiting === undefined) this.#waiting.set(channel, [settle]);
      else waiting.push(settle);
    });
  }

  /** The retained messages of the channels of a selector. */
  *match(selector: Selector): Iterable<Message> {
    for (const message of this.#look(selector)) if (message !== undefined) yield message;
  }

  /** The same in slices, one after another into `found`: what is retained meanwhile may be among them. */
  async find(selector: Selector, found: Message[] = []): Promise<readonly Message[]> {
    const clock = new SliceClock();
    for (const message of this.#look(selector)) {
      if (message !== undefined) found.push(message);
      if (clock.isOver) await clock.next();
    }
    return found;
  }

  /** Looks at each message that may be of a selector: undefined for one that is not. */
  *#look(selector: Selector): Iterable<Message | undefined> {
    const { channel } = selector;
    if (channel !== undefined) {
      const message = this.#all.get(channel)?.message;
      if (message !== undefined && this.#isAlive(message)) yield message;
      return;
    }
    for (const { message, segments } of this.#all.values()) {
      const matches = selector.patterns.some((pattern) => matchesPattern(pattern, segments)) &&
        !selector.hides?.(message.channel) && !isHidden(selector, message.channel);
      yield matches && this.#isAlive(message) ? message : undefined;
    }
    this.#save();
  }

  #isAlive(message: Message): boolean {
    if ((secondsLeft(message) ?? 1) > 0) return true;
    this.#end(message.channel, message);
    return false;
  }

  /** What is known of a channel: its message, or what ended it. */
  #find(channel: string): Message | undefined {
    return this.#all.get(channel)?.message ?? this.#cleared.get(channel);
  }

  /**
   * The place in the pool that a message takes.
   *
   * @throws {MessagingError} `too_many_retained` or `share_used_up`
   */
  #demandRoom(draft: Draft): PoolPlace {
    const { channel, payload, properties } = draft;
    const owner = properties?.owner;
    if (payloadSize(payload) === 0) return { owner, bytes: 0, count: 0 };
    const bytes = sizeOf({ channel, payload, properties });
    const replaced = this.#all.get(channel)?.place;
    const shortage = this.#pool.findShortage({ owner, bytes }, replaced);
    if (shortage === undefined) {
      if (replaced?.owner !== owner || replaced === undefined) return { owner, bytes };
      return { owner, bytes: Math.max(0, bytes - replaced.bytes), count: 0 };
    }
    if (shortage.isShare) throw describeShare(shortage, "retained messages", "clear some");
    throw new MessagingError(
      "too_many_retained",
      shortage.unit === "count"
        ? `${this.#pool.size} channels have a retained message: clear some, or raise --mqtt-max-retained`
        : `Retained messages would take more than ${shortage.limit} bytes: clear some, or raise ` +
          "--mqtt-max-retained-bytes",
    );
  }

  #put(message: Message): void {
    this.#drop(message.channel);
    const place = { owner: message.properties?.owner, bytes: sizeOf(message) };
    this.#pool.add(place);
    this.#all.set(message.channel, { message, segments: message.channel.split("/"), place });
  }

  #drop(channel: string): void {
    const known = this.#all.get(channel);
    if (known === undefined) return;
    this.#pool.remove(known.place);
    this.#all.delete(channel);
  }

  #end(channel: string, by: Message): void {
    this.#drop(channel);
    this.#cleared.set(channel, by);
    this.#dirty.add(channel);
  }

  /** Takes what the engine keeps, unless something later is known. */
  #adopt(stored: Message, revision: number): void {
    const { channel } = stored;
    this.#revisions.set(channel, revision);
    const known = this.#find(channel);
    if (known !== undefined && !isLater(stored, known)) return;
    this.#put(stored);
    this.#cleared.delete(channel);
  }

  /** Stores the messages of an older version under keys of their own. */
  async #divide(key: string, { value, revision }: StateEntry): Promise<void> {
    for (const stored of JSON.parse(value || "[]") as Stored<Message>[]) {
      const known = this.#find(stored.channel);
      if (known !== undefined && !isLater(stored, known)) continue;
      this.#put(decode(stored));
      await this.#write(stored.channel);
    }
    await this.#options.state.delete(key, revision);
  }

  /** Stores what has changed, a few at a time, so that others are served meanwhile. Never rejects. */
  #save(): void {
    if (this.#dirty.size === 0 || this.#saving !== undefined) return;
    this.#saving = this.#saveAll().finally(() => this.#saving = undefined);
  }

  async #saveAll(): Promise<void> {
    while (this.#dirty.size > 0) {
      await nextSlice();
      const clock = new SliceClock();
      const channels = this.#dirty.values().take(CONCURRENCY).toArray();
      const outcomes = await Promise.all(channels.map(async (channel) => {
        if (clock.isOver) await clock.next();
        return await this.#saveOne(channel);
      }));
      if (!outcomes.includes("again")) continue;
      if (this.#closed) return;
      await sleep(RETRY_MILLISECONDS, this.#stop.signal);
    }
  }

  async #saveOne(channel: string): Promise<"done" | "again"> {
    this.#dirty.delete(channel);
    this.#writing.add(channel);
    let failure: MessagingError | undefined;
    try {
      await this.#write(channel);
      return "done";
    } catch (error) {
      failure = toMessagingError(error);
      const { code, message } = failure;
      this.#options.logger.write("error", "storing a retained message failed", { channel, reason: message });
      if (code !== "log_unavailable" && code !== "log_full") return "done";
      this.#dirty.add(channel);
      return "again";
    } finally {
      this.#writing.delete(channel);
      if (!this.#dirty.has(channel)) this.#notify(channel, failure);
    }
  }

  #notify(channel: string, error?: MessagingError): void {
    const waiting = this.#waiting.get(channel) ?? [];
    this.#waiting.delete(channel);
    for (const settle of waiting) settle(error);
  }

  /** Makes the engine keep what is known of a channel, or this node know what is kept that is later. */
  async #write(channel: string): Promise<void> {
    const { state } = this.#options;
    const key = keyOf(channel);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const message = this.#all.get(channel)?.message;
      const revision = this.#revisions.get(channel) ?? 0;
      if (message !== undefined) {
        const written = await state.write(key, JSON.stringify(toStored(message)), revision);
        if (written !== undefined) return void this.#revisions.set(channel, written);
      } else if (revision > 0 && await state.delete(key, revision)) {
        this.#revisions.delete(channel);
        return void this.#forgetCleared(channel);
      }
      const entry = await state.read(key);
      if (entry === undefined) this.#revisions.delete(channel);
      else this.#adopt(parseEntry(entry), entry.revision);
      const known = this.#all.get(channel)?.message;
      if (known === undefined && entry === undefined) return void this.#forgetCleared(channel);
      // Another node was faster with the same message, or a later one.
      if (known !== undefined && entry !== undefined && !isLater(known, parseEntry(entry))) return;
    }
    throw new MessagingError("log_unavailable", "Other nodes keep writing it");
  }

  #forgetCleared(channel: string): void {
    if (!this.#all.has(channel)) this.#cleared.delete(channel);
  }
}

type Place = Pick<Message, "time" | "epoch" | "sequence">;

/** Whether a message was stored later than another one of its channel, on whatever node. */
function isLater(a: Place, b: Place): boolean {
  return a.time === b.time ? a.epoch === b.epoch && a.sequence > b.sequence : a.time > b.time;
}

function keyOf(channel: string): string {
  return PREFIX + createHash("sha256").update(channel).digest("hex");
}

/** Bytes of a message, roughly. */
function sizeOf(
  { channel, payload, properties }: Pick<Message, "channel" | "payload" | "properties">,
): number {
  return payloadSize(payload) + channel.length + JSON.stringify(properties ?? {}).length;
}

function parseEntry({ value }: StateEntry): Message {
  return decode(JSON.parse(value) as Stored<Message>);
}

function decode(stored: Stored<Message>): Message {
  return {
    ...stored,
    event: stored.event,
    from: stored.from,
    socketId: undefined,
    to: undefined,
    payload: readStoredPayload(stored.payload),
  };
}
