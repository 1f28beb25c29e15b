/** A WebSocket client that tests can await: opened, each message in turn, closed. */

/** What ended a socket. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

/** A WebSocket whose messages queue up until somebody asks for them. Disposing it closes it. */
export class TestSocket implements AsyncDisposable {
  readonly webSocket: WebSocket;
  /** Resolves when the socket has closed. */
  readonly closed: Promise<Ending>;
  readonly #received: (string | Uint8Array)[] = [];
  #waiting: ((data: string | Uint8Array) => void)[] = [];

  private constructor(webSocket: WebSocket) {
    this.webSocket = webSocket;
    webSocket.binaryType = "arraybuffer";
    webSocket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      const message = typeof data === "string" ? data : new Uint8Array(data);
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#received.push(message);
    };
    this.closed = new Promise((resolve) => {
      webSocket.onclose = ({ code, reason }) => resolve({ code, reason });
    });
    webSocket.onerror = (event) => event.preventDefault();
  }

  /** Connects; rejects when the handshake is refused. */
  static async open(url: string, options: WebSocketOptions = {}): Promise<TestSocket> {
    const socket = new TestSocket(new WebSocket(url, options));
    const opened = new Promise<void>((resolve) => socket.webSocket.onopen = () => resolve());
    const refused = socket.closed.then(({ code }) => {
      throw new Error(`The socket was refused with ${code}`);
    });
    await Promise.race([opened, refused]);
    refused.catch(() => {});
    return socket;
  }

  send(data: string | Uint8Array<ArrayBuffer>): void {
    this.webSocket.send(data);
  }

  /** The next message, in order of arrival. */
  next(): Promise<string | Uint8Array> {
    const received = this.#received.shift();
    if (received !== undefined) return Promise.resolve(received);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Messages that have arrived and that nobody asked for. */
  get unread(): readonly (string | Uint8Array)[] {
    return this.#received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.webSocket.close();
    await this.closed;
  }
}
