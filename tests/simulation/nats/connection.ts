/**
 * The client protocol of NATS, https://docs.nats.io/reference/reference-protocols/nats-protocol, from the server's side, as
 * far as the JetStream engine uses it.
 */
import type { Line, ServerEnd } from "./network.ts";

/** A message as it passes through the server. */
export interface NatsMessage {
  readonly subject: string;
  readonly reply: string | undefined;
  /** The header block with its version line and the empty line at its end; empty for none. */
  readonly header: Uint8Array;
  readonly data: Uint8Array;
}

/** What connections need of their server. */
export interface Switch {
  publish(message: NatsMessage, from: NatsServerConnection): void;
  gone(connection: NatsServerConnection): void;
}

export const NOTHING = new Uint8Array();
const CARRIAGE_RETURN = 13;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const INFO = `INFO ${
  JSON.stringify({
    server_id: "simulated",
    server_name: "simulated",
    version: "2.12.0",
    proto: 1,
    host: "127.0.0.1",
    port: 4222,
    headers: true,
    max_payload: 1024 * 1024,
    jetstream: true,
    client_id: 1,
  })
}\r\n`;

export class NatsServerConnection implements ServerEnd {
  readonly #line: Line;
  readonly #switch: Switch;
  readonly #subscriptions = new Map<string, readonly string[]>();
  #unread: Uint8Array = NOTHING;

  constructor(line: Line, server: Switch) {
    this.#line = line;
    this.#switch = server;
    line.answer(encoder.encode(INFO));
  }

  receive(bytes: Uint8Array): void {
    this.#unread = this.#unread.length === 0 ? bytes : join([this.#unread, bytes]);
    while (this.#readCommand());
  }

  closed(): void {
    this.#subscriptions.clear();
    this.#switch.gone(this);
  }

  /** Whether it has a subscription to a subject. */
  listens(subject: string): boolean {
    for (const pattern of this.#subscriptions.values()) if (matchesSubject(pattern, subject)) return true;
    return false;
  }

  /**
   * Sends a message to each of its subscriptions that match.
   *
   * @param to the subject that counts, where it is not the message's own
   * @returns whether there was one
   */
  deliver(message: NatsMessage, to: string = message.subject): boolean {
    let delivered = false;
    const { subject, reply, header, data } = message;
    for (const [sid, pattern] of this.#subscriptions) {
      if (!matchesSubject(pattern, to)) continue;
      delivered = true;
      const address = `${subject} ${sid}${reply === undefined ? "" : ` ${reply}`}`;
      const head = header.length === 0
        ? `MSG ${address} ${data.length}\r\n`
        : `HMSG ${address} ${header.length} ${header.length + data.length}\r\n`;
      this.#line.answer(join([encoder.encode(head), header, data, encoder.encode("\r\n")]));
    }
    return delivered;
  }

  /** Ends the connection from the server's side. */
  close(): void {
    this.#line.close();
  }

  /** @returns whether a whole command was there */
  #readCommand(): boolean {
    const end = this.#unread.indexOf(CARRIAGE_RETURN);
    if (end === -1) return false;
    const [verb = "", ...words] = decoder.decode(this.#unread.subarray(0, end)).split(" ");
    const rest = end + 2;
    switch (verb.toUpperCase()) {
      case "PUB":
      case "HPUB": {
        const isBare = verb.toUpperCase() === "PUB";
        const size = Number(words.at(-1));
        if (this.#unread.length < rest + size + 2) return false;
        const body = this.#unread.slice(rest, rest + size);
        this.#unread = this.#unread.subarray(rest + size + 2);
        const headerSize = isBare ? 0 : Number(words.at(-2));
        const numbers = isBare ? 1 : 2;
        this.#switch.publish({
          subject: words[0]!,
          reply: words.length > numbers + 1 ? words[1] : undefined,
          header: body.subarray(0, headerSize),
          data: body.subarray(headerSize),
        }, this);
        return true;
      }
      case "SUB":
        this.#subscriptions.set(words.at(-1)!, words[0]!.split("."));
        break;
      case "UNSUB":
        // With a number of messages it ends by itself: what comes too much is ignored by the client.
        if (words.length === 1) this.#subscriptions.delete(words[0]!);
        break;
      case "PING":
        this.#line.answer(encoder.encode("PONG\r\n"));
        break;
      case "CONNECT":
      case "PONG":
        break;
      default:
        throw new Error(`The simulated NATS server does not know ${verb}`);
    }
    this.#unread = this.#unread.subarray(rest);
    return true;
  }
}

/** Whether a subject matches a pattern with `*` and `>`, split into tokens. */
export function matchesSubject(pattern: readonly string[], subject: string): boolean {
  const tokens = subject.split(".");
  for (let i = 0; i < pattern.length; i++) {
    if (pattern[i] === ">") return tokens.length > i;
    if (i >= tokens.length || (pattern[i] !== "*" && pattern[i] !== tokens[i])) return false;
  }
  return tokens.length === pattern.length;
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((size, { length }) => size + length, 0));
  let position = 0;
  for (const part of parts) {
    joined.set(part, position);
    position += part.length;
  }
  return joined;
}

/** A header block with a status and fields. */
export function encodeHeader(
  status: string,
  fields: Readonly<Record<string, string | number>> = {},
): Uint8Array {
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return encoder.encode(`NATS/1.0${status === "" ? "" : ` ${status}`}\r\n${lines.join("")}\r\n`);
}

/** A field of a header block. */
export function readField(header: Uint8Array, name: string): string | undefined {
  for (const line of decoder.decode(header).split("\r\n")) {
    if (line.startsWith(`${name}:`)) return line.slice(name.length + 1).trim();
  }
  return undefined;
}
