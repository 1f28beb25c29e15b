/**
 * The map of one channel in memory: its keys, each with the message that set it. Every node has one of each channel
 * with keys; `ChannelMaps` feeds it the channel's messages, in the order of the log.
 */
import type { Message } from "../message.ts";
import { isLater, type Place, sizeOf } from "./map_entry.ts";

/** What a key is set to. */
export interface MapValue {
  readonly message: Message;
  /** Bytes in memory, roughly. */
  readonly bytes: number;
  /** When it is removed, in milliseconds since 1970; Infinity for never. */
  readonly expires: number;
}

/** A part of a map, in the order of its keys. */
export interface MapPage {
  readonly messages: readonly Message[];
  /** The last key of the page, from where the next one goes on; undefined on the last page. */
  readonly cursor: string | undefined;
}

export class ChannelMap {
  readonly channel: string;
  readonly #values = new Map<string, MapValue>();
  /** The keys in order; undefined when they have changed. */
  #sorted: readonly string[] | undefined;
  /** What removed a key, while older messages may still be read. */
  #ended: Map<string, Place> | undefined = new Map();
  /** Publishes of this node under way, by key, and how many of them set it. */
  readonly #held = new Map<string, { count: number; sets: number }>();
  /** How many of those keys have no value. */
  #added = 0;
  readonly #watchers = new Set<() => void>();
  /** Resolves once what was stored before this node came is known; undefined until somebody asks. */
  ready: Promise<void> | undefined;

  constructor(channel: string) {
    this.channel = channel;
  }

  /** The number of keys. */
  get size(): number {
    return this.#values.size;
  }

  /** Whether nobody would miss it. */
  get isIdle(): boolean {
    return this.#values.size === 0 && this.#held.size === 0 && this.#watchers.size === 0;
  }

  /** What a key is set to, also while its removal is due. */
  get(key: string): MapValue | undefined {
    return this.#values.get(key);
  }

  /** What readers get of a key: nothing once its time is up, though its removal may not be published yet. */
  read(key: string): MapValue | undefined {
    const value = this.#values.get(key);
    return value !== undefined && value.expires > Date.now() ? value : undefined;
  }

  /** The number of keys that readers get. */
  countReadable(): number {
    const now = Date.now();
    let count = 0;
    for (const { expires } of this.#values.values()) if (expires > now) count++;
    return count;
  }

  /** Takes a message that sets or removes a key, unless a later one is known. Answers whether it changed the map. */
  apply(message: Message): boolean {
    const { key, removed } = message.properties ?? {};
    if (key === undefined) return false;
    const known = this.#values.get(key)?.message ?? this.#ended?.get(key);
    if (known !== undefined && !isLater(message, known)) return false;
    if (removed === true) {
      this.#ended?.set(key, message);
      return this.#drop(key);
    }
    this.#ended?.delete(key);
    if (!this.#values.has(key)) {
      this.#sorted = undefined;
      if (this.#held.has(key)) this.#added--;
    }
    const bytes = sizeOf(key, message);
    const seconds = message.properties?.keyTtl;
    const expires = seconds === undefined ? Infinity : message.time + seconds * 1_000;
    this.#values.set(key, { message, bytes, expires });
    return true;
  }

  /** How many removed keys it remembers. */
  get endedCount(): number {
    return this.#ended?.size ?? 0;
  }

  /** What was stored before is known: messages come in order from now on. */
  settle(): void {
    this.#ended = undefined;
  }

  /** Forgets the keys whose messages are gone from the channel, and tells those who watch. Returns their values. */
  forget(isGone: (message: Message) => boolean): readonly MapValue[] {
    const gone = [...this.#values].filter(([, { message }]) => isGone(message));
    for (const [key, { message }] of gone) {
      this.#ended?.set(key, message);
      this.#drop(key);
    }
    if (gone.length > 0) { for (const watcher of [...this.#watchers]) watcher(); }
    return gone.map(([, value]) => value);
  }

  /** The values whose keys come after one, at most so many and so many bytes, but one at least. */
  page(after: string | undefined, limit: number, maxBytes: number): MapPage {
    this.#sorted ??= [...this.#values.keys()].sort();
    const now = Date.now();
    const messages: Message[] = [];
    let bytes = 0;
    for (let i = after === undefined ? 0 : findAfter(this.#sorted, after); i < this.#sorted.length; i++) {
      const value = this.#values.get(this.#sorted[i]!)!;
      if (value.expires <= now) continue;
      bytes += value.bytes;
      if (messages.length >= limit || (messages.length > 0 && bytes > maxBytes)) {
        return { messages, cursor: messages.at(-1)?.properties?.key };
      }
      messages.push(value.message);
    }
    return { messages, cursor: undefined };
  }

  /** Whether a publish of this node to a key is under way. */
  isHeld(key: string): boolean {
    return this.#held.has(key);
  }

  /** How many keys publishes under way may add. */
  get addedCount(): number {
    return this.#added;
  }

  /** Whether a publish of this node is under way that sets a key. */
  isBeingSet(key: string): boolean {
    return (this.#held.get(key)?.sets ?? 0) > 0;
  }

  /** A publish to a key begins. Returns what to call at its end. */
  hold(key: string, isSet = false): () => void {
    const held = this.#held.get(key) ?? { count: 0, sets: 0 };
    if (held.count === 0 && !this.#values.has(key)) this.#added++;
    held.count++;
    if (isSet) held.sets++;
    this.#held.set(key, held);
    return () => {
      if (isSet) held.sets--;
      if (--held.count > 0) return;
      this.#held.delete(key);
      if (!this.#values.has(key)) this.#added--;
    };
  }

  /** Calls back when keys are gone of which no message tells, as the history was cleared. Returns how to stop that. */
  watch(watcher: () => void): () => void {
    const own = () => watcher();
    this.#watchers.add(own);
    return () => void this.#watchers.delete(own);
  }

  #drop(key: string): boolean {
    if (!this.#values.has(key)) return false;
    this.#sorted = undefined;
    if (this.#held.has(key)) this.#added++;
    return this.#values.delete(key);
  }
}

/** The place of the first text of a sorted list that comes after one. */
function findAfter(sorted: readonly string[], text: string): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! <= text) low = middle + 1;
    else high = middle;
  }
  return low;
}
