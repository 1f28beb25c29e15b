/** Backpressure: bounds the queue of one socket. Everything sent to a client goes through its outbox. */
import type { Frame, Socket } from "./socket.ts";

export interface OutboxLimits {
  /** Most frames queued for a socket. */
  readonly messages: number;
  /** Most bytes queued for a socket. */
  readonly bytes: number;
}

/** A queue that is surely within this part of the limits, one in so many, is not asked about. */
const UNASKED_PARTS = 3;

/**
 * Admits frames to a socket while its queue stays within limits. A slow subscriber is refused: its queue costs memory
 * of the server, and it can recover missed messages from the log.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #limits: OutboxLimits;
  // Sockets report queued bytes but not frames. Counting the frames sent up to a mark, and moving the mark once all
  // bytes up to it have left, gives an upper bound for the queued frames without a list of them. It is too high by at
  // most the queues at the last two marks: a queue within a third of the limit is never refused.
  #sentFrames = 0;
  #sentBytes = 0;
  #leftFrames = 0;
  #leftBytes = 0;
  #mark: { frames: number; bytes: number } | undefined;

  constructor(socket: Socket, limits: OutboxLimits) {
    this.#socket = socket;
    this.#limits = limits;
  }

  /**
   * Sends frames, in order, if the queue has room for all of them. A queue without bytes has room for anything, unless
   * it may hold as many empty frames as the limit allows.
   *
   * @returns false if there was no room: nothing was sent, and the caller should end the connection
   */
  offer(frames: readonly Frame[]): boolean {
    const size = sumBytes(frames);
    const { messages, bytes } = this.#limits;
    // Asking the socket costs as much as all the rest: below this, the queue is within the limits whatever has left.
    const isLow = (this.#sentFrames - this.#leftFrames + frames.length) * UNASKED_PARTS <= messages &&
      (this.#sentBytes - this.#leftBytes + size) * UNASKED_PARTS <= bytes;
    if (!isLow && !this.#hasRoom(frames.length, size)) return false;
    this.#sentBytes += size;
    this.#sentFrames += frames.length;
    this.#socket.send(frames);
    return true;
  }

  /** Whether frames would be admitted now. Looks at the socket, which {@linkcode offer} mostly need not. */
  hasRoomFor(frames: readonly Frame[]): boolean {
    return this.#hasRoom(frames.length, sumBytes(frames));
  }

  /** Whether earlier frames are still queued. */
  get isBehind(): boolean {
    return this.#socket.queuedBytes > 0;
  }

  /** Asks the socket what has left, and whether there is room for more. */
  #hasRoom(frames: number, size: number): boolean {
    const queued = this.#socket.queuedBytes;
    if (queued > 0) {
      this.#advance(queued);
      const waiting = this.#sentFrames - this.#leftFrames;
      return queued + size <= this.#limits.bytes && waiting + frames <= this.#limits.messages;
    }
    const unseen = this.#socket.unseenFrames ?? 0;
    if (unseen >= this.#limits.messages) return false;
    this.#leftFrames = this.#sentFrames - unseen;
    this.#leftBytes = this.#sentBytes;
    this.#mark = undefined;
    return true;
  }

  #advance(queued: number): void {
    if (this.#mark !== undefined && this.#sentBytes - queued >= this.#mark.bytes) {
      this.#leftFrames = this.#mark.frames;
      this.#leftBytes = this.#mark.bytes;
      this.#mark = undefined;
    }
    this.#mark ??= { frames: this.#sentFrames, bytes: this.#sentBytes };
  }
}

function sumBytes(frames: readonly Frame[]): number {
  let size = 0;
  for (const { byteLength } of frames) size += byteLength;
  return size;
}
