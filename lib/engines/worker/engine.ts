/**
 * The engine as a worker thread sees it: a Log over a MessagePort to the thread that has the real one. What the worker
 * asks in a turn goes out in one message, and what the engine tells comes back in one, in the order in which it happened:
 * a message is announced before any page or receipt that knows of it.
 */
import { Turn } from "../../base/turn.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Log, LogPage, LogQuery, LogState, Receipt, StateEntry, StateItem } from "../../core/log.ts";
import type { Draft, Message, MessageId, Removal } from "../../core/message.ts";
import type { Interest } from "../../core/interest.ts";
import { ALL_CHANNELS } from "../../core/interest.ts";
import { type Item, joinDrafts } from "./join.ts";
import { WorkerBus } from "./bus.ts";
import { InterestWriter } from "./interest.ts";
import { TopReader } from "./top.ts";
import {
  decodeError,
  decodeMessages,
  decodeReceipts,
  type EngineState,
  type Tell,
  type TellBatch,
  type WorkerMemory,
} from "./wire.ts";

interface Call {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Takes the entries of a list as they come. */
  readonly take?: ((items: readonly StateItem[]) => void) | undefined;
}

/** Connects to the engine behind a port. Resolves when it has said how it stands. */
export async function openWorkerEngine(port: MessagePort): Promise<WorkerEngine> {
  const engine = new WorkerEngine(port);
  await engine.opened;
  return engine;
}

export class WorkerEngine implements Log {
  onStored: (messages: readonly Message[]) => void = () => {};
  onRemoved: (removal: Removal) => void = () => {};
  onCleared: (removal: Removal) => void = () => {};
  onReset: (reason: string) => void = () => {};
  readonly bus: WorkerBus;
  readonly state: LogState;
  /** Resolves with the first word of the engine. */
  readonly opened: Promise<void>;
  readonly #port: MessagePort;
  readonly #asks: Turn<Item>;
  readonly #calls = new Map<number, Call>();
  readonly #onOpen: () => void;
  /** The last one that it was told of, for when the epoch is not known yet. */
  #top: Log["top"] = { epoch: "0", sequence: 0 };
  #generation = 0;
  #memory: { readonly interest: InterestWriter; readonly top: TopReader } | undefined;
  #id = 0;
  /** Batches that were dealt with and of which the host has not heard. */
  #unseen = 0;
  #closed = false;
  #onIdle: () => void = () => {};

  /** Use {@linkcode openWorkerEngine}. */
  constructor(port: MessagePort) {
    this.#port = port;
    // At the end of a turn, not sooner: a subscription that a client asked for before it published is made by then.
    this.#asks = new Turn((items) => {
      const asks = joinDrafts(items);
      if (this.#unseen > 0) asks.push(["seen", this.#unseen]);
      this.#unseen = 0;
      port.postMessage(asks);
    });
    this.bus = new WorkerBus((ask) => {
      if (!this.#closed) this.#asks.add(ask);
    });
    this.state = {
      read: async (key) => await this.#call((id) => ["stateRead", id, key]) as StateEntry | undefined,
      write: async (key, value, revision) =>
        await this.#call((id) => ["stateWrite", id, key, value, revision]) as number | undefined,
      delete: async (key, revision) =>
        await this.#call((id) => ["stateDelete", id, key, revision]) as boolean,
      list: (prefix) => this.#list(prefix),
    };
    const { promise, resolve } = Promise.withResolvers<void>();
    this.opened = promise;
    this.#onOpen = resolve;
    port.onmessage = ({ data }: MessageEvent<TellBatch>) => this.#take(data);
  }

  get top(): Log["top"] {
    const { epoch } = this.#top;
    const sequence = this.#memory?.top.read(this.#generation);
    return sequence === undefined ? this.#top : { epoch, sequence };
  }

