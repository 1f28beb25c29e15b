/**
 * Processes what a node of the JetStream engine receives, once per turn: applies the stream's records, announces their
 * messages, and resolves this node's appends.
 */
import { type Draft, isTransient, type Message, type Removal } from "../../core/message.ts";
import type { Metrics } from "../../core/metrics/metrics.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import type { JetStreamChannel } from "./channel.ts";
import type { AppendQueue, Entry } from "./append_queue.ts";
import { createMessage, type JetStreamReader } from "./reader.ts";
import { type Content, decodeBody, decodeContents, sequenceOf, type StreamRecord } from "./record.ts";
import type { Applied, JetStreamState } from "./state.ts";
import { stampMessage } from "../stamp.ts";

export interface InboundOptions {
  readonly queue: AppendQueue;
  readonly reader: JetStreamReader;
  readonly metrics: Metrics | undefined;
  readonly schedule: Schedule | undefined;
  readonly now: () => number;
  /** The clock for deadlines. */
  readonly steadyNow: () => number;
  /** The number of the record with this id, if this node published it. */
  numberOf(id: string): number | undefined;
  state(): JetStreamState | undefined;
  announce(messages: readonly Message[]): void;
  announceRemoval(removal: Removal): void;
  /** Announces that a channel was cleared in which nothing was stored. */
  announceClearing(removal: Removal): void;
  /** Sends transient messages to the other nodes. */
  broadcast(drafts: readonly Draft[]): void;
}

/** Transient messages of another node. */
interface TransientBatch {
  readonly contents: readonly Content[];
}

/** The messages to announce together, and the appends to resolve afterwards. */
interface Delivery {
  readonly messages: Message[];
  readonly settle: (() => void)[];
  readonly written: Set<JetStreamChannel>;
}

/** The outcome of transient messages. */
const DELIVERED: Applied = { kind: "nothing" };

export class Inbound {
  readonly #options: InboundOptions;
  readonly #turn: Turn<StreamRecord | TransientBatch>;
  readonly #waiting = new Set<{ readonly record: number; readonly resolve: (reached: boolean) => void }>();

  constructor(options: InboundOptions) {
    this.#options = options;
    this.#turn = new Turn((items) => this.#take(items), options.schedule);
  }

  add(record: StreamRecord): void {
    this.#turn.add(record);
  }

  /** @throws {SyntaxError} if the body cannot be parsed */
  addTransient(body: Uint8Array): void {
    this.#turn.add({ contents: decodeBody(body) });
  }

  /** Processes what has arrived, without waiting for the turn to end. */
  flush(): void {
    this.#turn.flush();
  }

  /** Delivers the transient messages at the head of the queue. */
  deliverTransients(): void {
    const state = this.#options.state();
    if (state === undefined) return;
    const delivery = createDelivery();
    this.#deliverReadyTransients(delivery, state);
    this.#announce(delivery);
  }

  /** Resolves to true once a record has been applied, or to false after the timeout. */
  async waitFor(record: number, milliseconds: number): Promise<boolean> {
    const state = this.#options.state();
    if (state !== undefined && state.processed >= record) return true;
    let timer;
    const reached = await new Promise<boolean>((resolve) => {
      const waiting = { record, resolve };
      this.#waiting.add(waiting);
      timer = setTimeout(() => {
        this.#waiting.delete(waiting);
        resolve(false);
      }, milliseconds);
    });
    clearTimeout(timer);
    return reached;
  }

  #take(items: readonly (StreamRecord | TransientBatch)[]): void {
    const state = this.#options.state();
    if (state === undefined) return;
    const delivery = createDelivery();
    for (const item of items) {
      if ("contents" in item) this.#takeTransients(item, delivery, state);
      // A replaced consumer may have delivered it already.
      else if (item.sequence > state.processed) this.#apply(item, delivery, state);
    }
    const now = this.#options.steadyNow();
    for (const channel of delivery.written) state.retain(channel, now);
    this.#announce(delivery);
    this.#options.queue.pump();
    for (const waiting of this.#waiting) {
      if (waiting.record > state.processed) continue;
      this.#waiting.delete(waiting);
      waiting.resolve(true);
    }
  }

  #apply(record: StreamRecord, delivery: Delivery, state: JetStreamState): void {
    const { queue, reader, metrics, numberOf } = this.#options;
    const applied = state.apply(record);
    const number = numberOf(record.id);
    const own = number === undefined ? undefined : queue.take(number);
    if (applied.kind === "stored") {
      const contents = own?.entry.drafts.map(toContent) ??
        decodeContents(record.body, record.head?.count ?? 0);
      reader.keep(record.sequence, contents);
      contents.forEach((content, i) => {
        const { channel: { name: channel }, offset, time } = applied;
        const place = { channel, sequence: sequenceOf(record.sequence, i), offset: offset + i, time };
        delivery.messages.push(createMessage(place, content, state.epoch));
      });
      delivery.written.add(applied.channel);
    }
    if (applied.kind === "removed" || applied.kind === "cleared") {
      this.#announceRemoval(record, applied, delivery, state);
    }
    if (own === undefined) return;
    if (own.sent !== undefined) metrics?.commit.observe(performance.now() - own.sent);
    const { entry } = own;
    if (applied.kind === "claimed") this.#deliver(entry, delivery, state);
    delivery.settle.push(() => entry.settle(applied, record.sequence));
    this.#deliverReadyTransients(delivery, state);
  }

  /** Announces what a record removed, after the messages that came before it. */
  #announceRemoval(
    { sequence: number, channel }: StreamRecord,
    applied: Extract<Applied, { readonly kind: "removed" | "cleared" }>,
    delivery: Delivery,
    state: JetStreamState,
  ): void {
    const messages = delivery.messages.splice(0);
    if (messages.length > 0) this.#options.announce(messages);
    const { epoch } = state;
    const { offset } = applied;
    if (applied.kind === "removed") {
      const { sequence } = applied;
      return this.#options.announceRemoval({ kind: "message", channel, epoch, sequence, offset });
    }
    const removal = { kind: "all" as const, channel, epoch, sequence: sequenceOf(number, 0), offset };
    if (applied.count > 0) this.#options.announceRemoval(removal);
    else this.#options.announceClearing(removal);
  }

  #takeTransients({ contents }: TransientBatch, delivery: Delivery, state: JetStreamState): void {
    const time = Math.max(this.#options.now(), state.time);
    for (const content of contents) {
      const place = { channel: content.channel ?? "", sequence: 0, offset: 0, time };
      delivery.messages.push(createMessage(place, content, state.epoch));
    }
  }

  #deliverReadyTransients(delivery: Delivery, state: JetStreamState): void {
    for (const entry of this.#options.queue.takeReadyTransients()) {
      this.#deliver(entry, delivery, state);
      delivery.settle.push(() => entry.settle(DELIVERED, 0));
    }
  }

  /** Announces transient messages on this and the other nodes. */
  #deliver({ drafts, time }: Entry, delivery: Delivery, state: JetStreamState): void {
    this.#options.broadcast(drafts.filter(isTransient));
    for (const draft of drafts) {
      delivery.messages.push(stampMessage(draft, state.epoch, 0, 0, Math.max(time, state.time)));
    }
  }

  #announce({ messages, settle }: Delivery): void {
    if (messages.length > 0) this.#options.announce(messages);
    for (const each of settle) each();
  }
}

function createDelivery(): Delivery {
  return { messages: [], settle: [], written: new Set() };
}

function toContent({ payload, event, from, socketId, channel, to, properties }: Draft): Content {
  return { payload, event, from, socketId, channel, to, ...(properties === undefined ? {} : { properties }) };
}
