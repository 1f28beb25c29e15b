/**
 * What all other nodes of a cluster have together: their clients by id, their readers by selector. Replicas fill it,
 * the hub asks it; who is on a channel shows in the presence.
 */
import { matchesSelector, type Selector, selectPatterns } from "../channel.ts";
import { PatternIndex } from "../pattern_index.ts";
import type { Member, Presence } from "../presence.ts";

/** The readers of one selector. */
interface RemoteGroup {
  readonly selector: Selector;
  size: number;
}

export interface RemoteClient {
  /** IP address of the other end. */
  readonly address: string;
  readonly member: Member;
  readonly subscriptions: Set<RemoteSubscription>;
}

export interface RemoteSubscription {
  /** Its node's name for it. */
  readonly key: number;
  readonly client: RemoteClient;
  readonly group: RemoteGroup;
  /** Who is seen on the channel. */
  readonly member: Member;
}

export class ClusterIndex {
  readonly #presence: Presence;
  readonly #clients = new Map<string, Set<RemoteClient>>();
  readonly #groups = new Map<string, RemoteGroup>();
  readonly #patterns = new PatternIndex<RemoteGroup>();

  constructor(presence: Presence) {
    this.#presence = presence;
  }

  /** The channels that somebody reads by name, with the number of readers on each. */
  *listChannels(): Iterable<{ readonly channel: string; readonly subscribers: number }> {
    for (const { selector, size } of this.#groups.values()) {
      if (selector.channel !== undefined) yield { channel: selector.channel, subscribers: size };
    }
  }

  /** How many readers a channel has by its name. */
  countExactSubscribers(channel: string): number {
    return this.#groups.get(channel)?.size ?? 0;
  }

  /** How many sockets a message to a channel is offered to. */
  countSubscribers(channel: string): number {
    let count = this.countExactSubscribers(channel);
    if (this.#patterns.size > 0) {
      for (const group of this.#patterns.match(channel)) count += group.size;
    }
    return count;
  }

  /** How many connections a client has; with `channel`, how many of them read that. */
  countConnections(id: string, channel?: string): number {
    const clients = this.#clients.get(id);
    if (clients === undefined) return 0;
    if (channel === undefined) return clients.size;
    let count = 0;
    for (const { subscriptions } of clients) {
      if ([...subscriptions].some(({ group }) => matchesSelector(group.selector, channel))) count++;
    }
    return count;
  }

  /** Whether somebody at another IP address is connected by a client id. */
  isIdTaken(id: string, address: string): boolean {
    for (const client of this.#clients.get(id) ?? []) if (client.address !== address) return true;
    return false;
  }

  addClient(member: Member, address: string): RemoteClient {
    const client: RemoteClient = { address, member, subscriptions: new Set() };
    const sameId = this.#clients.get(member.id);
    if (sameId === undefined) this.#clients.set(member.id, new Set([client]));
    else sameId.add(client);
    return client;
  }

  /** Removes a client that has no subscriptions any more. */
  removeClient(client: RemoteClient): void {
    const { id } = client.member;
    const sameId = this.#clients.get(id);
    sameId?.delete(client);
    if (sameId?.size === 0) this.#clients.delete(id);
  }

  /**
   * @param selector the key of the selector
   * @throws {SyntaxError} for a selector outside the grammar
   */
  addSubscription(
    key: number,
    client: RemoteClient,
    selector: string,
    channelInfo: string | undefined,
  ): RemoteSubscription {
    const group = this.#openGroup(selector);
    const member = channelInfo === undefined ? client.member : { ...client.member, channelInfo };
    const subscription: RemoteSubscription = { key, client, group, member };
    client.subscriptions.add(subscription);
    group.size++;
    const { channel } = group.selector;
    if (channel !== undefined) this.#presence.join(channel, member);
    return subscription;
  }

  removeSubscription(subscription: RemoteSubscription): void {
    const { client, group, member } = subscription;
    if (!client.subscriptions.delete(subscription)) return;
    group.size--;
    if (group.size === 0) this.#closeGroup(group);
    const { channel } = group.selector;
    const isOther = (other: RemoteSubscription) => other.group === group && other.member === member;
    if (channel !== undefined && ![...client.subscriptions].some(isOther)) {
      this.#presence.leave(channel, member);
    }
  }

  #openGroup(key: string): RemoteGroup {
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { selector: selectPatterns(key.split(" ")), size: 0 };
      this.#groups.set(key, group);
      if (group.selector.channel === undefined) {
        for (const pattern of group.selector.patterns) this.#patterns.add(pattern, group);
      }
    }
    return group;
  }

  #closeGroup(group: RemoteGroup): void {
    this.#groups.delete(group.selector.key);
    if (group.selector.channel === undefined) {
      for (const pattern of group.selector.patterns) this.#patterns.delete(pattern, group);
    }
  }
}
