/**
 * The listener for the open internet: `node:http` and the `ws` package behind the same ports. It bounds headers, bodies
 * and messages in size and time, drops stalled connections for real, and writes all frames of a turn at once.
 */
import type { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket as TcpSocket } from "node:net";
import type { Duplex } from "node:stream";
// @ts-types="./ws.d.ts"
import { type Handshake, type WebSocket, WebSocketServer } from "ws";
import { IDLE_CLOSE, type SocketHandler } from "../../core/socket.ts";
import { checkHandshake } from "../handshake.ts";
import { demandAddress, toDenoError } from "./address.ts";
import { FirstContact } from "./connection.ts";
import { hangUp } from "./hang_up.ts";
import { IdleWatch } from "./idle_watch.ts";
import type { Fetch, Listener, ListenOptions } from "../listener.ts";
import { createPlainResponse } from "./plain_response.ts";
import { refuseBytes } from "./refuse_bytes.ts";
import { createBadRequest, createRequest, findAddress } from "./request.ts";
import { createOutgoing, sendResponse } from "./response.ts";
import { readInSlices } from "./sliced_reading.ts";
import { NodeSocket } from "./socket.ts";
import {
  isWebSocket,
  readHandshake,
  refusePlainUpgrade,
  refuseUpgrade,
  type Upgrade,
  UPGRADED,
} from "./upgrade.ts";

/** Milliseconds that a peer has to read its queue and answer a close frame. */
const CLOSE_MILLISECONDS = 5_000;

/** Milliseconds that the server has to notice that its last connections were destroyed. */
const LAST_MILLISECONDS = 500;

/** How often `node:http` checks connections for those that send too slowly. */
const CHECK_MILLISECONDS = 1_000;

/** Headroom of TCP connections beyond WebSockets and streams, for requests and idle connections. */
const REQUEST_FACTOR = 1.1;
const REQUEST_CONNECTIONS = 1_000;

/** Most pipelined requests of one connection without a response. */
const MAX_UNANSWERED_REQUESTS = 1_000;

/**
 * Headroom of a WebSocket message beyond the largest payload: JSON has up to six bytes for one of a payload, and protocols
 * batch commands. Within it a protocol refuses what is too large with an error of its own, which says more than the close
 * code of `ws`.
 */
const PROTOCOL_FACTOR = 6;
const PROTOCOL_BYTES = 128 * 1024;

/** Limits of `ws` and `node:http`, named so that no default of theirs holds unseen; `static/docs/limits.md` lists them. */
const MAX_FRAGMENTS = 131_072;
const MAX_BUFFERED_CHUNKS = 262_144;
const MAX_PENDING_PONGS = 60;
const MAX_HEADER_BYTES = 16 * 1024;

/**
 * Starts to listen and hands every request to `fetch`.
 *
 * @throws {Deno.errors.AddrInUse} when the port is taken
 */
export async function listenNode(options: ListenOptions, fetch: Fetch): Promise<Listener> {
  const listener = new NodeListener(options, fetch);
  await listener.listen();
  return listener;
}

class NodeListener implements Listener {
  readonly #options: ListenOptions;
  readonly #fetch: Fetch;
  readonly #server: Server;
  readonly #scheme: "http" | "https";
  readonly #firstContact: FirstContact;
  readonly #handshakes: WebSocketServer;
  readonly #open = new Set<NodeSocket>();
  /** Connections with a request to upgrade: `node:http` has let go of them. */
  readonly #upgraded = new Set<Duplex>();
  /** The unfinished responses of a connection: several if requests are pipelined. */
  readonly #unanswered = new WeakMap<TcpSocket, Set<ServerResponse>>();
  readonly #idleWatch: IdleWatch<NodeSocket>;
  #address: AddressInfo = { address: "", family: "", port: 0 };
  #onAllClosed: () => void = () => {};

