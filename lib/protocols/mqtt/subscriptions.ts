/**
 * What a connected client has subscribed to: opens and closes subscriptions at the hub, and hands what they bring to
 * the delivery. The session owns one for each connection.
 */
import type { Pass } from "../../auth/pass.ts";
import { Serial } from "../../base/serial.ts";
import type { Selector } from "../../core/channel.ts";
import type { Client } from "../../core/client.ts";
import { normalizeChannel } from "../../core/channel.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import { type Message, payloadSize } from "../../core/message.ts";
import type { ISubscribePacket, IUnsubscribePacket } from "./codec.ts";
import type { SessionConnection } from "./context.ts";
import { type Delivery, type MqttSubscription, type SubscriptionTerms, toQos } from "./delivery.ts";
import { FramingError } from "./framer.ts";
import { HeldMessages } from "./held.ts";
import { Memberships } from "./memberships.ts";
import { REASONS, toSubscribeReason } from "./reasons.ts";
import { type StoredSubscription, toStoredSubscription } from "./session_store.ts";
import { type OpenedSubscription, openSlowly, opensSlowly } from "./slow_opening.ts";
import { type Filter, isHidden, parseFilter, toChannelError, tryParseFilter } from "./topics.ts";

/** SUBSCRIBE and UNSUBSCRIBE packets that may wait for the application. */
const MAX_ASKING = 64;

export interface SubscriptionsOptions {
  readonly connection: SessionConnection;
  readonly client: Client;
  readonly pass: Pass;
  readonly delivery: Delivery;
  /** Whether the session outlives its connection. */
  isPersistent(): boolean;
  /** Stores the session. */
  save(): Promise<void>;
}

