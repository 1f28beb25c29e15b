/**
 * The cluster of nodes that share a log: each node tells its peers which clients and subscriptions it has. The hub
 * reports local changes to it and asks it about remote clients and subscriptions.
 *
 * Every second a node sends a heartbeat with the number of its last changes, and in each turn of the event loop the
 * changes since. A peer that misses a number asks for all entries of the node, page by page. A node that is silent for
 * five seconds is considered dead and its entries are dropped, until it is heard again. Nothing of this is stored: the
 * entries of a dead node are worthless, and the living ones send theirs again.
 */
import { type Bus, PROCESS_TOPICS } from "./bus.ts";
import type { Client } from "../client.ts";
import { ClusterCalls, type Outcome } from "./calls.ts";
import {
  type Change,
  encodeChanges,
  encodeNodeMessage,
  type NodeMessage,
  type NodeSummary,
  parseNodeMessage,
} from "./codec.ts";
import { ClusterIndex } from "./index.ts";
import { encodeInGroups, LocalEntries } from "./local_entries.ts";
import { type Peer, Peers } from "./peers.ts";
import { type PageRequest, Replica } from "./replica.ts";
import type { Logger } from "../logger.ts";
import { type ClusterOptions, repeat } from "./options.ts";
import { mergeProcesses, type NodeInfo } from "./processes.ts";
import { Presence } from "../presence.ts";
import type { Subscription } from "../subscription.ts";
import { ALL_NODES, topicOf } from "./topics.ts";
import { Turn } from "../../base/turn.ts";

export type { NodeInfo };

/** Milliseconds between the heartbeats of a node. */
export const HEARTBEAT_MILLISECONDS = 1_000;
/** Milliseconds of silence after which a peer is considered dead. */
export const SILENCE_MILLISECONDS = 5_000;
/** The most bytes of changes in one message, however large the bus takes them: others must not wait behind it. */
const CHANGES_BYTES = 512 * 1024;
/** Milliseconds after which a page that did not arrive is requested again. */
const PAGE_MILLISECONDS = 2_000;

/** Milliseconds that reading all entries of other threads may take before this one answers without. */
const READ_MILLISECONDS = 5_000;

/** The method by which threads of one process ask each other to tell what they have not told yet. */
const CURRENT = "current";

