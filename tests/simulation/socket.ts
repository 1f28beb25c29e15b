/** A simulated connection: what the server sends leaves after a while and arrives after another, unless it is stalled or lost. */
import type { Frame, Socket, SocketHandler } from "../../lib/core/socket.ts";
import type { Random } from "../soak/random.ts";
import type { Owner, VirtualTime } from "./virtual_time.ts";

/** The other end of a connection. */
export interface Peer {
  receive(data: string): void;
  closed(code: number, reason: string): void;
}

interface Options {
  readonly time: VirtualTime;
  readonly random: Random;
  /** The node at the server's end. */
  readonly owner: Owner;
  readonly id: string;
  readonly handler: SocketHandler;
  readonly peer: Peer;
}

/** The most milliseconds that a packet takes. */
const LATENCY = 8;

export class SimulatedSocket implements Socket {
  readonly id: string;
  readonly #options: Options;
  #queue: Frame[] = [];
  #queuedBytes = 0;
  #waiting: (() => void)[] = [];
  #stalled = false;
  #isLeaving = false;
  #closing: { readonly code: number; readonly reason: string } | undefined;
  /** Nothing reaches the other end any more. */
  #cut = false;
  #ended = false;
  /** When the last packet arrives at either end: they never overtake each other. */
  #arrival = 0;
  #sending = 0;

  constructor(options: Options) {
    this.id = options.id;
    this.#options = options;
  }

  /** Whether the server still has it, and is not about to close it. */
  get isOpen(): boolean {
    return !this.#ended && this.#closing === undefined;
  }

  send(frames: readonly Frame[]): void {
    if (this.#ended || this.#closing !== undefined) return;
    this.#queue.push(...frames);
    for (const { byteLength } of frames) this.#queuedBytes += byteLength;
    this.#leave();
  }

  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  drained(): Promise<void> {
    if (this.#queuedBytes === 0 || this.#ended) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(code: number, reason: string): void {
    if (this.#ended) return;
    this.#closing ??= { code, reason };
    this.#leave();
  }

  terminate(): void {
    this.#queue = [];
    this.#end(1006, "");
  }

  /** The client sends a text. */
  say(text: string): void {
    const { time, random, owner, handler } = this.#options;
    this.#sending = Math.max(this.#sending, time.now + random.fraction() * LATENCY);
    time.after(this.#sending - time.now, () => {
      if (!this.#ended && !this.#cut) handler.message(text);
    }, owner);
  }

  /** The client stops reading. */
  stall(): void {
    this.#stalled = true;
  }

  /** The client reads again. */
  resume(): void {
    this.#stalled = false;
    this.#options.time.after(0, () => this.#leave(), this.#options.owner);
  }

  /** The connection breaks: the client knows at once, the server after a while. */
  lose(delay: number): void {
    if (this.#cut) return;
    this.#cut = true;
    this.#options.time.after(delay, () => this.#end(1006, ""), this.#options.owner);
  }

  /** The node is gone: nobody is at the server's end. */
  vanish(): void {
    this.#cut = true;
    this.#ended = true;
  }

  #leave(): void {
    if (this.#isLeaving || this.#stalled || this.#ended) return;
    if (this.#queue.length === 0) {
      if (this.#closing !== undefined) this.#end(this.#closing.code, this.#closing.reason);
      return;
    }
    this.#isLeaving = true;
    const { time, random, owner } = this.#options;
    time.after(random.fraction() * 2, () => {
      this.#isLeaving = false;
      if (this.#stalled || this.#ended) return;
      const left = this.#queue.splice(0, 1 + Math.floor(random.fraction() * this.#queue.length));
      for (const frame of left) {
        this.#queuedBytes -= frame.byteLength;
        this.#arrive(() => this.#options.peer.receive(String(frame.data)));
      }
      if (this.#queuedBytes === 0) this.#release();
      this.#leave();
    }, owner);
  }

  #arrive(task: () => void): void {
    const { time, random } = this.#options;
    this.#arrival = Math.max(this.#arrival, time.now + random.fraction() * LATENCY);
    time.after(this.#arrival - time.now, () => {
      if (!this.#cut) task();
    }, NOBODY);
  }

  #release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #end(code: number, reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#queuedBytes = 0;
    this.#release();
    this.#arrive(() => this.#options.peer.closed(code, reason));
    this.#options.handler.close(code, reason);
  }
}

/** Clients are nobody's. */
const NOBODY: Owner = { frozen: false, gone: false, clockError: 0, held: [] };
