/**
 * The default listener: `Deno.serve` and `Deno.upgradeWebSocket`, each native WebSocket behind the Socket port.
 * It cannot bound the fragments of a message, drop a stalled connection at once, or time out slow headers.
 */
import type { Logger } from "../core/logger.ts";
import { type Frame, IDLE_CLOSE, type Peer, type Socket, type SocketHandler } from "../core/socket.ts";
import { closeSocket } from "./closing_watch.ts";
import { checkHandshake } from "./handshake.ts";
import type { Fetch, Listener, ListenOptions } from "./listener.ts";
import { SlicedEvents } from "./sliced_events.ts";

/** The close reason of the runtime for a socket that did not answer a ping. */
const IDLE_REASON = "No response from ping frame.";
/** Turns of the event loop in which a queue is polled before pauses begin. */
const QUICK_LOOKS = 4;
/** Pauses between polls of a queue: the runtime has no event for a drained WebSocket. */
const FIRST_PAUSE_MILLISECONDS = 1;
const LONGEST_PAUSE_MILLISECONDS = 50;

/**
 * Starts to listen and hands every request to `fetch`.
 *
 * @throws {Deno.errors.AddrInUse} when the port is taken
 */
export function listenDeno(options: ListenOptions, fetch: Fetch): Promise<Listener> {
  return Promise.resolve(new DenoListener(options, fetch));
}

/** Milliseconds before another attempt to listen. */
const RETRY_MILLISECONDS = 200;

class DenoListener implements Listener {
  readonly #options: ListenOptions;
  readonly #fetch: Fetch;
  readonly #address: Deno.NetAddr;
  readonly #open = new OpenSockets();
  #server: Deno.HttpServer<Deno.NetAddr>;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #closing = false;

  constructor(options: ListenOptions, fetch: Fetch) {
    this.#options = options;
    this.#fetch = fetch;
    this.#server = this.#serve(options.port);
    this.#address = this.#server.addr;
  }

  get hostname(): string {
    return this.#address.hostname;
  }

  get port(): number {
    return this.#address.port;
  }

  #serve(port: number): Deno.HttpServer<Deno.NetAddr> {
    const { hostname, reusePort = false, certificate } = this.#options;
    const tls = certificate === undefined ? {} : { cert: certificate.cert, key: certificate.key };
    const server = Deno.serve(
      { hostname, port, reusePort, onListen: () => {}, ...tls },
      (request, info) => this.#fetch(request, createPeer(request, info, this.#options, this.#open)),
    );
    server.finished.then(() => this.#listenAgain(), () => this.#listenAgain());
    return server;
  }

