/** A raw TCP client, and WebSocket frames by the byte: for what no well-behaved client would send. */

export const KEY = "dGhlIHNhbXBsZSBub25jZQ==";

/** The opening handshake of a WebSocket on a path, with further header lines such as `Origin: null\r\n`. */
export function createHandshake(path = "/news", headers = ""): string {
  return `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
    `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${KEY}\r\n${headers}\r\n`;
}

export interface FrameOptions {
  /** FIN and the reserved bits; FIN alone when left out. */
  readonly bits?: number;
  readonly isMasked?: boolean;
  /** The length it claims to have. */
  readonly announced?: number;
}

/** A client's frame (RFC 6455 section 5.2), masked with zeros. */
export function createFrame(
  opcode: number,
  payload: string | Uint8Array,
  { bits = 0x80, isMasked = true, announced }: FrameOptions = {},
): Uint8Array<ArrayBuffer> {
  const data = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const length = announced ?? data.length;
  const size = length <= 125 ? 0 : length <= 65_535 ? 2 : 8;
  const start = 2 + size + (isMasked ? 4 : 0);
  const frame = new Uint8Array(start + data.length);
  const view = new DataView(frame.buffer);
  frame[0] = bits | opcode;
  frame[1] = (isMasked ? 0x80 : 0) | (size === 0 ? length : size === 2 ? 126 : 127);
  if (size === 2) view.setUint16(2, length);
  if (size === 8) view.setBigUint64(2, BigInt(length));
  frame.set(data, start);
  return frame;
}

// One character a byte, at least for those that matter here: 0x88 becomes "\u02c6".
const BINARY = new TextDecoder("windows-1252");

/** A raw TCP connection to a server on this machine. */
export class RawSocket implements Disposable {
  readonly #connection: Deno.TcpConn;
  #closed = false;

  private constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<RawSocket> {
    return new RawSocket(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Opens a WebSocket by hand. */
  static async upgrade(port: number, path?: string, headers?: string): Promise<RawSocket> {
    const socket = await RawSocket.open(port);
    await socket.write(createHandshake(path, headers));
    const head = await socket.readUntil("\r\n\r\n");
    if (!head.startsWith("HTTP/1.1 101 ")) throw new Error(`The handshake was refused: ${head}`);
    return socket;
  }

  /** Sends one request and reads until the server hangs up. */
  static async exchange(port: number, request: string | Uint8Array): Promise<string> {
    using socket = await RawSocket.open(port);
    // The server may answer and hang up before it has everything.
    await socket.write(request).catch(() => {});
    return await socket.readToEnd();
  }

  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    for (let written = 0; written < bytes.length;) {
      written += await this.#connection.write(bytes.subarray(written));
    }
  }

  /** Says that nothing more will come, and goes on reading. */
  async closeWrite(): Promise<void> {
    await this.#connection.closeWrite();
  }

  /**
   * Sends the same bytes over and over, until so many have left or the connection breaks.
   *
   * @returns how many have left
   */
  async flood(bytes: Uint8Array, most: number): Promise<number> {
    let sent = 0;
    try {
      for (; sent < most; sent += bytes.length) await this.write(bytes);
    } catch {
      // The server has had enough, or this end has been closed.
    }
    return sent;
  }

  /** What arrives until the given text has, or one that matches, or the connection ends. */
  async readUntil(text: string | RegExp): Promise<string> {
    const buffer = new Uint8Array(64 * 1024);
    const pieces: string[] = [];
    // What is searched: searching all that has arrived again and again would take longer than the server's work.
    let end = "";
    const kept = typeof text === "string" ? text.length - 1 : buffer.length;
    const isThere = () => typeof text === "string" ? end.includes(text) : text.test(end);
    while (!isThere()) {
      const count = await this.#connection.read(buffer).catch(() => null);
      if (count === null) break;
      const piece = BINARY.decode(buffer.subarray(0, count));
      pieces.push(piece);
      end = (kept === 0 ? "" : end.slice(-kept)) + piece;
    }
    return pieces.join("");
  }

  /** Reads until the server hangs up. */
  async readToEnd(): Promise<string> {
    return await this.readUntil("\u0000never\u0000");
  }

  [Symbol.dispose](): void {
    if (!this.#closed) this.#connection.close();
    this.#closed = true;
  }
}
