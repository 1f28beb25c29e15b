/**
 * The states of limits in memory that all threads of a process share, so that a limit holds for the process: exact,
 * without locks, and without asking another thread. What a thread counted is taken back when it dies.
 *
 * A table of slots in windows: a key has one window, by a hash with a random seed, and any slot in it. A slot is a word
 * of the key's tag and its number of connections, changed together, and the time at which its rate is full again (the
 * generic cell rate algorithm, which is a token bucket in one number).
 */
import type { Rate } from "../base/token_bucket.ts";
import { type LimitState, type LimitStates, LocalLimitStates } from "./limit_states.ts";

/** What a thread needs to share the states; it can be sent to it. */
export interface SharedLimitMemory {
  readonly slots: SharedArrayBuffer;
  /** Connections by thread: in all, then by slot. */
  readonly owned: SharedArrayBuffer;
  readonly seed: number;
}

const WINDOW_SLOTS = 16;
const WINDOWS = 8_192;
const SLOTS = WINDOWS * WINDOW_SLOTS;
/** The words of a slot. */
const WORDS = 2;
const COUNT_BITS = 32n;
const COUNT_MASK = (1n << COUNT_BITS) - 1n;
const NANOSECONDS = 1e6;

/** Makes the memory of a process of so many threads, numbered from 0. */
export function createSharedLimitMemory(threads: number): SharedLimitMemory {
  return {
    slots: new SharedArrayBuffer((1 + SLOTS * WORDS) * BigInt64Array.BYTES_PER_ELEMENT),
    owned: new SharedArrayBuffer(threads * (1 + SLOTS) * Int32Array.BYTES_PER_ELEMENT),
    seed: crypto.getRandomValues(new Uint32Array(1))[0]!,
  };
}

/** The clock of all threads, in milliseconds: those of `performance.now()` begin with each thread. */
export function readSharedClock(): number {
  return performance.timeOrigin + performance.now();
}

export class SharedLimitStates implements LimitStates {
  /** The connections in all, then the slots. */
  readonly #words: BigInt64Array<SharedArrayBuffer>;
  readonly #owned: Int32Array<SharedArrayBuffer>;
  readonly #seed: number;
  /** Where a window is full, a key is limited within this thread. */
  readonly #spare = new LocalLimitStates();

  /** @param thread its number */
  constructor({ slots, owned, seed }: SharedLimitMemory, thread: number) {
    this.#words = new BigInt64Array(slots);
    this.#owned = ownedBy(owned, thread);
    this.#seed = seed;
  }

