/**
 * Counts what is kept in a bounded pool, in all and by whose it is. The owner of the pool decides with it what has
 * room.
 */
import { MessagingError } from "./errors.ts";
import type { Shares } from "./shares.ts";

export interface PoolOptions {
  /** Most things in it. */
  readonly maxCount: number;
  /** Most bytes of them together; no limit if left out. */
  readonly maxBytes?: number;
  readonly shares: Shares;
}

/** Something in the pool, or to be put there. */
export interface Place {
  /** Whose it is, as `Shares.ownerOf` says; undefined for whoever has no share. */
  readonly owner: string | undefined;
  readonly bytes: number;
  /** 0 for what only grows; 1 if left out. */
  readonly count?: 0 | 1;
}

/** What there is too little of, and how much there may be. */
export interface Shortage {
  readonly unit: "count" | "bytes";
  readonly limit: number;
  /** Whether it is the owner's share that is used up, not the pool. */
  readonly isShare: boolean;
}

interface Taken {
  count: number;
  bytes: number;
}

export class Pool {
  readonly #options: PoolOptions;
  readonly #all: Taken = { count: 0, bytes: 0 };
  readonly #owners = new Map<string, Taken>();

  constructor(options: PoolOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#all.count;
  }

  get bytes(): number {
    return this.#all.bytes;
  }

  add({ owner, bytes, count = 1 }: Place): void {
    take(this.#all, count, bytes);
    if (owner === undefined) return;
    let taken = this.#owners.get(owner);
    if (taken === undefined) this.#owners.set(owner, taken = { count: 0, bytes: 0 });
    take(taken, count, bytes);
  }

  remove({ owner, bytes, count = 1 }: Place): void {
    take(this.#all, -count, -bytes);
    const taken = owner === undefined ? undefined : this.#owners.get(owner);
    if (owner === undefined || taken === undefined) return;
    take(taken, -count, -bytes);
    if (taken.count === 0 && taken.bytes === 0) this.#owners.delete(owner);
  }

  /**
   * What there is too little of for one thing more; undefined if it has room.
   *
   * @param replaced what it takes the place of
   */
  findShortage({ owner, bytes }: Place, replaced?: Place): Shortage | undefined {
    const { maxCount, maxBytes = Infinity, shares } = this.#options;
    const freed = replaced === undefined ? { count: 0, bytes: 0 } : { count: 1, bytes: replaced.bytes };
    const isFull = (taken: Taken, freed: Taken, most: Taken): Shortage["unit"] | undefined =>
      taken.count - freed.count >= most.count
        ? "count"
        : taken.bytes - freed.bytes + bytes > most.bytes
        ? "bytes"
        : undefined;
    const most = { count: maxCount, bytes: maxBytes };
    const unit = isFull(this.#all, freed, most);
    if (unit !== undefined) return { unit, limit: most[unit], isShare: false };
    if (owner === undefined) return undefined;
    const own = { count: shares.of(maxCount), bytes: shares.of(maxBytes) };
    const taken = this.#owners.get(owner) ?? { count: 0, bytes: 0 };
    const ownUnit = isFull(taken, replaced?.owner === owner ? freed : { count: 0, bytes: 0 }, own);
    return ownUnit === undefined ? undefined : { unit: ownUnit, limit: own[ownUnit], isShare: true };
  }
}

/**
 * The error for whoever has used up its share.
 *
 * @param what is kept, such as `scheduled messages`
 * @param cure what its owner can do, such as `cancel some`
 */
export function describeShare({ unit, limit }: Shortage, what: string, cure: string): MessagingError {
  const most = unit === "bytes" ? `${what} of ${limit} bytes` : `${limit} ${what}`;
  return new MessagingError(
    "share_used_up",
    `You, or your address, may have ${most}, a share of what all have: ${cure}, or raise --max-share`,
  );
}

function take(taken: Taken, count: number, bytes: number): void {
  taken.count += count;
  taken.bytes += bytes;
}
