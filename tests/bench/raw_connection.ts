/** A TCP connection to the server, with as little around it as can be: the load generator must cost less. */

import { joinBytes } from "./bytes.ts";

const UTF8 = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");

/** How much of a lost connection's last words is shown. */
const LAST_WORDS = 120;

/** One connection. Only one read at a time; writes may come at any time and leave in order. */
export class RawConnection implements Disposable {
  readonly #connection: Deno.TcpConn;
  readonly #buffer: Uint8Array<ArrayBuffer>;
  #rest: Uint8Array<ArrayBuffer> | undefined;
  #lastCount = 0;
  #unsent: Uint8Array[] = [];
  #sending = false;
  #closed = false;

  private constructor(connection: Deno.TcpConn, bufferSize: number) {
    this.#connection = connection;
    this.#buffer = new Uint8Array(bufferSize);
  }

  static async open(port: number, bufferSize = 16_384): Promise<RawConnection> {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    connection.setNoDelay(true);
    return new RawConnection(connection, bufferSize);
  }

  /** Queues bytes; what is queued while a write is under way leaves with one write. */
  send(bytes: Uint8Array): void {
    this.#unsent.push(bytes);
    if (!this.#sending) void this.#flush();
  }

  /** Reads what has arrived, in bytes that are valid until the next read; undefined at the end. */
  async read(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) return rest;
    try {
      const count = await this.#connection.read(this.#buffer);
      if (count === null) return undefined;
      this.#lastCount = count;
      return this.#buffer.subarray(0, count);
    } catch (error) {
      if (this.#closed || error instanceof Deno.errors.ConnectionReset) return undefined;
      throw error;
    }
  }

  /** Reads up to and including the empty line; what is behind it comes with the next read. */
  async readHead(): Promise<string> {
    let head = "";
    while (true) {
      const bytes = await this.read();
      if (bytes === undefined) throw new Error(`The connection ended within a head: ${head}`);
      const start = head.length;
      head += LATIN1.decode(bytes);
      const end = head.indexOf("\r\n\r\n");
      if (end < 0) continue;
      const rest = bytes.subarray(end + 4 - start);
      if (rest.length > 0) this.#rest = rest;
      return head.slice(0, end + 4);
    }
  }

  /** The last of what was read, for the message when the connection ended too early. */
  get lastWords(): string {
    return LATIN1.decode(this.#buffer.subarray(0, this.#lastCount).slice(-LAST_WORDS));
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
  }

  async #flush(): Promise<void> {
    this.#sending = true;
    try {
      while (this.#unsent.length > 0) {
        const bytes = joinBytes(this.#unsent);
        this.#unsent = [];
        for (let sent = 0; sent < bytes.length;) sent += await this.#connection.write(bytes.subarray(sent));
      }
    } catch {
      // Whoever reads finds out that the connection is gone.
      this.#unsent = [];
    }
    this.#sending = false;
  }
}

/** A head of a request or answer as bytes. */
export function encodeHead(
  first: string,
  headers: Readonly<Record<string, string | number>>,
): Uint8Array<ArrayBuffer> {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return UTF8.encode(`${first}\r\n${lines.join("")}\r\n`);
}
