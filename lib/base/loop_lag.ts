/** Watches how late the event loop is: while a turn takes long, everybody waits. The app starts one. */
import type { Histogram } from "./histogram.ts";

const PERIOD_MILLISECONDS = 100;

/** Counts by how much a regular timer comes late. Disposing it stops it. */
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
