/**
 * The oracle's book: everything that was published in a schedule, what publishers and nodes said of it, and what may be
 * gone by now. It keeps its own count of limits, ages, keys and removals, and fails with the first promise that is broken.
 */
import type { Receipt } from "../../lib/core/log.ts";
import { formatId, type Message } from "../../lib/core/message.ts";
import { Rules } from "../../lib/core/rules.ts";
import { conflationKey } from "../../lib/core/subscription.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** A broken promise: what the simulator looks for. */
export class Broken extends Error {}

/** One message as its publisher handed it in. */
export interface Entry {
  readonly text: string;
  readonly channel: string;
  readonly transient: boolean;
  /** Whether its publisher asked for that. */
  readonly ephemeral: boolean;
  readonly key: string | undefined;
  /** Seconds. */
  readonly ttl: number | undefined;
  readonly to: string | undefined;
  readonly socketId: string | undefined;
  /** The whole payload. */
  readonly payload: string;
  /** When its first attempt began. */
  readonly begun: number;
  /** When its last attempt began. */
  last: number;
  /** How many attempts there were. */
  attempts: number;
  /** When its first attempt was acknowledged. */
  acked: number | undefined;
  receipt: Receipt | undefined;
  /** The last refusal of an attempt that says that it is stored nowhere. */
  refused: string | undefined;
  /** As it was first announced. */
  announced: { readonly message: Message; readonly at: number } | undefined;
}

/** One that was announced. */
export interface AnnouncedEntry extends Entry {
  announced: NonNullable<Entry["announced"]>;
}

interface Removal {
  readonly channel: string;
  readonly begun: number;
  done: number | undefined;
}

interface KeyUse {
  readonly entry: Entry;
  readonly at: number;
}

export const RULES = new Rules([
  { channels: "locked/**", allowAnonymous: ["subscribe", "history"] },
  { channels: "few/**", history: { messages: 5 } },
  { channels: "brief/**", history: { seconds: 20 } },
  { channels: "latest/**", conflate: true },
  { channels: "cursors/**", ephemeral: true, conflate: true },
  { channels: "**", allowAnonymous: ["subscribe", "publish", "presence", "history"] },
]);

/** How long a key counts, in milliseconds. */
const KEY_MILLISECONDS = 300_000;

export class Book {
  readonly entries = new Map<string, Entry>();
  readonly #time: VirtualTime;
  /** How far nodes' clocks and steps may be apart, in milliseconds. */
  readonly #slack: () => number;
  readonly #removals: Removal[] = [];
  readonly #byPlace = new Map<string, Entry>();
  readonly #keys = new Map<string, KeyUse>();
  /** The stored messages of a channel as they were announced. */
  readonly #channels = new Map<string, Entry[]>();
  /** The newest offset of each channel. */
  readonly #tops = new Map<string, number>();
  /** The newest message of each sender on conflated channels, transient ones too. */
  readonly #newest = new Map<string, Entry>();

  constructor(time: VirtualTime, slack: () => number) {
    this.#time = time;
    this.#slack = slack;
  }

  /** Opens the entry of a message, or finds the one that is published again. */
  open(
    entry: Pick<
      Entry,
      "text" | "channel" | "transient" | "ephemeral" | "key" | "ttl" | "to" | "socketId" | "payload"
    >,
  ): Entry {
    const known = this.entries.get(entry.text);
    if (known !== undefined) return known;
    const opened: Entry = {
      ...entry,
      begun: this.#time.now,
      last: this.#time.now,
      attempts: 0,
      acked: undefined,
      receipt: undefined,
      refused: undefined,
      announced: undefined,
    };
    this.entries.set(entry.text, opened);
    return opened;
  }

  /** The entry of a payload. */
  find(payload: string): Entry {
    const entry = this.entries.get(payload.split(" ", 1)[0]!);
    if (entry === undefined) throw new Broken(`${show(payload)} was delivered, which nobody has published`);
    if (entry.payload !== payload) throw new Broken(`${entry.text} was delivered with another content`);
    return entry;
  }