  get connections(): number {
    return Number(Atomics.load(this.#words, 0));
  }

  connect(limit: number): boolean {
    while (true) {
      const count = Atomics.load(this.#words, 0);
      if (Number(count) >= limit) return false;
      if (Atomics.compareExchange(this.#words, 0, count, count + 1n) === count) break;
    }
    Atomics.add(this.#owned, 0, 1);
    return true;
  }

  disconnect(): void {
    if (disown(this.#owned, 0)) Atomics.sub(this.#words, 0, 1n);
  }

  open(key: string, now: number): LimitState {
    const [window, tag] = hash(key, this.#seed);
    const first = (window % WINDOWS) * WINDOW_SLOTS;
    const slot = findSlot(this.#words, first, BigInt((tag & 0x7fffffff) || 1), toNanoseconds(now));
    return slot === undefined
      ? this.#spare.open(key, now)
      : new SharedState(this.#words, this.#owned, slot, () => this.open(key, now));
  }

  /** Takes back what a thread had counted that is dead. */
  static release({ slots, owned }: SharedLimitMemory, thread: number): void {
    const words = new BigInt64Array(slots);
    const counts = ownedBy(owned, thread);
    Atomics.sub(words, 0, BigInt(Atomics.exchange(counts, 0, 0)));
    for (let slot = 0; slot < SLOTS; slot++) {
      const count = Atomics.exchange(counts, 1 + slot, 0);
      if (count > 0) Atomics.sub(words, 1 + slot * WORDS, BigInt(count));
    }
  }
}

class SharedState implements LimitState {
  readonly #words: BigInt64Array<SharedArrayBuffer>;
  readonly #owned: Int32Array<SharedArrayBuffer>;
  readonly #slot: number;
  /** The tag of the key when it was opened: an unused slot may be given to another key. */
  readonly #tag: bigint;
  readonly #reopen: () => LimitState;
  /** The state that counts instead, where the slot had been given away. */
  #moved: LimitState | undefined;

  constructor(
    words: BigInt64Array<SharedArrayBuffer>,
    owned: Int32Array<SharedArrayBuffer>,
    slot: { readonly index: number; readonly tag: bigint },
    reopen: () => LimitState,
  ) {
    this.#words = words;
    this.#owned = owned;
    this.#slot = slot.index;
    this.#tag = slot.tag;
    this.#reopen = reopen;
  }

  connect(limit: number): boolean {
    const index = 1 + this.#slot * WORDS;
    while (true) {
      const word = Atomics.load(this.#words, index);
      if (word >> COUNT_BITS !== this.#tag) return (this.#moved = this.#reopen()).connect(limit);
      if (Number(word & COUNT_MASK) >= limit) return false;
      if (Atomics.compareExchange(this.#words, index, word, word + 1n) === word) break;
    }
    Atomics.add(this.#owned, 1 + this.#slot, 1);
    return true;
  }

  disconnect(): void {
    if (this.#moved !== undefined) return this.#moved.disconnect();
    if (disown(this.#owned, 1 + this.#slot)) Atomics.sub(this.#words, 1 + this.#slot * WORDS, 1n);
  }

  take({ perSecond, burst }: Rate, now: number): number {
    if (this.#moved !== undefined) return this.#moved.take({ perSecond, burst }, now);
    const index = 2 + this.#slot * WORDS;
    const pause = 1e9 / perSecond;
    const time = toNanoseconds(now);
    while (true) {
      const full = Atomics.load(this.#words, index);
      const from = full > time ? full : time;
      const wait = Number(from - time) - (burst - 1) * pause;
      // Less than a nanosecond is rounding.
      if (wait >= 1) return wait / NANOSECONDS;
      const next = from + BigInt(Math.round(pause));
      if (Atomics.compareExchange(this.#words, index, full, next) === full) return 0;
    }
  }

  giveBack(rate: Rate): void {
    if (this.#moved !== undefined) return this.#moved.giveBack(rate);
    Atomics.sub(this.#words, 2 + this.#slot * WORDS, BigInt(Math.round(1e9 / rate.perSecond)));
  }
}

/** The slot of a key in its window: the one it has, or the first that nobody uses; undefined if all are in use. */
function findSlot(
  words: BigInt64Array<SharedArrayBuffer>,
  first: number,
  tag: bigint,
  time: bigint,
): { readonly index: number; readonly tag: bigint } | undefined {
  while (true) {
    let free: { readonly index: number; readonly word: bigint } | undefined;
    for (let index = first; index < first + WINDOW_SLOTS; index++) {
      const word = Atomics.load(words, 1 + index * WORDS);
      if (word >> COUNT_BITS === tag) return { index, tag };
      if (free !== undefined || (word & COUNT_MASK) !== 0n) continue;
      if (word === 0n || Atomics.load(words, 2 + index * WORDS) <= time) free = { index, word };
    }
    if (free === undefined) return undefined;
    const at = 1 + free.index * WORDS;
    // Another thread may have been faster, perhaps with the same key: look again.
    if (Atomics.compareExchange(words, at, free.word, tag << COUNT_BITS) === free.word) {
      return { index: free.index, tag };
    }
  }
}

function ownedBy(owned: SharedArrayBuffer, thread: number): Int32Array<SharedArrayBuffer> {
  return new Int32Array(owned, thread * (1 + SLOTS) * Int32Array.BYTES_PER_ELEMENT, 1 + SLOTS);
}

/**
 * Takes a connection off what a thread has counted, if it is still there: a thread that was given up, and whose connections
 * were taken back, may go on for a while.
 */
function disown(owned: Int32Array<SharedArrayBuffer>, index: number): boolean {
  while (true) {
    const count = Atomics.load(owned, index);
    if (count === 0) return false;
    if (Atomics.compareExchange(owned, index, count, count - 1) === count) return true;
  }
}

function toNanoseconds(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds * 1_000)) * 1_000n;
}

/**
 * Two numbers of 32 bits (cyrb53 of bryc, in the public domain). Who does not know the seed finds no two keys with the
 * same.
 */
function hash(key: string, seed: number): readonly [number, number] {
  let a = 0xdeadbeef ^ seed;
  let b = 0x41c6ce57 ^ seed;
  for (let i = 0; i < key.length; i++) {
    const code = key.charCodeAt(i);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return [a >>> 0, b >>> 0];
}
