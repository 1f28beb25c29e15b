/**
 * An index of all remote clients by id, and remote subscriptions by selector. Replicas fill it, the hub queries it;
 * remote members also go into the presence.
 */
import { decodeSelector, matchesSelector, type Selector } from "../channel.ts";
import { PatternIndex } from "../pattern_index.ts";
import type { Member, Presence } from "../presence.ts";

/** The remote subscriptions to one selector. */
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
  /** The key that its node gave it. */
  readonly key: number;
  readonly client: RemoteClient;
  readonly group: RemoteGroup;
  /** The member that presence shows. */
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

  /** The number of different selectors with remote subscriptions. */
  get groupCount(): number {
    return this.#groups.size;
  }

  /** The channels with remote subscribers by exact name, and the number of these. */
  *listChannels(): Iterable<{ readonly channel: string; readonly subscribers: number }> {
    for (const { selector, size } of this.#groups.values()) {
      if (selector.channel !== undefined) yield { channel: selector.channel, subscribers: size };
    }
  }

  /** The number of remote subscribers to a channel by its exact name. */
  countExactSubscribers(channel: string): number {
    return this.#groups.get(channel)?.size ?? 0;
  }

  /** The number of remote sockets that a message to a channel is offered to. */
  countSubscribers(channel: string): number {
    let count = this.countExactSubscribers(channel);
    if (this.#patterns.size > 0) {
      for (const group of this.#patterns.match(channel)) count += group.size;
    }
    return count;
  }

  /** The number of remote connections with a client id; with `channel`, of those subscribed to it. */
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

  /**
   * Whether a remote client at another IP address is connected with this id.
   *
   * @param ignored protocols whose clients do not count
   */
  isIdTaken(id: string, address: string, ignored: readonly string[]): boolean {
    for (const client of this.#clients.get(id) ?? []) {
      if (client.address !== address && !ignored.includes(client.member.protocol)) return true;
    }
    return false;
  }

  addClient(member: Member, address: string): RemoteClient {
    const client: RemoteClient = { address, member, subscriptions: new Set() };
    const sameId = this.#clients.get(member.id);
    if (sameId === undefined) this.#clients.set(member.id, new Set([client]));
    else sameId.add(client);
    return client;
  }

  /** Removes a client, whose subscriptions must be removed first. */
  removeClient(client: RemoteClient): void {
    const { id } = client.member;
    const sameId = this.#clients.get(id);
    sameId?.delete(client);
    if (sameId?.size === 0) this.#clients.delete(id);
  }

  /**
   * @param selector as `encodeSelector` writes it
   * @param onChannel what the member on the channel has that the client has not
   * @throws {SyntaxError} for a selector outside the grammar
   */
  addSubscription(
    key: number,
    client: RemoteClient,
    selector: string,
    onChannel: Pick<Member, "channelInfo" | "user">,
  ): RemoteSubscription {
    const group = this.#openGroup(selector);
    const isSame = Object.keys(onChannel).length === 0;
    const member = isSame ? client.member : { ...client.member, ...onChannel };
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
    if (channel !== undefined) this.#presence.leave(channel, member);
  }

  #openGroup(encoded: string): RemoteGroup {
    // Most are to one channel, whose name is its key and needs no decoding.
    const known = /[ *%]/.test(encoded) ? undefined : this.#groups.get(encoded);
    if (known !== undefined) return known;
    const selector = decodeSelector(encoded);
    let group = this.#groups.get(selector.key);
    if (group === undefined) {
      group = { selector, size: 0 };
      this.#groups.set(selector.key, group);
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
