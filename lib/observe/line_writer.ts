/** Writes the server log without waiting for its reader. `server.ts` uses it over stderr. */

/** Where bytes go, such as `Deno.stderr`. */
export interface Sink {
  write(bytes: Uint8Array): Promise<number>;
  writeSync(bytes: Uint8Array): number;
}

/** Most text queued while the sink does not take any; further lines are dropped and counted. */
const MAX_WAITING_CHARACTERS = 1024 * 1024;

const UTF8 = new TextEncoder();

/**
 * A queue of lines before a sink. After the sink has failed, lines are dropped: a broken log must not stop the server.
 */
export class LineWriter {
  readonly #sink: Sink;
  #waiting = "";
  #dropped = 0;
  #scheduled = false;
  /** The write under way, which a stalled reader never ends. */
  #writing: Promise<void> | undefined;
  #broken = false;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  /** Takes whole lines. Never throws, never waits. */
  write(lines: string): void {
    if (this.#broken) return;
    if (this.#waiting.length + lines.length > MAX_WAITING_CHARACTERS) {
      this.#dropped += lines.split("\n").length - 1;
      return;
    }
    this.#waiting += lines;
    if (this.#scheduled) return;
    this.#scheduled = true;
    // Not now: a caller that is about to end the process can still flush synchronously.
    queueMicrotask(() => {
      this.#scheduled = false;
      this.#start();
    });
  }

  /** Waits until everything is written or the deadline has passed. Called before an orderly exit. */
  async finish(deadlineMilliseconds: number): Promise<void> {
    this.#start();
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, deadlineMilliseconds);
    await Promise.race([this.#writing, promise]);
    clearTimeout(timer);
    this.flush();
  }

  /** Writes the queue synchronously, unless a write is under way, which may be stalled. */
  flush(): void {
    if (this.#broken || this.#writing !== undefined) return;
    try {
      const bytes = this.#take();
      for (let written = 0; written < bytes.length;) written += this.#sink.writeSync(bytes.subarray(written));
    } catch {
      this.#broken = true;
    }
  }

  #start(): void {
    if (this.#waiting !== "") this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    try {
      while (this.#waiting !== "") {
        const bytes = this.#take();
        for (let written = 0; written < bytes.length;) {
          written += await this.#sink.write(bytes.subarray(written));
        }
      }
    } catch {
      this.#broken = true;
      this.#waiting = "";
    }
    this.#writing = undefined;
  }

  #take(): Uint8Array {
    const note = this.#dropped === 0 ? "" : `warn: log lines dropped count=${this.#dropped}\n`;
    const bytes = UTF8.encode(this.#waiting + note);
    this.#waiting = "";
    this.#dropped = 0;
    return bytes;
  }
}
