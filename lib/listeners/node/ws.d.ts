/**
 * What the node listener uses of the `ws` package, which brings no types. Those of `@types/ws` would replace Deno's
 * own types of the `node:` modules everywhere.
 */
import type { Buffer } from "node:buffer";
import type { EventEmitter } from "node:events";
import type { Duplex } from "node:stream";

/** The part of a request that a handshake is. */
export interface Handshake {
  readonly method: "GET";
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
}

interface WebSocketEvents {
  message: [data: Buffer, isBinary: boolean];
  error: [error: Error];
  close: [code: number, reason: Buffer];
}

export class WebSocket extends EventEmitter {
  static readonly OPEN: 1;
  readonly readyState: 0 | 1 | 2 | 3;
  on<E extends keyof WebSocketEvents>(event: E, listener: (...args: WebSocketEvents[E]) => void): this;
  ping(): void;
  close(code: number, reason: string): void;
  terminate(): void;
}

export interface ServerOptions {
  readonly noServer: true;
  readonly clientTracking: boolean;
  readonly perMessageDeflate: false;
  /** Largest message in bytes. */
  readonly maxPayload: number;
  readonly maxFragments: number;
  /** Most chunks of one unfinished frame. */
  readonly maxBufferedChunks: number;
  /** Most pongs that wait to be sent; pings beyond are not answered. */
  readonly maxPendingAutoPongs: number;
  /** Milliseconds a peer has to answer a close frame. */
  readonly closeTimeout: number;
}

export class WebSocketServer {
  constructor(options: ServerOptions);
  handleUpgrade(
    request: Handshake,
    connection: Duplex,
    head: Buffer,
    onOpen: (webSocket: WebSocket) => void,
  ): void;
}
