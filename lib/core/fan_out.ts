/**
 * Fan-out: the subscriptions to channels by name, list or pattern, and the delivery of a batch of messages to all of
 * them. The hub owns one; this is its hot path.
 */
import type { Selector } from "./channel.ts";
import type { Client } from "./client.ts";
import type { ClientRegistry } from "./client_registry.ts";
import { MessagingError } from "./errors.ts";
import type { Interest } from "./interest.ts";
import type { Message, Removal } from "./message.ts";
import type { Metrics } from "./metrics/metrics.ts";
import { PatternIndex } from "./pattern_index.ts";
import type { Rules } from "./rules.ts";
import { encodeBatch, type Encoder, type Frame } from "./socket.ts";
import { conflate, type Subscription } from "./subscription.ts";

interface FanOutOptions {
  readonly rules: Rules;
  /** Where deliveries are counted. */
  readonly metrics: Metrics;
  /** Where the senders of messages are looked up. */
  readonly clients: Pick<ClientRegistry, "withoutEcho">;
  /** Where it says which channels have subscriptions. */
  readonly interest: Interest;
}

/** The subscriptions to one selector, by encoder. */
interface Group {
  readonly selector: Selector;
  readonly subscriptions: Map<Encoder, Set<Subscription>>;
  /** Whether the channel is conflated; undefined for a list or pattern, where each channel decides. */
  readonly conflate: boolean | undefined;
  /** The sequence after which it is told of every message. */
  readonly start: number;
  size: number;
}

/** The frames of each list of messages by encoder, during one delivery; undefined where no two groups share a list. */
type FrameCache = Map<readonly Message[], Map<Encoder, readonly Frame[]>> | undefined;

export class FanOut {
  readonly #rules: Rules;
  readonly #metrics: Metrics;
  readonly #clients: FanOutOptions["clients"];
  readonly #interest: Interest;
  readonly #groups = new Map<string, Group>();
  readonly #patterns = new PatternIndex<Group>();

  constructor({ rules, metrics, clients, interest }: FanOutOptions) {
    this.#rules = rules;
    this.#metrics = metrics;
    this.#clients = clients;
    this.#interest = interest;
  }