export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #all = new Map<string, MqttSubscription>();
  /** What waits for the application to decide, in order. */
  readonly #asking = new Serial();
  /** What is published on subscriptions that are not answered yet, or whose retained messages are still being sent. */
  readonly #held = new Map<MqttSubscription, HeldMessages>();
  readonly #memberships: Memberships;
  #closed = false;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#memberships = new Memberships({
      groups: options.connection.context.groups,
      listen: (subscription) => this.#listen(subscription, false),
      take: (subscription, message) => {
        if (this.#receive(subscription, [message])) return;
        options.client.end(new MessagingError("slow_subscriber", "Too many messages are waiting for you"));
      },
    });
  }

  /** The subscription to a filter. */
  get(filter: string): MqttSubscription | undefined {
    return this.#all.get(filter);
  }

  /** Takes up what an earlier connection left. */
  restore(stored: readonly StoredSubscription[]): void {
    for (const one of stored) {
      this.#all.set(one.filter, { ...one, ...this.#restrict(parseFilter(one.filter)), live: undefined });
    }
  }

  /** Opens what was restored, as far as it is still allowed; what came meanwhile is sent first. */
  start(): void {
    for (const subscription of [...this.#all.values()]) {
      if (this.#closed) return;
      const { selector, filter, qos, group } = subscription;
      const replays = qos > 0 && group === undefined;
      if (this.#asks(selector)) {
        this.#runAsking(() => this.#askAgain(subscription, replays));
        continue;
      }
      const denial = this.#options.pass.deny("subscribe", selector);
      if (denial !== undefined) this.#all.delete(filter);
      else this.#open(subscription, replays);
    }
  }

  /** Begins a subscription; one to the same filter goes on, as nothing may be lost (MQTT 5 section 3.8.4). */
  #takeUp(topic: string, filter: Filter, terms: SubscriptionTerms): MqttSubscription {
    const former = this.#all.get(topic);
    const { epoch, sequence } = this.#options.connection.context.hub.top;
    if (former !== undefined && (former.group === undefined || former.live !== undefined)) {
      // What was missed at QoS 0 is not sent.
      return Object.assign(former, terms, former.qos === 0 ? { epoch, sequence } : {});
    }
    if (former !== undefined) this.#closeAll(new Set([former]));
    const subscription = { ...filter, ...terms, filter: topic, live: undefined, epoch, sequence };
    this.#all.set(topic, subscription);
    return subscription;
  }

  /** Opens a restored subscription that the application still allows. */
  async #askAgain(subscription: MqttSubscription, replays: boolean): Promise<void> {
    const { pass, connection } = this.#options;
    try {
      await pass.admitSubscription(subscription.selector);
    } catch (error) {
      const known = toMessagingError(error);
      // It stays in the session for when the application answers again.
      if (known.retry) return connection.endFor(known);
      if (this.#all.get(subscription.filter) === subscription) this.#all.delete(subscription.filter);
      return;
    }
    if (!this.#closed && this.#all.get(subscription.filter) === subscription) {
      this.#open(subscription, replays);
    }
  }

  #asks({ channel }: Selector): boolean {
    return channel !== undefined && this.#options.pass.asks("subscribe", channel);
  }

  #runAsking(task: () => Promise<void>): void {
    if (this.#asking.waiting >= MAX_ASKING + this.#all.size) {
      throw new FramingError(REASONS.quotaExceeded, "Too many subscriptions await their acknowledgement");
    }
    this.#asking.run(task).catch((error) => this.#options.connection.fail(error));
  }

  /** What is to be remembered. */
  toStored(): StoredSubscription[] {
    return Array.from(this.#all.values(), toStoredSubscription);
  }

  /** Takes a SUBSCRIBE, answers it, and sends the retained messages. */
  subscribe(packet: ISubscribePacket): void {
    const { pass, connection: { context: { settings } } } = this.#options;
    // Beyond the limit filters are refused without being looked at.
    const asked = !pass.mayAsk
      ? []
      : packet.subscriptions.slice(0, settings.maxSubscriptions).flatMap(({ topic }) => {
        const selector = tryParseFilter(topic);
        return selector !== undefined && this.#asks(selector) ? [{ topic, selector }] : [];
      });
    const isLarge = this.#isLarge(packet);
    const joins = this.#options.connection.context.groups.isSpread &&
      packet.subscriptions.some(({ topic }) => topic.startsWith("$share/"));
    if (asked.length === 0 && this.#asking.waiting === 0 && !isLarge && !joins) {
      return void this.#subscribe(packet, new Map());
    }
    this.#runAsking(async () => {
      const refused = new Map<string, unknown>();
      for (const { topic, selector } of asked) {
        await pass.admitSubscription(selector).catch((error) => refused.set(topic, error));
      }
      if (!this.#closed) await this.#subscribe(packet, refused);
    });
  }

  #isLarge({ subscriptions }: ISubscribePacket): boolean {
    return opensSlowly(subscriptions.length, this.#options.connection.context.retained);
  }

  /** @param refused what the application refused, by the topic filter */
  #subscribe(
    packet: ISubscribePacket,
    refused: ReadonlyMap<string, unknown>,
  ): Promise<void> | undefined {
    const { messageId = 0, subscriptions, properties } = packet;
    const { connection, delivery } = this.#options;
    const identifier = properties?.subscriptionIdentifier;
    const opened: OpenedSubscription[] = [];
    /** The answer to all filters beyond the limit, of which one is counted. */
    let beyond: number | undefined;
    const granted = subscriptions.map(({ topic: asked, qos, nl = false, rap = false, rh = 0 }) => {
      // A filter in another normal form is the same one, in its group too.
      const topic = normalizeChannel(asked);
      if (beyond !== undefined && !this.#all.has(topic)) return beyond;
      try {
        if (refused.has(asked)) throw refused.get(asked);
        const filter = this.#parseFilter(topic);
        if (nl && filter.group !== undefined) {
          throw new FramingError(
            REASONS.protocolError,
            "A shared subscription cannot leave out its own messages",
          );
        }
        const former = this.#all.get(topic);
        const terms = { qos, noLocal: nl, retainAsPublished: rap, identifier };
        const subscription = this.#takeUp(topic, filter, terms);
        const sendsRetained = filter.group === undefined && (rh === 0 || (rh === 1 && former === undefined));
        opened.push({ subscription, sendsRetained });
        return qos;
      } catch (error) {
        const code = this.#refuseFilter(error);
        if (error instanceof MessagingError && error.code === "too_many_subscriptions") beyond = code;
        return code;
      }
    });
    const isLarge = this.#isLarge(packet);
    const answer = () => {
      if (this.#closed) return undefined;
      // Another thread may store what the client publishes once it is answered: that is wanted before.
      for (const { subscription } of opened) connection.context.hub.watch(subscription.selector)();
      connection.send({ cmd: "suback", messageId, granted });
      for (const { subscription } of opened) {
        if (subscription.group !== undefined) this.#release(subscription);
      }
      const others = opened.filter(({ subscription }) => subscription.group === undefined);
      if (isLarge) {
        const { client: { socket } } = this.#options;
        return openSlowly(others, {
          socket,
          delivery,
          held: this.#held,
          hold: (subscription) => this.#hold(subscription),
          open: (subscription, sendsRetained) => this.#open(subscription, false, sendsRetained),
          isOpen: (subscription) => this.#isOpen(subscription),
          receive: (subscription, messages, areOld) => this.#receive(subscription, messages, areOld),
          findRetained: ({ selector }, found) => connection.context.retained.find(selector, found),
        });
      }
      for (const { subscription, sendsRetained } of others) {
        if (!this.#isOpen(subscription)) continue;
        if (sendsRetained) {
          delivery.offerRetained(subscription, [...connection.context.retained.match(subscription.selector)]);
        }
        this.#open(subscription, false, sendsRetained);
      }
      return undefined;
    };
    return this.#saveThen(() => {
      const shared = opened.map(({ subscription }) => subscription)
        .filter((one) => one.group !== undefined && one.live === undefined && this.#isOpen(one));
      for (const subscription of shared) this.#hold(subscription);
      return this.#memberships.joinThen(shared, answer);
    });
  }

  /** Takes an UNSUBSCRIBE and answers it. */
  unsubscribe(packet: IUnsubscribePacket): void {
    if (this.#asking.waiting === 0) return this.#unsubscribe(packet);
    this.#runAsking(() => {
      if (!this.#closed) this.#unsubscribe(packet);
      return Promise.resolve();
    });
  }

  #unsubscribe({ messageId = 0, unsubscriptions }: IUnsubscribePacket): void {
    const closed = new Set<MqttSubscription>();
    const granted = unsubscriptions.map((filter) => {
      const subscription = this.#all.get(normalizeChannel(filter));
      // One that is named twice is gone the second time.
      if (subscription === undefined || closed.has(subscription)) return REASONS.noSubscription;
      closed.add(subscription);
      return REASONS.success;
    });
    this.#closeAll(closed);
    void this.#saveThen(() => {
      this.#options.connection.send({ cmd: "unsuback", messageId, granted });
      return undefined;
    });
  }

  /** Leaves the groups. The hub ends the subscriptions with the client. */
  close(): void {
    this.#closed = true;
    this.#memberships.close();
  }

  /** Answers once the change is stored. */
  #saveThen(answer: () => Promise<void> | undefined): Promise<void> | undefined {
    const { isPersistent, save, connection } = this.#options;
    if (!isPersistent()) return answer();
    return save().then(answer, (error) => connection.fail(error));
  }

  #parseFilter(topic: string) {
    const { connection: { context }, pass } = this.#options;
    const filter = this.#restrict(toChannelError(() => parseFilter(topic)));
    if (filter.selector.channel !== undefined) context.hub.checkName(filter.selector.channel);
    const denial = pass.deny("subscribe", filter.selector);
    if (denial !== undefined) throw denial;
    const { maxSubscriptions } = context.settings;
    if (!this.#all.has(topic) && this.#all.size >= maxSubscriptions) {
      throw describeSubscriptionLimit(maxSubscriptions);
    }
    return filter;
  }

  /** Takes private channels out of what wildcards match, for whoever may not read them. */
  #restrict(filter: Filter): Filter {
    const { connection: { context }, pass } = this.#options;
    return { ...filter, selector: context.gate.restrict(filter.selector, pass) };
  }

  #refuseFilter(error: unknown): number {
    if (error instanceof FramingError) throw error;
    const { code, message } = toMessagingError(error);
    const { connection, client } = this.#options;
    connection.context.hub.metrics.refused(code, { what: "mqtt subscribe", message, client: client.id });
    if (connection.version !== 5) return REASONS.unspecified;
    return code === "bad_channel" ? REASONS.badFilter : toSubscribeReason(code);
  }

  /** What is not open already sends what was stored since its position first, or late ones of the retained messages. */
  #open(subscription: MqttSubscription, replays: boolean, sendsRetained = false): void {
    if (subscription.group !== undefined) this.#memberships.join(subscription);
    else if (subscription.live === undefined) this.#listen(subscription, replays, sendsRetained);
  }

  #listen(subscription: MqttSubscription, replays: boolean, sendsRetained = false): void {
    const { connection: { context, clientId }, client } = this.#options;
    const { selector, filter, epoch, sequence } = subscription;
    subscription.live = context.hub.subscribe(client, selector, {
      ...(replays ? { since: { kind: "id", epoch, sequence } } : {}),
      onGap: ({ earliest }) => {
        context.logger.write("warn", "mqtt session has a gap", { id: clientId, channel: filter, earliest });
        subscription.gap = earliest;
        return true;
      },
      receive: (messages) => this.#receive(subscription, messages),
      receiveRetained: (messages) => !sendsRetained || this.#receive(subscription, messages, true),
      takeBack: (isTakenBack) => this.#takeBack(subscription, isTakenBack),
    });
  }

  /** Sends no message that was removed while it waited. */
  #takeBack(subscription: MqttSubscription, isTakenBack: (message: Message) => boolean): void {
    this.#held.get(subscription)?.takeBack(isTakenBack);
    this.#options.delivery.takeBack(subscription, isTakenBack);
  }

  #closeAll(subscriptions: ReadonlySet<MqttSubscription>): void {
    const { connection: { context }, delivery, pass } = this.#options;
    for (const subscription of subscriptions) {
      const { filter, live, selector } = subscription;
      this.#all.delete(filter);
      if (selector.channel !== undefined) pass.forgetSubscription(selector.channel);
      if (live !== undefined) context.hub.unsubscribe(live);
      this.#memberships.leave(subscription);
      this.#held.delete(subscription);
    }
    delivery.drop(subscriptions);
  }

  /** @param areOld whether they were retained before the subscription was made, and are sent as such */
  #receive(subscription: MqttSubscription, messages: readonly Message[], areOld = false): boolean {
    const { client, delivery } = this.#options;
    const { selector, noLocal, group, retainAsPublished } = subscription;
    const held = this.#held.get(subscription);
    if (held !== undefined) return areOld ? held.addRetained(messages) : held.add(messages);
    const taken = messages.filter((message) =>
      !isHidden(selector, message.channel) &&
      !(noLocal && !areOld && message.socketId === client.socket.id) &&
      (group === undefined || this.#memberships.isChosen(subscription, message))
    );
    const last = messages.at(-1);
    if (taken.length === 0 && !areOld && delivery.isIdle && last !== undefined && last.sequence > 0) {
      // What is not for this client is not looked at again after a reconnect.
      subscription.epoch = last.epoch;
      subscription.sequence = last.sequence;
    }
    const gap = taken.length === 0 ? undefined : subscription.gap;
    if (gap !== undefined) subscription.gap = undefined;
    return delivery.offer(taken.map((message, i) => ({
      message,
      subscription,
      qos: toQos(subscription, message),
      // An empty one says that nothing is retained any more.
      retain: areOld
        ? payloadSize(message.payload) > 0
        : retainAsPublished && message.properties?.retain === true,
      isOld: areOld,
      ...(i === 0 && gap !== undefined ? { gap } : {}),
    })));
  }

  #hold(subscription: MqttSubscription): HeldMessages {
    const held = new HeldMessages(this.#options.connection.context.outboxLimits);
    this.#held.set(subscription, held);
    return held;
  }

  /** Sends what came before the answer. */
  #release(subscription: MqttSubscription): void {
    const held = this.#held.get(subscription);
    this.#held.delete(subscription);
    if (held !== undefined && held.size > 0) this.#receive(subscription, held.take(held.size));
  }

  #isOpen(subscription: MqttSubscription): boolean {
    return !this.#closed && this.#all.get(subscription.filter) === subscription;
  }
}