  constructor(options: ListenOptions, fetch: Fetch) {
    this.#options = options;
    this.#fetch = fetch;
    const { idleTimeout, headerTimeout, bodyTimeout, maxMessageBytes, maxConnections, certificate } = options;
    const settings = {
      headersTimeout: Math.min(headerTimeout, bodyTimeout) * 1_000,
      requestTimeout: bodyTimeout * 1_000,
      keepAliveTimeout: idleTimeout * 1_000,
      connectionsCheckingInterval: CHECK_MILLISECONDS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // Answered here, with a problem document.
      requireHostHeader: false,
      // Others, such as `h2c`, may be ignored (RFC 9110 section 7.8) and are answered as plain requests.
      shouldUpgradeCallback: isWebSocket,
    };
    this.#scheme = certificate === undefined ? "http" : "https";
    this.#server = certificate === undefined ? createServer(settings) : createTlsServer({
      ...settings,
      cert: certificate.cert,
      key: certificate.key,
      handshakeTimeout: headerTimeout * 1_000,
    });
    // If file descriptors ran out, the server would stop accepting connections for good.
    if (maxConnections > 0) {
      this.#server.maxConnections = Math.ceil(maxConnections * REQUEST_FACTOR) + REQUEST_CONNECTIONS;
    }
    // Beyond a count headers would be ignored in silence; their size is bounded.
    this.#server.maxHeadersCount = 0;
    // A client that has sent its request may close its side and still gets its answer.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#server.on("clientError", (error, connection) => {
      // Its address is gone once it is hung up.
      const address = (connection as TcpSocket).remoteAddress;
      const refusal = refuseBytes(error, connection);
      if (refusal === undefined) return;
      options.metrics?.refused(refusal.type, { what: "not a request", message: refusal.detail, address });
    });
    this.#server.on("request", (incoming, outgoing) => void this.#answer(incoming, outgoing));
    this.#server.on("upgrade", (incoming, connection, behind) => {
      try {
        void this.#upgrade(createRequest(incoming, this.#scheme), connection, behind);
      } catch (cause) {
        this.#keep(connection);
        void this.#refuse(connection as TcpSocket, createBadRequest(cause));
      }
    });
    this.#firstContact = this.#takeConnections(certificate === undefined ? "connection" : "secureConnection");
    this.#handshakes = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxFragments: MAX_FRAGMENTS,
      maxBufferedChunks: MAX_BUFFERED_CHUNKS,
      maxPendingAutoPongs: MAX_PENDING_PONGS,
      maxPayload: PROTOCOL_FACTOR * maxMessageBytes + PROTOCOL_BYTES,
      closeTimeout: CLOSE_MILLISECONDS,
    });
    this.#idleWatch = new IdleWatch(idleTimeout * 1_000 / 2, (socket) => socket.checkAlive());
  }

  get hostname(): string {
    return this.#address.address;
  }

  get port(): number {
    return this.#address.port;
  }

  async listen(): Promise<void> {
    const { hostname: host, port, reusePort = false } = this.#options;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once("error", reject);
    try {
      demandAddress(host, port, reusePort);
      this.#server.listen({ host, port, reusePort }, resolve);
      await promise;
    } catch (error) {
      this.#idleWatch.stop();
      this.#firstContact.stop();
      throw toDenoError(error);
    }
    this.#server.on("error", (error) => this.#report("accepting connections failed", error));
    this.#address = this.#server.address() as AddressInfo;
  }

  async close(deadlineMilliseconds: number): Promise<void> {
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, deadlineMilliseconds);
    const allClosed = new Promise<void>((resolve) => {
      this.#onAllClosed = resolve;
      if (this.#open.size === 0) resolve();
    });
    await Promise.race([allClosed, deadline.promise]);
    const ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#firstContact.end();
    await Promise.race([ended, deadline.promise]);
    clearTimeout(timer);
    for (const socket of this.#open) socket.terminate();
    for (const connection of this.#upgraded) connection.destroy();
    this.#server.closeAllConnections();
    this.#firstContact.stop();
    this.#idleWatch.stop();
    // Whatever the runtime still holds ends with the process.
    let lastTimer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<void>((resolve) => lastTimer = setTimeout(resolve, LAST_MILLISECONDS));
    await Promise.race([ended, patience]);
    clearTimeout(lastTimer);
  }

  /** Puts the path of plain requests before `node:http`, whose own listener for connections gets what that leaves. */
  #takeConnections(event: "connection" | "secureConnection"): FirstContact {
    const server = this.#server;
    const serve = server.listeners(event);
    const { idleTimeout, headerTimeout, bodyTimeout } = this.#options;
    const firstContact = new FirstContact({
      scheme: this.#scheme,
      idleTimeout,
      headerTimeout: Math.min(headerTimeout, bodyTimeout),
      bodyTimeout,
      createPeer: (connection) => ({
        address: findAddress(connection),
        upgrade: refusePlainUpgrade,
        createResponse: createPlainResponse,
      }),
      answer: this.#fetch,
      upgrade: (request, connection, behind) => this.#upgrade(request, connection, behind),
      send: (response, outgoing) => sendResponse(response, outgoing, bodyTimeout * 1_000),
      handOver: (connection) => {
        for (const listener of serve) listener.call(server, connection);
      },
      refuse: (code, connection) =>
        server.emit("clientError", Object.assign(new Error("No request"), { code }), connection),
      report: (error) => this.#report("answering failed", error),
    });
    server.removeAllListeners(event).on(event, (connection: TcpSocket) => firstContact.accept(connection));
    return firstContact;
  }

  async #answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (!this.#admit(incoming.socket, outgoing)) return;
    // Always followed by close, which is handled.
    outgoing.on("error", () => {});
    try {
      const response = await this.#ask(incoming);
      await sendResponse(response, outgoing, this.#options.bodyTimeout * 1_000);
      // An unread rest of the body would block the next request of the connection.
      incoming.removeAllListeners("data").resume();
    } catch (error) {
      this.#report("answering failed", error);
      outgoing.destroy();
    }
  }

  /**
   * Counts a request of a connection until it is answered. Drops a client that pipelines far more requests than it reads
   * responses: `node:http` accepts requests without waiting for earlier responses.
   *
   * @returns whether the request should be answered
   */
  #admit(connection: TcpSocket, outgoing: ServerResponse): boolean {
    if (connection.destroyed) return false;
    const answers = this.#unanswered.get(connection) ?? this.#watch(connection);
    answers.add(outgoing);
    outgoing.on("close", () => answers.delete(outgoing));
    if (answers.size > MAX_UNANSWERED_REQUESTS) connection.destroy();
    return answers.size <= MAX_UNANSWERED_REQUESTS;
  }

  /** Tracks the responses of a connection, and ends those queued behind others with it, which `node:http` does not. */
  #watch(connection: TcpSocket): Set<ServerResponse> {
    const answers = new Set<ServerResponse>();
    this.#unanswered.set(connection, answers);
    connection.once("close", () => {
      for (const outgoing of answers) outgoing.destroy().emit("close");
    });
    return answers;
  }

  async #ask(incoming: IncomingMessage): Promise<Response> {
    let request: Request;
    try {
      request = createRequest(incoming, this.#scheme);
    } catch (cause) {
      return createBadRequest(cause);
    }
    const upgrade = () => refuseUpgrade(request);
    return await this.#fetch(request, { address: findAddress(incoming.socket), upgrade });
  }

  async #upgrade(request: Request, connection: Duplex, behind: Buffer): Promise<void> {
    this.#keep(connection);
    try {
      let upgrade: Upgrade | undefined;
      const response = await this.#fetch(request, {
        address: findAddress(connection as TcpSocket),
        upgrade(handler, options) {
          checkHandshake(request);
          upgrade = { handler, subprotocol: options?.subprotocol };
          return UPGRADED;
        },
      });
      if (upgrade === undefined) return await this.#refuse(connection as TcpSocket, response);
      this.#accept(readHandshake(request, upgrade), connection, behind, upgrade.handler);
    } catch (error) {
      this.#report("upgrading failed", error);
      connection.destroy();
    }
  }

  /** Keeps a connection that has left `node:http`. Apart, so that its listeners keep no request alive. */
  #keep(connection: Duplex): void {
    // Nobody else handles its errors any more; an unhandled one would end the process.
    connection.on("error", ignore);
    this.#upgraded.add(connection);
    connection.once("close", () => this.#upgraded.delete(connection));
  }

  async #refuse(connection: TcpSocket, response: Response): Promise<void> {
    await sendResponse(response, createOutgoing("GET", connection, false), this.#options.bodyTimeout * 1_000);
    hangUp(connection);
  }

  #accept(handshake: Handshake, connection: Duplex, behind: Buffer, handler: SocketHandler): void {
    let isOpen = false;
    this.#handshakes.handleUpgrade(handshake, connection, behind, (webSocket) => {
      isOpen = true;
      readInSlices(connection);
      this.#serve(webSocket, new NodeSocket(webSocket, connection), handler);
    });
    // The client disconnected while the app decided.
    if (!isOpen) this.#guard(() => handler.close(1006, ""));
  }

  #serve(webSocket: WebSocket, socket: NodeSocket, handler: SocketHandler): void {
    this.#open.add(socket);
    this.#idleWatch.add(socket);
    webSocket.on("message", (data: Buffer, isBinary: boolean) => {
      // A copy: the data is a slice of a larger buffer, which it would keep alive.
      this.#guard(() => handler.message(isBinary ? new Uint8Array(data) : data.toString()), socket);
    });
    let isOver = false;
    const leave = (code: number, reason: string) => {
      if (!isOver) this.#guard(() => handler.close(code, reason));
      isOver = true;
    };
    webSocket.on("error", ({ message }) => {
      // The peer violated the protocol or a limit. `ws` has sent a close frame and keeps reading, so that a reset does
      // not overtake that frame; to the app the peer is gone.
      socket.hangUp();
      leave(1006, message);
    });
    webSocket.on("close", (code, reason) => {
      this.#open.delete(socket);
      this.#idleWatch.delete(socket);
      if (socket.isIdle) leave(IDLE_CLOSE.code, IDLE_CLOSE.reason);
      else leave(code, reason.toString());
      if (this.#open.size === 0) this.#onAllClosed();
    });
    this.#guard(() => handler.open(socket), socket);
  }

  /** Catches exceptions of handlers, which would end the process. */
  #guard(run: () => void, socket?: NodeSocket): void {
    try {
      run();
    } catch (error) {
      this.#report("socket handler failed", error);
      socket?.close(1011, "internal error");
    }
  }

  #report(message: string, error: unknown): void {
    const reason = error instanceof Error ? error.stack : String(error);
    this.#options.logger.write("error", message, { reason });
  }
}

function ignore(): void {}
