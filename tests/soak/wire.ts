/**
 * One connection of a soaking reader, over bare TCP, so that it can vanish without a word and stop reading: a plain
 * WebSocket, an event stream or a line stream, read into what it says.
 */
import { joinBytes } from "../bench/bytes.ts";
import { encodeHead, RawConnection } from "../bench/raw_connection.ts";
import { ChunkDecoder } from "../bench/raw_http.ts";

export type WireKind = "socket" | "events" | "lines";

/** What a reader was told. */
export type Item =
  | { readonly kind: "message"; readonly text: string; readonly id?: string; readonly offset?: number }
  /** Where the stream stands, without a message. */
  | { readonly kind: "position"; readonly id: string }
  | { readonly kind: "gap" }
  /** The server's last word on a WebSocket. */
  | { readonly kind: "close"; readonly code: number };

/** Turns the bytes of a body into items. */
interface Parser {
  feed(bytes: Uint8Array<ArrayBuffer>): Item[];
}

/** Any key will do: who answers is known. */
const KEY = "cmFpbmRyb3BzIHNvYWshIQ==";

export class Wire {
  readonly #connection: RawConnection;
  readonly #parser: Parser;

  private constructor(connection: RawConnection, parser: Parser) {
    this.#connection = connection;
    this.#parser = parser;
  }

  /**
   * Connects. A stream is subscribed when this resolves, a WebSocket once it has answered something.
   *
   * @param since where to go on; new messages only when left out
   * @throws {Error} when the server does not answer with what was asked for
   */
  static async open(kind: WireKind, port: number, path: string, since?: string): Promise<Wire> {
    const connection = await RawConnection.open(port, 65_536);
    const host = `127.0.0.1:${port}`;
    const query = new URLSearchParams(kind === "lines" ? { follow: "" } : {});
    if (since !== undefined && kind !== "events") query.set("since", since);
    const headers: Record<string, string> = { host };
    // When the server ends a stream, the connection is to end, too.
    if (kind !== "socket") headers.connection = "close";
    if (kind === "events") {
      headers.accept = "text/event-stream";
      if (since !== undefined) headers["last-event-id"] = since;
    } else if (kind === "socket") {
      headers.connection = "Upgrade";
      headers.upgrade = "websocket";
      headers["sec-websocket-version"] = "13";
      headers["sec-websocket-key"] = KEY;
    }
    connection.send(encodeHead(`GET ${path}?${query} HTTP/1.1`, headers));
    let head = "";
    try {
      head = await connection.readHead();
    } finally {
      if (!head.startsWith(kind === "socket" ? "HTTP/1.1 101" : "HTTP/1.1 200")) {
        connection[Symbol.dispose]();
      }
    }
    if (kind === "socket") {
      if (!head.startsWith("HTTP/1.1 101")) throw new Error(`GET ${path}?${query}: ${head}`);
      return new Wire(connection, new FrameParser((payload) => connection.send(encodeFrame(0x8a, payload))));
    }
    if (!head.startsWith("HTTP/1.1 200")) throw new Error(`GET ${path}?${query}: ${head}`);
    return new Wire(connection, new ChunkedLines(kind === "events" ? new EventLines() : new JsonLines()));
  }

  /** What has arrived next; undefined when the connection has ended. */
  async read(): Promise<readonly Item[] | undefined> {
    const bytes = await this.#connection.read();
    return bytes === undefined ? undefined : this.#parser.feed(bytes);
  }

  /** Sends a text frame. */
  send(text: string): void {
    this.#connection.send(encodeFrame(0x81, UTF8.encode(text)));
  }

  /** Says goodbye on a WebSocket; the server ends the connection. */
  sendClose(): void {
    this.#connection.send(encodeFrame(0x88, new Uint8Array([0x03, 0xe8])));
  }

  /** Goes away without a word. */
  vanish(): void {
    this.#connection[Symbol.dispose]();
  }
}

const UTF8 = new TextEncoder();

/** A client's frame, masked with zeros (RFC 6455 section 5.2). */
function encodeFrame(first: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const size = length < 126 ? [length | 0x80] : [126 | 0x80, length >> 8, length & 0xff];
  return joinBytes([new Uint8Array([first, ...size, 0, 0, 0, 0]), payload]);
}

/** The frames of a server: whole messages, not masked. */
class FrameParser implements Parser {
  readonly #pong: (payload: Uint8Array) => void;
  #rest = new Uint8Array();

  constructor(pong: (payload: Uint8Array) => void) {
    this.#pong = pong;
  }

  feed(bytes: Uint8Array<ArrayBuffer>): Item[] {
    const all = joinBytes([this.#rest, bytes]);
    const items: Item[] = [];
    let start = 0;
    for (;;) {
      const [first = 0, second = 0] = all.subarray(start);
      const wide = second === 126 ? 2 : second === 127 ? 8 : 0;
      const body = start + 2 + wide;
      if (all.length < body) break;
      let length = second;
      if (wide > 0) length = all.subarray(start + 2, body).reduce((sum, byte) => sum * 256 + byte, 0);
      if (all.length < body + length) break;
      const item = this.#read(first, all.subarray(body, body + length));
      if (item !== undefined) items.push(item);
      start = body + length;
    }
    this.#rest = all.slice(start);
    return items;
  }

  #read(first: number, payload: Uint8Array): Item | undefined {
    switch (first) {
      case 0x81:
        return { kind: "message", text: new TextDecoder().decode(payload) };
      case 0x88:
        return { kind: "close", code: payload.length < 2 ? 1005 : payload[0]! * 256 + payload[1]! };
      case 0x89:
        this.#pong(payload.slice());
        return undefined;
      default:
        throw new Error(`A frame that starts with ${first.toString(16)}`);
    }
  }
}

/** The lines of a body in chunks. */
class ChunkedLines implements Parser {
  readonly #chunks = new ChunkDecoder();
  readonly #lines: { read(line: string): Item | undefined };
  readonly #text = new TextDecoder();
  #rest = "";

  constructor(lines: { read(line: string): Item | undefined }) {
    this.#lines = lines;
  }

  feed(bytes: Uint8Array<ArrayBuffer>): Item[] {
    let text = this.#rest;
    this.#chunks.feed(bytes, (part) => text += this.#text.decode(part, { stream: true }));
    const lines = text.split("\n");
    this.#rest = lines.pop() ?? "";
    return lines.map((line) => this.#lines.read(line)).filter((item) => item !== undefined);
  }
}

class JsonLines {
  read(line: string): Item | undefined {
    if (line === "") return undefined;
    const { type, data, id, offset } = JSON.parse(line);
    return type === "gap" ? { kind: "gap" } : { kind: "message", text: data, id, offset };
  }
}

/** Events as an EventSource reads them. */
class EventLines {
  #event = { id: "", name: "", data: "" };

  read(line: string): Item | undefined {
    const event = this.#event;
    if (line.startsWith("id: ")) event.id = line.slice(4);
    else if (line.startsWith("event: ")) event.name = line.slice(7);
    else if (line.startsWith("data: ")) event.data += line.slice(6);
    if (line !== "") return undefined;
    this.#event = { id: "", name: "", data: "" };
    if (event.name === "gap") return { kind: "gap" };
    if (event.name === "begin") return { kind: "position", id: event.id };
    if (event.data !== "") return { kind: "message", text: event.data, id: event.id };
    return event.id === "" ? undefined : { kind: "position", id: event.id };
  }
}
