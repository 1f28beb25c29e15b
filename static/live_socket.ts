/** A plain WebSocket that comes back by itself and says how it is. Every page of this folder talks through it. */

export interface LiveSocketHandlers {
  onMessage(data: string | ArrayBuffer): void;
  onClose?(code: number): void;
  onError?(): void;
}

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 15_000;
const GOOD_CONNECTION_MS = 5_000;

export class LiveSocket {
  #target: () => string | Promise<string>;
  #state: HTMLElement;
  #handlers: LiveSocketHandlers;
  #socket: WebSocket | undefined;
  #failures = 0;
  #nextTry = 0;
  #countdown = 0;

  /**
   * @param target the URL to connect to, or what prepares a connection and then answers with its URL
   * @param state the element that shows the state of the connection in words
   */
  constructor(
    target: string | (() => string | Promise<string>),
    state: HTMLElement,
    handlers: LiveSocketHandlers,
  ) {
    this.#target = typeof target === "string" ? () => target : target;
    this.#state = state;
    this.#handlers = handlers;
    addEventListener("online", () => this.#nextTry > 0 && this.#connect());
    this.#connect();
  }

  /** Sends a message, or answers false when there is no connection to send it on. */
  send(data: string): boolean {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    return true;
  }

  async #connect(): Promise<void> {
    clearInterval(this.#countdown);
    this.#nextTry = 0;
    this.#show("connecting", "Connecting…");
    try {
      const url = new URL(await this.#target(), location.href);
      url.protocol = url.protocol.replace("http", "ws");
      this.#listen(new WebSocket(url));
    } catch (error) {
      this.#wait(error instanceof Error ? error.message : String(error));
    }
  }

  #listen(socket: WebSocket): void {
    let openedAt = Infinity;
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      openedAt = Date.now();
      this.#show("open", "Live");
    };
    socket.onmessage = (event) => this.#handlers.onMessage(event.data);
    socket.onerror = () => this.#handlers.onError?.();
    socket.onclose = (event) => {
      // Only a connection that lasted resets the pauses: a server that accepts and hangs up is not hammered.
      if (Date.now() - openedAt > GOOD_CONNECTION_MS) this.#failures = 0;
      this.#handlers.onClose?.(event.code);
      this.#wait(event.reason);
    };
  }

  #wait(reason: string): void {
    const longest = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures++);
    // Jitter: a thousand pages that lost the same server must not all come back in the same instant.
    this.#nextTry = Date.now() + longest * (0.5 + Math.random() / 2);
    const tick = () => {
      const seconds = Math.ceil((this.#nextTry - Date.now()) / 1000);
      if (seconds <= 0) this.#connect();
      else this.#show("waiting", `Disconnected${reason && `: ${reason}`}. `, `Next try in ${seconds} s.`);
    };
    tick();
    this.#countdown = setInterval(tick, 250);
  }

  #show(kind: "connecting" | "open" | "waiting", words: string, countdown = ""): void {
    if (this.#state.textContent === words + countdown) return;
    const seconds = document.createElement("span");
    // A screen reader announces the loss once, not every second of the countdown.
    seconds.ariaHidden = "true";
    seconds.textContent = countdown;
    this.#state.dataset.state = kind;
    this.#state.replaceChildren(words, seconds);
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
