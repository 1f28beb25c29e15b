/**
 * Bodies of requests and answers on their way to another thread: chunk by chunk, each when the reader asks for it, so that
 * nothing piles up; a reader that leaves is told to the writer. Both threads have one for each other.
 */

/** What the two ends tell each other of a stream, which both know by its id. */
export type StreamWord =
  & { readonly id: number }
  & (
    | { readonly what: "pull" | "cancel" | "end" | "failed" }
    | { readonly what: "chunk"; readonly bytes: Uint8Array<ArrayBuffer> }
  );

type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>;

export class StreamLink {
  readonly #tell: (word: StreamWord) => void;
  readonly #outgoing = new Map<number, ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>>();
  readonly #incoming = new Map<number, ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>>();

  /** @param tell sends to the other thread, in order */
  constructor(tell: (word: StreamWord) => void) {
    this.#tell = tell;
  }

  /** The number of streams that have not ended. */
  get size(): number {
    return this.#outgoing.size + this.#incoming.size;
  }

  /** Offers a stream to the other thread, which opens it under the same id. */
  offer(id: number, stream: Bytes): void {
    this.#outgoing.set(id, stream.getReader());
  }

  /** Opens a stream that the other thread offers. */
  open(id: number): Bytes {
    return new ReadableStream({
      start: (controller) => void this.#incoming.set(id, controller),
      pull: () => this.#tell({ id, what: "pull" }),
      cancel: () => {
        this.#incoming.delete(id);
        this.#tell({ id, what: "cancel" });
      },
    }, { highWaterMark: 1 });
  }

  /** Ends a stream that was opened and that is of no use any more, even while it is read. */
  abandon(id: number): void {
    const controller = this.#incoming.get(id);
    if (controller === undefined) return;
    this.#incoming.delete(id);
    controller.error(new TypeError("Nobody reads on"));
    this.#tell({ id, what: "cancel" });
  }

  hear(word: StreamWord): void {
    const { id } = word;
    const controller = this.#incoming.get(id);
    switch (word.what) {
      case "pull":
        return void this.#send(id);
      case "cancel":
        this.#outgoing.get(id)?.cancel().catch(() => {});
        return void this.#outgoing.delete(id);
      case "chunk":
        return controller?.enqueue(word.bytes);
      case "end":
        this.#incoming.delete(id);
        return controller?.close();
      case "failed":
        this.#incoming.delete(id);
        return controller?.error(new TypeError("The stream broke off"));
    }
  }

  /** The other thread is gone: nobody reads on, and nothing more comes. */
  [Symbol.dispose](): void {
    for (const reader of this.#outgoing.values()) reader.cancel().catch(() => {});
    for (const controller of this.#incoming.values()) {
      controller.error(new TypeError("The other thread is gone"));
    }
    this.#outgoing.clear();
    this.#incoming.clear();
  }

  async #send(id: number): Promise<void> {
    const reader = this.#outgoing.get(id);
    if (reader === undefined) return;
    try {
      const { done, value } = await reader.read();
      if (!this.#outgoing.has(id)) return;
      if (!done) return this.#tell({ id, what: "chunk", bytes: value });
      this.#tell({ id, what: "end" });
    } catch {
      this.#tell({ id, what: "failed" });
    }
    this.#outgoing.delete(id);
  }
}
