/** A Socket that joins the frames of one task into one, for protocols whose frames may carry several messages. */
import type { Frame, Socket } from "./socket.ts";

/** Collects the frames sent during the running task, then sends them as one. */
export class JoiningSocket implements Socket {
  readonly #socket: Socket;
  readonly #join: (frames: readonly Frame[]) => Frame;
  #frames: Frame[] = [];
  #bytes = 0;
  #held = false;

  /** @param join makes one frame of several; a single frame is passed on as it is, so that sockets share it */
  constructor(socket: Socket, join: (frames: readonly Frame[]) => Frame) {
    this.#socket = socket;
    this.#join = join;
  }

  get id(): string {
    return this.#socket.id;
  }

  send(frames: readonly Frame[]): void {
    if (frames.length > 0 && this.#frames.length === 0) queueMicrotask(() => this.flush());
    this.#frames.push(...frames);
    for (const { byteLength } of frames) this.#bytes += byteLength;
  }

  get queuedBytes(): number {
    return this.#bytes + this.#socket.queuedBytes;
  }

  drained(): Promise<void> {
    this.flush();
    return this.#socket.drained();
  }

  close(code: number, reason: string): void {
    this.#held = false;
    this.flush();
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#frames = [];
    this.#bytes = 0;
    this.#socket.terminate();
  }

  /** Holds all frames back until `release`. */
  hold(): void {
    this.#held = true;
  }

  /** Sends a frame, then all that were held back. */
  release(first: Frame): void {
    this.#held = false;
    this.#bytes += first.byteLength;
    this.#frames.unshift(first);
    this.flush();
  }

  /** Sends the collected frames now. */
  flush(): void {
    const frames = this.#frames;
    if (frames.length === 0 || this.#held) return;
    this.#frames = [];
    this.#bytes = 0;
    this.#socket.send(frames.length === 1 ? frames : [this.#join(frames)]);
  }
}