  /** The number of subscriptions. */
  get subscriptionCount(): number {
    let count = 0;
    for (const { size } of this.#groups.values()) count += size;
    return count;
  }

  /** The number of different selectors: channels, lists and patterns. */
  get groupCount(): number {
    return this.#groups.size;
  }

  /** The number of channels with subscriptions by exact name. */
  get channelCount(): number {
    let count = 0;
    for (const { selector } of this.#groups.values()) if (selector.channel !== undefined) count++;
    return count;
  }

  /** Whether a channel has subscriptions by exact name. */
  has(channel: string): boolean {
    return this.#groups.has(channel);
  }

  /** The channels with subscriptions by exact name, and the number of these. */
  *listChannels(): Iterable<{ readonly channel: string; readonly subscribers: number }> {
    for (const { selector: { channel }, size } of this.#groups.values()) {
      if (channel !== undefined) yield { channel, subscribers: size };
    }
  }

  /** The subscriptions to a channel, by name, list or pattern. */
  *list(channel: string): Iterable<Subscription> {
    for (const group of this.#groupsOf(channel)) {
      for (const subscriptions of group.subscriptions.values()) yield* subscriptions;
    }
  }

  /** The number of subscriptions to a channel, by name, list or pattern. */
  count(channel: string): number {
    let count = this.#groups.get(channel)?.size ?? 0;
    if (this.#patterns.size > 0) {
      for (const group of this.#matchPatterns(channel)) count += group.size;
    }
    return count;
  }

  /** Those of the given clients that are subscribed to a channel, by name, list or pattern. */
  filter(
    channel: string,
    clients: Iterable<Client>,
    listSubscriptionsOf: (client: Client) => Iterable<Subscription>,
  ): Set<Client> {
    const groups = this.#groupsOf(channel);
    const isSubscribed = (client: Client) =>
      [...listSubscriptionsOf(client)].some(({ selector }) => groups.has(this.#groups.get(selector.key)!));
    return new Set([...clients].filter(isSubscribed));
  }

  /** Adds a subscription, which gets what is delivered from now on. */
  add(subscription: Subscription): void {
    const { selector, client } = subscription;
    const group = this.#openGroup(selector);
    let subscriptions = group.subscriptions.get(client.encoder);
    if (subscriptions === undefined) group.subscriptions.set(client.encoder, subscriptions = new Set());
    subscriptions.add(subscription);
    group.size++;
  }

  /** Removes a subscription. Removing it again does nothing. */
  remove(subscription: Subscription): void {
    const { selector, client } = subscription;
    const group = this.#groups.get(selector.key);
    const subscriptions = group?.subscriptions.get(client.encoder);
    if (group === undefined || !subscriptions?.delete(subscription)) return;
    if (subscriptions.size === 0) group.subscriptions.delete(client.encoder);
    group.size--;
    if (group.size === 0) this.#closeGroup(group);
  }

  /**
   * Delivers a batch to all subscriptions to its channels, in order. Encodes each list of messages once per encoder.
   */
  deliver(messages: readonly Message[]): void {
    const [first] = messages;
    if (first === undefined) return;
    if (this.#patterns.size > 0) return this.#deliverByPattern(messages);
    if (isOfOneChannel(messages, first.channel)) {
      return this.#deliverByName(first.channel, messages, undefined);
    }
    for (const [channel, list] of groupByChannel(messages)) this.#deliverByName(channel, list, undefined);
  }

  #deliverByName(channel: string, messages: readonly Message[], cache: FrameCache): void {
    const group = this.#groups.get(channel);
    if (group !== undefined) this.#deliverTo(group, messages, cache);
  }

  #deliverByPattern(messages: readonly Message[]): void {
    const cache: FrameCache = new Map();
    const byChannel = groupByChannel(messages);
    const byPattern = new Map<Group, number[]>();
    const lists = [...byChannel.values()];
    let index = 0;
    for (const [channel, list] of byChannel) {
      this.#deliverByName(channel, list, cache);
      for (const pattern of this.#matchPatterns(channel)) {
        const indices = byPattern.get(pattern);
        if (indices === undefined) byPattern.set(pattern, [index]);
        else indices.push(index);
      }
      index++;
    }
    if (byPattern.size === 0) return;
    // Groups to which the same channels belong share a list, and so its frames.
    const merged = new Map<string, readonly Message[]>();
    for (const [group, indices] of byPattern) {
      const [first = 0] = indices;
      const key = indices.length === lists.length ? "all" : indices.join();
      let list = indices.length === 1 ? lists[first] : merged.get(key);
      if (list === undefined) {
        // The messages of several channels stay in the order of the batch.
        const channels = new Set(indices.map((i) => lists[i]![0]!.channel));
        list = key === "all" ? messages : messages.filter(({ channel }) => channels.has(channel));
        merged.set(key, list);
      }
      this.#deliverTo(group, list, cache);
    }
  }

  #deliverTo(group: Group, messages: readonly Message[], cache: FrameCache): void {
    if (group.start > 0 && messages.some((message) => isBefore(group, message))) {
      this.#deliverRetained(group, messages.filter((message) => isBefore(group, message)));
      messages = messages.filter((message) => !isBefore(group, message));
      if (messages.length === 0) return;
    }
    const conflated = group.conflate ?? this.#isConflated(messages);
    if (conflated) messages = conflate(messages);
    // Comparing with the only one, as is usual, reads nothing of the clients.
    const sender = messages.length === 1 ? this.#findSender(messages[0]!) : undefined;
    const senders = messages.length === 1 ? undefined : this.#findSenders(messages);
    for (const [encoder, subscriptions] of group.subscriptions) {
      const frames = encodeOnce(cache, encoder, messages);
      this.#countDelivered(messages.length, frames, subscriptions.size);
      for (const subscription of subscriptions) {
        const { client } = subscription;
        if (client === sender || senders?.has(client)) {
          this.#deliverOthers(subscription, messages, frames, conflated);
        } else subscription.take(messages, frames, conflated);
      }
    }
  }

  /** Hands over what is retained of messages from before a group: all threads are told of these. */
  #deliverRetained(group: Group, messages: readonly Message[]): void {
    const retained = messages.filter(({ properties }) => properties?.retain === true);
    if (retained.length === 0) return;
    for (const subscriptions of group.subscriptions.values()) {
      for (const subscription of subscriptions) subscription.takeRetained(retained);
    }
  }

  #isConflated(messages: readonly Message[]): boolean {
    for (const { channel } of messages) if (!this.#rules.for(channel).conflate) return false;
    return true;
  }

  /** The client that must not get back a message. */
  #findSender({ socketId }: Message): Client | undefined {
    return socketId === undefined ? undefined : this.#clients.withoutEcho(socketId);
  }

  /** The clients that must not get back some of these messages. */
  #findSenders(messages: readonly Message[]): ReadonlySet<Client> | undefined {
    let senders: Set<Client> | undefined;
    for (const message of messages) {
      const client = this.#findSender(message);
      if (client !== undefined) (senders ??= new Set()).add(client);
    }
    return senders;
  }

