/**
 * A circuit breaker: after several failures in a row nothing is sent for a while, then one attempt at a time tries whether
 * the other end is back. Each callout has one.
 */

/** Failures in a row that open it. */
const FAILURES = 5;
/** How long it stays open at first and at most, in milliseconds. */
const FIRST_PAUSE_MILLISECONDS = 500;
const LONGEST_PAUSE_MILLISECONDS = 10_000;

export class Breaker {
  readonly #now: () => number;
  #failures = 0;
  #opensUntil = 0;
  #isTrying = false;

  /** @param now a monotonic clock in milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  get isOpen(): boolean {
    return this.#failures >= FAILURES;
  }

  /** Whether an attempt may be made now. Whoever makes it must report what came of it. */
  mayTry(): boolean {
    if (!this.isOpen) return true;
    if (this.#isTrying || this.#now() < this.#opensUntil) return false;
    this.#isTrying = true;
    return true;
  }

  /** @returns whether it was open until now */
  reportSuccess(): boolean {
    const wasOpen = this.isOpen;
    this.#failures = 0;
    this.#isTrying = false;
    return wasOpen;
  }

  /** @returns whether this failure opened it */
  reportFailure(): boolean {
    this.#isTrying = false;
    this.#failures++;
    if (!this.isOpen) return false;
    const pause = FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(this.#failures - FAILURES, 10);
    this.#opensUntil = this.#now() + Math.min(pause, LONGEST_PAUSE_MILLISECONDS);
    return this.#failures === FAILURES;
  }
}