export class Cluster implements Disposable {
  readonly node: string;
  /** Whether its process has other threads, be it that of the engine or a worker. */
  readonly #hasThreads: boolean;
  /** The members of all channels, on all nodes. */
  readonly presence: Presence = new Presence();
  /** The clients and subscriptions of all peers. */
  readonly remote: ClusterIndex = new ClusterIndex(this.presence);
  readonly #bus: Bus;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #every: (milliseconds: number, task: () => void) => () => void;
  readonly #turn: Turn<Change>;
  readonly #calls = new ClusterCalls();
  readonly #peers: Peers;
  readonly #entries = new LocalEntries();
  readonly #onGone = new Set<(node: string) => void>();
  #describe: () => NodeSummary = () => {
    throw new TypeError("The cluster has not been started");
  };
  #stops: readonly (() => void)[] = [];
  #sequence = 0;
  #lastTick = 0;
  #lastParseError = "";

  constructor(options: ClusterOptions) {
    this.node = options.node;
    this.#hasThreads = options.process !== undefined;
    this.#peers = new Peers(options.process ?? options.node);
    this.#bus = options.bus;
    this.#logger = options.logger;
    this.#now = options.now ?? (() => performance.now());
    this.#every = options.every ?? repeat;
    this.#turn = new Turn((changes) => this.#tell(changes), options.schedule);
    this.handle(CURRENT, () => null);
  }

  /** Joins the cluster. `describe` returns the summary that heartbeats carry. */
  start(describe: () => NodeSummary): void {
    this.#describe = describe;
    this.#lastTick = this.#now();
    this.#stops = [
      this.#bus.subscribe(ALL_NODES, (bytes) => this.#hear(bytes)),
      this.#bus.subscribe(topicOf(this.node), (bytes) => this.#hear(bytes)),
      this.#every(HEARTBEAT_MILLISECONDS, () => this.#tick()),
    ];
    this.#beat(true);
  }

  /** Leaves the cluster: peers drop the entries of this node at once. */
  [Symbol.dispose](): void {
    if (this.#stops.length === 0) return;
    for (const stop of this.#stops) stop();
    this.#stops = [];
    this.#turn.flush();
    this.#send(ALL_NODES, encodeNodeMessage({ node: this.node, kind: "goodbye" }));
    this.#calls.forgetAll();
    this.#peers.endWaiting();
  }

  /** This node, then its peers in the order in which they were found; the threads of a process are one. */
  nodes(): readonly NodeInfo[] {
    return mergeProcesses(this.#listThreads());
  }

  /** The threads of this process, this one first; none where it has no workers. */
  threads(): readonly NodeInfo[] {
    return this.#listThreads().filter((node) => node.self || this.#peers.isOwn(node));
  }

  #listThreads(): readonly NodeInfo[] {
    const now = this.#now();
    const self: NodeInfo = { ...this.#describe(), node: this.node, self: true, silent: 0 };
    return [self, ...this.#peers.describe(now)];
  }

  /** The clients and subscriptions of the other threads of this process. */
  countOwn(): { readonly clients: number; readonly subscriptions: number } {
    return this.#peers.countOwn();
  }

  /** Whether there are others: nodes, or threads of this process. */
  get hasPeers(): boolean {
    return this.#peers.size > 0;
  }

  /** Whether a peer is alive, as far as this node knows. */
  isAlive(node: string): boolean {
    return this.#peers.get(node) !== undefined;
  }

  /** The other nodes, and threads of this process, that are alive as far as this node knows. */
  get peers(): readonly string[] {
    return this.#peers.all.map(({ node }) => node);
  }

  /** A client has connected to this node. */
  connected(client: Client): void {
    this.#turn.add(this.#entries.add(client));
  }

  /** A client of this node has disconnected, which ended its subscriptions. */
  disconnected(client: Client, subscriptions: Iterable<Subscription>): void {
    for (const subscription of subscriptions) this.#entries.remove(subscription);
    const key = this.#entries.remove(client);
    if (key !== undefined) this.#turn.add(["gone", key]);
  }

  /** What others know of a client has changed: for peers it disconnects and connects again. */
  changed(client: Client, subscriptions: readonly Subscription[]): void {
    // Who has left meanwhile would stay for ever.
    if (!this.#entries.has(client)) return;
    this.disconnected(client, subscriptions);
    this.connected(client);
    for (const subscription of subscriptions) this.subscribed(subscription);
  }

  subscribed(subscription: Subscription): void {
    this.#turn.add(this.#entries.add(subscription));
  }

  unsubscribed(subscription: Subscription): void {
    const key = this.#entries.remove(subscription);
    if (key !== undefined) this.#turn.add(["gone", key]);
  }

  /** Calls back with each peer that is gone. The callback must not throw. */
  observeGone(onGone: (node: string) => void): void {
    this.#onGone.add(onGone);
  }

  /**
   * Tells all threads of this process that listen, this one too. They hear it in one order, each in the same place
   * among the messages that are stored.
   *
   * @param topic of letters, digits, `-` and `.`
   * @param body a plain JSON value
   */
  tellOwn(topic: string, body: unknown): void {
    this.#bus.publish(PROCESS_TOPICS + topic, new TextEncoder().encode(JSON.stringify(body)));
  }

  /** Calls back with what threads of this process tell. Returns a function that ends that. */
  listenOwn(topic: string, onTold: (body: unknown) => void): () => void {
    return this.#bus.subscribe(
      PROCESS_TOPICS + topic,
      (bytes) => onTold(JSON.parse(new TextDecoder().decode(bytes))),
    );
  }

  /**
   * Resolves once this thread knows who is where, as far as the other threads of its process know now: each tells what
   * it has not told yet before it answers. Undefined where there are no such threads, and while none can be reached.
   */
  untilCurrent(): Promise<void> | undefined {
    const canAsk = this.#hasThreads && this.#stops.length > 0 && this.#bus.connected;
    return canAsk ? this.#catchUp() : undefined;
  }

  async #catchUp(): Promise<void> {
    const own = this.#peers.own.map(({ node }) => node);
    const outcomes = await Promise.all(own.map((node) => this.call(node, CURRENT, null)));
    // What was told long ago may still come page by page. Whoever did not answer sends no pages either.
    const answered = own.filter((node, i) => outcomes[i]?.kind === "answered" && this.isAlive(node));
    await this.#peers.untilWhole(answered, READ_MILLISECONDS);
  }

  /**
   * Resolves once each of some threads was heard and all of its clients and subscriptions are known, or it is gone; at
   * the latest after some milliseconds, with those for which that does not hold.
   */
  untilKnown(nodes: readonly string[], milliseconds: number): Promise<readonly string[]> {
    return this.#peers.untilWhole(nodes, milliseconds);
  }

  /** Sets the handler of a method that peers can call. */
  handle(method: string, handler: (body: unknown) => unknown): void {
    this.#calls.handle(method, handler);
  }

  /**
   * Calls a method of all peers. Resolves once each has answered, is gone, or has timed out.
   *
   * @param body a plain JSON value
   * @throws {RangeError} for a call that is too large for the bus
   */
  async callAll(method: string, body: unknown): Promise<ReadonlyMap<string, Outcome>> {
    return await this.#calls.call(this.peers, (id) => this.#call(ALL_NODES, id, method, body));
  }

  /** Calls a method of the other threads of this process, like `callAll`, and returns what they answered. */
  async callOwn(method: string, body: unknown): Promise<readonly unknown[]> {
    const outcomes = await Promise.all(this.#peers.own.map(({ node }) => this.call(node, method, body)));
    return outcomes.flatMap((outcome) => outcome.kind === "answered" ? [outcome.body] : []);
  }

  /** Calls a method of one peer, like `callAll`. */
  async call(node: string, method: string, body: unknown): Promise<Outcome> {
    const outcomes = await this.#calls.call([node], (id) => this.#call(topicOf(node), id, method, body));
    return outcomes.get(node) ?? { kind: "silent" };
  }

  #call(topic: string, id: number, method: string, body: unknown): void {
    const bytes = encodeNodeMessage({ node: this.node, kind: "call", id, method, body });
    if (bytes.byteLength > this.#bus.maxBytes) {
      throw new RangeError(
        `A call has ${bytes.byteLength} bytes and nodes can exchange ${this.#bus.maxBytes}: send less`,
      );
    }
    this.#send(topic, bytes);
  }

  /** Sends the changes of a turn to all peers. */
  #tell(changes: readonly Change[]): void {
    for (const written of encodeInGroups(changes, this.#groupBytes)) {
      const sequence = ++this.#sequence;
      this.#send(ALL_NODES, encodeChanges({ node: this.node, kind: "changes", sequence }, written));
    }
  }

  /** Sends the page of entries that a peer requested. */
  #sendPage(node: string, after: number): void {
    const [first = []] = encodeInGroups(this.#entries.after(after), this.#groupBytes);
    const last = first.at(-1);
    const more = last !== undefined && !this.#entries.after((JSON.parse(last) as Change)[1]).next().done;
    const head = { node: this.node, kind: "page", after, sequence: this.#sequence, more } as const;
    this.#send(topicOf(node), encodeChanges(head, first));
  }

  get #groupBytes(): number {
    return Math.min(CHANGES_BYTES, this.#bus.maxBytes / 2);
  }

  #beat(fresh: boolean): void {
    const message = { node: this.node, kind: "beat", sequence: this.#sequence, summary: this.#describe() };
    this.#send(ALL_NODES, encodeNodeMessage({ ...message, kind: "beat", ...(fresh ? { fresh } : {}) }));
  }

  #tick(): void {
    const now = this.#now();
    const elapsed = now - this.#lastTick;
    this.#lastTick = now;
    // Time in which this node itself could not receive, cut off or blocked, does not count as silence of its peers.
    const unheard = this.#bus.connected ? Math.max(0, elapsed - 2 * HEARTBEAT_MILLISECONDS) : elapsed;
    this.#beat(false);
    for (const peer of this.#peers.all) {
      peer.heardAt += unheard;
      if (now - peer.heardAt >= SILENCE_MILLISECONDS && !this.#isMinded(peer)) this.#remove(peer, "silent");
      else if (now - peer.askedAt >= PAGE_MILLISECONDS) this.#ask(peer, peer.replica.repeatRequest());
    }
  }

  /**
   * Whether its process says when a peer is gone. Until then all that silence tells of such a thread is that it is busy, or
   * the thread between.
   */
  #isMinded({ summary }: Peer): boolean {
    return this.#bus.isLocal && this.#peers.isOwn(summary);
  }

  #send(topic: string, bytes: Uint8Array): void {
    if (this.#bus.connected) this.#bus.publish(topic, bytes);
  }

  #hear(bytes: Uint8Array): void {
    try {
      const message = parseNodeMessage(bytes);
      if (message.node !== this.node) this.#take(message);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      // Logged once: a node of another version repeats it every second.
      if (reason !== this.#lastParseError) {
        this.#logger.write("warn", "node not understood", { reason });
      }
      this.#lastParseError = reason;
    }
  }

  #take(message: NodeMessage): void {
    const { node } = message;
    if (message.kind === "goodbye") {
      const peer = this.#peers.get(node);
      return peer === undefined ? this.#peers.forget(node) : this.#remove(peer, "stopped");
    }
    const peer = this.#peers.get(node) ?? this.#addPeer(node);
    peer.heardAt = this.#now();
    switch (message.kind) {
      case "beat":
        if (peer.summary === undefined) {
          const isNews = this.#peers.isNews(peer, message.summary);
          peer.summary = message.summary;
          if (isNews) this.#report("info", "node found", peer);
        }
        peer.summary = message.summary;
        this.#ask(peer, peer.replica.noteSequence(message.sequence));
        if (message.fresh) this.#beat(false);
        return;
      case "changes":
        return this.#ask(peer, peer.replica.applyChanges(message.sequence, message.changes));
      case "page":
        return this.#ask(peer, peer.replica.applyPage(message));
      case "ask":
        return this.#sendPage(node, message.after);
      case "answer":
        return this.#calls.settle(node, message.id, message.outcome);
      case "call":
        return void this.#run(node, message.id, message.method, message.body);
    }
  }

  async #run(node: string, id: number, method: string, body: unknown): Promise<void> {
    const outcome = await this.#calls.run(method, body);
    // Whoever hears that something is done must find it done: a client that was ended for it may not seem connected.
    this.#turn.flush();
    this.#send(topicOf(node), encodeNodeMessage({ node: this.node, kind: "answer", id, outcome }));
  }

  #addPeer(node: string): Peer {
    const replica = new Replica(node, this.remote);
    const peer: Peer = { node, replica, summary: undefined, heardAt: this.#now(), askedAt: 0 };
    this.#peers.add(peer);
    return peer;
  }

  #ask(peer: Peer, request: PageRequest): void {
    if (request === undefined) return this.#peers.note(peer);
    peer.askedAt = this.#now();
    this.#send(topicOf(peer.node), encodeNodeMessage({ node: this.node, kind: "ask", after: request.ask }));
  }

  #remove(peer: Peer, reason: "silent" | "stopped"): void {
    const { node, summary } = peer;
    this.#peers.forget(node);
    this.#calls.forget(node);
    for (const onGone of this.#onGone) onGone(node);
    if (this.#peers.isNews(peer, summary)) {
      this.#report(reason === "silent" ? "warn" : "info", "node gone", peer, reason);
    }
  }

  #report(level: "info" | "warn", event: string, { node, summary }: Peer, reason?: string): void {
    this.#logger.write(level, event, {
      node: summary?.process ?? node,
      name: summary?.name,
      reason,
      nodes: this.nodes().length,
    });
  }
}
