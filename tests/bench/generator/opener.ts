/** Opens connections up to the point where messages may come: handshake, answer, and what a protocol says first. */
import {
  encodeClientFrame,
  encodeOpeningRequest,
  type Endpoint,
  expectedMqttAnswer,
  insertChannel,
} from "./endpoint.ts";
import type { Connection, Poller, Take } from "./poller.ts";

const UTF8 = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");
const AT_ONCE = 64;
const DEADLINE_MILLISECONDS = 30_000;

export interface OpenOptions {
  readonly port: number;
  readonly endpoint: Endpoint;
  readonly count: number;
  /** The channel of a connection, and who takes what comes to it once it is open. */
  channel(index: number): string;
  take(index: number): Take;
}

/**
 * Opens connections, some at a time, and returns when all are open.
 *
 * @throws {Error} when one is refused, ends, or takes too long
 */
export function openConnections(poller: Poller, options: OpenOptions): readonly Connection[] {
  const { port, endpoint, count } = options;
  const connections: Connection[] = [];
  const deadline = performance.now() + DEADLINE_MILLISECONDS;
  let open = 0;
  while (open < count) {
    while (connections.length < count && connections.length - open < AT_ONCE) {
      const index = connections.length;
      const channel = options.channel(index);
      const opening = new Opening(endpoint, channel);
      const connection = poller.connect(port, (buffer, length) => {
        if (!opening.feed(connection, buffer, length)) return;
        connection.take = options.take(index);
        open++;
      }, () => {
        throw new Error(`The server ended connection ${index} of ${count} to ${channel}`);
      });
      connection.send(encodeOpeningRequest(endpoint, channel));
      connections.push(connection);
    }
    poller.turn();
    if (performance.now() > deadline) throw new Error(`${open} of ${count} connections were opened in time`);
  }
  return connections;
}

/** What is said before a connection is open. */
class Opening {
  readonly #endpoint: Endpoint;
  readonly #channel: string;
  #text = "";
  /** How much of the opening has been said. */
  #step = -1;

  constructor(endpoint: Endpoint, channel: string) {
    this.#endpoint = endpoint;
    this.#channel = channel;
  }

  /** Takes what came; returns whether the connection is open now. */
  feed(connection: Connection, buffer: Uint8Array<ArrayBuffer>, length: number): boolean {
    this.#text += LATIN1.decode(buffer.subarray(0, length));
    const { kind, opening = [] } = this.#endpoint;
    if (kind === "MQTT") {
      const expected = expectedMqttAnswer(this.#endpoint);
      if (!expected.startsWith(this.#text)) throw new Error(`Refused: ${JSON.stringify(this.#text)}`);
      return this.#text === expected;
    }
    if (this.#step < 0) {
      if (!this.#text.includes("\r\n\r\n")) return false;
      const status = kind === "WebSocket" ? "101" : "200";
      if (!this.#text.startsWith(`HTTP/1.1 ${status} `)) throw new Error(`Refused: ${this.#text}`);
    } else if (!this.#text.includes(insertChannel(opening[this.#step]!.answer, this.#channel))) return false;
    const next = opening[++this.#step];
    if (next === undefined) return true;
    this.#text = "";
    connection.send(encodeClientFrame(UTF8.encode(insertChannel(next.send, this.#channel))));
    return false;
  }
}
