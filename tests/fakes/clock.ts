/** A clock that stands still until a test moves it. */
export class FakeClock {
  #time: number;

  constructor(time = Date.UTC(2026, 0, 1)) {
    this.#time = time;
  }

  /** Milliseconds since 1970; bound, so that it can be handed over as it is. */
  readonly now = (): number => this.#time;

  /** Moves the clock on, or back when negative. */
  advance(seconds: number): void {
    this.#time += seconds * 1_000;
  }
}
