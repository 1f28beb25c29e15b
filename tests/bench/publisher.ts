/** Publishes numbered messages over one WebSocket, with a fixed number of them in flight. */
import { joinBytes } from "./bytes.ts";
import { encodeClientFrame } from "./generator/endpoint.ts";
import { createPayload, PAYLOAD_SIZE } from "./numbering.ts";
import type { RawConnection } from "./raw_connection.ts";
import { openRawSocket } from "./raw_socket.ts";
import { Reader } from "./reader.ts";

/** Messages in flight while a channel is filled. */
const FILL_IN_FLIGHT = 1_024;

/** A WebSocket that publishes. The server does not send it its own messages. */
export class Publisher implements Disposable {
  readonly #connection: RawConnection;
  #published: number;

  private constructor(connection: RawConnection, published: number) {
    this.#connection = connection;
    this.#published = published;
  }

  /** Opens it, behind messages that were published before. */
  static async open(port: number, channel: string, published = 0): Promise<Publisher> {
    // An id of its own keeps the objects of JSON readers short and alike.
    return new Publisher(await openRawSocket(port, `/${channel}?id=p`), published);
  }

  /** Number of the newest message. */
  get published(): number {
    return this.#published;
  }

  /** Publishes the messages up to a number. */
  publishUpTo(number: number): void {
    const frames: Uint8Array<ArrayBuffer>[] = [];
    while (this.#published < number) {
      frames.push(encodeClientFrame(createPayload(++this.#published, PAYLOAD_SIZE)));
    }
    if (frames.length > 0) this.#connection.send(joinBytes(frames));
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }
}

/** Stores messages 1 to `count` on a channel, and resolves when a reader of it got them all. */
export async function fillChannel(port: number, channel: string, count: number): Promise<void> {
  using reader = await Reader.open("WebSocket", port, channel);
  using publisher = await Publisher.open(port, channel);
  while (reader.last < count) {
    publisher.publishUpTo(Math.min(reader.last + FILL_IN_FLIGHT, count));
    await reader.read();
  }
}
