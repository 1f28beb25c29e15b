/** Measures the lag of the event loop: while one turn takes long, everything else waits. The app starts one. */
import type { Histogram } from "./histogram.ts";

const PERIOD_MILLISECONDS = 100;

/** Measures the delay of a regular timer behind its due time. Disposing it stops it. */
export class LoopLag implements Disposable {
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(lag: Histogram) {
    let due = performance.now() + PERIOD_MILLISECONDS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      lag.observe(now - due);
      due = now + PERIOD_MILLISECONDS;
    }, PERIOD_MILLISECONDS);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
