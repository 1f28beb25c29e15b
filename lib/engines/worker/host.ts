/**
 * The thread of the engine: shares one Log among worker threads, each behind a MessagePort, and the app of its own thread.
 * What is stored is announced to all of them. A worker that falls behind holds back what is published, as a single thread
 * would by being busy: its port never fills without bound.
 */
import type { Log, LogBackup, LogPage, LogState } from "../../core/log.ts";
import { MemoryState } from "../../core/memory_state.ts";
import type { Message } from "../../core/message.ts";
import { announce } from "./announce.ts";
import { AttachedWorker } from "./attached_worker.ts";
import { Relay } from "./relay.ts";
import { createTopMemory, TopWriter } from "./top.ts";
import { type Ask, decodeDrafts, type EngineState, type WireQuery } from "./wire.ts";

export interface EngineHostOptions {
  /** The engine, which the host disposes. */
  readonly log: Log & Partial<LogBackup>;
  /** Bytes that may wait for one worker before appends are held back. */
  readonly maxBehindBytes?: number;
}

const MAX_BEHIND_BYTES = 8 * 1024 * 1024;
/** How often a worker hears of what the engine's bus does not announce, in milliseconds. */
const CHECK_MILLISECONDS = 250;
/** Entries of the state in one message. */
const LISTED_ITEMS = 256;

export class EngineHost implements AsyncDisposable {
  /** The engine for the app of this thread. Disposing it disposes the engine. */
  readonly log: Log & Partial<LogBackup>;
  /** Whether protocols keep a channel private. Set once, when they are open. */
  isPrivate: (channel: string) => boolean = () => false;
  readonly #log: Log & Partial<LogBackup>;
  readonly #relay: Relay;
  readonly #state: LogState;
  readonly #workers = new Set<AttachedWorker>();
  readonly #topMemory = createTopMemory();
  readonly #top = new TopWriter(this.#topMemory);
  readonly #maxBehindBytes: number;
  readonly #check: ReturnType<typeof setInterval>;
  /** Appends and clears that wait for a worker to catch up. */
  #held: (() => void)[] = [];

