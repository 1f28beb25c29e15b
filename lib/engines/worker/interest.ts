/**
 * What a worker wants to be told of, in memory that it shares with the thread of the engine: a table of counters, found by
 * a hash of a channel's name or of the fixed beginning of a pattern. The worker writes, the engine's thread reads. So a
 * subscription counts from the moment it is made, before its client hears of it, and asking costs no message.
 *
 * Two names may share a counter: then the worker is told of more than it wants, and ignores that.
 */
import { type Schedule, Turn } from "../../base/turn.ts";
import type { Channels, Interest } from "../../core/interest.ts";

/** Counters of names; a worker with as many channels is told of most that happens. */
const NAME_SLOTS = 1 << 17;
/** Counters of what patterns begin with. */
const PREFIX_SLOTS = 1 << 12;
/** The counter of patterns that begin with a wildcard comes first, then those of beginnings, then those of names. */
const PREFIXES = 1;
const NAMES = PREFIXES + PREFIX_SLOTS;
/** A counter that got so far is not counted down any more, as it may have missed some. */
const FULL = 0xffff;
const SLASH = 47;

/** Makes the memory of one worker: it can be sent to it. */
export function createInterestMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer((NAMES + NAME_SLOTS) * Uint16Array.BYTES_PER_ELEMENT);
}

/**
 * The worker's side. Only one thread may write. What is removed is wanted until the end of this turn of the event loop: who
 * ends one subscription and makes another in its place would miss what is stored between the two.
 */
export class InterestWriter implements Interest {
  readonly #counts: Uint16Array<SharedArrayBuffer>;
  /** The newest sequence when each counter left zero. */
  readonly #starts = new Float64Array(NAMES + NAME_SLOTS);
  readonly #newest: () => number;
  readonly #removals: Turn<Channels>;

  /** @param newest the sequence of the last message that was stored, by any thread */
  constructor(memory: SharedArrayBuffer, newest: () => number, schedule?: Schedule) {
    this.#counts = new Uint16Array(memory);
    this.#newest = newest;
    this.#removals = new Turn((removals) => {
      for (const channels of removals) this.#remove(channels);
    }, schedule);
  }

  add(channels: Channels): number {
    let start = 0;
    for (const slot of findSlots(channels)) {
      const count = Atomics.load(this.#counts, slot);
      if (count < FULL) Atomics.store(this.#counts, slot, count + 1);
      // In this order: what the engine stores after it was asked for the newest is announced.
      if (count === 0) this.#starts[slot] = this.#newest();
      start = Math.max(start, this.#starts[slot]!);
    }
    return start;
  }

  /** Sequences begin anew: those of before say nothing any more. */
  restart(): void {
    this.#starts.fill(0);
  }

  remove(channels: Channels): void {
    this.#removals.add(channels);
  }

  #remove(channels: Channels): void {
    for (const slot of findSlots(channels)) {
      const count = Atomics.load(this.#counts, slot);
      if (count > 0 && count < FULL) Atomics.store(this.#counts, slot, count - 1);
    }
  }
}

/** Where a channel may be wanted: the same for all workers, so that it is worked out once. */
export type Places = readonly number[];

/** Where the engine's thread looks for a channel. */
export function findPlaces(channel: string): Places {
  const places = [0];
  let hash = START;
  for (let i = 0; i < channel.length; i++) {
    const code = channel.charCodeAt(i);
    hash = mix(hash, code);
    if (code === SLASH) places.push(PREFIXES + finish(hash) % PREFIX_SLOTS);
  }
  places.push(NAMES + finish(hash) % NAME_SLOTS);
  return places;
}

/** The engine's side. */
export class InterestReader {
  readonly #counts: Uint16Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.#counts = new Uint16Array(memory);
  }

  /** Whether the worker wants what is stored in a channel. */
  wants(places: Places): boolean {
    for (const place of places) if (Atomics.load(this.#counts, place) > 0) return true;
    return false;
  }
}

function findSlots({ channel, patterns }: Channels): Iterable<number> {
  return channel === undefined ? patterns.map(findSlot) : [findNameSlot(channel)];
}

/** A pattern is found by what comes before its first wildcard. */
function findSlot(pattern: readonly string[]): number {
  const wildcard = pattern.findIndex((segment) => segment.endsWith("*"));
  if (wildcard === -1) return findNameSlot(pattern.join("/"));
  if (wildcard === 0) return 0;
  return PREFIXES + hashText(`${pattern.slice(0, wildcard).join("/")}/`) % PREFIX_SLOTS;
}

function findNameSlot(channel: string): number {
  return NAMES + hashText(channel) % NAME_SLOTS;
}

function hashText(text: string): number {
  let hash = START;
  for (let i = 0; i < text.length; i++) hash = mix(hash, text.charCodeAt(i));
  return finish(hash);
}

// FNV-1a over code units, with the last step of MurmurHash3, as FNV's low bits alone are uneven.
const START = 0x811c9dc5;

function mix(hash: number, code: number): number {
  return Math.imul(hash ^ code, 0x01000193);
}

function finish(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
