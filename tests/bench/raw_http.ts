/** Just enough of an HTTP/1.1 client: keep-alive requests with short answers, and streams in chunks. */
import { joinBytes } from "./bytes.ts";
import { encodeHead, RawConnection } from "./raw_connection.ts";

const UTF8 = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** A request as bytes, which can be sent any number of times. */
export function encodeRequest(method: string, path: string, body?: string): Uint8Array<ArrayBuffer> {
  const host = { host: "127.0.0.1" };
  if (body === undefined) return encodeHead(`${method} ${path} HTTP/1.1`, host);
  const bytes = UTF8.encode(body);
  const headers = { ...host, "content-type": "text/plain", "content-length": bytes.length };
  return joinBytes([encodeHead(`${method} ${path} HTTP/1.1`, headers), bytes]);
}

/** A keep-alive connection for one request at a time. */
export class HttpConnection implements Disposable {
  readonly #connection: RawConnection;

  private constructor(connection: RawConnection) {
    this.#connection = connection;
  }

  static async open(port: number): Promise<HttpConnection> {
    return new HttpConnection(await RawConnection.open(port));
  }

  /** @throws {Error} when the connection ends, or the answer has no Content-Length */
  async exchange(request: Uint8Array<ArrayBuffer>): Promise<Answer> {
    this.#connection.send(request);
    let answer = "";
    while (true) {
      const bytes = await this.#connection.read();
      if (bytes === undefined) throw new Error(`The connection ended within an answer: ${answer}`);
      answer += LATIN1.decode(bytes);
      const end = answer.indexOf("\r\n\r\n") + 4;
      if (end < 4) continue;
      const length = findContentLength(answer);
      if (answer.length < end + length) continue;
      return { status: Number(answer.slice(9, 12)), body: answer.slice(end) };
    }
  }

  [Symbol.dispose](): void {
    this.#connection[Symbol.dispose]();
  }
}

function findContentLength(answer: string): number {
  const match = /\r\ncontent-length: *(\d+)\r\n/i.exec(answer);
  if (match === null) throw new Error(`An answer without Content-Length: ${answer}`);
  return Number(match[1]);
}

/** Opens a stream: the connection behind the head of the answer, and what decodes its body. */
export async function openHttpStream(
  port: number,
  path: string,
  options: { readonly accept?: string; readonly bufferSize?: number } = {},
): Promise<{ readonly connection: RawConnection; readonly decoder: ChunkDecoder }> {
  const connection = await RawConnection.open(port, options.bufferSize);
  const headers = { host: "127.0.0.1", accept: options.accept ?? "*/*" };
  connection.send(encodeHead(`GET ${path} HTTP/1.1`, headers));
  const head = await connection.readHead();
  if (!head.startsWith("HTTP/1.1 200") || !/\r\ntransfer-encoding: *chunked\r\n/i.test(head)) {
    connection[Symbol.dispose]();
    throw new Error(`GET ${path} did not answer with a stream: ${head}`);
  }
  return { connection, decoder: new ChunkDecoder() };
}

const CR = 0x0d;
const LF = 0x0a;

/** Takes the chunked transfer coding (RFC 9112 section 7.1) off a body, fed in pieces of any size. */
export class ChunkDecoder {
  /** Bytes of the chunk that are still to come, its line end included; 0 while a size is read. */
  #left = 0;
  #size = "";

  /** Hands the parts of the body within a piece to `take`. */
  feed(bytes: Uint8Array<ArrayBuffer>, take: (bytes: Uint8Array<ArrayBuffer>) => void): void {
    let i = 0;
    while (i < bytes.length) {
      if (this.#left === 0) {
        const byte = bytes[i++]!;
        if (byte === LF) this.#startChunk();
        else if (byte !== CR) this.#size += String.fromCharCode(byte);
        continue;
      }
      const body = Math.min(this.#left - 2, bytes.length - i);
      if (body > 0) {
        take(bytes.subarray(i, i + body));
        i += body;
        this.#left -= body;
      } else {
        i++;
        this.#left--;
      }
    }
  }

  #startChunk(): void {
    if (!/^[0-9a-f]+$/i.test(this.#size)) throw new Error(`Not the size of a chunk: ${this.#size}`);
    this.#left = parseInt(this.#size, 16) + 2;
    this.#size = "";
  }
}
