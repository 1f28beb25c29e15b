/**
 * The cluster of nodes that share a log: each node tells its peers which clients and subscriptions it has. The hub
 * reports local changes to it and asks it about remote clients and subscriptions.
 *
 * Every second a node sends a heartbeat with the number of its last changes, and in each turn of the event loop the
 * changes since. A peer that misses a number asks for all entries of the node, page by page. A node that is silent for
 * five seconds is considered dead and its entries are dropped, until it is heard again. Nothing of this is stored: the
 * entries of a dead node are worthless, and the living ones send theirs again.
 */
import { formatSelector } from "../channel.ts";
import type { Bus } from "./bus.ts";
import type { Client } from "../client.ts";
import { ClusterCalls, type Outcome } from "./calls.ts";
import {
  type Change,
  encodeChange,
  encodeChanges,
  encodeNodeMessage,
  type NodeMessage,
  type NodeSummary,
  parseNodeMessage,
} from "./codec.ts";
import { ClusterIndex } from "./index.ts";
import { type PageRequest, Replica } from "./replica.ts";
import type { Logger } from "../logger.ts";
import { utf8Length } from "../../base/utf8.ts";
import { Presence } from "../presence.ts";
import type { Subscription } from "../subscription.ts";
import { type Schedule, Turn } from "../../base/turn.ts";

/** Milliseconds between the heartbeats of a node. */
export const HEARTBEAT_MILLISECONDS = 1_000;
/** Milliseconds of silence after which a peer is considered dead. */
export const SILENCE_MILLISECONDS = 5_000;
/** Milliseconds after which a page that did not arrive is requested again. */
const PAGE_MILLISECONDS = 2_000;
/** Most changes in one message, so that encoding it does not block the event loop. */
const MAX_CHANGES = 2_000;
/** Longest info of a client that is sent to peers, in bytes. */
const MAX_INFO_BYTES = 16 * 1024;

/** The topic of all nodes, and the topic of one node. */
const ALL_NODES = "nodes";
const topicOf = (node: string) => `node.${node}`;

interface ClusterOptions {
  readonly bus: Bus;
  /** The id of this run of this node: unique among all runs, of letters, digits and "-". */
  readonly node: string;
  readonly logger: Logger;
  /** A monotonic clock in milliseconds. */
  readonly now?: () => number;
  /** Runs a task at an interval in milliseconds; returns a function that stops it. */
  readonly every?: (milliseconds: number, task: () => void) => () => void;
  readonly schedule?: Schedule;
}

/** A node as seen by this one. */
export interface NodeInfo extends NodeSummary {
  readonly node: string;
  /** Whether it is this node. */
  readonly self: boolean;
  /** Milliseconds since it was last heard. */
  readonly silent: number;
}

interface Peer {
  readonly node: string;
  readonly replica: Replica;
  summary: NodeSummary | undefined;
  heardAt: number;
  /** When a page was last requested. */
  askedAt: number;
}

