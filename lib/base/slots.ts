/** Runs asynchronous tasks, so many at a time, in the order of the calls. */
import { Fifo } from "./fifo.ts";

/** Places for tasks that run at a time. */
export class Slots {
  #free: number;
  readonly #waiting = new Fifo<() => void>();

  /** @param most tasks at a time */
  constructor(most: number) {
    this.#free = most;
  }

  /** Runs a task once there is a place, and settles as it does. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      // The next one takes this place.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
