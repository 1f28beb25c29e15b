/**
 * Which facts a target was told, as the engine keeps them: an entry for each. The protocol lane reads and writes them.
 */
import { createHash } from "node:crypto";
import type { LogState } from "../core/log.ts";

interface Told {
  readonly value: string;
  readonly revision: number;
}

/** A change of a fact's value; `null` stands for no value. */
export interface FactChange {
  readonly key: string;
  readonly before: string | null;
  readonly after: string | null;
}

export class ToldFacts {
  readonly #state: LogState;
  readonly #prefix: string;
  readonly #told = new Map<string, Told>();

  /** @param name of the webhook */
  constructor(state: LogState, name: string) {
    this.#state = state;
    this.#prefix = `${name}-told-`;
  }

  /**
   * Reads all, in place of what was known.
   *
   * @throws {MessagingError} what the engine rejects with
   */
  async load(): Promise<void> {
    this.#told.clear();
    for await (const { value: text, revision } of this.#state.list(this.#prefix)) {
      const [key, value]: [string, string] = JSON.parse(text);
      this.#told.set(key, { value, revision });
    }
  }

  keys(): Iterable<string> {
    return this.#told.keys();
  }

  find(key: string): string | undefined {
    return this.#told.get(key)?.value;
  }

  /**
   * Keeps what was told.
   *
   * @returns false if another process has written it meanwhile
   * @throws {MessagingError} what the engine rejects with
   */
  async apply(changes: readonly FactChange[]): Promise<boolean> {
    const applied = await Promise.all(changes.map((change) => this.#apply(change)));
    return !applied.includes(false);
  }

  async #apply({ key, after }: FactChange): Promise<boolean> {
    const known = this.#told.get(key);
    if (after === (known?.value ?? null)) return true;
    const stateKey = this.#prefix + createHash("sha256").update(key).digest("base64url").slice(0, 22);
    if (after === null) {
      this.#told.delete(key);
      return await this.#state.delete(stateKey, known?.revision ?? 0);
    }
    const revision = await this.#state.write(stateKey, JSON.stringify([key, after]), known?.revision ?? 0);
    if (revision === undefined) return false;
    this.#told.set(key, { value: after, revision });
    return true;
  }
}
