/**
 * What a connection of the node listener meets first. Plain POSTs and the handshakes of WebSockets are read here, one
 * at a time, at a fraction of what they cost in `node:http`; at the first byte of anything else the connection becomes
 * one of `node:http`, for good.
 */
import { Buffer } from "node:buffer";
import type { ServerResponse } from "node:http";
import type { Socket as TcpSocket } from "node:net";
import type { Peer } from "../../core/socket.ts";
import { MAX_PLAIN_BYTES, parsePlainHead, type PlainHead } from "./plain_head.ts";
import { createPlainRequest } from "./plain_request.ts";
import { PlainResponse } from "./plain_response.ts";
import { encodeRawTarget } from "./raw_target.ts";
import { createOutgoing } from "./response.ts";

/** Milliseconds between checks of all connections, as often as `node:http` does it. */
const CHECK_MILLISECONDS = 1_000;

/** Most bytes of answers that a client may leave unread. */
const MAX_UNREAD_BYTES = 16 * 1024;

const NOTHING = Buffer.alloc(0);

export interface FirstContactOptions {
  readonly scheme: "http" | "https";
  /** Seconds between two requests, after which a connection is closed. */
  readonly idleTimeout: number;
  /** Seconds in which the first byte must arrive. */
  readonly headerTimeout: number;
  /** Seconds for which a client may read nothing of its answer. */
  readonly bodyTimeout: number;
  /** Describes the other end of a connection. */
  createPeer(connection: TcpSocket): Peer;
  /** Answers a request; never rejects. */
  answer(request: Request, peer: Peer): Promise<Response>;
  /**
   * Answers the handshake of a WebSocket on a connection, behind which bytes may have come, and takes the connection.
   */
  upgrade(request: Request, connection: TcpSocket, behind: Buffer): Promise<void>;
  /** Sends a response of any kind. */
  send(response: Response, outgoing: ServerResponse): Promise<void>;
  /** Makes the connection one of `node:http`. */
  handOver(connection: TcpSocket): void;
  /** Refuses what is no request, with the code that `node:http` has for it. */
  refuse(code: string, connection: TcpSocket): void;
  /** Called with exceptions of these. */
  report(error: unknown): void;
}