export class Cluster implements Disposable {
  readonly node: string;
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
  readonly #peers = new Map<string, Peer>();
  /** The local clients and subscriptions by ascending key, and their keys. */
  readonly #entries = new Map<number, Client | Subscription>();
  readonly #keys = new Map<Client | Subscription, number>();
  #describe: () => NodeSummary = () => {
    throw new TypeError("The cluster has not been started");
  };
  #stops: readonly (() => void)[] = [];
  #key = 0;
  #sequence = 0;
  #lastTick = 0;
  #lastParseError = "";

  constructor(options: ClusterOptions) {
    this.node = options.node;
    this.#bus = options.bus;
    this.#logger = options.logger;
    this.#now = options.now ?? (() => performance.now());
    this.#every = options.every ?? every;
    this.#turn = new Turn((changes) => this.#tell(changes), options.schedule);
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
  }

  /** This node, then its peers in the order in which they were found. */
  nodes(): readonly NodeInfo[] {
    const now = this.#now();
    const self: NodeInfo = { ...this.#describe(), node: this.node, self: true, silent: 0 };
    const others = [...this.#peers.values()].flatMap(({ node, summary, heardAt }): NodeInfo[] =>
      summary === undefined ? [] : [{ ...summary, node, self: false, silent: Math.round(now - heardAt) }]
    );
    return [self, ...others];
  }

  /** Whether a peer is alive, as far as this node knows. */
  isAlive(node: string): boolean {
    return this.#peers.has(node);
  }

  /** A client has connected to this node. */
  connected(client: Client): void {
    this.#add(client);
  }

  /** A client of this node has disconnected, which ended its subscriptions. */
  disconnected(client: Client, subscriptions: Iterable<Subscription>): void {
    for (const subscription of subscriptions) this.#forget(subscription);
    const key = this.#forget(client);
    if (key !== undefined) this.#turn.add(["gone", key]);
  }

  subscribed(subscription: Subscription): void {
    this.#add(subscription);
  }

  unsubscribed(subscription: Subscription): void {
    const key = this.#forget(subscription);
    if (key !== undefined) this.#turn.add(["gone", key]);
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
    return await this.#calls.call([...this.#peers.keys()], (id) => this.#call(ALL_NODES, id, method, body));
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

  #add(entry: Client | Subscription): void {
    const key = ++this.#key;
    this.#entries.set(key, entry);
    this.#keys.set(entry, key);
    this.#turn.add(this.#toChange(key, entry));
  }

  #forget(entry: Client | Subscription): number | undefined {
    const key = this.#keys.get(entry);
    if (key === undefined) return undefined;
    this.#keys.delete(entry);
    this.#entries.delete(key);
    return key;
  }

  #toChange(key: number, entry: Client | Subscription): Change {
    if (!("selector" in entry)) {
      const { id, name, user, info, protocol, since, address } = entry;
      return ["client", key, { id, name, user, info: bound(info), protocol, since, address }];
    }
    const client = this.#keys.get(entry.client) ?? 0;
    const channelInfo = bound(entry.member.channelInfo);
    const change = ["subscription", key, client, formatSelector(entry.selector)] as const;
    return channelInfo === undefined ? change : [...change, channelInfo];
  }

  /** Sends the changes of a turn to all peers. */
  #tell(changes: readonly Change[]): void {
    for (const written of this.#split(changes)) {
      const sequence = ++this.#sequence;
      this.#send(ALL_NODES, encodeChanges({ node: this.node, kind: "changes", sequence }, written));
    }
  }

  /** Encodes changes in groups, each as large as one message allows. */
  *#split(changes: Iterable<Change>): Iterable<readonly string[]> {
    const room = this.#bus.maxBytes / 2;
    let written: string[] = [];
    let bytes = 0;
    for (const change of changes) {
      const text = encodeChange(change);
      const size = utf8Length(text) + 1;
      if (written.length === MAX_CHANGES || (written.length > 0 && bytes + size > room)) {
        yield written;
        written = [];
        bytes = 0;
      }
      written.push(text);
      bytes += size;
    }
    if (written.length > 0) yield written;
  }

  /** Sends the page of entries that a peer requested. */
  #sendPage(node: string, after: number): void {
    const [first = []] = this.#split(this.#entriesAfter(after));
    const last = first.at(-1);
    const more = last !== undefined && !this.#entriesAfter((JSON.parse(last) as Change)[1]).next().done;
    const head = { node: this.node, kind: "page", after, sequence: this.#sequence, more } as const;
    this.#send(topicOf(node), encodeChanges(head, first));
  }

  *#entriesAfter(after: number): Generator<Change> {
    for (const [key, entry] of this.#entries) if (key > after) yield this.#toChange(key, entry);
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
    for (const peer of [...this.#peers.values()]) {
      peer.heardAt += unheard;
      if (now - peer.heardAt >= SILENCE_MILLISECONDS) this.#remove(peer, "silent");
      else if (now - peer.askedAt >= PAGE_MILLISECONDS) this.#ask(peer, peer.replica.repeatRequest());
    }
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
      if (peer !== undefined) this.#remove(peer, "stopped");
      return;
    }
    const peer = this.#peers.get(node) ?? this.#addPeer(node);
    peer.heardAt = this.#now();
    switch (message.kind) {
      case "beat":
        if (peer.summary === undefined) {
          const { name } = message.summary;
          this.#logger.write("info", "node found", { node, name, nodes: this.#peers.size + 1 });
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
    this.#send(topicOf(node), encodeNodeMessage({ node: this.node, kind: "answer", id, outcome }));
  }

  #addPeer(node: string): Peer {
    const replica = new Replica(node, this.remote);
    const peer: Peer = { node, replica, summary: undefined, heardAt: this.#now(), askedAt: 0 };
    this.#peers.set(node, peer);
    return peer;
  }

  #ask(peer: Peer, request: PageRequest): void {
    if (request === undefined) return;
    peer.askedAt = this.#now();
    this.#send(topicOf(peer.node), encodeNodeMessage({ node: this.node, kind: "ask", after: request.ask }));
  }

  #remove(peer: Peer, reason: "silent" | "stopped"): void {
    const { node, summary, replica } = peer;
    this.#peers.delete(node);
    this.#calls.forget(node);
    replica.clear();
    const level = reason === "silent" ? "warn" : "info";
    this.#logger.write(level, "node gone", {
      node,
      name: summary?.name,
      reason,
      nodes: this.#peers.size + 1,
    });
  }
}

function every(milliseconds: number, task: () => void): () => void {
  const timer = setInterval(task, milliseconds);
  return () => clearInterval(timer);
}

function bound(info: string | undefined): string | undefined {
  return info === undefined || utf8Length(info) <= MAX_INFO_BYTES ? info : undefined;
}
