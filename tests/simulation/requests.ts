/** What publishers and operators ask of a node, as HTTP requests do, and the oracle's judgement of the answers. */
import { matchesSelector, selectPatterns } from "../../lib/core/channel.ts";
import { createDraft } from "../../lib/core/draft.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import type { Published } from "../../lib/core/hub.ts";
import type { Message } from "../../lib/core/message.ts";
import { type Book, Broken, type Entry, place, RULES } from "./book.ts";
import type { SimulatedNode } from "./node.ts";
import type { Action } from "./plan.ts";
import type { Site } from "./site.ts";
import type { Subscriber } from "./subscriber.ts";
import type { VirtualTime } from "./virtual_time.ts";

/** Where nobody may publish without a key. */
const LOCKED = "locked/";

interface Options {
  readonly time: VirtualTime;
  readonly book: Book;
  readonly site: Site;
  readonly subscribers: readonly Subscriber[];
  note(line: () => string): void;
  check(task: () => void): void;
}

export class Requests {
  readonly #options: Options;
  readonly #book: Book;
  readonly #site: Site;
  readonly #time: VirtualTime;
  /** How many keys were used again after they may have been forgotten. */
  #late = 0;

  constructor(options: Options) {
    this.#options = options;
    this.#book = options.book;
    this.#site = options.site;
    this.#time = options.time;
  }

