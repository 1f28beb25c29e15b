/** A token bucket, which limits a rate with two numbers of state. Limits are built of it. */

/** A rate that many buckets share. */
export interface Rate {
  /** Infinity for no limit. */
  readonly perSecond: number;
  /** The most at once; at least 1. */
  readonly burst: number;
}

/** A bucket that fills at a rate, up to the burst, and gives out tokens while it has any. */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #time: number;

  /** @param now in milliseconds, of a monotonic clock */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#time = now;
  }

  /**
   * Takes a token.
   *
   * @returns 0 if there was one, else the milliseconds until there will be
   */
  take(now: number): number {
    this.#fill(now);
    if (this.#tokens < 1) return (1 - this.#tokens) / this.#rate.perSecond * 1_000;
    this.#tokens--;
    return 0;
  }

  /** Returns a token that was taken, as when another bucket refused. */
  giveBack(): void {
    this.#tokens++;
  }

  /** Whether the bucket is full, as if never used. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= this.#rate.burst;
  }

  #fill(now: number): void {
    const { perSecond, burst } = this.#rate;
    // Never less than before: a clock that was set back takes nothing away.
    const elapsed = Math.max(0, now - this.#time);
    this.#tokens = Math.min(burst, this.#tokens + elapsed / 1_000 * perSecond);
    this.#time = now;
  }
}
