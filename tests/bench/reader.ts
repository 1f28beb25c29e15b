/** One reader of a channel, in any protocol: it checks the order of what it gets and tells how far it has come. */
import { OrderCheck } from "./numbering.ts";
import type { RawConnection } from "./raw_connection.ts";
import { openHttpStream } from "./raw_http.ts";
import { openRawSocket } from "./raw_socket.ts";

export type ReaderProtocol = "WebSocket" | "SSE" | "NDJSON";

export interface ReaderOptions {
  /** Replay what is stored; otherwise only what comes from now on. */
  readonly sinceEarliest?: boolean;
  /** Number of the first message; 1 when left out. */
  readonly first?: number;
  readonly bufferSize?: number;
}

type Feed = (bytes: Uint8Array<ArrayBuffer>, take: (bytes: Uint8Array<ArrayBuffer>) => void) => void;

/** A reader that is subscribed. It gets nothing until it is asked to read. */
export class Reader implements Disposable {
  readonly #connection: RawConnection;
  readonly #feed: Feed;
  readonly #check: OrderCheck;
  readonly #take: (bytes: Uint8Array<ArrayBuffer>) => void;
  #disposed = false;

  private constructor(connection: RawConnection, feed: Feed, first: number) {
    this.#connection = connection;
    this.#feed = feed;
    this.#check = new OrderCheck(first);
    this.#take = (bytes) => this.#check.feed(bytes, bytes.length);
  }

  static async open(
    protocol: ReaderProtocol,
    port: number,
    channel: string,
    options: ReaderOptions = {},
  ): Promise<Reader> {
    const { first = 1, sinceEarliest = false, ...rest } = options;
    const query = sinceEarliest ? "since=earliest" : "";
    if (protocol === "WebSocket") {
      const connection = await openRawSocket(port, `/${channel}?${query}`, rest.bufferSize);
      return new Reader(connection, (bytes, take) => take(bytes), first);
    }
    const path = protocol === "NDJSON" ? `/${channel}?follow&${query}` : `/${channel}?${query}`;
    const accept = protocol === "NDJSON" ? "*/*" : "text/event-stream";
    const { connection, decoder } = await openHttpStream(port, path, { accept, ...rest });
    return new Reader(connection, (bytes, take) => decoder.feed(bytes, take), first);
  }

  /** Number of the newest message it got. */
  get last(): number {
    return this.#check.last;
  }

  /**
   * Reads once what has arrived; returns false when the reader has been disposed of.
   *
   * @throws {Error} when the server ended the connection, or what came is not in order
   */
  async read(): Promise<boolean> {
    const bytes = await this.#connection.read();
    if (bytes === undefined) {
      if (this.#disposed) return false;
      const words = JSON.stringify(this.#connection.lastWords);
      throw new Error(`The server ended a reader behind message ${this.last}; its last bytes: ${words}`);
    }
    this.#feed(bytes, this.#take);
    return true;
  }

  /** Reads until a message has come. */
  async readUntil(number: number): Promise<void> {
    while (this.last < number && await this.read()) { /* The order is checked on the way. */ }
  }

  [Symbol.dispose](): void {
    this.#disposed = true;
    this.#connection[Symbol.dispose]();
  }
}