  /** The runtime stops listening when it cannot accept a connection, as when file descriptors run out. */
  #listenAgain(): void {
    if (this.#closing) return;
    this.#options.logger.write(
      "error",
      "accepting connections failed: the limit of open files may be too low",
    );
    const retry = () => {
      try {
        this.#server = this.#serve(this.port);
      } catch {
        this.#retryTimer = setTimeout(retry, RETRY_MILLISECONDS);
      }
    };
    retry();
  }

  async close(deadlineMilliseconds: number): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#retryTimer);
    const deadline = Promise.withResolvers<void>();
    const timer = setTimeout(deadline.resolve, deadlineMilliseconds);
    // shutdown() closes WebSockets with code 1001 and waits for stalled ones forever, so the close frames of the protocols
    // must go out first. What is left at the deadline ends with the process.
    const allClosed = new Promise<void>((resolve) => {
      this.#open.onEmpty = resolve;
      if (this.#open.size === 0) resolve();
    });
    await Promise.race([allClosed, deadline.promise]);
    await Promise.race([this.#server.shutdown(), deadline.promise]);
    clearTimeout(timer);
  }
}

/** What WebSockets outside a listener of ours need. */
export interface UpgradeOptions {
  /** Seconds of silence within which a WebSocket is pinged, and after which it is dropped. */
  readonly idleTimeout: number;
  readonly logger: Logger;
}

/** WebSockets that are open. */
class OpenSockets extends Set<WebSocket> {
  /** Called whenever the last one has closed. */
  onEmpty: () => void = () => {};

  override delete(webSocket: WebSocket): boolean {
    const isDeleted = super.delete(webSocket);
    if (isDeleted && this.size === 0) this.onEmpty();
    return isDeleted;
  }
}

/**
 * Tells the app who sent a request, and lets it upgrade the request to a WebSocket. For each request of `Deno.serve`,
 * by our listener or by a program that embeds the app.
 *
 * @param info what `Deno.serve` hands over with the request
 * @param open collects the WebSockets while they are open
 */
export function createPeer(
  request: Request,
  info: Deno.ServeHandlerInfo,
  options: UpgradeOptions,
  open: Set<WebSocket> = new Set(),
): Peer {
  const { remoteAddr } = info;
  return {
    // A Unix socket has no address, and is on this machine.
    address: "hostname" in remoteAddr ? remoteAddr.hostname : "127.0.0.1",
    upgrade: (handler, upgrade) => upgradeSocket(request, handler, upgrade?.subprotocol, options, open),
  };
}

function upgradeSocket(
  request: Request,
  handler: SocketHandler,
  subprotocol: string | undefined,
  { idleTimeout, logger }: UpgradeOptions,
  open: Set<WebSocket>,
): Response {
  checkHandshake(request);
  const { socket: webSocket, response } = Deno.upgradeWebSocket(request, { idleTimeout });
  if (subprotocol !== undefined) response.headers.set("sec-websocket-protocol", subprotocol);
  webSocket.binaryType = "arraybuffer";
  open.add(webSocket);
  const events = new SocketEvents(webSocket, handler, logger, open);
  for (const type of ["open", "message", "close", "error"]) webSocket.addEventListener(type, events);
  return response;
}

/** Hands a socket's events to its handler. An object, as a closure for each event would cost every idle socket more. */
class SocketEvents implements EventListenerObject {
  readonly #webSocket: WebSocket;
  readonly #handler: SocketHandler;
  readonly #logger: Logger;
  readonly #open: Set<WebSocket>;
  readonly #events = new SlicedEvents((event) => this.#tryHandle(event));

  constructor(webSocket: WebSocket, handler: SocketHandler, logger: Logger, open: Set<WebSocket>) {
    this.#webSocket = webSocket;
    this.#handler = handler;
    this.#logger = logger;
    this.#open = open;
  }

  handleEvent(event: Event): void {
    this.#events.add(event);
  }

  /** Catches exceptions of handlers, which would end the process. */
  #tryHandle(event: Event): void {
    try {
      this.#handle(event);
    } catch (error) {
      const reason = error instanceof Error ? error.stack : String(error);
      this.#logger.write("error", "socket handler failed", { reason });
      if (this.#webSocket.readyState < WebSocket.CLOSING) {
        closeSocket(this.#webSocket, 1011, "internal error");
      }
    }
  }

  #handle(event: Event): void {
    switch (event.type) {
      case "open":
        this.#handler.open(new DenoSocket(this.#webSocket));
        break;
      case "message": {
        const { data } = event as MessageEvent<string | ArrayBuffer>;
        this.#handler.message(typeof data === "string" ? data : new Uint8Array(data));
        break;
      }
      case "close":
        // The event may fire twice.
        if (this.#open.delete(this.#webSocket)) this.#close(event as CloseEvent);
        break;
      case "error":
        // Always followed by close, which is handled.
        event.preventDefault();
    }
  }

  #close(event: CloseEvent): void {
    const isIdle = !event.wasClean && event.reason === IDLE_REASON;
    const { code, reason } = isIdle ? IDLE_CLOSE : event;
    this.#handler.close(code, reason);
  }
}

class DenoSocket implements Socket {
  readonly id = crypto.randomUUID();
  readonly #webSocket: WebSocket;
  #isClosing = false;
  #unseenFrames = 0;

  constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket;
  }

  send(frames: readonly Frame[]): void {
    const webSocket = this.#webSocket;
    for (const { data } of frames) {
      if (this.#isClosing) return;
      // Does nothing once the socket is closed.
      webSocket.send(data);
      this.#unseenFrames = data.length === 0 ? this.#unseenFrames + 1 : 0;
    }
  }

  /** The runtime counts only bytes, but each queued frame costs memory. */
  get unseenFrames(): number {
    return this.#unseenFrames;
  }

  get queuedBytes(): number {
    const isOpen = !this.#isClosing && this.#webSocket.readyState === WebSocket.OPEN;
    return isOpen ? this.#webSocket.bufferedAmount : 0;
  }

  async drained(): Promise<void> {
    for (let look = 0; look < QUICK_LOOKS && this.queuedBytes > 0; look++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    for (let pause = FIRST_PAUSE_MILLISECONDS; this.queuedBytes > 0; pause *= 2) {
      await new Promise((resolve) => setTimeout(resolve, Math.min(pause, LONGEST_PAUSE_MILLISECONDS)));
    }
  }

  close(code: number, reason: string): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    // Once close() is called, the runtime drops the connection at the next frame that it has read, even if the close
    // frame is not written yet; the client would see 1006. An immediate runs when the frames that were read in this
    // turn have been handed over, and the close frame is then written before the runtime reads again.
    const webSocket = this.#webSocket;
    const immediate = setImmediate(() => {
      if (webSocket.readyState < WebSocket.CLOSING) closeSocket(webSocket, code, reason);
    });
    webSocket.addEventListener("close", () => clearImmediate(immediate));
  }

  /** The runtime cannot drop what it is writing: the queue remains until the peer reads it or disconnects. */
  terminate(): void {
    this.close(1013, "");
  }
}
