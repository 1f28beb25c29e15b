/**
 * A NATS server with JetStream, simulated: it passes messages on, keeps one stream, and answers the requests of the
 * JetStream API that the engine makes (https://docs.nats.io/reference/reference-protocols/nats_api_reference).
 */
import {
  encodeHeader,
  join,
  type NatsMessage,
  NatsServerConnection,
  NOTHING,
  type Switch,
} from "./connection.ts";
import type { Network } from "./network.ts";
import { PushConsumer, type PushOptions } from "./consumer.ts";
import { type Copy, SimulatedStream, type StreamConfig } from "./stream.ts";

const NOT_FOUND = { code: 404, err_code: 10059, description: "stream not found" };
const NO_MESSAGE = { code: 404, err_code: 10037, description: "no message found" };
const NAME_IN_USE = { code: 400, err_code: 10058, description: "stream name already in use" };

/** Nobody is elected sooner after a leader was heard last. */
const ELECTION_MILLISECONDS = 4_000;
/** A leader that has heard of nobody for so long knows that it is none. */
const LEASE_MILLISECONDS = 10_000;
/** How many records a new leader has still to apply, and how long it takes. */
const UNAPPLIED = 2;
const APPLY_MILLISECONDS = 2_500;

const API = "$JS.API.";
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** What happens to plain messages between nodes. */
export interface Noise {
  /** The share that is lost, doubled, or late enough to be overtaken. */
  level: number;
}

export class SimulatedNats implements Switch {
  readonly #network: Network;
  readonly #connections = new Set<NatsServerConnection>();
  readonly #consumers = new Map<string, PushConsumer>();
  #stream: SimulatedStream | undefined;
  #names = 0;
  readonly noise: Noise = { level: 0 };
  /** Whether a leader is being elected: the stream and its API do not answer. */
  isElecting = false;
  /** The copy from which questions are answered; undefined while it is up to date. */
  #answering: Copy | undefined;
  /** Whether that is the leader's, which will apply what it does not have. */
  #isApplying = false;
  readonly #unacknowledged: (() => void)[] = [];
  /** The copy of a follower that is behind: most new consumers read it, by chance. */
  #lagging: Copy | undefined;

  constructor(network: Network) {
    this.#network = network;
    network.accept = (line) => {
      const connection = new NatsServerConnection(line, this);
      this.#connections.add(connection);
      return connection;
    };
  }

