/**
 * Ends requests that take too long, and all of them when the server stops. They share one timer and one listener: with
 * their own, a request takes a fifth more of the processor's time. Each target has one of these.
 */

/** A request that is under way. */
export class Attempt {
  readonly #ending = new AbortController();
  /** When it is late, by `performance.now()`. */
  readonly deadline: number;
  #isLate = false;

  constructor(deadline: number) {
    this.deadline = deadline;
  }

  /** Fires when it is to end. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether it was ended because it took too long. */
  get isLate(): boolean {
    return this.#isLate;
  }

  abort(isLate: boolean): void {
    this.#isLate = isLate;
    this.#ending.abort();
  }
}

export class Deadlines {
  readonly #milliseconds: number;
  /** Those that are under way, the oldest first. */
  readonly #attempts: Attempt[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;

  /**
   * @param milliseconds that each may take
   * @param stop ends all that are under way; none may begin after that
   */
  constructor(milliseconds: number, stop: AbortSignal) {
    this.#milliseconds = milliseconds;
    stop.addEventListener("abort", () => {
      clearTimeout(this.#timer);
      for (const attempt of this.#attempts) attempt.abort(false);
    });
  }

  /** Begins one; {@linkcode finish} must be called in the end. */
  begin(): Attempt {
    const attempt = new Attempt(performance.now() + this.#milliseconds);
    this.#attempts.push(attempt);
    this.#timer ??= setTimeout(() => this.#check(), this.#milliseconds);
    return attempt;
  }

  finish(attempt: Attempt): void {
    this.#attempts.splice(this.#attempts.indexOf(attempt), 1);
  }

  /** The timer outlives the attempt that it was set for, and is then set for the oldest that is under way. */
  #check(): void {
    this.#timer = undefined;
    const now = performance.now();
    for (const attempt of this.#attempts) {
      if (attempt.deadline > now) {
        this.#timer = setTimeout(() => this.#check(), attempt.deadline - now);
        return;
      }
      attempt.abort(true);
    }
  }
}
