/** The subscription of one client to the channels of one selector. The hub creates it and passes it batches. */
import type { Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import { MessagingError } from "./errors.ts";
import type { Cursor, Log, LogPage } from "./log.ts";
import { type Message, payloadSize, type Removal } from "./message.ts";
import type { Outbox } from "./outbox.ts";
import type { Member } from "./presence.ts";
import { type Gap, LiveBuffer, replay } from "./replay.ts";
import { encodeBatch, type Frame } from "./socket.ts";

/** Most messages, the newest of each sender, pending for a client that is behind on conflated channels. */
const PENDING_MESSAGES = 4_096;
/** Most removals that wait for a replay to end. */
const PENDING_REMOVALS = 1_024;
/** Bytes of a replay that may wait at a socket while more is read. */
const AHEAD_BYTES = 64 * 1024;
/** Bytes of pending messages sent at once; the rest waits until these have left. */
const PENDING_SLICE_BYTES = 256 * 1024;

/** A page of history to open with, for protocols whose reply to a subscribe carries the history. */
export interface Opening {
  readonly after: Cursor;
  readonly limit: number;
  readonly maxBytes?: number;
  /**
   * Called once, when the subscription goes live: with the page of history and the messages announced since it was
   * read, all after the page's `next`. No message is missing, none is in both.
   */
  onOpen(page: LogPage, announced: readonly Message[]): void;
}

export interface SubscribeOptions {
  /** The member that presence shows, if that is not the client itself. */
  readonly member?: Member;
  /** Read a page of history before going live, and pass it to `onOpen` instead of sending it. */
  readonly opening?: Opening;
  /** Replay the messages stored after this before going live. */
  readonly since?: Cursor | undefined;
  /** End after this many messages. */
  readonly limit?: number | undefined;
  /** Called when the replay meets a gap; returns whether to continue after it. */
  readonly onGap?: (gap: Gap) => boolean;
  /**
   * Takes the messages instead of the client's encoder and outbox, for protocols that number what they send. Returns
   * false if there is no room: the client is ended then. Must not throw.
   */
  readonly receive?: (messages: readonly Message[]) => boolean;
  /**
   * Takes retained messages that another thread had stored before the subscription, and of which this one hears now: the
   * client was not told of them as retained ones. Returns false if there is no room. Must not throw.
   */
  readonly receiveRetained?: (messages: readonly Message[]) => boolean;
  /** Drops what was received and waits still, of those messages that were taken back. Must not throw. */
  readonly takeBack?: (isTakenBack: (message: Message) => boolean) => void;
  /** Called when the limit is reached. */
  readonly onLimit?: () => void;
}

export class Subscription {
  readonly client: Client;
  /**
   * The client's outbox while batches go there as they come: nothing is replayed or pending, and there is no limit.
   * Most subscriptions are like that, and touching less memory for each shows in the time of a fan-out.
   */
  #direct: Outbox | undefined;
  readonly selector: Selector;
  readonly member: Member;
  readonly #options: SubscribeOptions;
  #buffer: LiveBuffer | undefined;
  #left: number;
  #pending: Map<string, Message> | undefined;
  #unkeyed = 0;
  /** What is to be told of removals once the replay is over: messages that it has read already may still come. */
  #removals: Frame[] | undefined;
  #closed = false;

  constructor(client: Client, selector: Selector, options: SubscribeOptions) {
    this.client = client;
    this.selector = selector;
    this.member = options.member ?? client;
    this.#options = options;
    this.#left = options.limit ?? Infinity;
    if (options.since !== undefined || options.opening !== undefined) this.#buffer = new LiveBuffer();
    this.#goDirect();
  }

  /** Whether its client waits for the page that it opens with. */
  get isOpening(): boolean {
    return this.#options.opening !== undefined && this.#buffer !== undefined;
  }

  /**
   * Replays history, if requested, and goes live.
   *
   * @throws whatever reading the log throws
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
      this.#sendRemovals();
      this.#goDirect();
    }
  }

  async #replay(log: Pick<Log, "read">, since: Cursor): Promise<void> {
    const buffer = this.#buffer;
    if (buffer === undefined) return;
    const { onGap } = this.#options;
    await replay({
      log,
      selector: this.selector,
      after: since,
      buffer,
      write: (messages, isLast) => this.#write(messages, isLast),
      onGap: (gap) => !this.#closed && (onGap?.(gap) ?? true),
      goLive: (messages) => {
        this.#buffer = undefined;
        if (messages.length > 0) this.#send(messages, undefined);
        this.#sendRemovals();
        this.#goDirect();
      },
    });
  }

  /** Writes a page of a replay. To wait until all of one has left takes turns of the event loop: the next may follow it. */
  async #write(messages: readonly Message[], isLast: boolean): Promise<boolean> {
    const { outbox, encoder, socket } = this.client;
    const others = this.#dropOwn(messages);
    const frames = this.#options.receive === undefined ? encodeBatch(encoder, others) : undefined;
    if (frames === undefined || !outbox.hasRoomFor(frames)) await socket.drained();
    if (others.length > 0) this.#send(others, frames);
    if (isLast || frames === undefined || socket.queuedBytes > AHEAD_BYTES || !outbox.hasRoomFor(frames)) {
      await socket.drained();
    }
    return !this.#closed;
  }

  /**
   * Takes a live batch. `frames` is `messages` as the client's encoder encoded them, shared with other clients. With
   * `conflate`, a client that is behind gets only the newest message of each sender, once its queue has drained.
   */
  take(messages: readonly Message[], frames: readonly Frame[], conflate: boolean): void {
    const direct = this.#direct;
    if (direct !== undefined && !(conflate && direct.isBehind)) {
      if (!direct.offer(frames)) this.#cutOff();
    } else if (this.#buffer !== undefined) this.#buffer.add(messages);
    else if (this.#pending !== undefined || (conflate && this.client.outbox.isBehind)) {
      this.#postpone(messages, conflate);
    } else this.#send(messages, frames);
  }

  /** Takes retained messages from before it, see {@linkcode SubscribeOptions.receiveRetained}. */
  takeRetained(messages: readonly Message[]): void {
    if (!this.#closed && this.#options.receiveRetained?.(messages) === false) this.#cutOff();
  }

  /**
   * Sends a message no more that was taken back, and tells the client of it, after the messages it is about.
   *
   * @param frame shared with other clients; undefined for a client that is not told
   */
  takeRemoval(removal: Removal, frame: Frame | undefined): void {
    if (this.#closed) return;
    for (const [key, message] of this.#pending ?? []) {
      if (isTakenBack(message, removal)) this.#pending?.delete(key);
    }
    this.#buffer?.remove((message) => isTakenBack(message, removal));
    if (removal.kind === "message") this.#options.takeBack?.((message) => isTakenBack(message, removal));
    if (frame === undefined) return;
    if (this.#buffer === undefined) this.#offer(frame);
    else {
      if ((this.#removals ??= []).push(frame) > PENDING_REMOVALS) this.#cutOff();
    }
  }

  #offer(frame: Frame): void {
    if (!this.client.outbox.offer([frame])) this.#cutOff();
  }

  /** Sends what waited for the replay to end. */
  #sendRemovals(): void {
    for (const frame of this.#removals?.splice(0) ?? []) this.#offer(frame);
    this.#removals = undefined;
  }

  /** Ends the subscription: nothing more is sent. */
  close(): void {
    this.#closed = true;
    this.#direct = undefined;
    this.#pending = undefined;
  }

  #goDirect(): void {
    const isPlain = this.#left === Infinity && this.#options.receive === undefined;
    if (isPlain && !this.#closed && this.#buffer === undefined && this.#pending === undefined) {
      this.#direct = this.client.outbox;
    }
  }

  #send(messages: readonly Message[], frames: readonly Frame[] | undefined): void {
    if (this.#closed) return;
    if (this.#left < messages.length) {
      messages = messages.slice(0, this.#left);
      frames = undefined;
    }
    this.#left -= messages.length;
    const { receive } = this.#options;
    const taken = receive === undefined
      ? this.client.outbox.offer(frames ?? encodeBatch(this.client.encoder, messages))
      : receive(messages);
    if (!taken) return this.#cutOff();
    if (this.#left === 0) {
      this.close();
      this.#options.onLimit?.();
    }
  }

  /** Drops what the client itself published while its replay was running, unless it wants an echo. */
  #dropOwn(messages: readonly Message[]): readonly Message[] {
    const { echo, socket } = this.client;
    return echo ? messages : messages.filter((message) => message.socketId !== socket.id);
  }

  #postpone(messages: readonly Message[], conflate: boolean): void {
    if (this.#pending === undefined) {
      this.#direct = undefined;
      this.#pending = new Map();
      void this.#sendPending(this.#pending);
    }
    for (const message of messages) {
      // A message that must not be conflated queues with the others under a unique key.
      const key = conflate ? conflationKey(message) : `#${this.#unkeyed++}`;
      this.#pending.delete(key);
      this.#pending.set(key, message);
    }
    if (this.#pending.size > PENDING_MESSAGES) this.#cutOff();
  }

  /** Sends the pending messages, a slice whenever the socket has drained, until none is left. */
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
      return this.#goDirect();
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

/**
 * Whether a message was taken back. What was cleared is sent to the end: left out, it would be a gap nobody is told of.
 */
function isTakenBack(message: Message, { kind, channel, epoch, sequence }: Removal): boolean {
  return kind === "message" && message.sequence === sequence && message.epoch === epoch &&
    message.channel === channel;
}

/**
 * On a conflated channel, a message replaces earlier ones with the same key. All without a sender share one. Stored and
 * transient ones replace their own kind alone: from other nodes they come by two ways, and a transient one that comes late
 * must not replace a stored one that was published after it. No name of a channel has a line end.
 */
export function conflationKey({ channel, from, socketId, sequence }: Message): string {
  return `${channel}\n${sequence === 0 ? "transient" : "stored"}\n${from?.id ?? socketId ?? ""}`;
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