  narrow(): Interest {
    if (this.#memory === undefined) throw new TypeError("The engine is not open yet");
    const { interest } = this.#memory;
    interest.remove(ALL_CHANNELS);
    return interest;
  }

  append(draft: Draft): Promise<Receipt> {
    return this.#call((id) => ({ id, draft })) as Promise<Receipt>;
  }

  async read(query: LogQuery): Promise<LogPage> {
    const { selector: { hides, ...selector }, ...others } = query;
    return await this.#call((
      id,
    ) => ["read", id, { ...others, selector, hides: hides !== undefined }]) as LogPage;
  }

  async clear(channel: string, hasKeys = false): Promise<number> {
    return await this.#call((id) => ["clear", id, channel, hasKeys]) as number;
  }

  async remove(channel: string, message: MessageId): Promise<boolean> {
    return await this.#call((id) => ["remove", id, channel, message]) as boolean;
  }

  /** Waits for the answers to what was asked, then lets go of the port. The engine itself stays open. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#asks.flush();
    this.#closed = true;
    if (this.#calls.size > 0) await new Promise<void>((resolve) => this.#onIdle = resolve);
    this.#port.close();
  }

  #call(createAsk: (id: number) => Item, take?: Call["take"]): Promise<unknown> {
    if (this.#closed) return Promise.reject(new MessagingError("log_unavailable", "The engine is closed"));
    const id = ++this.#id;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { resolve, reject, take });
      this.#asks.add(createAsk(id));
    });
  }

  async *#list(prefix: string): AsyncIterable<StateItem> {
    let waiting: StateItem[] = [];
    let wake = Promise.withResolvers<void>();
    let isOver = false;
    const over = this.#call((id) => ["stateList", id, prefix], (items) => {
      waiting.push(...items);
      wake.resolve();
    }).finally(() => {
      isOver = true;
      wake.resolve();
    });
    // Thrown below, when the items before it are taken.
    over.catch(() => {});
    while (!isOver || waiting.length > 0) {
      await wake.promise;
      if (!isOver) wake = Promise.withResolvers();
      const items = waiting;
      waiting = [];
      yield* items;
    }
    await over;
  }

  #take({ tells, isAwaited, state }: TellBatch): void {
    if (state !== undefined) this.bus.update(state);
    for (const tell of tells) this.#hear(tell);
    if (state !== undefined) this.#update(state);
    this.#unseen++;
    // Else it goes with the next ask: a message of its own would cost the engine's thread as much as an append.
    if (isAwaited && !this.#closed) this.#asks.add(["seen", 0]);
    if (this.#closed && this.#calls.size === 0) this.#onIdle();
  }

  #update({ epoch, generation }: EngineState): void {
    if (generation !== this.#generation) {
      this.#top = { epoch, sequence: 0 };
      this.#memory?.interest.restart();
    }
    this.#generation = generation;
    this.#onOpen();
  }

  #open({ interest, top }: WorkerMemory): void {
    this.#memory = {
      interest: new InterestWriter(interest, () => this.top.sequence),
      top: new TopReader(top),
    };
  }

  #hear(tell: Tell): void {
    switch (tell[0]) {
      case "opened":
        return this.#open(tell[1]);
      case "stored": {
        const messages = decodeMessages(tell[1]);
        const last = messages.findLast(({ sequence }) => sequence > 0);
        if (last !== undefined) this.#top = { epoch: last.epoch, sequence: last.sequence };
        return this.onStored(messages);
      }
      case "removed":
        return this.onRemoved(tell[1]);
      case "cleared":
        return this.onCleared(tell[1]);
      case "done":
        return this.#settle(tell[1])?.resolve(tell[2]);
      case "receipts":
        for (const { id, receipt } of decodeReceipts(tell[1])) this.#settle(id)?.resolve(receipt);
        return;
      case "page": {
        const [, id, { messages, ...page }] = tell;
        return this.#settle(id)?.resolve({ ...page, messages: decodeMessages(messages) });
      }
      case "failed":
        return this.#settle(tell[1])?.reject(decodeError(tell[2]));
      case "items":
        return this.#calls.get(tell[1])?.take?.(tell[2]);
      case "reset":
        return this.onReset(tell[1]);
      case "bus":
        return this.bus.receive(tell[1], tell[2]);
    }
  }

  #settle(id: number): Call | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }
}
