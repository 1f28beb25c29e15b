/** One pipeline per turn of the event loop: log engines collect what arrives in a turn and store it in one go. */

/** Runs a task after the I/O events that are waiting now, such as `setImmediate`. */
export type Schedule = (task: () => void) => void;

/**
 * Hands over, once a turn and in order, everything added during it. While a flush takes long, the next batch
 * grows by itself; while idle there is no timer and no added delay.
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

  /** Hands over what is waiting without waiting for the turn to end. */
  flush(): void {
    if (this.#items.length === 0) return;
    const items = this.#items;
    this.#items = [];
    this.#flush(items);
  }
}
