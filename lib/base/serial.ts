/** Tasks one after another: for what must not run at the same time, in the order in which it was asked for. */

/** A queue of asynchronous tasks. A task that fails does not hold up the next. */
export class Serial {
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;

  /** How many tasks have not ended. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Runs a task when all before it have ended; settles as it does. */
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
