/** The Socket and Encoder ports: what the hub needs of a connection, and what listeners and protocols implement. */
import { utf8Length } from "../base/utf8.ts";
import type { Message, Removal } from "./message.ts";

/** A unit written to sockets, as text or bytes. Built once and shared by all sockets that get it. */
export class Frame {
  readonly data: string | Uint8Array<ArrayBuffer>;
  #byteLength = -1;

  constructor(data: string | Uint8Array<ArrayBuffer>) {
    this.data = data;
  }

  /** The size of the data in bytes, text as UTF-8. */
  get byteLength(): number {
    if (this.#byteLength < 0) {
      this.#byteLength = typeof this.data === "string" ? utf8Length(this.data) : this.data.byteLength;
    }
    return this.#byteLength;
  }
}

/** One connection: a WebSocket, or the response body of a stream. No method throws when the peer is gone. */
export interface Socket {
  /** A unique id, never used again. */
  readonly id: string;
  /** Queues frames for sending, in order. */
  send(frames: readonly Frame[]): void;
  /** Bytes passed to `send` that have not left the process yet. */
  readonly queuedBytes: number;
  /**
   * Empty frames since the last one with data: the listener cannot tell whether they have left. Omitted where
   * `queuedBytes` counts them.
   */
  readonly unseenFrames?: number;
  /** Resolves when the queue is empty or the connection has ended. */
  drained(): Promise<void>;
  /** Closes the connection once the queue is sent, with a close code and a reason of at most 123 bytes of UTF-8. */
  close(code: number, reason: string): void;
  /** Drops the connection and its queue now, as far as the listener can. */
  terminate(): void;
}

/**
 * Turns messages into frames. Encoders are constants of a module, compared by identity: all sockets with the same
 * encoder share its frames, so that a batch is encoded once.
 */
export type Encoder =
  & (
    /** One message, one frame, as plain WebSockets need. */
    | { readonly kind: "single"; encode(message: Message): Frame }
    /** A whole batch in one frame. */
    | { readonly kind: "joined"; encode(messages: readonly Message[]): Frame }
  )
  & {
    /** Tells that stored messages were removed; left out by protocols that have no word for it. */
    encodeRemoval?(removal: Removal): Frame;
  };

/** Encodes a batch with either kind of encoder. */
export function encodeBatch(encoder: Encoder, messages: readonly Message[]): readonly Frame[] {
  return encoder.kind === "joined"
    ? [encoder.encode(messages)]
    : messages.map((message) => encoder.encode(message));
}

/** What a handler's `close` gets when the peer was dropped because it did not answer a ping. */
export const IDLE_CLOSE = { code: 1006, reason: "idle" };

/** How a protocol handles the events of one WebSocket. No method may throw. */
export interface SocketHandler {
  /** The socket is open. Called first, once. */
  open(socket: Socket): void;
  message(data: string | Uint8Array<ArrayBuffer>): void;
  /** The socket has closed. Called last, once, even if `open` was never called. */
  close(code: number, reason: string): void;
}

/** A request whose body has arrived with it, as far as the listener makes such. */
export interface WholeRequest extends Request {
  /** Reads the body, which may be a view of more, at once; undefined once it was read. */
  takeBytes(): Uint8Array<ArrayBuffer> | undefined;
}

/** The other end of one HTTP request, as the listener knows it. */
export interface Peer {
  /** IP address of the other end. */
  readonly address: string;
  /**
   * Accepts the request's WebSocket handshake. The caller must answer the request with the returned response.
   *
   * @throws {MessagingError} `bad_handshake` when the request is not a valid handshake
   */
  upgrade(handler: SocketHandler, options?: { subprotocol?: string }): Response;
  /**
   * Makes a response with the status 200, for answers that are asked for often. Left out where `new Response()` is as
   * good.
   *
   * @param headers with names in lower case, without a length
   */
  createResponse?(text: string, headers: Readonly<Record<string, string>>): Response;
}
