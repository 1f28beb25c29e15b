/** The commands of a session that have arrived, taken in slices: a frame of thousands holds up nobody else. */
import { nextSlice, SliceClock } from "../../base/slices.ts";
import type { Command } from "./codec.ts";

/** Commands that are taken in one slice. */
const MAX_SLICE_COMMANDS = 64;
/** Commands of one client that may wait for their slice: those of a few full frames. */
const MAX_RECEIVED_COMMANDS = 16_384;

export class CommandQueue {
  readonly #take: (command: Command) => void;
  #received: Command[] = [];
  #isTaking = false;

  /** @param take takes a command; must not throw */
  constructor(take: (command: Command) => void) {
    this.#take = take;
  }

  /** Takes commands, after those of an earlier frame that wait for their slice. Returns false where too many wait. */
  add(commands: readonly Command[]): boolean {
    this.#received.push(...commands);
    if (this.#received.length > MAX_RECEIVED_COMMANDS) return false;
    if (!this.#isTaking) this.#takeReceived();
    return true;
  }

  /** Forgets what waits. */
  clear(): void {
    this.#received = [];
  }

  #takeReceived(): void {
    const clock = new SliceClock();
    let count = 0;
    // Most of a command's work comes after it was taken, when the slice's clock is not looked at any more.
    const end = Math.min(this.#received.length, MAX_SLICE_COMMANDS);
    while (count < end && !clock.isOver) this.#take(this.#received[count++]!);
    this.#received.splice(0, count);
    this.#isTaking = this.#received.length > 0;
    if (this.#isTaking) void nextSlice().then(() => this.#takeReceived());
  }
}