  /** The server restarts: connections and consumers are gone, what is stored stays. */
  restart(): void {
    for (const consumer of this.#consumers.values()) consumer.stop();
    this.#consumers.clear();
    this.#network.closeAll();
  }

  /** From now on a leader answers that others have deposed, until it knows. */
  depose(): void {
    const { time } = this.#network;
    const cutOff = time.now - ELECTION_MILLISECONDS;
    this.#answerFrom(
      { ...this.#copy(), heard: () => time.now - cutOff },
      LEASE_MILLISECONDS - ELECTION_MILLISECONDS,
    );
  }

  /** The leader has died, and one is elected that has not applied yet all it has: it acknowledges nothing until then. */
  lead(): void {
    const copy = this.#copy();
    this.#answerFrom({ ...copy, last: Math.max(0, copy.last - UNAPPLIED) }, APPLY_MILLISECONDS);
    this.#isApplying = true;
    this.restart();
  }

  #answerFrom(copy: Copy, milliseconds: number): void {
    if (this.#answering !== undefined) return;
    this.#answering = copy;
    const { time, server } = this.#network;
    time.after(milliseconds, () => {
      if (this.#answering === copy) this.#answerUpToDate();
    }, server);
  }

  #answerUpToDate(): void {
    this.#answering = undefined;
    this.#isApplying = false;
    for (const acknowledge of this.#unacknowledged.splice(0)) acknowledge();
  }

  /** From now on a follower gets no more records, on which some new consumers are placed. */
  lag(): void {
    this.#lagging ??= this.#copy();
  }

  #copy(): Copy {
    return { last: this.#stream?.last ?? 0, config: this.#stream?.config };
  }

  /** A leader is elected, and all copies are the same: the stream answers again. */
  elect(): void {
    this.isElecting = false;
    if (this.#lagging !== undefined) this.#lagging.last = Infinity;
    this.#lagging = undefined;
    this.#answerUpToDate();
    for (const consumer of this.#consumers.values()) consumer.pump();
  }

  gone(connection: NatsServerConnection): void {
    this.#connections.delete(connection);
  }

  publish(message: NatsMessage): void {
    const { subject } = message;
    if (subject.startsWith(API)) return this.#answer(message);
    if (this.#stream?.takes(subject)) return this.#store(message);
    if (this.#stream !== undefined && this.#stream.isNodes(subject)) return this.#pass(message);
    this.deliver(message);
  }

  /** Delivers to whoever listens. @returns whether anybody does */
  deliver(message: NatsMessage): boolean {
    let delivered = false;
    for (const connection of [...this.#connections]) delivered = connection.deliver(message) || delivered;
    return delivered;
  }

  /** Delivers a stored message to who listens to a consumer's subject. */
  push(to: string, message: NatsMessage): void {
    for (const connection of [...this.#connections]) connection.deliver(message, to);
  }

  /** Whether anybody listens to a subject. */
  hears(subject: string): boolean {
    return [...this.#connections].some((connection) => connection.listens(subject));
  }

  /** Plain messages between nodes may be lost, come twice, or be overtaken. */
  #pass(message: NatsMessage): void {
    const { random, time, server } = this.#network;
    const { level } = this.noise;
    const chance = level === 0 ? 1 : random.fraction();
    if (chance < level / 3) return;
    const times = chance < level * 2 / 3 ? 2 : 1;
    for (let i = 0; i < times; i++) {
      const late = chance < level ? random.fraction() * 400 : 0;
      if (late === 0) this.deliver(message);
      else time.after(late, () => this.deliver(message), server);
    }
  }

  #store(message: NatsMessage): void {
    if (this.isElecting) return this.#reply(message, NOTHING, encodeHeader("503"));
    const { random, time, server } = this.#network;
    const { seq, duplicate } = this.#stream!.store(message, time.now);
    // The ack may overtake the delivery, or be late.
    const ack = { stream: this.#stream!.config.name, seq, ...(duplicate ? { duplicate } : {}) };
    const acknowledge = () => this.#reply(message, encoder.encode(JSON.stringify(ack)));
    time.after(random.fraction() * 4, () => {
      if (this.#isApplying) this.#unacknowledged.push(acknowledge);
      else acknowledge();
    }, server);
    if (!duplicate) { for (const consumer of this.#consumers.values()) consumer.pump(); }
  }

  #reply({ reply }: NatsMessage, data: Uint8Array, header: Uint8Array = NOTHING): void {
    if (reply !== undefined) this.deliver({ subject: reply, reply: undefined, header, data });
  }

  #answer(message: NatsMessage): void {
    if (this.isElecting) return;
    const [area, verb, ...rest] = message.subject.slice(API.length).split(".");
    const body = message.data.length === 0 ? {} : JSON.parse(decoder.decode(message.data));
    if (area === "DIRECT") return this.#getDirectly(message, body);
    const answer = this.#call(
      `${area}.${verb}${area === "STREAM" && verb === "MSG" ? `.${rest[0]}` : ""}`,
      body,
      rest,
    );
    this.#reply(message, encoder.encode(JSON.stringify(answer)));
  }

  #call(method: string, body: Record<string, unknown>, rest: readonly string[]): unknown {
    const stream = this.#stream;
    if (method === "STREAM.CREATE") {
      if (stream !== undefined) return { error: NAME_IN_USE };
      this.#stream = new SimulatedStream(body as unknown as StreamConfig);
      return this.#stream.describe();
    }
    if (stream === undefined) return { error: NOT_FOUND };
    switch (method) {
      case "STREAM.INFO":
        return stream.describe(this.#answering);
      case "STREAM.UPDATE":
        stream.config = { ...stream.config, ...body };
        return stream.describe();
      case "STREAM.PURGE":
        return { success: true, purged: stream.purge(String(body.filter), Number(body.seq)) };
      case "STREAM.MSG.GET": {
        const found = stream.get(Number(body.seq));
        if (found === undefined || found.seq > (this.#answering?.last ?? Infinity)) {
          return { error: NO_MESSAGE };
        }
        const { seq, subject, header, data } = found;
        return {
          message: {
            seq,
            subject,
            time: new Date(0).toISOString(),
            ...(header.length === 0 ? {} : { hdrs: header.toBase64() }),
            data: data.toBase64(),
          },
        };
      }
      case "STREAM.MSG.DELETE":
        return stream.delete(Number(body.seq)) ? { success: true } : { error: NO_MESSAGE };
      case "CONSUMER.CREATE":
        return this.#createConsumer(stream, body.config as PushOptions);
      case "CONSUMER.DELETE": {
        const name = rest.at(-1) ?? "";
        this.#consumers.get(name)?.stop();
        return { success: this.#consumers.delete(name) };
      }
      default:
        throw new Error(`The simulated JetStream does not know ${method}`);
    }
  }

  #createConsumer(stream: SimulatedStream, options: PushOptions): unknown {
    const name = `consumer${++this.#names}`;
    const { time, server, random } = this.#network;
    const copy = this.#lagging !== undefined && random.fraction() < 0.7 ? this.#lagging : { last: Infinity };
    const consumer = new PushConsumer({ name, stream, options, time, owner: server, nats: this, copy });
    this.#consumers.set(name, consumer);
    // It begins after its answer.
    time.after(0, () => consumer.pump(), server);
    return {
      name,
      stream_name: stream.config.name,
      config: options,
      num_pending: stream.countFrom(options.opt_start_seq, copy.last),
      num_ack_pending: 0,
      num_redelivered: 0,
      num_waiting: 0,
      created: new Date(0).toISOString(),
      delivered: { consumer_seq: 0, stream_seq: options.opt_start_seq - 1 },
      ack_floor: { consumer_seq: 0, stream_seq: 0 },
    };
  }

  /** A direct get answers with the message itself, its place in the header (ADR-31). */
  #getDirectly(message: NatsMessage, { seq }: { readonly seq?: number }): void {
    const found = this.#stream?.get(Number(seq));
    const last = Math.min(this.#answering?.last ?? Infinity, this.#lagging?.last ?? Infinity);
    if (found === undefined || found.seq > last) {
      return this.#reply(message, NOTHING, encodeHeader("404 Message Not Found"));
    }
    const own = found.header.length === 0 ? NOTHING : found.header.subarray("NATS/1.0\r\n".length);
    const place = encodeHeader("", {
      "Nats-Stream": this.#stream!.config.name,
      "Nats-Subject": found.subject,
      "Nats-Sequence": found.seq,
      "Nats-Time-Stamp": new Date(0).toISOString(),
    });
    const header = own.length === 0 ? place : join([place.subarray(0, place.length - 2), own]);
    this.#reply(message, found.data, header);
  }
}
