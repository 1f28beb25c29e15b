/**
 * Shared subscriptions, `$share/GROUP/FILTER` (MQTT 5.0 section 4.8.2): each message goes to one member of a group. The
 * members of all threads of a process are one group; each node gives a message to one of its own.
 *
 * All threads choose alike: the desk tells them who joins and leaves, in one order with what is stored, and each counts
 * the messages since. A message that was chosen for somebody who has left meanwhile goes back to the desk.
 */
import type { Selector } from "../../core/channel.ts";
import type { Channels } from "../../core/interest.ts";
import type { Message } from "../../core/message.ts";
import { PatternIndex } from "../../core/pattern_index.ts";
import { isRestrictedTo, type SeatAsk, type SeatFacts, type SeatWord } from "./shared_desk.ts";
import { readStoredPayload, toStored } from "./stored_message.ts";
import { isHidden, parseFilter } from "./topics.ts";

/** A subscription that is a member of a group. */
export interface GroupMember {
  readonly filter: string;
  readonly selector: Selector;
  /** It is a member from now on: what is delivered next may be for it. */
  onJoined(): void;
  /** Takes a message that was chosen for a member which had left. */
  take(message: Message): void;
}

/** A group with members of this thread. */
interface Group {
  readonly filter: string;
  readonly selector: Selector;
  seats: SeatFacts[];
  next: number;
}

export interface SharedGroupsOptions {
  /** This thread. */
  readonly node: string;
  /** Whether a channel is private. */
  isProtected(channel: string): boolean;
  /** Whether the desk is in another thread. */
  readonly isSpread: boolean;
  /** Hands something to the desk, in order. */
  ask(ask: SeatAsk): void;
  /** Has this thread told of what is stored in some channels. @returns ends that */
  watch(channels: Channels): () => void;
}

/** The groups of one thread. */
export class SharedGroups {
  /** Whether members join later than they ask to, as the desk is in another thread. */
  readonly isSpread: boolean;
  readonly #options: SharedGroupsOptions;
  readonly #groups = new Map<string, Group>();
  readonly #byChannel = new Map<string, Set<Group>>();
  readonly #patterns = new PatternIndex<Group>();
  /** The members of this thread by number, those that have only asked to join too. */
  readonly #members = new Map<number, GroupMember>();
  readonly #numbers = new Map<GroupMember, number>();
  /**
   * What ends the watch over a member's channels, until the desk has heard that it left: others count with it till
   * then.
   */
  readonly #watches = new Map<number, () => void>();
  /** Who of this thread gets a message: one of each group that matches. */
  readonly #chosen = new WeakMap<Message, Set<GroupMember>>();
  #number = 0;

  constructor(options: SharedGroupsOptions) {
    this.isSpread = options.isSpread;
    this.#options = options;
  }

