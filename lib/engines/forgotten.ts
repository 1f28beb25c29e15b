/**
 * What engines keep of channels that they have forgotten: so little that names may come and go for ever, and enough
 * that no position of them is ever mistaken for one of a later life.
 */
import { createHash } from "node:crypto";
import type { Cursor } from "../core/log.ts";

/** How long after its newest message an empty channel is forgotten, in milliseconds, if nothing else is set. */
export const FORGET_MILLISECONDS = 24 * 60 * 60 * 1_000;

/** Beyond this many tombstones the oldest become one floor for all channels that are unknown. */
export const MAX_TOMBSTONES = 100_000;

/** What was removed from a channel, or from several. Zeros where nothing was. */
export interface Removed {
  /** The newest message that was removed, other than by itself. */
  readonly removedOffset: number;
  readonly removedSequence: number;
  readonly removedTime: number;
}

/** What is left of one channel. Its offsets go on from `offset` when it comes back. */
export interface Tombstone extends Removed {
  readonly offset: number;
}

/** What was removed from forgotten channels that a read may concern, as `isGapOf` asks. */
export interface Ghost extends Tombstone {
  /** The newest message of the last removal other than by ttl, and the number of that removal in the engine. */
  readonly cutSequence: number;
  readonly cutAt: number;
}

export const NO_TOMBSTONE: Tombstone = { offset: 0, removedOffset: 0, removedSequence: 0, removedTime: 0 };

/** The greater of both in everything: positions of either are below it. */
export function mergeTombstones(one: Tombstone, other: Tombstone): Tombstone {
  return {
    offset: Math.max(one.offset, other.offset),
    removedOffset: Math.max(one.removedOffset, other.removedOffset),
    removedSequence: Math.max(one.removedSequence, other.removedSequence),
    removedTime: Math.max(one.removedTime, other.removedTime),
  };
}

/** The floor that takes a tombstone in: whoever has an offset below it may have missed something. */
export function lowerIntoFloor(floor: Tombstone, tombstone: Tombstone): Tombstone {
  const merged = mergeTombstones(floor, tombstone);
  return { ...merged, removedOffset: merged.offset };
}

/**
 * The key of a channel's tombstone, 48 bits. Two channels with one key share the greater tombstone, which errs safely.
 */
export function hashChannel(name: string): number {
  return createHash("sha256").update(name).digest().readUIntBE(0, 6);
}

/** Whether messages after a cursor were removed from what has been forgotten since. */
export function isGapOf(ghost: Ghost, after: Cursor): boolean {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return false;
    case "id":
      return after.asOf === undefined
        ? ghost.removedSequence > Math.max(after.sequence, after.told?.upTo ?? 0)
        : ghost.cutAt > after.asOf.removals && ghost.cutSequence > after.sequence;
    case "offset":
      return ghost.removedOffset > after.offset;
    case "time":
      return ghost.removedTime > 0 && ghost.removedTime >= after.time;
  }
}

/** The tombstones of the memory engine. */
export class Tombstones {
  readonly #byHash = new Map<number, Tombstone>();
  readonly #max: number;
  #floor = NO_TOMBSTONE;
  #all = NO_TOMBSTONE;
  #cutSequence = 0;
  #cutAt = 0;

  /** @param max how many are kept apart */
  constructor(max: number = MAX_TOMBSTONES) {
    this.#max = max;
  }

  /** Keeps what is left of a channel that is forgotten. */
  bury(
    name: string,
    { offset, removedOffset, removedSequence, removedTime, cutSequence, cutAt }: Ghost,
  ): void {
    const hash = hashChannel(name);
    const tombstone = mergeTombstones(
      { offset, removedOffset, removedSequence, removedTime },
      this.#byHash.get(hash) ?? NO_TOMBSTONE,
    );
    this.#byHash.delete(hash);
    this.#byHash.set(hash, tombstone);
    this.#all = mergeTombstones(this.#all, tombstone);
    this.#cutSequence = Math.max(this.#cutSequence, cutSequence);
    this.#cutAt = Math.max(this.#cutAt, cutAt);
    if (this.#byHash.size <= this.#max) return;
    for (const [oldest, old] of this.#byHash) {
      this.#byHash.delete(oldest);
      this.#floor = lowerIntoFloor(this.#floor, old);
      return;
    }
  }

  /** What an unknown channel begins from. */
  find(name: string): Tombstone {
    return this.#byHash.get(hashChannel(name)) ?? this.#floor;
  }

  /** The ghost of one unknown channel. */
  ghostOf(name: string): Ghost {
    return { ...this.find(name), cutSequence: this.#cutSequence, cutAt: this.#cutAt };
  }

  /** The ghost of all that was ever forgotten. */
  get ghostOfAll(): Ghost {
    return { ...this.#all, cutSequence: this.#cutSequence, cutAt: this.#cutAt };
  }
}
