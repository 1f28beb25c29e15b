/** A plain WebSocket that comes back by itself and says how it is. The examples talk through it. */
import { ConnectionState } from "./connection_state.ts";

export interface LiveSocketHandlers {
  onMessage(data: string | ArrayBuffer): void;
  onClose?(code: number): void;
  onError?(): void;
}

/** What a browser calls a connection that broke (RFC 6455, section 7.4.1). */
const ABNORMAL = 1006;

export class LiveSocket {
  readonly #url: URL;
  readonly #state: ConnectionState;
  readonly #handlers: LiveSocketHandlers;
  #socket: WebSocket | undefined;

  /**
   * @param path the URL to connect to
   * @param state the element that shows the state of the connection in words
   */
  constructor(path: string, state: HTMLElement, handlers: LiveSocketHandlers) {
    this.#url = new URL(path, location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#state = new ConnectionState(state, () => this.#connect());
    this.#handlers = handlers;
    this.#state.connecting();
    this.#connect();
    addEventListener("offline", () => this.#hangUp());
  }

  /** Sends a message, or answers false when there is no connection to send it on. */
  send(data: string): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  #connect(): void {
    const socket = this.#socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.#state.live();
    socket.onmessage = (event) => this.#handlers.onMessage(event.data);
    socket.onerror = () => this.#handlers.onError?.();
    socket.onclose = ({ code, reason }) => this.#lose(code, reason);
  }

  /** A socket does not notice that the browser is offline, and would wait for the other end's farewell. */
  #hangUp(): void {
    const socket = this.#socket;
    if (socket === undefined || socket.readyState === WebSocket.CLOSED) return;
    socket.onopen =
      socket.onmessage =
      socket.onerror =
      socket.onclose =
        null;
    socket.close();
    this.#lose(ABNORMAL, "");
  }

  #lose(code: number, reason: string): void {
    this.#socket = undefined;
    this.#handlers.onClose?.(code);
    this.#state.lost(reason);
  }
}

/** The JSON object a message holds, or an empty one: on an open channel anybody may send anything. */
export function readJson(data: string | ArrayBuffer): Record<string, unknown> {
  try {
    return Object(JSON.parse(String(data)));
  } catch {
    return {};
  }
}
