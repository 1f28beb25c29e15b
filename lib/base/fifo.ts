/** A queue from which the first item is taken without moving all others, as `Array.shift` does. */
export class Fifo<T> {
  #items: T[] = [];
  /** How many of the items have been taken. */
  #taken = 0;

  get length(): number {
    return this.#items.length - this.#taken;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first item; undefined if there is none. */
  shift(): T | undefined {
    const item = this.#items[this.#taken];
    if (this.#taken < this.#items.length) this.#taken++;
    if (this.#taken * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }
}
