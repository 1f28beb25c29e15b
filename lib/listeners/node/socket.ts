/** The Socket port over a connection of the `ws` package. */
import { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";
import type { Socket as TcpSocket } from "node:net";
// @ts-types="./ws.d.ts"
import { WebSocket } from "ws";
import type { Frame, Socket } from "../../core/socket.ts";
import { joinFrames, keepFrames } from "./frames.ts";
import { hangUp } from "./hang_up.ts";

const NOTHING = Buffer.alloc(0);

/**
 * Writes frames itself, straight to the connection below `ws`, and leaves reading, pings, pongs and the closing
 * handshake to `ws`. Both write whole frames in one go, so neither ever ends up inside a frame of the other.
 */
export class NodeSocket implements Socket {
  readonly id = crypto.randomUUID();
  readonly #webSocket: WebSocket;
  readonly #connection: Duplex;
  #bytesRead = 0;
  #silentLooks = 0;
  #isIdle = false;

  constructor(webSocket: WebSocket, connection: Duplex) {
    this.#webSocket = webSocket;
    this.#connection = connection;
  }

  send(frames: readonly Frame[]): void {
    // Nothing may follow a close frame.
    if (this.#webSocket.readyState !== WebSocket.OPEN) return;
    this.#connection.write(this.queuedBytes > 0 ? keepFrames(frames) : joinFrames(frames));
  }

  get queuedBytes(): number {
    return this.#connection.destroyed ? 0 : this.#connection.writableLength;
  }

  drained(): Promise<void> {
    if (this.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => {
      // Writes call back in order, even if the connection breaks: this one once all earlier ones have left.
      if (this.#connection.writable) this.#connection.write(NOTHING, () => resolve());
      else this.#connection.once("close", resolve);
    });
  }

  close(code: number, reason: string): void {
    this.#webSocket.close(code, reason);
  }

  terminate(): void {
    this.#webSocket.terminate();
  }

  /** Ends the connection once the queue has left, and after a second at the latest. */
  hangUp(): void {
    hangUp(this.#connection);
  }

  /** Whether the peer was dropped because it was silent. */
  get isIdle(): boolean {
    return this.#isIdle;
  }

  /** Pings a peer that was silent since the last check, and drops one that was silent since the check before. */
  checkAlive(): void {
    const { bytesRead } = this.#connection as TcpSocket;
    if (bytesRead !== this.#bytesRead) this.#silentLooks = 0;
    else if (++this.#silentLooks === 1) this.#ping();
    else {
      this.#isIdle = true;
      this.terminate();
    }
    this.#bytesRead = bytesRead;
  }

  #ping(): void {
    if (this.#webSocket.readyState === WebSocket.OPEN) this.#webSocket.ping();
  }
}
