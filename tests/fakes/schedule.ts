import { nextSlice } from "../../lib/base/slices.ts";

/** The event loop in a test's hands: tasks of the next turn run when it says so. */
export class ManualSchedule {
  #tasks: (() => void)[] = [];

  /** A `Schedule`; bound, so that it can be handed over as it is. */
  readonly schedule = (task: () => void): void => void this.#tasks.push(task);

  /** How many tasks wait for the turn to end. */
  get waiting(): number {
    return this.#tasks.length;
  }

  /** Ends the turn: runs what was scheduled during it. */
  run(): void {
    for (const task of this.#tasks.splice(0)) task();
  }
}

/** Resolves when every promise that could go on has gone on, those that waited for a slice too. */
export async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  await nextSlice();
  await new Promise((resolve) => setImmediate(resolve));
}
