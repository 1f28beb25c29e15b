/**
 * The network between nodes and the simulated NATS server: connections as the transport of the real client uses them. Bytes
 * take their time and keep their order; while a node is cut off, nothing comes through in either direction.
 */
import { type ConnectionOptions, createInbox, type NatsConnection } from "@nats-io/transport-node";
import {
  errors,
  NatsConnectionImpl,
  setTransportFactory,
} from "@nats-io/transport-node/lib/nats-base-client.js";
import type { Random } from "../../soak/random.ts";
import type { Owner, VirtualTime } from "../virtual_time.ts";

/** The server's end of a connection. */
export interface ServerEnd {
  receive(bytes: Uint8Array): void;
  closed(): void;
}

/** What the server does with a new connection: its end, and what it sends first; undefined to refuse it. */
export type Accept = (line: Line) => ServerEnd | undefined;

// The client draws its first chance when it makes its first inbox: before any seed counts.
createInbox();

/** The most milliseconds that bytes take. */
const LATENCY = 5;

interface Options {
  readonly time: VirtualTime;
  readonly random: Random;
  readonly server: Owner;
}

export class Network {
  readonly time: VirtualTime;
  readonly random: Random;
  /** Whose events the server's are. */
  readonly server: Owner;
  readonly #cut = new Set<Owner>();
  readonly #lines = new Set<Line>();
  accept: Accept = () => undefined;
  /** The longest that packets of a node are late beside their latency, in milliseconds. */
  readonly #lags = new Map<Owner, number>();

  constructor({ time, random, server }: Options) {
    this.time = time;
    this.random = random;
    this.server = server;
  }

  /** Connects with the real client, for a node. */
  connect(owner: Owner, options: ConnectionOptions): Promise<NatsConnection> {
    // The client asks for a transport at each attempt, whosever it is: this one looks who is running then.
    setTransportFactory({ factory: () => new SimulatedTransport(this, this.time.owner ?? owner) });
    return NatsConnectionImpl.connect(options);
  }

  cut(owner: Owner): void {
    this.#cut.add(owner);
  }

