/** Keeps the state of services in memory: for the memory engine, and where an engine keeps none. */
import { SliceClock } from "../base/slices.ts";
import type { LogState, StateEntry, StateItem } from "./log.ts";

export class MemoryState implements LogState {
  readonly #entries = new Map<string, StateEntry>();
  #revision = 0;

  read(key: string): Promise<StateEntry | undefined> {
    return Promise.resolve(this.#entries.get(key));
  }

  write(key: string, value: string, revision: number): Promise<number | undefined> {
    if (!this.#isAt(key, revision)) return Promise.resolve(undefined);
    this.#entries.set(key, { value, revision: ++this.#revision });
    return Promise.resolve(this.#revision);
  }

  /** The value of a key, synchronously. */
  find(key: string): string | undefined {
    return this.#entries.get(key)?.value;
  }

  /** Writes an entry that is not there yet, synchronously. */
  place(key: string, value: string): void {
    this.#entries.set(key, { value, revision: ++this.#revision });
  }

  delete(key: string, revision: number): Promise<boolean> {
    return Promise.resolve(revision !== 0 && this.#isAt(key, revision) && this.#entries.delete(key));
  }

  async *list(prefix: string): AsyncIterable<StateItem> {
    const slice = new SliceClock();
    for (const [key, entry] of this.#entries) {
      if (slice.isOver) await slice.next();
      if (key.startsWith(prefix)) yield { key, ...entry };
    }
  }

  #isAt(key: string, revision: number): boolean {
    return (this.#entries.get(key)?.revision ?? 0) === revision;
  }
}
