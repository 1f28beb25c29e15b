/** The Socket over the body of an HTTP response: what event streams and line streams write to. */
import type { Frame, Socket } from "./socket.ts";

/** A Socket whose frames become the chunks of a response body. Frames must hold bytes. */
export class StreamSocket implements Socket {
  readonly id = crypto.randomUUID();
  /** The response body. */
  readonly body: ReadableStream<Uint8Array<ArrayBuffer>>;
  #controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | undefined;
  #wake: (() => void)[] = [];

  /** @param onEnd called once when the reader has gone away by itself */
  constructor(onEnd: () => void) {
    this.body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#notify(),
      cancel: () => {
        this.#controller = undefined;
        this.#notify();
        onEnd();
      },
      // A high-water mark of one byte: pull is called exactly when the queue is empty.
    }, { highWaterMark: 1, size: (chunk) => chunk.byteLength });
  }

  send(frames: readonly Frame[]): void {
    for (const { data } of frames) {
      if (typeof data === "string") throw new TypeError("A stream takes frames of bytes");
      this.#controller?.enqueue(data);
    }
  }

  get queuedBytes(): number {
    return this.#controller === undefined ? 0 : 1 - (this.#controller.desiredSize ?? 1);
  }

  drained(): Promise<void> {
    if (this.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** Ends the body after what is queued; a stream has no place for a code. */
  close(): void {
    this.#controller?.close();
    this.#controller = undefined;
    this.#notify();
  }

  terminate(): void {
    this.#controller?.error(new Error("The reader was cut off"));
    this.#controller = undefined;
    this.#notify();
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}
