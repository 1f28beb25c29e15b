/** Remembers decisions of the application for a while, the newest ones. The subscribe callout uses it. */

/** Decisions that are kept. */
const MAX_DECISIONS = 10_000;

export class DecisionCache<T> {
  readonly #milliseconds: number;
  readonly #now: () => number;
  readonly #decisions = new Map<string, { readonly value: T; readonly until: number }>();

  /**
   * @param milliseconds for which a decision holds; 0 keeps none
   * @param now a monotonic clock in milliseconds
   */
  constructor(milliseconds: number, now: () => number = () => performance.now()) {
    this.#milliseconds = milliseconds;
    this.#now = now;
  }

  find(question: string): T | undefined {
    const found = this.#decisions.get(question);
    if (found === undefined) return undefined;
    if (found.until > this.#now()) return found.value;
    this.#decisions.delete(question);
    return undefined;
  }

  keep(question: string, value: T): void {
    if (this.#milliseconds === 0) return;
    this.#decisions.delete(question);
    this.#decisions.set(question, { value, until: this.#now() + this.#milliseconds });
    const [oldest] = this.#decisions.keys();
    if (this.#decisions.size > MAX_DECISIONS && oldest !== undefined) this.#decisions.delete(oldest);
  }
}
