/** Chance that can be had again: numbers that follow from a seed. Every actor of the soak draws from its own. */

export class Random {
  #state: number;

  /** @param name whose numbers these are: the same seed gives each name others */
  constructor(seed: number, name = "") {
    this.#state = seed | 0;
    for (const character of name) {
      this.#state = Math.imul(this.#state ^ character.codePointAt(0)!, 0x01000193);
    }
    // Similar names start close to each other, and part after a few numbers.
    for (let i = 0; i < 8; i++) this.fraction();
  }

  /** From 0 to less than 1. (Mulberry32.) */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** A number from `low` to less than `high`. */
  between(low: number, high: number): number {
    return low + (high - low) * this.fraction();
  }

  pick<T>(list: readonly T[]): T {
    const chosen = list[Math.floor(this.fraction() * list.length)];
    if (chosen === undefined) throw new RangeError("There is nothing to pick from");
    return chosen;
  }

  /** One of the names, each as often as its weight says. */
  choose<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let left = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) if ((left -= weight) < 0) return name;
    return entries[0]![0];
  }
}
