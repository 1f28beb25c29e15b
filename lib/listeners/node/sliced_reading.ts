/**
 * Reads what a WebSocket sends in slices. A chunk of 64 KiB holds hundreds of small frames, and the chunks of all
 * connections come in one turn of the event loop: read at once, those of ten clients hold up everybody else.
 */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import { isReadingOver, SliceClock } from "../../base/slices.ts";

/** Bytes that are read before others may have their turn. */
const PIECE_BYTES = 8 * 1024;

/** What takes no longer waits for nobody, in milliseconds: the chunks of one large frame take no time. */
const SHORT_MILLISECONDS = 1;

type Listen = (chunk: Buffer) => void;

/**
 * Has the one listener for the data of a connection called with pieces of each large chunk, and the connection wait where
 * that takes longer than a slice. What is not read yet goes back to the connection, so that nothing overtakes it.
 */
export function readInSlices(connection: Duplex): void {
  const [read] = connection.listeners("data") as Listen[];
  if (read === undefined) throw new TypeError("Nobody reads the connection yet");
  const reading = new SlicedReading(connection, read);
  connection.off("data", read);
  connection.on("data", reading.take);
}

/** The reading of one connection. There is one for every idle socket, too: it has few fields. */
class SlicedReading {
  readonly take: Listen;
  readonly #connection: Duplex;
  readonly #read: Listen;
  /** The slice that was waited for. */
  #waited: SliceClock | undefined;

  constructor(connection: Duplex, read: Listen) {
    this.#connection = connection;
    this.#read = read;
    // As with `once`: removing the wrapped listener removes this one.
    this.take = Object.assign((chunk: Buffer) => this.#take(chunk), { listener: read });
  }

  #take(chunk: Buffer): void {
    if (chunk.byteLength <= PIECE_BYTES && this.#waited === undefined) return this.#pass(chunk);
    const clock = this.#waited ?? new SliceClock(1);
    if (this.#waited === undefined && isReadingOver()) return this.#putBack(chunk, clock);
    this.#waited = undefined;
    const end = performance.now() + SHORT_MILLISECONDS;
    for (let start = 0; start < chunk.byteLength; start += PIECE_BYTES) {
      if (start > 0 && clock.isOver && performance.now() >= end) {
        return this.#putBack(chunk.subarray(start), clock);
      }
      this.#pass(chunk.subarray(start, start + PIECE_BYTES));
      // What follows a close frame or an error is nobody's.
      if (this.#connection.destroyed || !this.#isOn) return;
    }
  }

  #pass(piece: Buffer): void {
    this.#read.call(this.#connection, piece);
  }

  get #isOn(): boolean {
    return this.#connection.rawListeners("data").includes(this.take);
  }

  #putBack(rest: Buffer, clock: SliceClock): void {
    this.#connection.pause();
    this.#connection.unshift(rest);
    void clock.next().then(() => {
      this.#waited = clock;
      this.#connection.resume();
    });
  }
}