  /** Delivers a batch except for the client's own messages. */
  #deliverOthers(
    subscription: Subscription,
    messages: readonly Message[],
    frames: readonly Frame[],
    conflated: boolean,
  ): void {
    const { encoder, socket } = subscription.client;
    this.#countDelivered(messages.length, frames, -1);
    const others = messages.filter((message) => message.socketId !== socket.id);
    if (others.length === 0) return;
    const theirs = encoder.kind === "joined"
      ? encodeBatch(encoder, others)
      : frames.filter((_, i) => messages[i]?.socketId !== socket.id);
    this.#countDelivered(others.length, theirs, 1);
    subscription.take(others, theirs, conflated);
  }

  /**
   * Keeps a direct message for a client whose subscriptions to its channel are all being opened still: it comes after
   * the answer. Returns whether it did.
   */
  hold(message: Message, subscriptions: Iterable<Subscription>): boolean {
    const groups = this.#groupsOf(message.channel);
    const matching = [...subscriptions].filter(({ selector }) => groups.has(this.#groups.get(selector.key)!));
    const [first] = matching;
    if (first === undefined || !matching.every(({ isOpening }) => isOpening)) return false;
    first.take([message], [], false);
    return true;
  }

  /** Delivers a direct message to clients, whatever they are subscribed to. */
  deliverDirect(message: Message, clients: Iterable<Client>): void {
    const cache = new Map();
    const list = [message];
    for (const client of clients) {
      const frames = encodeOnce(cache, client.encoder, list);
      this.#countDelivered(1, frames, 1);
      if (!client.outbox.offer(frames)) {
        client.end(new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"));
      }
    }
  }

  /** Tells the subscribers of a channel that want to know what was removed from it. */
  deliverRemoval(removal: Removal): void {
    for (const group of this.#groupsOf(removal.channel)) {
      for (const [encoder, subscriptions] of group.subscriptions) {
        let frame: Frame | undefined;
        for (const subscription of subscriptions) {
          const isTold = subscription.client.hearsRemovals === true;
          subscription.takeRemoval(removal, isTold ? frame ??= encoder.encodeRemoval?.(removal) : undefined);
        }
      }
    }
  }

  #countDelivered(messages: number, frames: readonly Frame[], sockets: number): void {
    let bytes = 0;
    for (const { byteLength } of frames) bytes += byteLength;
    this.#metrics.deliveredMessages += messages * sockets;
    this.#metrics.deliveredBytes += bytes * sockets;
  }

  /** The lists and patterns that match a channel and do not hide it. */
  #matchPatterns(channel: string): Set<Group> {
    const groups = this.#patterns.match(channel);
    for (const group of groups) if (group.selector.hides?.(channel)) groups.delete(group);
    return groups;
  }

  #groupsOf(channel: string): Set<Group> {
    const groups = new Set<Group>(this.#patterns.size > 0 ? this.#matchPatterns(channel) : []);
    const own = this.#groups.get(channel);
    if (own !== undefined) groups.add(own);
    return groups;
  }

  #openGroup(selector: Selector): Group {
    let group = this.#groups.get(selector.key);
    if (group === undefined) {
      const { channel } = selector;
      const conflate = channel === undefined ? undefined : this.#rules.for(channel).conflate;
      const start = this.#interest.add(selector);
      group = { selector, subscriptions: new Map(), conflate, start, size: 0 };
      this.#groups.set(selector.key, group);
      if (selector.channel === undefined) {
        for (const pattern of selector.patterns) this.#patterns.add(pattern, group);
      }
    }
    return group;
  }

  #closeGroup(group: Group): void {
    this.#groups.delete(group.selector.key);
    this.#interest.remove(group.selector);
    if (group.selector.channel === undefined) {
      for (const pattern of group.selector.patterns) this.#patterns.delete(pattern, group);
    }
  }
}

/**
 * Whether a message was stored before a group began: some of these still arrive and others do not, so that none is
 * delivered. Sequences are of one epoch: with a new one every client is ended, and no group is left.
 */
function isBefore({ start }: Group, { sequence }: Message): boolean {
  return sequence > 0 && sequence <= start;
}

function encodeOnce(cache: FrameCache, encoder: Encoder, messages: readonly Message[]): readonly Frame[] {
  if (cache === undefined) return encodeBatch(encoder, messages);
  let byEncoder = cache.get(messages);
  if (byEncoder === undefined) cache.set(messages, byEncoder = new Map());
  let frames = byEncoder.get(encoder);
  if (frames === undefined) byEncoder.set(encoder, frames = encodeBatch(encoder, messages));
  return frames;
}

function isOfOneChannel(messages: readonly Message[], channel: string): boolean {
  for (const message of messages) if (message.channel !== channel) return false;
  return true;
}

/** Keeps a batch of one channel as it is. */
function groupByChannel(messages: readonly Message[]): ReadonlyMap<string, readonly Message[]> {
  const channel = messages[0]?.channel ?? "";
  if (isOfOneChannel(messages, channel)) return new Map([[channel, messages]]);
  // Map.groupBy is several times slower.
  const groups = new Map<string, Message[]>();
  for (const message of messages) {
    const group = groups.get(message.channel);
    if (group === undefined) groups.set(message.channel, [message]);
    else group.push(message);
  }
  return groups;
}
