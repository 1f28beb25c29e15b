/** A Socket under the id that its client knows it by, so that an application can leave it out on every node. */
import type { Frame, Socket } from "../../core/socket.ts";

export class NamedSocket implements Socket {
  readonly id: string;
  readonly #socket: Socket;

  /** @param id unique among all sockets */
  constructor(id: string, socket: Socket) {
    this.id = id;
    this.#socket = socket;
  }

  get queuedBytes(): number {
    return this.#socket.queuedBytes;
  }

  get unseenFrames(): number {
    return this.#socket.unseenFrames ?? 0;
  }

  send(frames: readonly Frame[]): void {
    this.#socket.send(frames);
  }

  drained(): Promise<void> {
    return this.#socket.drained();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }
}