  mend(owner: Owner): void {
    this.#cut.delete(owner);
    for (const line of this.#lines) if (line.owner === owner) line.goOn();
  }

  /** Slows a node's connection down. */
  slow(owner: Owner, lag: number): void {
    this.#lags.set(owner, lag);
  }

  /** How long the next packet of a node takes, in milliseconds. */
  drawLatency(owner: Owner): number {
    return this.random.fraction() * LATENCY + this.random.fraction() * (this.#lags.get(owner) ?? 0);
  }

  isCut(owner: Owner): boolean {
    return this.#cut.has(owner);
  }

  /** The server ends all connections, as when it restarts. */
  closeAll(): void {
    for (const line of [...this.#lines]) line.close();
  }

  /** A node is gone: its connections end on the server. */
  drop(owner: Owner): void {
    for (const line of [...this.#lines]) if (line.owner === owner) line.close();
  }

  add(line: Line): void {
    this.#lines.add(line);
  }

  remove(line: Line): void {
    this.#lines.delete(line);
  }
}

/** One direction of a connection. */
class Direction {
  readonly #network: Network;
  readonly #line: Line;
  readonly #to: Owner;
  readonly #take: (bytes: Uint8Array | undefined) => void;
  #arrival = 0;
  #waiting: (Uint8Array | undefined)[] = [];

  constructor(network: Network, line: Line, to: Owner, take: (bytes: Uint8Array | undefined) => void) {
    this.#network = network;
    this.#line = line;
    this.#to = to;
    this.#take = take;
  }

  /** @param bytes undefined for the end */
  send(bytes: Uint8Array | undefined): void {
    const { time } = this.#network;
    this.#arrival = Math.max(this.#arrival, time.now + this.#network.drawLatency(this.#line.owner));
    time.after(this.#arrival - time.now, () => {
      if (this.#waiting.length > 0 || this.#network.isCut(this.#line.owner)) this.#waiting.push(bytes);
      else this.#take(bytes);
    }, this.#to);
  }

  goOn(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const bytes of waiting) this.send(bytes);
  }
}

/** A connection between a node and the server. */
export class Line {
  readonly owner: Owner;
  readonly #network: Network;
  readonly #up: Direction;
  readonly #down: Direction;
  readonly #client: (bytes: Uint8Array | undefined) => void;
  #server: ServerEnd | undefined;
  #ended = false;

  /** @param client takes what the server sends; undefined when it has closed */
  constructor(network: Network, owner: Owner, client: (bytes: Uint8Array | undefined) => void) {
    this.owner = owner;
    this.#network = network;
    this.#client = client;
    this.#up = new Direction(network, this, network.server, (bytes) => this.#arriveUp(bytes));
    this.#down = new Direction(network, this, owner, (bytes) => this.#client(bytes));
    network.add(this);
    // The handshake reaches the server like all else.
    this.#up.send(new Uint8Array());
  }

  /** The node sends. */
  say(bytes: Uint8Array): void {
    if (!this.#ended) this.#up.send(bytes);
  }

  /** The server sends. */
  answer(bytes: Uint8Array): void {
    if (!this.#ended) this.#down.send(bytes);
  }

  /** The node hangs up. */
  hangUp(): void {
    this.#up.send(undefined);
  }

  /** The server hangs up. */
  close(): void {
    this.#down.send(undefined);
    this.#end();
  }

  goOn(): void {
    this.#up.goOn();
    this.#down.goOn();
  }

  #arriveUp(bytes: Uint8Array | undefined): void {
    if (this.#ended) return;
    if (bytes === undefined) return this.#end();
    if (this.#server === undefined) {
      this.#server = this.#network.accept(this);
      if (this.#server === undefined) this.close();
      return;
    }
    if (bytes.length > 0) this.#server.receive(bytes);
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#network.remove(this);
    this.#server?.closed();
  }
}

/** What the client of NATS runs over, as its Transport interface says. */
class SimulatedTransport implements AsyncIterable<Uint8Array> {
  readonly lang = "nats.js";
  readonly version = "simulated";
  readonly #network: Network;
  readonly #owner: Owner;
  readonly #ended = Promise.withResolvers<void | Error>();
  #line: Line | undefined;
  #arrived: Uint8Array[] = [];
  #wake: () => void = () => {};
  #opened: PromiseWithResolvers<void> | undefined;
  isClosed = false;
  closeError?: Error;

  constructor(network: Network, owner: Owner) {
    this.#network = network;
    this.#owner = owner;
  }

  connect(): Promise<void> {
    this.#opened = Promise.withResolvers();
    this.#opened.promise.catch(() => {});
    this.#line = new Line(this.#network, this.#owner, (bytes) => this.#take(bytes));
    return this.#opened.promise;
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    while (true) {
      const arrived = this.#arrived;
      this.#arrived = [];
      yield* arrived;
      if (this.isClosed && this.#arrived.length === 0) return;
      if (this.#arrived.length === 0) await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  isEncrypted(): boolean {
    return false;
  }

  send(frame: Uint8Array): void {
    if (!this.isClosed) this.#line?.say(frame.slice());
  }

  close(error?: Error): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    if (error !== undefined) this.closeError = error;
    this.#line?.hangUp();
    this.#end();
    return Promise.resolve();
  }

  disconnect(): void {
    void this.close();
  }

  closed(): Promise<void | Error> {
    return this.#ended.promise;
  }

  discard(): void {}

  #take(bytes: Uint8Array | undefined): void {
    if (this.isClosed) return;
    if (bytes === undefined) {
      this.#opened?.reject(new errors.ConnectionError("connection refused"));
      return this.#end();
    }
    this.#opened?.resolve();
    this.#arrived.push(bytes);
    this.#wake();
  }

  #end(): void {
    this.isClosed = true;
    this.#wake();
    this.#ended.resolve(this.closeError);
  }
}