  /** Adds a member to the group that its filter names: at once, or once the desk says so. */
  join(member: GroupMember): void {
    const number = ++this.#number;
    this.#members.set(number, member);
    this.#numbers.set(member, number);
    const { filter, selector } = member;
    this.#watches.set(number, this.#options.watch(selector));
    const seat = { node: this.#options.node, number, isRestricted: selector.hides !== undefined };
    this.#options.ask({ kind: "join", filter, seat });
  }

  /** Removes a member at once. Removing it again does nothing. */
  leave(member: GroupMember): void {
    const number = this.#numbers.get(member);
    if (number === undefined) return;
    this.#numbers.delete(member);
    this.#members.delete(number);
    this.#options.ask({ kind: "leave", filter: member.filter, node: this.#options.node, number });
  }

  /** Chooses who gets the next messages. To be called with all that is delivered, before it is. */
  observe(messages: readonly Message[]): void {
    if (this.#groups.size === 0) return;
    for (const message of messages) {
      if (message.to !== undefined) continue;
      for (const group of this.#byChannel.get(message.channel) ?? []) this.#choose(group, message);
      for (const group of this.#patterns.match(message.channel)) {
        if (!isHidden(group.selector, message.channel)) this.#choose(group, message);
      }
    }
  }

  /** Whether a member is the one of its group that gets a message. */
  isChosen(member: GroupMember, message: Message): boolean {
    return this.#chosen.get(message)?.has(member) ?? false;
  }

  /** Takes what the desk says. */
  hear(word: SeatWord): void {
    switch (word.kind) {
      case "joined":
        return this.#takeJoin(word);
      case "left":
        return this.#takeLeave(word);
      case "handed":
        if (word.node === this.#options.node) this.#takeHanded(word);
        return;
    }
  }

  #takeJoin({ filter, seat, seats }: SeatWord & { kind: "joined" }): void {
    const isOwn = seat.node === this.#options.node;
    const member = isOwn ? this.#members.get(seat.number) : undefined;
    if (isOwn && seats !== undefined) this.#open(filter, seats);
    else this.#groups.get(filter)?.seats.push(seat);
    this.#restart(filter);
    member?.onJoined();
  }

  #takeLeave({ filter, node, number }: SeatWord & { kind: "left" }): void {
    if (node === this.#options.node && number !== undefined) this.#endWatch(number);
    const group = this.#groups.get(filter);
    if (group === undefined) return;
    group.seats = group.seats.filter((seat) =>
      seat.node !== node || (number !== undefined && seat.number !== number)
    );
    this.#restart(filter);
    if (!group.seats.some((seat) => seat.node === this.#options.node)) this.#close(group);
  }

  #endWatch(number: number): void {
    this.#watches.get(number)?.();
    this.#watches.delete(number);
  }

  #takeHanded({ filter, number, message: stored }: SeatWord & { kind: "handed" }): void {
    const member = this.#members.get(number);
    if (member === undefined) return this.#options.ask({ kind: "hand", filter, message: stored });
    const message = { ...stored, payload: readStoredPayload(stored.payload) };
    this.#note(member, message);
    member.take(message);
  }

  /** All threads count the messages since the last change of the members. */
  #restart(filter: string): void {
    const group = this.#groups.get(filter);
    if (group !== undefined) group.next = 0;
  }

  #choose(group: Group, message: Message): void {
    const { node, isProtected } = this.#options;
    const { seats } = group;
    for (let i = 0; i < seats.length; i++) {
      const seat = seats[group.next++ % seats.length]!;
      if (isRestrictedTo(seat, message.channel, isProtected)) continue;
      if (seat.node === node) this.#give(group, seat.number, message);
      return;
    }
  }

  #give({ filter }: Group, number: number, message: Message): void {
    const member = this.#members.get(number);
    if (member === undefined) {
      // It has left, and the others may not know yet.
      return this.#options.ask({ kind: "hand", filter, message: toStored(message) });
    }
    this.#note(member, message);
  }

  #note(member: GroupMember, message: Message): void {
    const chosen = this.#chosen.get(message);
    if (chosen === undefined) this.#chosen.set(message, new Set([member]));
    else chosen.add(member);
  }

  #open(filter: string, seats: readonly SeatFacts[]): void {
    const { selector } = parseFilter(filter);
    const group: Group = { filter, selector, seats: [...seats], next: 0 };
    this.#groups.set(filter, group);
    const { channel, patterns } = selector;
    if (channel === undefined) { for (const pattern of patterns) this.#patterns.add(pattern, group); }
    else {
      const others = this.#byChannel.get(channel);
      if (others === undefined) this.#byChannel.set(channel, new Set([group]));
      else others.add(group);
    }
  }

  #close(group: Group): void {
    const { filter, selector: { channel, patterns } } = group;
    this.#groups.delete(filter);
    if (channel === undefined) { for (const pattern of patterns) this.#patterns.delete(pattern, group); }
    else {
      const others = this.#byChannel.get(channel);
      others?.delete(group);
      if (others?.size === 0) this.#byChannel.delete(channel);
    }
  }
}
