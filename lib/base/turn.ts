/** Batches items by turn of the event loop: engines store all drafts of a turn in one transaction. */

/** Runs a task after the pending I/O events, such as `setImmediate`. */
export type Schedule = (task: () => void) => void;

/** How long batches that follow each other may take before sockets have their turn, in milliseconds. */
const BUSY_MILLISECONDS = 3;

/**
 * Passes all items added during a turn to `flush`, in order. A long flush makes the next batch larger; an idle Turn has
 * no timer and adds no delay.
 */
export class Turn<T> {
  #items: T[] = [];
  /** How many of the items have been passed on. */
  #start = 0;
  readonly #flush: (items: T[]) => void;
  readonly #schedule: Schedule;
  readonly #rest: Schedule;
  readonly #most: number;

  /**
   * @param flush takes the items; must not throw
   * @param most items of a batch. Those beyond it follow, and after some milliseconds of that sockets have their turn first.
   */
  constructor(flush: (items: T[]) => void, schedule?: Schedule, most = Infinity) {
    this.#flush = flush;
    this.#schedule = schedule ?? setImmediate;
    // Not a slice, for which those who add items wait as well: more would come than goes. A timer, see slices.ts.
    this.#rest = schedule ?? ((task) => void setTimeout(task, 0));
    this.#most = most;
  }

  add(item: T): void {
    if (this.#items.push(item) === 1) this.#schedule(() => this.#run());
  }

  /** Flushes everything now, without waiting for the turn to end. */
  flush(): void {
    const items = this.#start === 0 ? this.#items : this.#items.slice(this.#start);
    this.#items = [];
    this.#start = 0;
    if (items.length > 0) this.#flush(items);
  }

  #run(): void {
    const end = performance.now() + BUSY_MILLISECONDS;
    while (this.#items.length - this.#start > this.#most) {
      this.#flush(this.#take());
      if (performance.now() < end) continue;
      return this.#rest(() => this.#run());
    }
    this.flush();
  }

  /** Takes the next batch. To move all others each time would take long, and to keep what was passed on too much memory. */
  #take(): T[] {
    const items = this.#items.slice(this.#start, this.#start += this.#most);
    if (this.#start * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return items;
  }
}
