/** Shared subscriptions, `$share/GROUP/FILTER` (MQTT 5.0 section 4.8.2): each message goes to one member of a group. */
import type { Message } from "../../core/message.ts";

interface Group<Member> {
  readonly members: Member[];
  /** Who gets a message; each member is offered the same object. */
  readonly chosen: WeakMap<Message, Member>;
  next: number;
}

/** The groups of one node. Each node gives a message to one of its own members. */
export class SharedGroups<Member extends object> {
  readonly #groups = new Map<string, Group<Member>>();

  /** Adds a member to the group that its filter names. */
  join(filter: string, member: Member): void {
    let group = this.#groups.get(filter);
    if (group === undefined) {
      this.#groups.set(filter, group = { members: [], chosen: new WeakMap(), next: 0 });
    }
    group.members.push(member);
  }

  /** Removes a member. Removing it again does nothing. */
  leave(filter: string, member: Member): void {
    const group = this.#groups.get(filter);
    const index = group?.members.indexOf(member) ?? -1;
    if (group === undefined || index === -1) return;
    group.members.splice(index, 1);
    if (group.members.length === 0) this.#groups.delete(filter);
  }

  /** Whether a member is the one that gets a message: members take turns. */
  isChosen(filter: string, member: Member, message: Message): boolean {
    const group = this.#groups.get(filter);
    if (group === undefined) return false;
    let chosen = group.chosen.get(message);
    if (chosen === undefined) {
      chosen = group.members[group.next++ % group.members.length] ?? member;
      group.chosen.set(message, chosen);
    }
    return chosen === member;
  }
}