  say(subscriber: Subscriber, text: string): void {
    const { speaks } = subscriber;
    if (speaks === undefined) return;
    const { socketId, channel } = speaks;
    const transient = RULES.for(channel).ephemeral;
    const entry = this.#book.open({
      text,
      channel,
      transient,
      ephemeral: false,
      key: undefined,
      ttl: undefined,
      to: undefined,
      socketId,
      payload: text,
    });
    // Sockets are told by being closed, which loses nothing else.
    if (channel.startsWith(LOCKED)) entry.refused = "forbidden";
    subscriber.say(text);
  }

  publishAll(node: SimulatedNode, step: Action & { readonly do: "publish" }): void {
    const { channel, text, count, padding, key, ttl, ephemeral = false, to } = step;
    for (let i = 0; i < count; i++) {
      const name = count === 1 ? text : `${text}.${i}`;
      const entry = this.#book.open({
        text: name,
        channel: to === undefined ? channel : `@c${to}`,
        transient: ephemeral || to !== undefined || RULES.for(channel).ephemeral,
        ephemeral,
        key,
        ttl: to === undefined ? ttl : undefined,
        to: to === undefined ? undefined : `c${to}`,
        socketId: undefined,
        payload: padding === 0 ? name : `${name} ${"x".repeat(padding)}`,
      });
      void this.#publish(node, entry);
    }
  }

  retry(node: SimulatedNode, text: string, changed: string | undefined): void {
    const first = this.#book.entries.get(text);
    if (first?.key === undefined) return;
    const isLate = this.#book.mayForgetKey(first);
    if (changed === undefined && !isLate) return void this.#publish(node, first);
    const { channel, transient, ephemeral, key } = first;
    const name = changed ?? `${text}-${++this.#late}`;
    const entry = this.#book.open({
      text: name,
      channel,
      transient,
      ephemeral,
      key,
      ttl: undefined,
      to: undefined,
      socketId: undefined,
      payload: name,
    });
    void this.#publish(node, entry);
  }

  /** Publishes as a POST does: permission, draft, hub. */
  async #publish(node: SimulatedNode, entry: Entry): Promise<void> {
    const { channel, payload, key, ttl, to, ephemeral } = entry;
    const begun = this.#time.now;
    this.#book.attempt(entry);
    let published: Published;
    try {
      if (to === undefined) node.pass.demand("publish", channel);
      else node.operator.demand("whisper", channel);
      published = await node.hub.publish(createDraft({
        ...(to === undefined ? { channel } : { to }),
        payload: { kind: "text", text: payload },
        ttl,
        ...(ephemeral ? { ephemeral } : {}),
        idempotencyKey: key,
        publisher: node.pass.publisher,
      }));
    } catch (error) {
      return this.#options.check(() => this.#judgeRefusal(node, entry, begun, error));
    }
    this.#options.note(() => `${node.name} acknowledges ${entry.text} ${place(published)}`);
    this.#options.check(() => {
      if (channel.startsWith(LOCKED)) throw new Broken(`${entry.text} was accepted on a locked channel`);
      this.#book.acknowledge(entry, published, begun);
    });
  }

  #judgeRefusal(node: SimulatedNode, entry: Entry, begun: number, error: unknown): void {
    if (!(error instanceof MessagingError)) throw error;
    const { code } = error;
    const { text, channel, key, to } = entry;
    this.#options.note(() => `${node.name} refuses ${text}: ${code}`);
    if (code === "forbidden" || code === "unauthorized") {
      if (!channel.startsWith(LOCKED)) throw new Broken(`${text} was refused: ${error.message}`);
      entry.refused = code;
    } else if (code === "no_such_client") {
      if (to === undefined) throw new Broken(`${text} was refused for a client that it does not name`);
      const isHere = this.#options.subscribers.some((each) =>
        each.id === to && each.line?.node === node && each.line.socket.isOpen
      );
      if (isHere && begun === this.#time.now) throw new Broken(`${text} was refused, and ${to} is connected`);
      entry.refused = code;
    } else if (code === "key_reused" && key !== undefined) this.#book.refuseKey(entry, key, begun);
    else if (!this.#site.mayRefuse(code)) throw new Broken(`${text} was refused: ${code} ${error.message}`);
  }

  async clear(node: SimulatedNode, channel: string): Promise<void> {
    const done = this.#book.clear(channel);
    try {
      node.operator.demand("clear", channel);
      await node.hub.clear(channel);
      this.#options.note(() => `${node.name} has cleared ${channel}`);
      done();
    } catch (error) {
      const isExpected = error instanceof MessagingError && this.#site.mayRefuse(error.code);
      if (!isExpected) {
        this.#options.check(() => {
          throw error;
        });
      }
    }
  }

  /** Reads everything that is stored, and compares it with the book. */
  async read(node: SimulatedNode, names: readonly string[]): Promise<void> {
    const selector = selectPatterns(names);
    const matches = (channel: string) => matchesSelector(selector, channel);
    const asked = this.#time.now;
    const { top } = node.hub;
    const due = [...this.#book.stored(matches)].filter(({ acked, announced: { message } }) =>
      acked !== undefined && message.epoch === top.epoch && message.sequence <= top.sequence
    );
    const isBehind = !this.#site.isAtRest;
    let page;
    try {
      page = await node.hub.read({ selector, after: { kind: "earliest" }, limit: 10_000 });
    } catch (error) {
      const isExpected = error instanceof MessagingError && this.#site.mayRefuse(error.code);
      return this.#options.check(() => {
        if (!isExpected) throw error;
      });
    }
    this.#options.note(() => `${node.name} reads ${selector.key}: ${page.messages.length} messages`);
    this.#options.check(() => {
      if (page.kind === "gap") throw new Broken(`${node.name} tells a gap to a read from the earliest`);
      this.#judgePage(node, page.messages, due, (entry) => this.#book.mustBeGone(entry, asked, isBehind));
    });
  }

  #judgePage(
    node: SimulatedNode,
    messages: readonly Message[],
    due: readonly Entry[],
    mustBeGone: (entry: Entry) => boolean,
  ): void {
    const found = new Set<string>();
    let last = 0;
    for (const message of messages) {
      const entry = this.#book.find(message.payload.kind === "text" ? message.payload.text : "");
      const announced = entry.announced?.message;
      if (announced === undefined) throw new Broken(`${entry.text} was read before it was announced`);
      if (announced.sequence !== message.sequence || announced.offset !== message.offset) {
        throw new Broken(`${entry.text} was announced as ${place(announced)} and read as ${place(message)}`);
      }
      if (message.sequence <= last) throw new Broken(`${node.name} reads ${entry.text} out of order`);
      last = message.sequence;
      if (mustBeGone(entry)) {
        throw new Broken(`${node.name} still reads ${entry.text}, which is gone`);
      }
      found.add(entry.text);
    }
    for (const entry of due) {
      if (!found.has(entry.text) && !this.#book.mayBeGone(entry)) {
        throw new Broken(
          `${node.name} does not read ${entry.text}, which was acknowledged and is not due to go`,
        );
      }
    }
  }
}
