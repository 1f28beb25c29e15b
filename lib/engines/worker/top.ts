/**
 * The id of the last message that was stored, in memory that all threads share: a worker that is told of no message knows
 * it too. The thread of the engine writes.
 */
import type { Log } from "../../core/log.ts";

type Top = Log["top"];

/** The words: how often the epoch has changed, and the sequence. */
const GENERATION = 0;
const SEQUENCE = 1;

export function createTopMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(2 * BigInt64Array.BYTES_PER_ELEMENT);
}

/** The side of the engine's thread. */
export class TopWriter {
  readonly #words: BigInt64Array<SharedArrayBuffer>;
  #generation = 0;
  #epoch = "";

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
  }

  /** How often the epoch has changed. */
  get generation(): number {
    return this.#generation;
  }

  get epoch(): string {
    return this.#epoch;
  }

  write({ epoch, sequence }: Top): void {
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      Atomics.store(this.#words, GENERATION, BigInt(++this.#generation));
    }
    Atomics.store(this.#words, SEQUENCE, BigInt(sequence));
  }
}

/** A worker's side. */
export class TopReader {
  readonly #words: BigInt64Array<SharedArrayBuffer>;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new BigInt64Array(memory);
  }

  /** The newest sequence; undefined if the epoch is not that of a generation any more. */
  read(generation: number): number | undefined {
    const isCurrent = () => Number(Atomics.load(this.#words, GENERATION)) === generation;
    if (!isCurrent()) return undefined;
    const sequence = Number(Atomics.load(this.#words, SEQUENCE));
    // The engine's thread may have written both meanwhile.
    return isCurrent() ? sequence : undefined;
  }
}
