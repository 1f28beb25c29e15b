/** Counts by name, such as connections by user. Presence and hub keep such counts. */

export class Tally {
  readonly #counts = new Map<string, number>();

  /** The number of names with a count above 0. */
  get size(): number {
    return this.#counts.size;
  }

  /** The names with a count above 0. */
  names(): Iterable<string> {
    return this.#counts.keys();
  }

  /** The count of a name. */
  count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.count(name) + 1);
  }

  /** Subtracts one; a count of 0 remains 0. */
  remove(name: string): void {
    const left = this.count(name) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }
}
