/** How much may be done at once and a second: two numbers for each client, however busy it is. Limits are made of it. */

/** A rate that many buckets share. */
export interface Rate {
  /** Infinite for no limit. */
  readonly perSecond: number;
  /** What may come at once; at least 1. */
  readonly burst: number;
}

/** A bucket that fills at a rate up to its burst, and gives what it has. */
export class TokenBucket {
  readonly #rate: Rate;
  #tokens: number;
  #time: number;

  /** @param now in milliseconds, of a clock that never goes back */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#tokens = rate.burst;
    this.#time = now;
  }

  /**
   * Takes one.
   *
   * @returns 0, or in how many milliseconds there will be one to take; then nothing was taken
   */
  take(now: number): number {
    this.#fill(now);
    if (this.#tokens < 1) return (1 - this.#tokens) / this.#rate.perSecond * 1_000;
    this.#tokens--;
    return 0;
  }

  /** Puts one back, which another bucket did not give. */
  giveBack(): void {
    this.#tokens++;
  }

  /** Whether it is as if it had never been used. */
  isFull(now: number): boolean {
    this.#fill(now);
    return this.#tokens >= this.#rate.burst;
  }

  #fill(now: number): void {
    const { perSecond, burst } = this.#rate;
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#time) / 1_000 * perSecond);
    this.#time = now;
  }
}