/** The connections that are not of `node:http`, or not yet. */
export class FirstContact {
  readonly #options: FirstContactOptions;
  readonly #connections = new Set<PlainConnection>();
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(options: FirstContactOptions) {
    this.#options = options;
    this.#timer = setInterval(() => {
      for (const connection of this.#connections) connection.check();
    }, CHECK_MILLISECONDS);
  }

  /** Takes a connection that was accepted. */
  accept(socket: TcpSocket): void {
    const connection = new PlainConnection(socket, this.#options, () => this.#connections.delete(connection));
    this.#connections.add(connection);
  }

  /** Ends the connections once they have their answers. */
  end(): void {
    for (const connection of this.#connections) connection.end();
  }

  /** Drops all connections, and stops. */
  stop(): void {
    clearInterval(this.#timer);
    for (const connection of this.#connections) connection.destroy();
  }
}

class PlainConnection {
  readonly #socket: TcpSocket;
  readonly #options: FirstContactOptions;
  readonly #leave: () => void;
  #peer: Peer | undefined;
  #bytes: Buffer = NOTHING;
  #head: PlainHead | undefined;
  #isNew = true;
  #isAnswering = false;
  /** The client has closed its side. */
  #isEnded = false;
  /** The server closes after this answer. */
  #isEnding = false;
  /** Checks since something last happened. */
  #checks = 0;

  readonly #onData = (chunk: Buffer) => this.#take(chunk);
  readonly #onEnd = () => this.#takeEnd();
  readonly #onError = () => {};
  readonly #onClose = () => this.#leave();

  constructor(socket: TcpSocket, options: FirstContactOptions, leave: () => void) {
    this.#socket = socket;
    this.#options = options;
    this.#leave = leave;
    socket.on("data", this.#onData).on("end", this.#onEnd);
    socket.on("error", this.#onError).on("close", this.#onClose);
  }

  /** Hands over a request that does not come at once, and drops clients that have been silent for too long. */
  check(): void {
    if (this.#isAnswering) return;
    const { headerTimeout, bodyTimeout, idleTimeout } = this.#options;
    const isStalled = this.#socket.writableLength > 0;
    const seconds = ++this.#checks * CHECK_MILLISECONDS / 1_000;
    // `node:http` and the app have timeouts of their own for it.
    if (this.#bytes.length > 0) this.#handOver();
    else if (this.#isNew && seconds > headerTimeout) this.#refuse("ERR_HTTP_REQUEST_TIMEOUT");
    else if (!this.#isNew && seconds > (isStalled ? bodyTimeout : idleTimeout)) this.destroy();
  }

  end(): void {
    this.#isEnding = true;
    if (this.#isAnswering) return;
    if (this.#bytes.length > 0) this.#handOver();
    else this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    if (this.#isNew) {
      this.#isNew = false;
      chunk = encodeRawTarget(chunk);
    }
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    if (!this.#isAnswering) this.#advance();
    else if (this.#bytes.length > MAX_PLAIN_BYTES) this.#socket.pause();
  }

  #takeEnd(): void {
    this.#isEnded = true;
    if (this.#isAnswering) return;
    if (this.#bytes.length === 0) this.#socket.end();
    else this.#refuse("HPE_INVALID_EOF_STATE");
  }

  #refuse(code: string): void {
    const socket = this.#socket;
    this.#release();
    socket.on("error", this.#onError);
    this.#options.refuse(code, socket);
  }

  /** Answers the request that has arrived, waits for the rest of its body, or hands over. */
  #advance(): void {
    const bytes = this.#bytes;
    const head = this.#head ??= parsePlainHead(bytes);
    if (head === undefined || this.#socket.writableLength > MAX_UNREAD_BYTES) return this.#handOver();
    if (bytes.length < head.end) {
      if (this.#isEnded) this.#refuse("HPE_INVALID_EOF_STATE");
      return;
    }
    let request: Request;
    try {
      request = createPlainRequest(head, bytes.subarray(head.start, head.end), this.#options.scheme);
    } catch {
      return this.#handOver();
    }
    this.#head = undefined;
    this.#bytes = bytes.length === head.end ? NOTHING : bytes.subarray(head.end);
    if (head.isHandshake) return this.#upgrade(request);
    this.#isAnswering = true;
    void this.#answer(request);
  }

  #upgrade(request: Request): void {
    const socket = this.#socket;
    const behind = this.#bytes;
    this.#release();
    // As `node:http` does it: what comes until somebody listens waits.
    Object.assign(socket, { readableFlowing: null });
    void this.#options.upgrade(request, socket, behind);
  }

  async #answer(request: Request): Promise<void> {
    const socket = this.#socket;
    try {
      const peer = this.#peer ??= this.#options.createPeer(socket);
      const response = await this.#options.answer(request, peer);
      const isPlain = PlainResponse.is(response) && response.isPlain;
      if (isPlain) this.#write(response);
      const isKept = isPlain || await this.#send(response, request);
      if (socket.destroyed) return;
      this.#isAnswering = false;
      this.#checks = 0;
      if (this.#isLast || !isKept) socket.end();
      else if (this.#bytes.length > 0) this.#goOn();
    } catch (error) {
      this.#options.report(error);
      socket.destroy();
    }
  }

  /** Whether no request will be answered after this one. */
  get #isLast(): boolean {
    return this.#isEnding || (this.#isEnded && this.#bytes.length === 0);
  }

  /** Goes on with a request that has come before the answer to the last one. */
  #goOn(): void {
    this.#socket.resume();
    this.#advance();
  }

  #write({ plainHeaders, plainText }: PlainResponse): void {
    if (this.#socket.destroyed) return;
    const ending = this.#isLast
      ? "connection: close"
      : `connection: keep-alive\r\nkeep-alive: timeout=${this.#options.idleTimeout}`;
    const length = `content-length: ${Buffer.byteLength(plainText)}\r\ndate: ${httpDate()}`;
    this.#socket.write(`${encodeHead(plainHeaders)}${length}\r\n${ending}\r\n\r\n${plainText}`);
  }

  /** Sends a response of any kind; returns whether the connection may go on. */
  async #send(response: Response, { method }: Request): Promise<boolean> {
    const socket = this.#socket;
    const outgoing = createOutgoing(method, socket, !this.#isLast);
    // As `node:http` does, so that clients know how long the connection stays.
    Object.assign(outgoing, { _keepAliveTimeout: this.#options.idleTimeout * 1_000 });
    const onDrain = () => outgoing.emit("drain");
    socket.on("drain", onDrain);
    await this.#options.send(response, outgoing);
    socket.off("drain", onDrain);
    outgoing.detachSocket(socket);
    return outgoing.writableFinished && outgoing.shouldKeepAlive;
  }

  #handOver(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const bytes = this.#bytes;
    this.#release();
    this.#options.handOver(socket);
    if (bytes.length > 0) socket.emit("data", bytes);
    if (this.#isEnded) socket.emit("end");
    socket.resume();
  }

  /** Lets go of the connection. */
  #release(): void {
    this.#bytes = NOTHING;
    this.#leave();
    this.#socket.off("data", this.#onData).off("end", this.#onEnd);
    this.#socket.off("error", this.#onError).off("close", this.#onClose);
  }
}

// The headers of all receipts are one object.
const HEADS = new WeakMap<PlainResponse["plainHeaders"], string>();

function encodeHead(headers: PlainResponse["plainHeaders"]): string {
  let head = HEADS.get(headers);
  if (head === undefined) {
    const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    HEADS.set(headers, head = `HTTP/1.1 200 OK\r\n${fields.join("")}`);
  }
  return head;
}

let second = 0;
let date = "";

/** The time for the field `Date`, formatted once a second. */
function httpDate(): string {
  const now = Math.floor(Date.now() / 1_000);
  if (now !== second) {
    second = now;
    date = new Date(now * 1_000).toUTCString();
  }
  return date;
}
