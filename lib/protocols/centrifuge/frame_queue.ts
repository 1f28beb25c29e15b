/**
 * The order in which a session reads its frames. A large one takes milliseconds to read and waits for its slice, so that
 * the large frames of ten sessions do not hold up others together; what the client sends after it waits behind it.
 */
import { nextSlice } from "../../base/slices.ts";
import { MAX_COMMAND_BYTES } from "./frame_size.ts";

type Frame = string | Uint8Array;

/** Characters or bytes that may wait. Beyond that everything is read at once, as nothing else bounds the memory. */
const MAX_WAITING = 4 * 1024 * 1024;

export class FrameQueue {
  readonly #read: (frame: Frame) => void;
  #frames: Frame[] = [];
  #length = 0;

  /** @param read takes a frame; must not throw */
  constructor(read: (frame: Frame) => void) {
    this.#read = read;
  }

  /** Reads a frame: now, unless it or one before it is large. */
  add(frame: Frame): void {
    if (this.#frames.length === 0 && !isLarge(frame)) return this.#read(frame);
    this.#length += frame.length;
    if (this.#frames.push(frame) === 1) this.#wait();
    if (this.#length > MAX_WAITING) { while (this.#frames.length > 0) this.#readNext(); }
  }

  /** Forgets what waits. */
  clear(): void {
    this.#frames = [];
    this.#length = 0;
  }

  #wait(): void {
    void nextSlice().then(() => {
      this.#readNext();
      while (this.#frames[0] !== undefined && !isLarge(this.#frames[0])) this.#readNext();
      if (this.#frames.length > 0) this.#wait();
    });
  }

  #readNext(): void {
    const frame = this.#frames.shift();
    if (frame === undefined) return;
    this.#length -= frame.length;
    this.#read(frame);
  }
}

function isLarge({ length }: Frame): boolean {
  return length > MAX_COMMAND_BYTES;
}
