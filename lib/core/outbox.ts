/** The bound on what may wait for one socket. Everything sent to a client goes through its outbox. */
import type { Frame, Socket } from "./socket.ts";

export interface OutboxLimits {
  /** Frames that may wait for a socket. */
  readonly messages: number;
  /** Bytes that may wait for a socket. */
  readonly bytes: number;
}

/**
 * Admits frames to a socket as long as its queue stays within limits. A reader too slow for that is refused:
 * its memory is the server's, and the log has what it missed.
 */
export class Outbox {
  readonly #socket: Socket;
  readonly #limits: OutboxLimits;
  // Sockets report queued bytes but not frames. Counting what was sent up to a mark, and moving the mark once
  // all bytes up to it have left, bounds the frames that still wait from above without a list of them. It counts
  // too many by at most the queues at the last two marks: who stays within a third of the limit is never refused.
  #sentFrames = 0;
  #sentBytes = 0;
  #leftFrames = 0;
  #mark: { frames: number; bytes: number } | undefined;

  constructor(socket: Socket, limits: OutboxLimits) {
    this.#socket = socket;
    this.#limits = limits;
  }

  /**
   * Sends frames, in order, if there is room for all of them. An empty queue has room for anything; one that may hold
   * as many frames as the limit allows, without a byte between them, counts as full.
   *
   * @returns false when there was no room: nothing was sent, and the socket should be cut off
   */
  offer(frames: readonly Frame[]): boolean {
    const queued = this.#socket.queuedBytes;
    if (queued === 0) {
      if ((this.#socket.unseenFrames ?? 0) >= this.#limits.messages) return false;
      this.#leftFrames = this.#sentFrames;
      this.#mark = undefined;
    } else {
      this.#advance(queued);
      let size = queued;
      for (const frame of frames) size += frame.byteLength;
      const waiting = this.#sentFrames - this.#leftFrames;
      if (size > this.#limits.bytes || waiting + frames.length > this.#limits.messages) return false;
    }
    for (const frame of frames) this.#sentBytes += frame.byteLength;
    this.#sentFrames += frames.length;
    this.#socket.send(frames);
    return true;
  }

  /** Whether frames sent earlier are still waiting. */
  get isBehind(): boolean {
    return this.#socket.queuedBytes > 0;
  }

  #advance(queued: number): void {
    if (this.#mark !== undefined && this.#sentBytes - queued >= this.#mark.bytes) {
      this.#leftFrames = this.#mark.frames;
      this.#mark = undefined;
    }
    this.#mark ??= { frames: this.#sentFrames, bytes: this.#sentBytes };
  }
}
