/** Keeps the state of services in memory: for the memory engine, and where an engine keeps none. */
import type { LogState, StateEntry } from "./log.ts";

export class MemoryState implements LogState {
  readonly #entries = new Map<string, StateEntry>();

  read(key: string): Promise<StateEntry | undefined> {
    return Promise.resolve(this.#entries.get(key));
  }

  write(key: string, value: string, revision: number): Promise<number | undefined> {
    const current = this.#entries.get(key)?.revision ?? 0;
    if (current !== revision) return Promise.resolve(undefined);
    this.#entries.set(key, { value, revision: current + 1 });
    return Promise.resolve(current + 1);
  }
}