  /** A node announces a message, or has read one that was stored by a node that is gone. */
  announce(message: Message): Entry {
    const { payload, epoch, sequence, offset, channel } = message;
    const entry = this.find(payload.kind === "bytes" ? "" : payload.text);
    if (entry.channel !== channel) throw new Broken(`${entry.text} was announced on ${channel}`);
    if (entry.transient !== (sequence === 0)) {
      throw new Broken(
        `${entry.text} is ${entry.transient ? "transient" : "to be kept"} and was announced otherwise`,
      );
    }
    const first = entry.announced?.message;
    if (entry.announced === undefined) entry.announced = { message, at: this.#time.now };
    if (first === undefined && RULES.for(channel).conflate) this.#newest.set(conflationKey(message), entry);
    if (sequence === 0) return entry;
    if (
      first !== undefined && (first.sequence !== sequence || first.offset !== offset || first.epoch !== epoch)
    ) {
      throw new Broken(`${entry.text} was announced as ${place(first)}, then as ${place(message)}`);
    }
    const id = `${epoch} ${channel} ${offset}`;
    const there = this.#byPlace.get(id);
    if (there !== undefined && there !== entry) {
      throw new Broken(`${entry.text} and ${there.text} were both announced as ${place(message)}`);
    }
    if (there === undefined) {
      this.#byPlace.set(id, entry);
      this.#tops.set(channel, Math.max(offset, this.#tops.get(channel) ?? 0));
      const list = this.#channels.get(channel);
      if (list === undefined) this.#channels.set(channel, [entry]);
      else list.push(entry);
    }
    return entry;
  }

  /** An attempt to publish begins. */
  attempt(entry: Entry): void {
    entry.attempts++;
    entry.last = this.#time.now;
  }

  /** Whether the key of a message may be forgotten soon, so that sent again it would be another message. */
  mayForgetKey({ begun }: Entry): boolean {
    return this.#time.now - begun > KEY_MILLISECONDS - 60_000;
  }

  /** A publisher's attempt was acknowledged. `begun` is when that attempt began. */
  acknowledge(entry: Entry, receipt: Receipt, begun: number): void {
    const { text, key, channel } = entry;
    const now = this.#time.now;
    if (key !== undefined) this.#checkKey(entry, receipt, begun);
    if (receipt.duplicate) return;
    if (entry.receipt !== undefined && key === undefined) throw new Broken(`${text} was acknowledged twice`);
    entry.acked ??= now;
    entry.receipt = receipt;
    if (entry.transient) return;
    const { announced } = entry;
    if (announced === undefined) throw new Broken(`${text} was acknowledged before it was announced`);
    const { sequence, offset, epoch } = announced.message;
    if (receipt.sequence !== sequence || receipt.offset !== offset || receipt.epoch !== epoch) {
      throw new Broken(
        `${text} was acknowledged on ${channel} as ${place(receipt)} and announced as ${
          place(announced.message)
        }`,
      );
    }
  }

  /** An attempt was refused with `key_reused`. */
  refuseKey(entry: Entry, key: string, begun: number): void {
    const others = [...this.entries.values()].filter((other) =>
      other !== entry && other.channel === entry.channel && other.key === key
    );
    if (others.length === 0) {
      throw new Broken(`${entry.text} was refused for its key, which no other message had`);
    }
    if (others.every(({ last }) => begun - last > KEY_MILLISECONDS + this.#slack())) {
      throw new Broken(`${entry.text} was refused for a key that is no longer valid`);
    }
  }

  #checkKey(entry: Entry, receipt: Receipt, begun: number): void {
    const { text, channel } = entry;
    const id = `${channel} ${entry.key}`;
    const use = this.#keys.get(id);
    if (receipt.duplicate) {
      if (entry.attempts < 2) throw new Broken(`${text} was called a duplicate, and it is the first`);
      if (use !== undefined && use.entry !== entry) {
        throw new Broken(`${text} was called a duplicate of ${use.entry.text}`);
      }
      const first = entry.receipt;
      if (first !== undefined && (first.sequence !== receipt.sequence || first.offset !== receipt.offset)) {
        throw new Broken(`${text} was acknowledged as ${place(first)}, again as ${place(receipt)}`);
      }
      return;
    }
    if (use !== undefined && this.#time.now - use.at < KEY_MILLISECONDS - this.#slack()) {
      throw new Broken(`${text} was accepted with the key of ${use.entry.text}, which still counts`);
    }
    this.#keys.set(id, { entry, at: begun });
  }

  /** A removal begins. @returns notes its end */
  clear(channel: string): () => void {
    const removal: Removal = { channel, begun: this.#time.now, done: undefined };
    this.#removals.push(removal);
    return () => removal.done = this.#time.now;
  }

  /** Whether a stored message may have been removed by now: by number, age, ttl or DELETE. */
  mayBeGone(entry: Entry): boolean {
    const { announced, channel, ttl } = entry;
    const by = this.#time.now;
    if (announced === undefined) return true;
    const slack = this.#slack();
    if (ttl !== undefined && by >= entry.begun + ttl * 1_000 - slack) return true;
    const { messages, seconds } = RULES.for(channel).history;
    if (by >= entry.begun + seconds * 1_000 - slack) return true;
    if (
      this.#removals.some(({ channel: cleared, done }) =>
        cleared === channel && (done === undefined || done >= announced.at)
      )
    ) {
      return true;
    }
    return announced.message.offset <= (this.#tops.get(channel) ?? 0) - messages;
  }

  /**
   * Whether a stored message must not be found by a read that began at some time.
   *
   * @param isBehind whether who reads may not have heard of removals yet
   */
  mustBeGone({ announced, acked, channel, ttl }: Entry, asked: number, isBehind: boolean): boolean {
    if (announced === undefined || acked === undefined) return false;
    if (ttl !== undefined && asked > acked + ttl * 1_000 + this.#slack()) return true;
    if (isBehind) return false;
    return this.#removals.some(({ channel: cleared, begun, done }) =>
      cleared === channel && done !== undefined && done < asked && begun > acked
    );
  }

  /** Whether a later message took its place, for those who are behind on a conflated channel. */
  isReplaced({ announced, channel, text }: AnnouncedEntry): boolean {
    return RULES.for(channel).conflate && this.#newest.get(conflationKey(announced.message))?.text !== text;
  }

  /** Whether a message may have been stored, and be gone, of which nobody has heard: its publisher got no answer. */
  hasUnknown(matches: (channel: string) => boolean): boolean {
    return [...this.entries.values()].some(({ announced, transient, refused, channel }) =>
      announced === undefined && !transient && refused === undefined && matches(channel)
    );
  }

  /** All stored messages that were announced on channels that match. */
  *stored(matches: (channel: string) => boolean): Iterable<AnnouncedEntry> {
    for (const [channel, list] of this.#channels) {
      if (!matches(channel)) continue;
      for (const entry of list) if (isAnnounced(entry)) yield entry;
    }
  }
}

function isAnnounced(entry: Entry): entry is AnnouncedEntry {
  return entry.announced !== undefined;
}

export function place({ epoch, sequence, offset }: Pick<Message, "epoch" | "sequence" | "offset">): string {
  return `${formatId(epoch, sequence)} (offset ${offset})`;
}

export function show(payload: string): string {
  return JSON.stringify(payload.slice(0, 30));
}
