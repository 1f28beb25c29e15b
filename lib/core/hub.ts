/**
 * The hub: the connected clients, their subscriptions, and the path of every message from its publisher through the log
 * to the sockets. Protocols and HTTP handlers call it; it knows neither.
 */
import { checkNameLimit, directChannel, MAX_CHANNEL_LENGTH, type Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import { ClientRegistry, describeTakenId } from "./client_registry.ts";
import type { Cluster, NodeInfo } from "./cluster/cluster.ts";
import type { NodeSummary } from "./cluster/codec.ts";
import { MessagingError } from "./errors.ts";
import { ALL_CHANNELS, type Channels, type Interest, NO_INTEREST, ofDirect } from "./interest.ts";
import type { HubOptions, NodeIdentity, Published, PublishTracer, Retainer } from "./hub_options.ts";
import type { Log, LogPage, LogQuery } from "./log.ts";
import type { Logger } from "./logger.ts";
import { type ChannelMaps, createMaps } from "./maps/maps.ts";
import { Metrics } from "./metrics/metrics.ts";
import type { Draft, Message, MessageId, Removal } from "./message.ts";
import { Presence } from "./presence.ts";
import { summarize } from "./summary.ts";
import { FanOut } from "./fan_out.ts";
import { Publisher } from "./publisher.ts";
import type { Rules } from "./rules.ts";
import { type SubscribeOptions, Subscription } from "./subscription.ts";

export type { HubOptions, NodeIdentity, Published, PublishTracer, Retainer };

export class Hub {
  /** The members of all channels, on all nodes. */
  readonly presence: Presence;
  readonly metrics: Metrics;
  /** The maps of all channels. */
  readonly maps: ChannelMaps;
  readonly identity: NodeIdentity;
  readonly #cluster: Cluster | undefined;
  readonly #log: Log;
  readonly #rules: Rules;
  readonly #logger: Logger;
  readonly #maxChannelLength: number;
  readonly #clients = new ClientRegistry();
  readonly #fanOut: FanOut;
  readonly #interest: Interest;
  readonly #publisher: Publisher;
  readonly #observers = new Set<(messages: readonly Message[]) => void>();
  readonly #removalObservers = new Set<(removal: Removal) => void>();
  #draining = false;
  #deliveredAt = 0;

  constructor(options: HubOptions) {
    this.#log = options.log;
    this.#rules = options.rules;
    this.#logger = options.logger;
    this.#maxChannelLength = options.maxChannelLength ?? MAX_CHANNEL_LENGTH;
    this.metrics = options.metrics ?? new Metrics();
    const interest = this.#interest = options.log.narrow?.() ?? NO_INTEREST;
    const { rules } = options;
    this.#fanOut = new FanOut({ rules, metrics: this.metrics, clients: this.#clients, interest });
    this.identity = options.identity ??
      { node: crypto.randomUUID(), name: "raindrops", version: "raindrops", startedAt: Date.now() };
    this.#cluster = options.cluster;
    this.presence = options.cluster?.presence ?? new Presence();
    this.#cluster?.start(() => this.#summarize());
    this.maps = options.maps ?? createMaps(options);
    const { metrics, maps } = this;
    this.#publisher = new Publisher({ ...options, metrics, maps, audience: this });
    // Before it is delivered: whoever asks for a map afterwards finds it there.
    this.#observers.add((messages) => this.maps.observe(messages));
    this.#log.onStored = (messages) => this.deliver(messages);
    this.#log.onRemoved = (removal) => {
      this.maps.forget(removal);
      for (const observe of this.#removalObservers) observe(removal);
      this.#fanOut.deliverRemoval(removal);
    };
    this.#log.onCleared = (removal) => this.maps.forget(removal);
    // At once: a group of the fan-out that stayed would compare sequences of two epochs.
    this.#log.onReset = (reason) => this.#endAll(new MessagingError("log_unavailable", reason));
  }

  /** The nodes that share the log and are alive as far as this one knows, itself first. */
  nodes(): readonly NodeInfo[] {
    if (this.#cluster !== undefined) return this.#cluster.nodes();
    return [{ ...this.#summarize(), node: this.identity.node, self: true, silent: 0 }];
  }

  /** The threads of this process as nodes, this one first; none where it has no workers. */
  threads(): readonly NodeInfo[] {
    return this.identity.process === undefined ? [] : this.#cluster?.threads() ?? [];
  }

  #summarize(): NodeSummary {
    const { identity, metrics } = this;
    return summarize({ identity, clients: this.#clients, fanOut: this.#fanOut, metrics });
  }

  /** The number of clients connected to this process. */
  get clientCount(): number {
    return this.#clients.size + (this.#others?.countOwn().clients ?? 0);
  }

  /** The cluster, where this node is a thread of a process with workers. */
  get #others(): Cluster | undefined {
    return this.identity.process === undefined ? undefined : this.#cluster;
  }

  /** The clients connected to this node, the oldest first. */
  get clients(): Iterable<Client> {
    return this.#clients.all;
  }

  /** The channels with subscribers by exact name, on any node, and the number of subscribers of each. */
  *listChannels(): Iterable<{ readonly channel: string; readonly subscribers: number }> {
    const remote = this.#cluster?.remote;
    // Callers may wait between two: not those that are local by then.
    const told = new Set<string>();
    for (const { channel, subscribers } of this.#fanOut.listChannels()) {
      if (remote !== undefined) told.add(channel);
      yield { channel, subscribers: subscribers + (remote?.countExactSubscribers(channel) ?? 0) };
    }
    for (const row of remote?.listChannels() ?? []) {
      if (!told.has(row.channel)) yield row;
    }
  }

  /** The local subscriptions to a channel: by name, list or pattern. */
  listSubscriptions(channel: string): Iterable<Subscription> {
    return this.#fanOut.list(channel);
  }

  /** The subscriptions of a local client. */
  listSubscriptionsOf(client: Client): Iterable<Subscription> {
    return this.#clients.subscriptionsOf(client) ?? [];
  }

  /**
   * Calls an observer with every batch before it is delivered, for counting. It must be quick and must not throw.
   *
   * @param extent `delivered` for one that can do without what has no subscriber on this node, is not watched, and has
   * neither a key nor is to be retained: a worker thread need not be told of that
   * @returns a function that removes the observer
   */
  observe(
    observer: (messages: readonly Message[]) => void,
    extent: "all" | "delivered" = "all",
  ): () => void {
    const ignore = extent === "all" ? this.watch(ALL_CHANNELS) : undefined;
    this.#observers.add(observer);
    return () => {
      if (this.#observers.delete(observer)) ignore?.();
    };
  }

  /**
   * Has this node told of what is stored in some channels, as if they had a subscriber.
   *
   * @returns ends that, at the end of the turn of the event loop in which it is called
   */
  watch(channels: Channels): () => void {
    this.#interest.add(channels);
    let isOn = true;
    return () => {
      if (isOn) this.#interest.remove(channels);
      isOn = false;
    };
  }

  /** The same with what is removed from channels on request. */
  observeRemovals(observer: (removal: Removal) => void): () => void {
    this.#removalObservers.add(observer);
    return () => this.#removalObservers.delete(observer);
  }

  /** Sets who keeps retained messages. Without one, none are kept. */
  retainBy(retainer: Retainer): void {
    this.#publisher.retainer = retainer;
  }

  /** The number of subscriptions of this process. */
  get subscriptionCount(): number {
    return this.#fanOut.subscriptionCount + (this.#others?.countOwn().subscriptions ?? 0);
  }

  /** The number of different selectors with subscriptions of this process; with workers, of all nodes. */
  get groupCount(): number {
    return Math.max(this.#fanOut.groupCount, this.#others?.remote.groupCount ?? 0);
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** When the last batch had been sent to all sockets, by `performance.now()`. */
  get deliveredAt(): number {
    return this.#deliveredAt;
  }

  /** The id of the last message that was stored. */
  get top(): Log["top"] {
    return this.#log.top;
  }

  /**
   * Whether a client at another address is connected with this id, to any node. A second one with the same id would get
   * its direct messages. Clients of protocols that are `ignored` do not count.
   */
  isIdTaken(id: string, address: string, ignored: readonly string[] = []): boolean {
    const isRival = (client: Client) => client.address !== address && !ignored.includes(client.protocol);
    return this.#clients.withId(id).values().some(isRival) ||
      (this.#cluster?.remote.isIdTaken(id, address, ignored) ?? false);
  }

  /**
   * Adds a client, which gets its direct messages from now on. Ends the client instead while the server drains, and if
   * the id that it chose is taken.
   *
   * @param settled protocols that gave this client the id: others of theirs that have it are about to end
   * @returns whether it was added
   */
  connect(client: Client, channel?: string, settled?: readonly string[]): boolean {
    if (this.#draining) {
      client.end(new MessagingError("draining", "service restart"));
      return false;
    }
    if (client.choseId && this.isIdTaken(client.id, client.address, settled)) {
      client.end(describeTakenId(client.id));
      return false;
    }
    this.#clients.add(client);
    this.#interest.add(ofDirect(client.id));
    this.#cluster?.connected(client);
    const { id, name, protocol } = client;
    this.metrics.connected(protocol);
    this.#logger.write("info", "client connected", { id, name, channel, protocol });
    return true;
  }

  /** See {@linkcode Cluster.untilCurrent}: whoever asks who is where waits for it. */
  untilCurrent(): Promise<void> | undefined {
    return this.#cluster?.untilCurrent();
  }

  /** Removes a client and its subscriptions. Removing it again does nothing. */
  disconnect(client: Client, code?: number): void {
    const subscriptions = this.#clients.subscriptionsOf(client);
    if (subscriptions === undefined) return;
    this.#cluster?.disconnected(client, subscriptions);
    for (const subscription of subscriptions) this.#end(subscription);
    for (const { selector: { channel }, member } of subscriptions) {
      if (channel !== undefined) this.presence.leave(channel, member);
    }
    this.#clients.remove(client);
    this.#interest.remove(ofDirect(client.id));
    this.metrics.disconnected(client.protocol);
    this.#logger.write("info", "client disconnected", { id: client.id, code });
  }

  /**
   * Subscribes a connected client to the channels of a selector, from now on or, with `since`, from an earlier
   * position.
   */
  subscribe(client: Client, selector: Selector, options: SubscribeOptions = {}): Subscription {
    const subscriptions = this.#clients.subscriptionsOf(client);
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
    const subscriptions = this.#clients.subscriptionsOf(client);
    if (!subscriptions?.delete(subscription)) return;
    this.#end(subscription);
    if (selector.channel !== undefined) this.presence.leave(selector.channel, member);
  }

  #end(subscription: Subscription): void {
    subscription.close();
    this.#cluster?.unsubscribed(subscription);
    this.#fanOut.remove(subscription);
  }

  /**
   * Publishes a draft: the log stores it, then it is delivered.
   *
   * @returns the receipt, once the message is stored, and kept where it is retained
   * @throws {MessagingError} `draining`, `too_large`, `name_too_long`, `no_such_client`, `too_many_retained`,
   * `share_used_up`, or what the log rejects with
   */
  publish(draft: Draft): Promise<Published> {
    return this.#publisher.publish(draft);
  }

  /**
   * Checks a channel name against the limit of this server, which may be lower than that of the grammar.
   *
   * @throws {MessagingError} `name_too_long`
   */
  checkName(channel: string): void {
    checkNameLimit(channel, this.#maxChannelLength);
  }

  /** Reads stored messages. */
  read(query: LogQuery): Promise<LogPage> {
    return this.#log.read(query);
  }

  /** Removes the stored messages of a channel, and the keys of its map, and resolves to the number of messages. */
  async clear(channel: string): Promise<number> {
    this.refuseWhileDraining();
    const { top } = this;
    const count = await this.#log.clear(channel, await this.maps.hasKeys(channel));
    await this.maps.clear(channel, top);
    return count;
  }

  /** Removes one stored message of a channel, and the key that it set, and resolves to whether there was one. */
  async remove(channel: string, id: MessageId): Promise<boolean> {
    this.refuseWhileDraining();
    await this.maps.load();
    const isRemoved = await this.#log.remove(channel, id);
    await this.maps.settled(channel);
    return isRemoved;
  }

  /** @throws {MessagingError} `draining` */
  refuseWhileDraining(): void {
    if (!this.#draining) return;
    throw new MessagingError("draining", "The server is restarting: try again in a moment");
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
      this.#deliverDirect(message, message.to);
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
    for (const client of [...this.#clients.all]) client.end(error);
  }

  /** Ends a client whose history cannot be read: it would miss messages without knowing. */
  #failReplay(client: Client, cause: unknown): void {
    if (this.#clients.subscriptionsOf(client) === undefined) return;
    const error = cause instanceof MessagingError
      ? cause
      : new MessagingError("internal", "Reading the history failed: reconnect to try again", { cause });
    const reason = cause instanceof Error ? cause.stack : String(cause);
    this.#logger.write("error", "reading history failed", { id: client.id, reason });
    client.end(error);
  }

  /** The number of sockets, on all nodes, that a direct message is offered to. */
  countRecipients(channel: string, to: string): number {
    const remote = this.#cluster?.remote.countConnections(
      to,
      channel === directChannel(to) ? undefined : channel,
    );
    return this.#recipients(channel, to).size + (remote ?? 0);
  }

  #deliverDirect(message: Message, to: string): void {
    const clients = [...this.#recipients(message.channel, to)];
    const isHeld = (client: Client) => this.#fanOut.hold(message, this.listSubscriptionsOf(client));
    const isOwn = message.channel === directChannel(to);
    this.#fanOut.deliverDirect(message, isOwn ? clients : clients.filter((client) => !isHeld(client)));
  }

  /** The local connections with a client id: all of them for its direct channel, else those subscribed to the channel. */
  #recipients(channel: string, to: string): ReadonlySet<Client> {
    const clients = this.#clients.withId(to);
    if (channel === directChannel(to)) return clients;
    return this.#fanOut.filter(channel, clients, (client) => this.listSubscriptionsOf(client));
  }
}
