/** Checks every socket once per period, in groups, without a timer for each. The node listener uses it. */

/** Number of groups, so that not all sockets are pinged in one turn. */
const GROUPS = 16;

/** Calls `check` for each of its items once a period. */
export class IdleWatch<T> {
  readonly #groups: readonly Set<T>[] = Array.from({ length: GROUPS }, () => new Set<T>());
  readonly #timer: ReturnType<typeof setInterval>;
  #added = 0;
  #checked = 0;

  /** @param check must not throw; it may delete the item */
  constructor(periodMilliseconds: number, check: (item: T) => void) {
    this.#timer = setInterval(() => {
      for (const item of this.#groups[this.#checked++ % GROUPS] ?? []) check(item);
    }, periodMilliseconds / GROUPS);
  }

  /** Adds an item, whose first check comes within a period. */
  add(item: T): void {
    this.#groups[this.#added++ % GROUPS]?.add(item);
  }

  delete(item: T): void {
    for (const group of this.#groups) {
      if (group.delete(item)) return;
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
