/** Runs asynchronous tasks one after another, in the order of the calls. */

/** A queue of asynchronous tasks. A task that fails does not hold up the next. */
export class Serial {
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** The number of tasks that have not ended. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Runs a task once all earlier ones have ended, and settles as it does. */
  async run<T>(task: () => Promise<T>): Promise<T> {
    this.#waiting++;
    const result = this.#last.then(task);
    this.#last = result.then(() => {}, () => {});
    try {
      return await result;
    } finally {
      this.#waiting--;
    }
  }
}
