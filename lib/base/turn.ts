/** Batches items by turn of the event loop: engines store all drafts of a turn in one transaction. */

/** Runs a task after the pending I/O events, such as `setImmediate`. */
export type Schedule = (task: () => void) => void;

/**
 * Passes all items added during a turn to `flush`, in order. A long flush makes the next batch larger; an idle Turn has
 * no timer and adds no delay.
 */
export class Turn<T> {
  #items: T[] = [];
  readonly #flush: (items: T[]) => void;
  readonly #schedule: Schedule;

  /** @param flush takes the items; must not throw */
  constructor(flush: (items: T[]) => void, schedule: Schedule = setImmediate) {
    this.#flush = flush;
    this.#schedule = schedule;
  }

  add(item: T): void {
    if (this.#items.push(item) === 1) this.#schedule(() => this.flush());
  }

  /** Flushes now, without waiting for the turn to end. */
  flush(): void {
    if (this.#items.length === 0) return;
    const items = this.#items;
    this.#items = [];
    this.#flush(items);
  }
}
