/** One client's stay on the channels of one selector. The hub creates it and feeds it batches. */
import type { Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import { MessagingError } from "./errors.ts";
import type { Cursor, Log } from "./log.ts";
import type { Message } from "./message.ts";
import { type Gap, Hold, replay } from "./replay.ts";
import { encodeBatch, type Frame } from "./socket.ts";

/** Live messages held at most while history is replayed. */
const HOLD_MESSAGES = 1_024;
/** Senders whose newest message waits for a client that is behind on conflated channels. */
const PENDING_MESSAGES = 4_096;

export interface SubscribeOptions {
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
  readonly #options: SubscribeOptions;
  #hold: Hold | undefined;
  #left: number;
  #pending: Map<string, Message> | undefined;
  #unkeyed = 0;
  #closed = false;

  constructor(client: Client, selector: Selector, options: SubscribeOptions) {
    this.client = client;
    this.selector = selector;
    this.#options = options;
    this.#left = options.limit ?? Infinity;
    if (options.since !== undefined) this.#hold = new Hold(HOLD_MESSAGES);
  }

  /** Replays history, if any was asked for, and goes live. Never rejects. */
  async start(log: Pick<Log, "read">): Promise<void> {
    const { since, onGap } = this.#options;
    const hold = this.#hold;
    if (since === undefined || hold === undefined) return;
    try {
      await replay({
        log,
        selector: this.selector,
        after: since,
        hold,
        write: async (messages) => {
          await this.client.socket.drained();
          const others = this.#leaveOutOwn(messages);
          if (others.length > 0) this.#send(others, undefined);
          await this.client.socket.drained();
          return !this.#closed;
        },
        onGap: (gap) => !this.#closed && (onGap?.(gap) ?? true),
        goLive: (messages) => {
          this.#hold = undefined;
          if (messages.length > 0) this.#send(messages, undefined);
        },
      });
    } catch (cause) {
      if (this.#closed) return;
      this.client.end(
        cause instanceof MessagingError
          ? cause
          : new MessagingError("internal", "Reading the history failed; reconnect to try again", { cause }),
      );
    }
  }

  /**
   * Takes a live batch. `frames` is what the client's encoder made of `messages`, shared with other clients.
   * With `conflate`, a client that is behind gets only the newest message of each sender, once it has room.
   */
  take(messages: readonly Message[], frames: readonly Frame[], conflate: boolean): void {
    if (this.#hold !== undefined) this.#hold.add(messages);
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
      void this.client.socket.drained().then(() => {
        const pending = this.#pending;
        this.#pending = undefined;
        if (pending !== undefined) this.#send([...pending.values()], undefined);
      });
    }
    for (const message of messages) {
      // A message that must not be conflated waits in line with the others, under a key of its own.
      const key = conflate ? conflationKey(message) : `#${this.#unkeyed++}`;
      this.#pending.delete(key);
      this.#pending.set(key, message);
    }
    if (this.#pending.size > PENDING_MESSAGES) this.#cutOff();
  }

  #cutOff(): void {
    this.close();
    this.client.end(
      new MessagingError("slow_reader", "Too many messages are waiting for you: reconnect, and resume by id"),
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
