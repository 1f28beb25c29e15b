/** A Socket over the body of an HTTP response. Event streams and NDJSON streams write to it. */
import type { Frame, Socket } from "./socket.ts";

/** Queued frames are joined into chunks of up to this size, so that one write carries many small frames. */
const JOINED_BYTES = 64 * 1024;

type Bytes = Uint8Array<ArrayBuffer>;

const ENDLESS = new WeakSet<ReadableStream>();

/** Whether a body is that of a stream socket, which waits for what comes and mostly has no end of its own. */
export function isEndless(body: ReadableStream): boolean {
  return ENDLESS.has(body);
}

/** Notes that a body carries on what such a one sends. */
export function markEndless(body: ReadableStream): void {
  ENDLESS.add(body);
}

/**
 * A Socket whose frames become the chunks of a response body. Frames must be of bytes. It keeps its own queue instead
 * of the stream's: ending a slow subscriber drops the queue and ends the body between two frames.
 */
export class StreamSocket implements Socket {
  readonly id = crypto.randomUUID();
  /** The response body. */
  readonly body: ReadableStream<Bytes>;
  #controller: ReadableStreamDefaultController<Bytes> | undefined;
  #queue: Bytes[] = [];
  #queuedBytes = 0;
  /** Whether the stream has pulled a chunk and not got one yet. */
  #wanted = false;
  #closing = false;
  #wake: (() => void)[] = [];

  readonly #onClosed: () => void;

  /**
   * @param onEnd called once when the client has cancelled the body
   * @param onClosed called when the body has ended, for any reason
   */
  constructor(onEnd: () => void, onClosed: () => void = () => {}) {
    this.#onClosed = onClosed;
    this.body = new ReadableStream<Bytes>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        this.#wanted = true;
        this.#pass();
      },
      cancel: () => {
        this.#end();
        onEnd();
      },
    }, { highWaterMark: 0 });
    markEndless(this.body);
  }

  send(frames: readonly Frame[]): void {
    if (this.#controller === undefined || this.#closing) return;
    for (const { data } of frames) {
      if (typeof data === "string") throw new TypeError("A stream takes only frames of bytes");
      this.#queue.push(data);
      this.#queuedBytes += data.byteLength;
    }
    this.#pass();
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  drained(): Promise<void> {
    if (this.#queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** Ends the body once the queue is sent. A stream cannot carry a close code. */
  close(): void {
    this.#closing = true;
    this.#pass();
  }

  terminate(): void {
    this.discard();
    this.close();
  }

  /** Drops the queue. */
  discard(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Passes on one chunk, if one is wanted and queued. */
  #pass(): void {
    if (this.#wanted && this.#queue.length > 0) {
      this.#wanted = false;
      this.#controller?.enqueue(this.#takeChunk());
    }
    if (this.#queue.length > 0) return;
    this.#queuedBytes = 0;
    if (this.#closing) {
      this.#controller?.close();
      this.#end();
    } else this.#notify();
  }

  #takeChunk(): Bytes {
    let size = 0;
    let count = 0;
    for (const data of this.#queue) {
      if (count > 0 && size + data.byteLength > JOINED_BYTES) break;
      size += data.byteLength;
      count++;
    }
    const taken = this.#queue.splice(0, count);
    this.#queuedBytes -= size;
    const [only] = taken;
    if (only !== undefined && taken.length === 1) return only;
    const chunk = new Uint8Array(size);
    let offset = 0;
    for (const data of taken) {
      chunk.set(data, offset);
      offset += data.byteLength;
    }
    return chunk;
  }

  #end(): void {
    this.#controller = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#notify();
    this.#onClosed();
  }

  #notify(): void {
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}
