/** One client's stay on the channels of one selector. The hub creates it and feeds it batches. */
import type { Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import { MessagingError } from "./errors.ts";
import type { Cursor, Log, LogPage } from "./log.ts";
import { type Message, payloadSize } from "./message.ts";
import type { Member } from "./presence.ts";
import { type Gap, LiveBuffer, replay } from "./replay.ts";
import { encodeBatch, type Frame } from "./socket.ts";

/** Newest messages, one a sender, that wait for a client that is behind on conflated channels. */
const PENDING_MESSAGES = 4_096;
/** How much of them is sent at once; the rest waits until that has left. */
const PENDING_SLICE_BYTES = 256 * 1024;

/** What a subscription opens with, for protocols whose answer to a subscribe carries the history itself. */
export interface Opening {
  readonly after: Cursor;
  readonly limit: number;
  readonly maxBytes?: number;
  /**
   * Called once, when the subscription goes live: with a page of history and what was announced since it was read,
   * each beyond the page's `next`. Nothing was announced that is in neither, nothing is in both.
   */
  onOpen(page: LogPage, announced: readonly Message[]): void;
}

export interface SubscribeOptions {
  /** Who is seen on the channel, when that is not just the client. */
  readonly member?: Member;
  /** Read a page of history before going live, and hand it over instead of sending it. */
  readonly opening?: Opening;
  /** Replay what is stored after this first; nothing when left out. */
  readonly since?: Cursor | undefined;
  /** End after this many messages. */
  readonly limit?: number | undefined;
  /** Called before the replay goes on behind a gap; returns whether it should. */
  readonly onGap?: (gap: Gap) => boolean;
  /** Called when the limit is reached. */
  readonly onLimit?: () => void;
}

export class Subscription {
  readonly client: Client;
  readonly selector: Selector;
  readonly member: Member;
  readonly #options: SubscribeOptions;
  #buffer: LiveBuffer | undefined;
  #left: number;
  #pending: Map<string, Message> | undefined;
  #unkeyed = 0;
  #closed = false;

  constructor(client: Client, selector: Selector, options: SubscribeOptions) {
    this.client = client;
    this.selector = selector;
    this.member = options.member ?? client;
    this.#options = options;
    this.#left = options.limit ?? Infinity;
    if (options.since !== undefined || options.opening !== undefined) this.#buffer = new LiveBuffer();
  }

  /**
   * Replays history, if any was asked for, and goes live.
   *
   * @throws what reading the log throws
   */
  async start(log: Pick<Log, "read">): Promise<void> {
    const { since, opening } = this.#options;
    if (opening !== undefined) await this.#open(log, opening);
    else if (since !== undefined) await this.#replay(log, since);
  }

  async #open(log: Pick<Log, "read">, opening: Opening): Promise<void> {
    const { after, limit, maxBytes = Infinity, onOpen } = opening;
    const buffer = this.#buffer;
    let announced: readonly Message[] | undefined;
    while (buffer !== undefined && announced === undefined && !this.#closed) {
      buffer.restart();
      const page = await log.read({ selector: this.selector, after, limit, maxBytes });
      announced = buffer.release(page.next.sequence);
      if (announced === undefined || this.#closed) continue;
      this.#buffer = undefined;
      onOpen(page, announced);
    }
  }

  async #replay(log: Pick<Log, "read">, since: Cursor): Promise<void> {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    const { onGap } = this.#options;
    const { socket } = this.client;
    await replay({
      log,
      selector: this.selector,
      after: since,
      buffer,
      write: async (messages) => {
        await socket.drained();
        const others = this.#leaveOutOwn(messages);
        if (others.length > 0) this.#send(others, undefined);
        await socket.drained();
        return !this.#closed;
      },
      onGap: (gap) => !this.#closed && (onGap?.(gap) ?? true),
      goLive: (messages) => {
        this.#buffer = undefined;
        if (messages.length > 0) this.#send(messages, undefined);
      },
    });
  }

  /**
   * Takes a live batch. `frames` is what the client's encoder made of `messages`, shared with other clients.
   * With `conflate`, a client that is behind gets only the newest message of each sender, once it has room.
   */
  take(messages: readonly Message[], frames: readonly Frame[], conflate: boolean): void {
    if (this.#buffer !== undefined) this.#buffer.add(messages);
    else if (this.#pending !== undefined || (conflate && this.client.outbox.isBehind)) {
      this.#postpone(messages, conflate);
    } else this.#send(messages, frames);
  }

  /** Ends it: nothing is sent any more. */
  close(): void {
    this.#closed = true;
    this.#pending = undefined;
  }

  #send(messages: readonly Message[], frames: readonly Frame[] | undefined): void {
    if (this.#closed) return;
    if (this.#left < messages.length) {
      messages = messages.slice(0, this.#left);
      frames = undefined;
    }
    this.#left -= messages.length;
    if (!this.client.outbox.offer(frames ?? encodeBatch(this.client.encoder, messages))) {
      return this.#cutOff();
    }
    if (this.#left === 0) {
      this.close();
      this.#options.onLimit?.();
    }
  }

  /** What the client published itself while its replay was running, it does not get back. */
  #leaveOutOwn(messages: readonly Message[]): readonly Message[] {
    const { echo, socket } = this.client;
    return echo ? messages : messages.filter((message) => message.socketId !== socket.id);
  }

  #postpone(messages: readonly Message[], conflate: boolean): void {
    if (this.#pending === undefined) {
      this.#pending = new Map();
      void this.#sendPending(this.#pending);
    }
    for (const message of messages) {
      // A message that must not be conflated waits in line with the others, under a key of its own.
      const key = conflate ? conflationKey(message) : `#${this.#unkeyed++}`;
      this.#pending.delete(key);
      this.#pending.set(key, message);
    }
    if (this.#pending.size > PENDING_MESSAGES) this.#cutOff();
  }

  /** Sends what waits, a slice whenever the socket has room, until nothing waits. */
  async #sendPending(pending: Map<string, Message>): Promise<void> {
    while (!this.#closed) {
      await this.client.socket.drained();
      const slice: Message[] = [];
      let bytes = 0;
      for (const [key, message] of pending) {
        bytes += payloadSize(message.payload);
        if (slice.length > 0 && bytes > PENDING_SLICE_BYTES) break;
        pending.delete(key);
        slice.push(message);
      }
      if (slice.length > 0) this.#send(slice, undefined);
      if (pending.size > 0) continue;
      this.#pending = undefined;
      return;
    }
  }

  #cutOff(): void {
    this.close();
    this.client.end(
      new MessagingError(
        "slow_subscriber",
        "Too many messages are waiting for you: reconnect, and resume by id",
      ),
    );
  }
}

/** Messages with the same key replace each other on a conflated channel. All without a sender share one. */
export function conflationKey(message: Message): string {
  return `${message.channel} ${message.from?.id ?? message.socketId ?? ""}`;
}

/** The newest message of each sender, in order. */
export function conflate(messages: readonly Message[]): readonly Message[] {
  if (messages.length < 2) return messages;
  const newest = new Map<string, Message>();
  for (const message of messages) {
    const key = conflationKey(message);
    newest.delete(key);
    newest.set(key, message);
  }
  return newest.size === messages.length ? messages : [...newest.values()];
}
