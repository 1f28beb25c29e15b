/** The shared subscriptions of one connection: joining their groups and leaving them. */
import type { Message } from "../../core/message.ts";
import type { MqttSubscription } from "./delivery.ts";
import type { GroupMember, SharedGroups } from "./shared.ts";

export interface MembershipsOptions {
  readonly groups: SharedGroups;
  /** Opens a subscription at the hub: what is delivered next may be for it. */
  listen(subscription: MqttSubscription): void;
  /** Takes a message that is for a subscription, whatever else it is offered. */
  take(subscription: MqttSubscription, message: Message): void;
}

export class Memberships {
  readonly #options: MembershipsOptions;
  readonly #members = new Map<MqttSubscription, GroupMember>();
  #stopWaiting: () => void = () => {};

  constructor(options: MembershipsOptions) {
    this.#options = options;
  }

  /** Joins the group of a subscription, which is opened with that. */
  join(subscription: MqttSubscription, onJoined: () => void = () => {}): void {
    const { groups, listen, take } = this.#options;
    const { filter, selector } = subscription;
    const member: GroupMember = {
      filter,
      selector,
      onJoined() {
        listen(subscription);
        onJoined();
      },
      take: (message) => take(subscription, message),
    };
    this.#members.set(subscription, member);
    groups.join(member);
  }

  /**
   * Joins several groups, then answers: from the answer on, each group has a member.
   *
   * @returns undefined where that was possible at once and the answer returns no promise; else a promise that resolves
   * after the answer, or when the connection ends
   */
  joinThen(
    subscriptions: readonly MqttSubscription[],
    answer: () => Promise<void> | undefined,
  ): Promise<void> | undefined {
    if (subscriptions.length === 0) return answer();
    const { promise, resolve } = Promise.withResolvers<void>();
    let answered: Promise<void> | undefined;
    let left = subscriptions.length;
    const onJoined = () => {
      if (--left > 0) return;
      answered = answer();
      resolve(answered);
    };
    for (const subscription of subscriptions) this.join(subscription, onJoined);
    if (left === 0) return answered;
    this.#stopWaiting = resolve;
    return promise;
  }

  /** Whether a message is for a subscription, and for no other of its group. */
  isChosen(subscription: MqttSubscription, message: Message): boolean {
    const member = this.#members.get(subscription);
    return member !== undefined && this.#options.groups.isChosen(member, message);
  }

  /** Leaves the group of a subscription. Leaving it again does nothing. */
  leave(subscription: MqttSubscription): void {
    const member = this.#members.get(subscription);
    if (member === undefined) return;
    this.#members.delete(subscription);
    this.#options.groups.leave(member);
  }

  /** Leaves all groups. */
  close(): void {
    for (const subscription of [...this.#members.keys()]) this.leave(subscription);
    this.#stopWaiting();
  }
}
