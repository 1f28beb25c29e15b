/** Counts of things by name, such as connections by user. Presence, hub and cluster keep such counts. */

export class Tally {
  readonly #counts = new Map<string, number>();

  /** How many names there are. */
  get size(): number {
    return this.#counts.size;
  }

  /** How many there are of a name. */
  count(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  add(name: string): void {
    this.#counts.set(name, this.count(name) + 1);
  }

  /** Takes one away; a name of which there is none is left at that. */
  remove(name: string): void {
    const left = this.count(name) - 1;
    if (left > 0) this.#counts.set(name, left);
    else this.#counts.delete(name);
  }
}
