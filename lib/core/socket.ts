/** The Socket and Encoder ports: what the hub asks of a connection, whoever owns its TCP socket. */
import { utf8Length } from "../base/utf8.ts";
import type { Message } from "./message.ts";

/** What is written to sockets, built once and shared by all that get it: text, or bytes. */
export class Frame {
  readonly data: string | Uint8Array<ArrayBuffer>;
  #byteLength = -1;

  constructor(data: string | Uint8Array<ArrayBuffer>) {
    this.data = data;
  }

  /** Bytes of the data as it is sent. */
  get byteLength(): number {
    if (this.#byteLength < 0) {
      this.#byteLength = typeof this.data === "string" ? utf8Length(this.data) : this.data.byteLength;
    }
    return this.#byteLength;
  }
}

/** One connection: a WebSocket, or the response body of a stream. Nothing here throws for a peer that is gone. */
export interface Socket {
  /** Unique among all sockets, ever. */
  readonly id: string;
  /** Queues frames for sending, in order. */
  send(frames: readonly Frame[]): void;
  /** Bytes accepted by `send` that have not left the process. */
  readonly queuedBytes: number;
  /**
   * Frames without bytes since the last one with some, of which the listener cannot tell whether they have left. Left
   * out where `queuedBytes` counts them, too.
   */
  readonly unseenFrames?: number;
  /** Resolves when the queue is empty or the connection has ended. */
  drained(): Promise<void>;
  /** Ends the connection after what is queued, with a close code and a reason of at most 123 bytes of UTF-8. */
  close(code: number, reason: string): void;
  /** Drops the connection now, with what is queued, as far as the listener can. */
  terminate(): void;
}

/**
 * Turns messages into frames. Encoders are module-level constants: sockets that share one share its frames,
 * and a batch is encoded once, however many sockets get it.
 */
export type Encoder =
  /** One message, one frame, as plain WebSockets need. */
  | { readonly kind: "single"; encode(message: Message): Frame }
  /** A whole batch in one frame. */
  | { readonly kind: "joined"; encode(messages: readonly Message[]): Frame };

/** Encodes a batch by either kind of encoder. */
export function encodeBatch(encoder: Encoder, messages: readonly Message[]): readonly Frame[] {
  return encoder.kind === "joined"
    ? [encoder.encode(messages)]
    : messages.map((message) => encoder.encode(message));
}

/** What a protocol's handler is told of a socket whose peer answered no ping, and was dropped. */
export const IDLE_CLOSE = { code: 1006, reason: "idle" };

/** What a protocol does with the events of one WebSocket. Every method is total: none throws. */
export interface SocketHandler {
  /** The socket is open. Called first, once. */
  open(socket: Socket): void;
  message(data: string | Uint8Array<ArrayBuffer>): void;
  /** The socket has ended. Called last, once, also when `open` was never called. */
  close(code: number, reason: string): void;
}

/** The other end of one HTTP request, as the listener knows it. */
export interface Peer {
  /** IP address of the other end. */
  readonly address: string;
  /**
   * Answers the request's WebSocket handshake. The response it returns must be the request's answer.
   *
   * @throws {MessagingError} `bad_handshake` when the request is not a valid handshake
   */
  upgrade(handler: SocketHandler, options?: { subprotocol?: string }): Response;
}
