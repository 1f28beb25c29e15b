/**
 * The hub: the connected clients, their subscriptions, and the path of every message from its publisher through the log
 * to the sockets. Protocols and HTTP handlers call it; it knows neither.
 */
import { directChannel, MAX_CHANNEL_LENGTH, type Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import type { Cluster, NodeInfo } from "./cluster/cluster.ts";
import type { NodeSummary } from "./cluster/codec.ts";
import { MessagingError } from "./errors.ts";
import type { Log, LogPage, LogQuery, Receipt } from "./log.ts";
import type { Logger } from "./logger.ts";
import { Metrics } from "./metrics/metrics.ts";
import { describePayload, type Draft, isTransient, type Message, payloadSize } from "./message.ts";
import { Presence } from "./presence.ts";
import { FanOut } from "./fan_out.ts";
import type { Rules } from "./rules.ts";
import { type SubscribeOptions, Subscription } from "./subscription.ts";
import { Tally } from "../base/tally.ts";

export interface HubOptions {
  readonly log: Log;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Largest payload, in bytes. */
  readonly maxMessageBytes: number;
  /** Longest channel name, in characters; by default the limit of the grammar. */
  readonly maxChannelLength?: number;
  /** Where the hub counts; by default in metrics of its own. */
  readonly metrics?: Metrics;
  /** Traces each publish, if telemetry is on. */
  readonly tracePublish?: PublishTracer | undefined;
  /** The identity of this node. */
  readonly identity?: NodeIdentity;
  /** The other nodes; undefined for a log that has one node only. */
  readonly cluster?: Cluster | undefined;
}

/** Identifies a node: one run of one process. */
export interface NodeIdentity extends Pick<NodeSummary, "name" | "version" | "startedAt"> {
  /** The id of this run, unique among all runs. */
  readonly node: string;
}

/** Runs a publish and returns its result. */
export type PublishTracer = (draft: Draft, publish: () => Promise<Published>) => Promise<Published>;

/** The log's receipt, and the number of sockets that the message was offered to. */
export interface Published extends Receipt {
  readonly subscribers: number;
}

/** How most subscriptions start: from now on, without a limit. */
const LIVE: SubscribeOptions = {};

export class Hub {
  /** The members of all channels, on all nodes. */
  readonly presence: Presence;
  readonly metrics: Metrics;
  readonly identity: NodeIdentity;
  readonly #cluster: Cluster | undefined;
  readonly #log: Log;
  readonly #rules: Rules;
  readonly #logger: Logger;
  readonly #maxMessageBytes: number;
  readonly #maxChannelLength: number;
  readonly #clients = new Map<Client, Set<Subscription>>();
  readonly #clientsById = new Map<string, Set<Client>>();
  readonly #fanOut: FanOut;
  readonly #users = new Tally();
  readonly #tracePublish: PublishTracer | undefined;
  readonly #observers = new Set<(messages: readonly Message[]) => void>();
  #draining = false;
  /** When the last batch had been sent to all sockets, by `performance.now()`. */
  #deliveredAt = 0;

  constructor(options: HubOptions) {
    this.#log = options.log;
    this.#rules = options.rules;
    this.#logger = options.logger;
    this.#maxMessageBytes = options.maxMessageBytes;
    this.#maxChannelLength = options.maxChannelLength ?? MAX_CHANNEL_LENGTH;
    this.metrics = options.metrics ?? new Metrics();
    this.#fanOut = new FanOut({ rules: options.rules, metrics: this.metrics });
    this.identity = options.identity ??
      { node: crypto.randomUUID(), name: "raindrops", version: "raindrops", startedAt: Date.now() };
    this.#cluster = options.cluster;
    this.presence = options.cluster?.presence ?? new Presence();
    this.#cluster?.start(() => this.#summarize());
    this.#tracePublish = options.tracePublish;
    this.#log.onStored = (messages) => this.deliver(messages);
    this.#log.onReset = (reason) => this.#endAll(new MessagingError("log_unavailable", reason));
  }

  /** The nodes that share the log and are alive as far as this one knows, itself first. */
  nodes(): readonly NodeInfo[] {
    if (this.#cluster !== undefined) return this.#cluster.nodes();
    return [{ ...this.#summarize(), node: this.identity.node, self: true, silent: 0 }];
  }

  #summarize(): NodeSummary {
    const { name, version, startedAt } = this.identity;
    return {
      name,
      version,
      startedAt,
      clients: this.#clients.size,
      users: this.#users.size,
      subscriptions: this.#fanOut.subscriptionCount,
      channels: this.#fanOut.channelCount,
      published: this.metrics.publishedMessages,
      delivered: this.metrics.deliveredMessages,
    };
  }

  /** The number of clients connected to this node. */
  get clientCount(): number {
    return this.#clients.size;
  }

  /** The clients connected to this node, the oldest first. */
  get clients(): Iterable<Client> {
    return this.#clients.keys();
  }

  /** The channels with subscribers by exact name, on any node, and the number of subscribers of each. */
  *listChannels(): Iterable<{ readonly channel: string; readonly subscribers: number }> {
    const remote = this.#cluster?.remote;
    for (const { channel, subscribers } of this.#fanOut.listChannels()) {
      yield { channel, subscribers: subscribers + (remote?.countExactSubscribers(channel) ?? 0) };
    }
    for (const row of remote?.listChannels() ?? []) {
      if (!this.#fanOut.has(row.channel)) yield row;
    }
  }

  /** The local subscriptions to a channel: by name, list or pattern. */
  listSubscriptions(channel: string): Iterable<Subscription> {
    return this.#fanOut.list(channel);
  }

  /** The subscriptions of a local client. */
  listSubscriptionsOf(client: Client): Iterable<Subscription> {
    return this.#clients.get(client) ?? [];
  }

  /**
   * Calls an observer with every batch before it is delivered, for counting. It must be quick and must not throw.
   *
   * @returns a function that removes the observer
   */
  observe(observer: (messages: readonly Message[]) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  /** The number of local subscriptions. */
  get subscriptionCount(): number {
    return this.#fanOut.subscriptionCount;
  }

  /** The number of different selectors with local subscriptions. */
  get groupCount(): number {
    return this.#fanOut.groupCount;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** The id up to which everything has been delivered. */
  get top(): Log["top"] {
    return this.#log.top;
  }

  /**
   * Whether a client at another address is connected with this id, to any node. A second one with the same id would get
   * its direct messages.
   */
  isIdTaken(id: string, address: string): boolean {
    for (const client of this.#clientsById.get(id) ?? []) {
      if (client.address !== address) return true;
    }
    return this.#cluster?.remote.isIdTaken(id, address) ?? false;
  }

  /**
   * Adds a client, which gets its direct messages from now on. Ends the client instead while the server drains, and if
   * the id that it chose is taken.
   *
   * @returns whether it was added
   */
  connect(client: Client, channel?: string): boolean {
    if (this.#draining) {
      client.end(new MessagingError("draining", "service restart"));
      return false;
    }
    if (client.choseId && this.isIdTaken(client.id, client.address)) {
      client.end(describeTakenId(client.id));
      return false;
    }
    this.#clients.set(client, new Set());
    let sameId = this.#clientsById.get(client.id);
    if (sameId === undefined) this.#clientsById.set(client.id, sameId = new Set());
    sameId.add(client);
    this.#users.add(client.user ?? "");
    this.#cluster?.connected(client);
    const { id, name, protocol } = client;
    this.metrics.connected(protocol);
    this.#logger.write("info", "client connected", { id, name, channel, protocol });
    return true;
  }

  /** Removes a client and its subscriptions. Removing it again does nothing. */
  disconnect(client: Client, code?: number): void {
    const subscriptions = this.#clients.get(client);
    if (subscriptions === undefined) return;
    this.#cluster?.disconnected(client, subscriptions);
    for (const subscription of subscriptions) this.unsubscribe(subscription);
    this.#clients.delete(client);
    const sameId = this.#clientsById.get(client.id);
    sameId?.delete(client);
    if (sameId?.size === 0) this.#clientsById.delete(client.id);
    this.#users.remove(client.user ?? "");
    this.metrics.disconnected(client.protocol);
    this.#logger.write("info", "client disconnected", { id: client.id, code });
  }

  /**
   * Subscribes a connected client to the channels of a selector, from now on or, with `since`, from an earlier
   * position.
   */
  subscribe(client: Client, selector: Selector, options: SubscribeOptions = LIVE): Subscription {
    const subscriptions = this.#clients.get(client);
    if (subscriptions === undefined) throw new TypeError("A client must be connected before it subscribes");
    const subscription = new Subscription(client, selector, options);
    subscriptions.add(subscription);
    this.#fanOut.add(subscription);
    if (selector.channel !== undefined) this.presence.join(selector.channel, subscription.member);
    this.#cluster?.subscribed(subscription);
    subscription.start(this.#log).catch((cause) => this.#failReplay(client, cause));
    return subscription;
  }

  /** Ends a subscription. Ending it again does nothing. */
  unsubscribe(subscription: Subscription): void {
    const { client, selector, member } = subscription;
    const subscriptions = this.#clients.get(client);
    if (!subscriptions?.delete(subscription)) return;
    subscription.close();
    this.#cluster?.unsubscribed(subscription);
    this.#fanOut.remove(subscription);
    const { channel } = selector;
    const isSame = (other: Subscription) => other.selector.channel === channel && other.member === member;
    if (channel !== undefined && ![...subscriptions].some(isSame)) this.presence.leave(channel, member);
  }

  /**
   * Publishes a draft: the log stores it, then it is delivered.
   *
   * @returns the receipt, once the message is stored
   * @throws {MessagingError} `draining`, `too_large`, `name_too_long`, `no_such_client`, or what the log rejects with
   */
  publish(draft: Draft): Promise<Published> {
    const trace = this.#tracePublish;
    return trace === undefined ? this.#publish(draft) : trace(draft, () => this.#publish(draft));
  }

  async #publish(draft: Draft): Promise<Published> {
    if (this.#draining) {
      throw new MessagingError("draining", "The server is restarting: try again in a moment");
    }
    const size = payloadSize(draft.payload);
    if (size > this.#maxMessageBytes) {
      throw new MessagingError(
        "too_large",
        `The message has ${size} bytes and the limit is ${this.#maxMessageBytes}: send less, ` +
          "or raise --max-message-bytes",
      );
    }
    // The limit of a direct channel is that of client ids.
    if (draft.to === undefined) this.checkName(draft.channel);
    const directed = draft.to === undefined ? undefined : this.#countRecipients(draft.channel, draft.to);
    if (directed === 0) {
      throw new MessagingError("no_such_client", this.#describeMissing(draft.channel, draft.to ?? ""));
    }
    const rules = this.#rules.for(draft.channel);
    if (rules.ephemeral && !isTransient(draft)) draft = { ...draft, ephemeral: true };
    this.#logger.write(draft.ephemeral ? "debug" : "info", "message received", {
      channel: draft.channel,
      data: describePayload(draft.payload),
    });
    const start = performance.now();
    const receipt = await this.#log.append(draft);
    this.metrics.publishedMessages++;
    this.metrics.publishedBytes += size;
    // The log resolves right after it announced the batch, so one reading of the clock serves all of its messages.
    if (!receipt.duplicate) this.metrics.latency.observe(this.#deliveredAt - start);
    return { ...receipt, subscribers: directed ?? this.countSubscribers(draft.channel) };
  }

  /**
   * Checks a channel name against the limit of this server, which may be lower than that of the grammar.
   *
   * @throws {MessagingError} `name_too_long`
   */
  checkName(channel: string): void {
    if (channel.length <= this.#maxChannelLength) return;
    throw new MessagingError(
      "name_too_long",
      `The channel name has ${channel.length} characters and the limit is ${this.#maxChannelLength}: ` +
        "choose a shorter one, or raise --max-channel-length",
    );
  }

  /** Reads stored messages. */
  read(query: LogQuery): Promise<LogPage> {
    return this.#log.read(query);
  }

  /** Removes the stored messages of a channel and resolves to their number. */
  async clear(channel: string): Promise<number> {
    if (this.#draining) {
      throw new MessagingError("draining", "The server is restarting: try again in a moment");
    }
    return await this.#log.clear(channel);
  }

  /** The number of sockets, on all nodes, that a message to a channel is offered to. */
  countSubscribers(channel: string): number {
    return this.#fanOut.count(channel) + (this.#cluster?.remote.countSubscribers(channel) ?? 0);
  }

  /**
   * Delivers a batch of stored or transient messages to all their subscribers, in order. Encodes each list of messages
   * once per encoder. Synchronous: when it returns, every socket has its frames.
   */
  deliver(messages: readonly Message[]): void {
    for (const observe of this.#observers) observe(messages);
    let start = 0;
    for (let i = 0; i < messages.length; i++) {
      const message = messages[i]!;
      if (message.to === undefined) continue;
      this.#fanOut.deliver(messages.slice(start, i));
      this.#fanOut.deliverDirect(message, this.#recipients(message.channel, message.to));
      start = i + 1;
    }
    this.#fanOut.deliver(start === 0 ? messages : messages.slice(start));
    this.#deliveredAt = performance.now();
  }

  /** Refuses new clients and messages, and ends every client with `draining`. */
  drain(): void {
    this.#draining = true;
    this.#endAll(new MessagingError("draining", "service restart"));
  }

  #endAll(error: MessagingError): void {
    for (const client of [...this.#clients.keys()]) client.end(error);
  }

  /** Ends a client whose history cannot be read: it would miss messages without knowing. */
  #failReplay(client: Client, cause: unknown): void {
    if (!this.#clients.has(client)) return;
    const error = cause instanceof MessagingError
      ? cause
      : new MessagingError("internal", "Reading the history failed: reconnect to try again", { cause });
    const reason = cause instanceof Error ? cause.stack : String(cause);
    this.#logger.write("error", "reading history failed", { id: client.id, reason });
    client.end(error);
  }

  #countRecipients(channel: string, to: string): number {
    const remote = this.#cluster?.remote.countConnections(
      to,
      channel === directChannel(to) ? undefined : channel,
    );
    return this.#recipients(channel, to).size + (remote ?? 0);
  }

  /** The local connections with a client id: all of them for its direct channel, else those subscribed to the channel. */
  #recipients(channel: string, to: string): Set<Client> {
    const clients = this.#clientsById.get(to) ?? new Set<Client>();
    if (channel === directChannel(to)) return clients;
    return this.#fanOut.filter(channel, clients, (client) => this.listSubscriptionsOf(client));
  }

  #describeMissing(channel: string, to: string): string {
    return channel === directChannel(to)
      ? `No client has the id "${to}": it is not connected, and direct messages are not kept`
      : `No client with the id "${to}" is subscribed to "${channel}": direct messages are not kept`;
  }
}

/** The error for a client that chose the id of another one. */
export function describeTakenId(id: string): MessagingError {
  return new MessagingError(
    "id_taken",
    `The id "${id}" is taken by a client that is connected: choose another`,
  );
}
