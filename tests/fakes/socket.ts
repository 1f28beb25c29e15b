/** A socket whose queue drains only as a test says, and the clients and encoders that go with it. */
import type { Client } from "../../lib/core/client.ts";
import type { MessagingError } from "../../lib/core/errors.ts";
import type { Message } from "../../lib/core/message.ts";
import { Outbox, type OutboxLimits } from "../../lib/core/outbox.ts";
import { type Encoder, Frame, type Socket } from "../../lib/core/socket.ts";

let sockets = 0;

/** Records what is sent. While it is stalled frames wait, until the test lets bytes leave. */
export class FakeSocket implements Socket {
  readonly id = `s${++sockets}`;
  readonly sent: Frame[] = [];
  /** How many calls of `send` there were. */
  sends = 0;
  closed: { readonly code: number; readonly reason: string } | undefined;
  terminated = false;
  #stalled = false;
  #queue: number[] = [];
  #waiting: (() => void)[] = [];

  send(frames: readonly Frame[]): void {
    this.sends++;
    this.sent.push(...frames);
    if (this.#stalled) { for (const frame of frames) this.#queue.push(frame.byteLength); }
  }

  get queuedBytes(): number {
    return this.#queue.reduce((sum, size) => sum + size, 0);
  }

  /** Frames of which at least a byte waits. */
  get queuedFrames(): number {
    return this.#queue.length;
  }

  drained(): Promise<void> {
    if (this.queuedBytes === 0) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }

  terminate(): void {
    this.terminated = true;
    this.resume();
  }

  /** From now on nothing leaves by itself. */
  stall(): void {
    this.#stalled = true;
  }

  /** Lets so many bytes leave. */
  leave(bytes: number): void {
    while (bytes > 0 && this.#queue.length > 0) {
      const first = Math.min(bytes, this.#queue[0]!);
      bytes -= first;
      this.#queue[0]! -= first;
      if (this.#queue[0] === 0) this.#queue.shift();
    }
    if (this.queuedBytes === 0) { for (const resolve of this.#waiting.splice(0)) resolve(); }
  }

  /** Everything leaves, and nothing waits any more. */
  resume(): void {
    this.#stalled = false;
    this.leave(Infinity);
  }

  /** What was sent, one text a frame. */
  get texts(): string[] {
    return this.sent.map(({ data }) => typeof data === "string" ? data : `(${data.byteLength} bytes)`);
  }
}

export interface FakeClient extends Client {
  readonly socket: FakeSocket;
  /** The errors it was ended with. */
  readonly ended: MessagingError[];
}

export interface FakeClientOptions {
  readonly address?: string;
  readonly choseId?: boolean;
  readonly id?: string;
  readonly name?: string;
  readonly encoder?: Encoder;
  readonly echo?: boolean;
  readonly limits?: OutboxLimits;
  /** Called when it is ended, as a protocol closes its socket and disconnects. */
  readonly onEnd?: (client: FakeClient) => void;
}

/** A client on a socket of its own; by default it reads texts, one frame a message. */
export function createClient(options: FakeClientOptions = {}): FakeClient {
  const socket = new FakeSocket();
  const ended: MessagingError[] = [];
  const client: FakeClient = {
    socket,
    ended,
    id: options.id ?? socket.id,
    address: options.address ?? "192.0.2.1",
    choseId: options.choseId ?? false,
    name: options.name,
    protocol: "fake",
    since: 0,
    encoder: options.encoder ?? TEXT,
    echo: options.echo ?? false,
    outbox: new Outbox(socket, options.limits ?? { messages: 1_000_000, bytes: 1_000_000_000 }),
    end(error) {
      ended.push(error);
      options.onEnd?.(client);
    },
  };
  return client;
}

/** One frame a message: its text. */
export const TEXT: Encoder = { kind: "single", encode: (message) => new Frame(textOf(message)) };

/** One frame a batch: the texts joined with "+". */
export const JOINED: Encoder = {
  kind: "joined",
  encode: (messages) => new Frame(messages.map(textOf).join("+")),
};

/** An encoder that counts how often it is called. */
export function countCalls(encoder: Encoder): { readonly encoder: Encoder; readonly calls: () => number } {
  let calls = 0;
  const counting: Encoder = encoder.kind === "single"
    ? { kind: "single", encode: (message) => (calls++, encoder.encode(message)) }
    : { kind: "joined", encode: (messages) => (calls++, encoder.encode(messages)) };
  return { encoder: counting, calls: () => calls };
}

/** The text of a message, whatever its kind. */
export function textOf({ payload }: Message): string {
  return payload.kind === "bytes" ? `(${payload.bytes.byteLength} bytes)` : payload.text;
}