  constructor({ log, maxBehindBytes = MAX_BEHIND_BYTES }: EngineHostOptions) {
    this.#log = log;
    this.#relay = new Relay(log.bus);
    this.#state = log.state ?? new MemoryState();
    this.#maxBehindBytes = maxBehindBytes;
    this.log = this.#createLocalLog();
    log.onStored = (messages) => this.#announce(messages);
    log.onRemoved = (removal) => {
      this.log.onRemoved(removal);
      for (const worker of this.#workers) worker.tell(["removed", removal]);
    };
    log.onCleared = (removal) => {
      this.log.onCleared?.(removal);
      for (const worker of this.#workers) worker.tell(["cleared", removal]);
    };
    log.onReset = (reason) => {
      this.#top.write(log.top);
      this.log.onReset?.(reason);
      for (const worker of this.#workers) worker.tell(["reset", reason]);
    };
    this.#check = setInterval(() => {
      this.#top.write(log.top);
      for (const worker of this.#workers) worker.update();
    }, CHECK_MILLISECONDS);
  }

  /**
   * Serves a worker.
   *
   * @returns stops that: its appends are carried out, and nothing is sent to it any more
   */
  attach(port: MessagePort): () => void {
    this.#top.write(this.#log.top);
    const worker = new AttachedWorker({
      port,
      maxUnseenBytes: this.#maxBehindBytes / 4,
      top: this.#topMemory,
      describe: () => this.#describe(),
    });
    this.#workers.add(worker);
    port.onmessage = ({ data }: MessageEvent<readonly Ask[]>) => {
      for (const ask of data) this.#answer(worker, ask);
      this.#release();
    };
    worker.update();
    return () => {
      this.#workers.delete(worker);
      worker[Symbol.dispose]();
      this.#release();
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#check);
    for (const write of this.#held.splice(0)) write();
    await this.#log[Symbol.asyncDispose]();
    for (const worker of this.#workers) worker[Symbol.dispose]();
    this.#workers.clear();
  }

  #createLocalLog(): Log & Partial<LogBackup> {
    const log = this.#log;
    return {
      onStored: () => {},
      onRemoved: () => {},
      onCleared: () => {},
      onReset: () => {},
      get top() {
        return log.top;
      },
      append: (draft) => this.#hold(() => log.append(draft)),
      read: (query) => log.read(query),
      clear: (channel, hasKeys) => this.#hold(() => log.clear(channel, hasKeys)),
      remove: (channel, id) => this.#hold(() => log.remove(channel, id)),
      bus: this.#relay,
      state: this.#state,
      ...(log.checkReady && { checkReady: () => log.checkReady!() }),
      ...(log.listStored && { listStored: () => log.listStored!() }),
      ...(log.findStored && { findStored: (channel: string) => log.findStored!(channel) }),
      ...(log.openBackup && { openBackup: () => log.openBackup!() }),
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    };
  }

  #describe(): EngineState {
    const { generation, epoch } = this.#top;
    const { connected, maxBytes, isLocal } = this.#relay;
    return { epoch, generation, connected, maxBytes, isLocal };
  }

  #announce(messages: readonly Message[]): void {
    // First of all: a worker that is not told, as it wanted nothing yet, then finds these messages below the top.
    this.#top.write(this.#log.top);
    if (this.#workers.size > 0) announce(messages, this.#workers);
    this.log.onStored(messages);
  }

  #answer(worker: AttachedWorker, ask: Ask): void {
    switch (ask[0]) {
      case "append":
        return this.#write(() => {
          for (const { id, draft } of decodeDrafts(ask[1])) worker.settleAppend(id, this.#log.append(draft));
        });
      case "read":
        return worker.settlePage(ask[1], this.#read(ask[2]));
      case "clear":
        return this.#write(() => worker.settle(ask[1], this.#log.clear(ask[2], ask[3])));
      case "remove":
        return this.#write(() => worker.settle(ask[1], this.#log.remove(ask[2], ask[3])));
      case "stateRead":
        return worker.settle(ask[1], this.#state.read(ask[2]));
      case "stateWrite":
        return worker.settle(ask[1], this.#state.write(ask[2], ask[3], ask[4]));
      case "stateDelete":
        return worker.settle(ask[1], this.#state.delete(ask[2], ask[3]));
      case "stateList":
        return worker.settle(ask[1], this.#list(worker, ask[1], ask[2]));
      case "publish":
        return this.#relay.publish(ask[1], ask[2]);
      case "subscribe":
        return worker.listen(ask[1], (listener) => this.#relay.subscribe(ask[1], listener));
      case "unsubscribe":
        return worker.ignore(ask[1]);
      case "seen":
        return worker.seen(ask[1]);
    }
  }

  async #read({ selector, hides, ...query }: WireQuery): Promise<LogPage> {
    return await this.#log.read({
      ...query,
      selector: hides ? { ...selector, hides: this.isPrivate } : selector,
    });
  }

  async #list(worker: AttachedWorker, id: number, prefix: string): Promise<void> {
    let items = [];
    for await (const item of this.#state.list(prefix)) {
      if (items.push(item) < LISTED_ITEMS) continue;
      worker.tell(["items", id, items]);
      items = [];
    }
    worker.tell(["items", id, items]);
  }

  /** Appends or clears: now, or when no worker is behind, and in order. */
  #write(write: () => void): void {
    if (this.#held.length > 0 || this.#isBehind) this.#held.push(write);
    else write();
  }

  /** The same for the app of this thread, whose publishers, such as the HTTP API's, are held back as well. */
  #hold<T>(write: () => Promise<T>): Promise<T> {
    if (this.#held.length === 0 && !this.#isBehind) return write();
    return new Promise((resolve) => this.#held.push(() => resolve(write())));
  }

  get #isBehind(): boolean {
    for (const { behindBytes } of this.#workers) if (behindBytes > this.#maxBehindBytes) return true;
    return false;
  }

  #release(): void {
    if (this.#held.length === 0 || this.#isBehind) return;
    for (const write of this.#held.splice(0)) write();
  }
}
