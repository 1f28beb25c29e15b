/**
 * The session of a connected MQTT client: what it publishes and subscribes to, and what of that outlives the connection.
 */
import type { Pass } from "../../auth/pass.ts";
import {
  type Client,
  createClient,
  describeSender,
  parseClientId,
  parseClientName,
} from "../../core/client.ts";
import { createDraft } from "../../core/draft.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import type { Message } from "../../core/message.ts";
import { endAtExpiry } from "../protocol.ts";
import type {
  AckCommand,
  IConnectPacket,
  IPublishPacket,
  ISubscribePacket,
  IUnsubscribePacket,
} from "./codec.ts";
import type { SessionConnection } from "./context.ts";
import { Delivery, type Inflight, type MqttSubscription } from "./delivery.ts";
import { FramingError } from "./framer.ts";
import { type Published, readPayload, readProperties } from "./properties.ts";
import { REASONS, toPublishReason, toReason } from "./reasons.ts";
import type { SessionRecord, StoredSubscription } from "./session_store.ts";
import { MQTT_ENCODER, SessionSocket } from "./socket.ts";
import { isHidden, parseFilter, parseTopic } from "./topics.ts";

/** Topic aliases that a client may use. */
export const MAX_ALIASES = 32;

const SAVE_PAUSE_MILLISECONDS = 100;
const LARGEST_PACKET = 268_435_460;

export class MqttSession {
  /** Seconds that the session is kept without its client. */
  expiry: number;
  readonly #connection: SessionConnection;
  readonly #pass: Pass;
  readonly #will: IConnectPacket["will"];
  readonly #subscriptions = new Map<string, MqttSubscription>();
  /** QoS 2 messages that are not released, each with the key under which the log stores it once. */
  readonly #received = new Map<number, string>();
  /** Those of them that are stored. */
  readonly #acknowledged = new Set<number>();
  readonly #aliases = new Map<number, string>();
  readonly #inflight = new Map<number, Inflight>();
  readonly #delivery: Delivery;
  readonly #client: Client;
  #revision: number;
  #wasStored = false;
  #savedAt = 0;
  #writing: Promise<void> = Promise.resolve();
  #nextWrite: Promise<void> | undefined;
  #saveTimer: ReturnType<typeof setTimeout> | undefined;
  /** Messages of the client that are being stored. */
  #publishing = 0;
  #publishingBytes = 0;
  #started: Promise<void> = Promise.resolve();
  #answered: Promise<void> = Promise.resolve();
  #forgetExpiry: () => void = () => {};
  #closed = false;

  constructor(connection: SessionConnection, packet: IConnectPacket, pass: Pass, revision: number) {
    const { context, version, clientId } = connection;
    const { mqttMaxSessionExpiry, mqttMaxInflight } = context.settings;
    const { properties = {} } = packet;
    this.#connection = connection;
    this.#pass = pass;
    this.#will = packet.will;
    this.#revision = revision;
    const asked = version === 5 ? properties.sessionExpiryInterval ?? 0 : packet.clean ? 0 : Infinity;
    this.expiry = Math.min(asked, mqttMaxSessionExpiry);
    this.#delivery = new Delivery({
      version,
      receiveMaximum: Math.min(version === 5 ? properties.receiveMaximum ?? 65_535 : 65_535, mqttMaxInflight),
      maxPacketBytes: properties.maximumPacketSize ?? LARGEST_PACKET,
      aliasMaximum: Math.min(properties.topicAliasMaximum ?? 0, MAX_ALIASES),
      limits: context.outboxLimits,
      isPersistent: () => this.expiry > 0,
      send: (packets) => connection.sendEncoded(packets),
      save: () => this.#save(),
      saveLater: () => this.#saveLater(),
    }, this.#inflight);
    const socket = new SessionSocket(
      connection.socket,
      (message) => this.#offer(undefined, message),
      () => this.#delivery.drained(),
    );
    const id = pass.isTrusted ? tryParse(parseClientId, clientId) : undefined;
    this.#client = createClient({
      id: id ?? crypto.randomUUID(),
      choseId: id !== undefined,
      name: tryParse(parseClientName, clientId),
      user: pass.user,
      info: pass.info,
      connection: connection.connection,
      protocol: version === 5 ? "mqtt5" : "mqtt",
      socket,
      outbox: connection.outbox,
      encoder: MQTT_ENCODER,
      echo: true,
      end: (error) => connection.endFor(error),
    });
  }

  /**
   * Takes up what an earlier connection left, and claims it: an earlier connection on another node can no longer store
   * anything.
   */
  async restore(record: SessionRecord | undefined, wasStored: boolean): Promise<void> {
    this.#wasStored = wasStored;
    for (const stored of record?.subscriptions ?? []) {
      this.#subscriptions.set(stored.filter, { ...stored, ...parseFilter(stored.filter), live: undefined });
    }
    for (const [packetId, key] of record?.received ?? []) this.#received.set(packetId, key);
    for (
      const { packetId, qos, released, filter, channel, epoch, sequence, retain } of record?.inflight ?? []
    ) {
      const message = await this.#find(channel, epoch, sequence, released);
      const subscription = this.#subscriptions.get(filter);
      if (message !== undefined) {
        this.#inflight.set(packetId, { message, subscription, qos, released, retain });
      }
    }
    await this.#save();
  }

  /** Connects to the hub. Returns false if the hub ended the client at once. */
  connect(): boolean {
    return this.#connection.context.hub.connect(this.#client);
  }

  /** Sends again what is unacknowledged, and what came meanwhile. */
  start(): void {
    this.#forgetExpiry = endAtExpiry(this.#pass.expires, this.#client);
    this.#delivery.start();
    for (const subscription of [...this.#subscriptions.values()]) {
      if (this.#closed) return;
      const denial = this.#pass.deny("subscribe", subscription.selector);
      if (denial !== undefined) this.#subscriptions.delete(subscription.filter);
      else this.#open(subscription, subscription.qos > 0 && subscription.group === undefined);
    }
  }

  /** Resolves when the client may send more; undefined at once. */
  roomForMore(): Promise<void> | undefined {
    return this.#publishing > this.#connection.context.settings.mqttMaxInflight ? this.#answered : undefined;
  }

  /** The client lives: a session that is not stored for long must not expire meanwhile. */
  touch(): void {
    if (this.expiry > 0 && Date.now() - this.#savedAt > this.expiry * 500) this.#saveLater();
  }

  /** Changes the expiry. Returns false where that is not allowed (section 3.14.2.2.2). */
  changeExpiry(seconds: number | undefined): boolean {
    if (seconds === undefined) return true;
    if (this.expiry === 0 && seconds > 0) return false;
    this.expiry = Math.min(seconds, this.#connection.context.settings.mqttMaxSessionExpiry);
    return true;
  }

  /** Takes a PUBLISH. It is acknowledged once it is stored. */
  publish(packet: IPublishPacket): void {
    const { qos, messageId = 0 } = packet;
    if (qos > 0 && messageId === 0) throw new FramingError(REASONS.malformed, "A packet id of 0");
    const topic = this.#resolveAlias(packet);
    const { mqttMaxInflight } = this.#connection.context.settings;
    const isFlood = this.#connection.version === 5
      ? qos > 0 && this.#publishing > mqttMaxInflight + this.#received.size
      : this.#publishing > this.#connection.context.outboxLimits.messages;
    if (
      isFlood || this.#publishingBytes > this.#connection.context.outboxLimits.bytes + packet.payload.length
    ) {
      throw new FramingError(REASONS.receiveMaximumExceeded, "Too many messages await their acknowledgement");
    }
    if (qos === 2 && !this.#received.has(messageId) && this.#received.size >= mqttMaxInflight * 16) {
      throw new FramingError(REASONS.receiveMaximumExceeded, "Too many messages await their release");
    }
    const size = packet.payload.length;
    this.#publishing++;
    this.#publishingBytes += size;
    let result: Promise<number>;
    if (qos === 2) {
      // Stored in the order of arrival, and each only once its packet id is.
      const started = this.#started.then(() => this.#prepare(messageId))
        .then((key) => ({
          stored: key === undefined ? Promise.resolve(0) : this.#store(packet, topic, key),
        }));
      this.#started = started.then(() => {}, () => {});
      result = started.then(({ stored }) => stored);
    } else {
      result = this.#isIdle
        ? this.#store(packet, topic)
        : this.#started.then(() => this.#store(packet, topic));
    }
    const settled = result.then((reason) => reason, (error) => this.#refusePublish(error, qos));
    // Acknowledged in the order of arrival.
    this.#answered = this.#answered.then(async () => {
      const reason = await settled;
      this.#publishing--;
      this.#publishingBytes -= size;
      if (reason === undefined) return;
      if (qos === 1) this.#acknowledge("puback", messageId, reason);
      if (qos !== 2) return;
      if (reason >= 0x80) this.#received.delete(messageId);
      else this.#acknowledged.add(messageId);
      this.#acknowledge("pubrec", messageId, reason);
    });
  }

  /** Takes a PUBREL: the packet id is free again. */
  release(messageId: number): void {
    // After the message itself, whose PUBREC the client may have from before.
    this.#answered = this.#answered.then(async () => {
      const known = this.#received.delete(messageId);
      this.#acknowledged.delete(messageId);
      if (known && this.expiry > 0) await this.#save();
      this.#acknowledge("pubcomp", messageId, known ? REASONS.success : REASONS.idNotFound);
    }).catch((error) => this.#connection.fail(error));
  }

  /** Takes an acknowledgement of what was sent to the client. */
  acknowledge(command: "puback" | "pubrec" | "pubcomp", messageId: number, reason: number): void {
    this.#delivery.acknowledge(command, messageId, reason).catch((error) => this.#connection.fail(error));
  }

  /** Takes a SUBSCRIBE, answers it, and sends the retained messages. */
  subscribe({ messageId = 0, subscriptions, properties }: ISubscribePacket): void {
    const opened: { readonly subscription: MqttSubscription; readonly sendsRetained: boolean }[] = [];
    const granted = subscriptions.map(({ topic, qos, nl = false, rap = false, rh = 0 }) => {
      try {
        const filter = this.#parseFilter(topic);
        if (nl && filter.group !== undefined) {
          throw new FramingError(
            REASONS.protocolError,
            "A shared subscription cannot leave out its own messages",
          );
        }
        const former = this.#subscriptions.get(topic);
        if (former !== undefined) this.#close(former);
        const { epoch, sequence } = this.#connection.context.hub.top;
        const subscription: MqttSubscription = {
          ...filter,
          filter: topic,
          qos,
          noLocal: nl,
          retainAsPublished: rap,
          identifier: properties?.subscriptionIdentifier,
          live: undefined,
          epoch,
          sequence,
        };
        this.#subscriptions.set(topic, subscription);
        const sendsRetained = filter.group === undefined && (rh === 0 || (rh === 1 && former === undefined));
        opened.push({ subscription, sendsRetained });
        return qos;
      } catch (error) {
        return this.#refuseFilter(error);
      }
    });
    const answer = () => {
      if (this.#closed) return;
      this.#connection.send({ cmd: "suback", messageId, granted });
      for (const { subscription, sendsRetained } of opened) {
        if (this.#subscriptions.get(subscription.filter) !== subscription || this.#closed) continue;
        if (sendsRetained) this.#sendRetained(subscription);
        this.#open(subscription, false);
      }
    };
    if (this.expiry === 0) return answer();
    this.#save().then(answer, (error) => this.#connection.fail(error));
  }

  /** Takes an UNSUBSCRIBE and answers it. */
  unsubscribe({ messageId = 0, unsubscriptions }: IUnsubscribePacket): void {
    const granted = unsubscriptions.map((filter) => {
      const subscription = this.#subscriptions.get(filter);
      if (subscription === undefined) return REASONS.noSubscription;
      this.#close(subscription);
      return REASONS.success;
    });
    const answer = () => this.#connection.send({ cmd: "unsuback", messageId, granted });
    if (this.expiry === 0) return answer();
    this.#save().then(answer, (error) => this.#connection.fail(error));
  }

  /**
   * The connection has ended.
   *
   * @param isRegular whether the client said so, and its will is not to be published
   * @returns resolves when the session is stored
   */
  async close(isRegular: boolean): Promise<void> {
    if (this.#closed) return;
    const { context, clientId } = this.#connection;
    this.#closed = true;
    clearTimeout(this.#saveTimer);
    this.#forgetExpiry();
    this.#delivery.close();
    for (const { group, filter } of this.#subscriptions.values()) {
      if (group !== undefined) context.groups.leave(filter, this);
    }
    context.hub.disconnect(this.#client);
    if (!isRegular) this.#scheduleWill();
    if (this.expiry > 0 || this.#wasStored) {
      await this.#writing.catch(() => {});
      if (this.#revision >= 0) {
        await context.store.save(
          clientId,
          this.expiry > 0 ? this.#createRecord() : undefined,
          this.#revision,
        );
      }
    }
  }

  get #isIdle(): boolean {
    return this.#publishing <= 1 || this.#received.size === 0;
  }

  #resolveAlias({ topic, properties }: IPublishPacket): string {
    const alias = properties?.topicAlias;
    if (alias === undefined) {
      if (topic === "") throw new FramingError(REASONS.protocolError, "A PUBLISH without a topic");
      return topic;
    }
    if (alias < 1 || alias > MAX_ALIASES) {
      throw new FramingError(REASONS.badAlias, `Topic alias ${alias}: use 1 to ${MAX_ALIASES}`);
    }
    if (topic !== "") this.#aliases.set(alias, topic);
    const known = this.#aliases.get(alias);
    if (known === undefined) {
      throw new FramingError(REASONS.badAlias, `Topic alias ${alias} stands for nothing`);
    }
    return known;
  }

  /** Keeps the packet id of a QoS 2 message. Resolves to its key; undefined if the message is stored already. */
  async #prepare(messageId: number): Promise<string | undefined> {
    if (this.#acknowledged.has(messageId)) return undefined;
    let key = this.#received.get(messageId);
    if (key === undefined) {
      this.#received.set(messageId, key = `mqtt-${crypto.randomUUID()}`);
      if (this.expiry > 0) await this.#save();
    }
    return key;
  }

  /** Stores a message; resolves to the reason code for the client. */
  async #store(packet: Published, topic: string, idempotencyKey?: string): Promise<number> {
    const { context, connection, version } = this.#connection;
    const { channel, payload } = parse(() => ({
      channel: parseTopic(topic),
      payload: readPayload(packet, version),
    }));
    context.hub.checkName(channel);
    this.#pass.demand("publish", channel);
    connection.countPublish();
    const properties = readProperties(packet);
    const { subscribers } = await context.hub.publish(createDraft({
      channel,
      payload,
      from: describeSender(this.#client),
      socketId: this.#client.socket.id,
      ttl: properties.ttl,
      idempotencyKey,
      properties,
    }));
    if (packet.retain) await context.retained.settled();
    return subscribers === 0 ? REASONS.noMatchingSubscribers : REASONS.success;
  }

  /** The reason code to refuse a message with; undefined where the connection was ended instead. */
  #refusePublish(error: unknown, qos: number): number | undefined {
    const known = toMessagingError(error);
    const { version, clientId, context } = this.#connection;
    const reason = known.code === "internal" ? String(known.cause) : known.message;
    context.logger.write(known.code === "internal" ? "error" : "warn", "message refused", {
      id: clientId,
      code: known.code,
      reason,
    });
    // 3.1.1 has no way to refuse a message, and QoS 0 no answer to do it with.
    if (version === 5 && qos > 0) return toPublishReason(known.code);
    this.#connection.endFor(known);
    return undefined;
  }

  #acknowledge(cmd: AckCommand, messageId: number, reasonCode: number): void {
    if (!this.#closed) this.#connection.send({ cmd, messageId, reasonCode });
  }

  #parseFilter(topic: string) {
    const { context } = this.#connection;
    const filter = parse(() => parseFilter(topic));
    if (filter.selector.channel !== undefined) context.hub.checkName(filter.selector.channel);
    const denial = this.#pass.deny("subscribe", filter.selector);
    if (denial !== undefined) throw denial;
    const { maxSubscriptions } = context.settings;
    if (!this.#subscriptions.has(topic) && this.#subscriptions.size >= maxSubscriptions) {
      throw describeSubscriptionLimit(maxSubscriptions);
    }
    return filter;
  }

  #refuseFilter(error: unknown): number {
    if (error instanceof FramingError) throw error;
    const { code, message } = toMessagingError(error);
    const { hub } = this.#connection.context;
    hub.metrics.refused(code, { what: "mqtt subscribe", message, client: this.#client.id });
    if (this.#connection.version !== 5) return REASONS.unspecified;
    return code === "bad_channel" ? REASONS.badFilter : toReason(code);
  }

  /** @param replays whether what was stored since its position is sent first */
  #open(subscription: MqttSubscription, replays: boolean): void {
    const { context, clientId } = this.#connection;
    const { selector, filter, group, epoch, sequence } = subscription;
    if (group !== undefined) context.groups.join(filter, this);
    subscription.live = context.hub.subscribe(this.#client, selector, {
      ...(replays ? { since: { kind: "id", epoch, sequence } } : {}),
      onGap: ({ earliest }) => {
        context.logger.write("warn", "mqtt session has a gap", { id: clientId, channel: filter, earliest });
        return true;
      },
      receive: (messages) => this.#receive(subscription, messages),
    });
  }

  #close(subscription: MqttSubscription): void {
    const { filter, group, live } = subscription;
    this.#subscriptions.delete(filter);
    if (live !== undefined) this.#connection.context.hub.unsubscribe(live);
    if (group !== undefined) this.#connection.context.groups.leave(filter, this);
    this.#delivery.drop(subscription);
  }

  #receive(subscription: MqttSubscription, messages: readonly Message[]): boolean {
    const { selector, noLocal, group, filter, retainAsPublished } = subscription;
    const { groups } = this.#connection.context;
    const taken = messages.filter((message) =>
      !isHidden(selector, message.channel) &&
      !(noLocal && message.socketId === this.#client.socket.id) &&
      (group === undefined || groups.isChosen(filter, this, message))
    );
    return this.#delivery.offer(taken.map((message) => ({
      message,
      subscription,
      qos: toQos(subscription, message),
      retain: retainAsPublished && message.properties?.retain === true,
    })));
  }

  #sendRetained(subscription: MqttSubscription): void {
    const messages = [...this.#connection.context.retained.match(subscription.selector)];
    if (messages.length === 0) return;
    this.#delivery.offer(messages.map((message) => ({
      message,
      subscription,
      qos: toQos(subscription, message),
      retain: true,
    })));
  }

  /** Sends a message that is for this client alone. */
  #offer(subscription: undefined, message: Message): void {
    this.#delivery.offer([{ message, subscription, qos: 0, retain: false }]);
  }

  #scheduleWill(): void {
    const will = this.#will;
    if (will === undefined) return;
    const { context, clientId, version } = this.#connection;
    const { willDelayInterval = 0, ...properties } = will.properties ?? {};
    // The will is published when the session ends, if that is earlier.
    const delay = version === 5 ? Math.min(willDelayInterval, this.expiry) : 0;
    const packet: Published = {
      payload: will.payload,
      qos: will.qos ?? 0,
      retain: will.retain ?? false,
      properties,
    };
    context.wills.schedule(clientId, delay, () => {
      this.#store(packet, will.topic).catch((error) => {
        const { code, message } = toMessagingError(error);
        context.logger.write("warn", "will not published", { id: clientId, code, reason: message });
      });
    });
  }

  /** Stores the session. Resolves when a write that began after the call is done; calls meanwhile share one. */
  #save(): Promise<void> {
    if (this.expiry === 0 && !this.#wasStored) return Promise.resolve();
    return this.#nextWrite ??= this.#writing.catch(() => {}).then(() => {
      this.#nextWrite = undefined;
      return this.#writing = this.#write();
    });
  }

  #saveLater(): void {
    this.#saveTimer ??= setTimeout(() => {
      this.#saveTimer = undefined;
      this.#save().catch((error) => this.#connection.fail(error));
    }, SAVE_PAUSE_MILLISECONDS);
  }

  async #write(): Promise<void> {
    if (this.#revision < 0 || this.#closed) return;
    const { context, clientId } = this.#connection;
    this.#savedAt = Date.now();
    const record = this.expiry > 0 ? this.#createRecord() : undefined;
    const revision = await context.store.save(clientId, record, this.#revision);
    this.#wasStored = record !== undefined;
    if (revision !== undefined) {
      this.#revision = revision;
      return;
    }
    // Nothing is stored any more: the session is another node's.
    this.#revision = -1;
    this.#connection.end(REASONS.takenOver, "Another connection has this client id");
  }

  #createRecord(): SessionRecord {
    const subscriptions = [...this.#subscriptions.values()].map((
      { filter, qos, noLocal, retainAsPublished, identifier, epoch, sequence },
    ): StoredSubscription => ({ filter, qos, noLocal, retainAsPublished, identifier, epoch, sequence }));
    const inflight = [...this.#inflight].map((
      [packetId, { message, subscription, qos, released, retain }],
    ) => ({
      packetId,
      qos,
      released,
      filter: subscription?.filter ?? "",
      channel: message.channel,
      epoch: message.epoch,
      sequence: message.sequence,
      retain,
    }));
    return {
      user: this.#pass.user,
      expiry: this.expiry,
      expiresAt: Date.now() + this.expiry * 1_000,
      subscriptions,
      inflight,
      received: [...this.#received],
    };
  }

  /** Finds a message that is to be sent again; undefined if the log has removed it. */
  async #find(
    channel: string,
    epoch: string,
    sequence: number,
    released: boolean,
  ): Promise<Message | undefined> {
    const { hub } = this.#connection.context;
    if (released) return createReleased(channel, epoch, sequence);
    if (sequence === 0) return undefined;
    const { selector } = parseFilter(channel);
    const after = { kind: "id" as const, epoch, sequence: sequence - 1 };
    const { messages: [message] } = await hub.read({ selector, after, limit: 1 });
    return message?.sequence === sequence && message.epoch === epoch ? message : undefined;
  }
}

/** Of a message that the client has, only the packet id matters. */
function createReleased(channel: string, epoch: string, sequence: number): Message {
  const payload = { kind: "text" as const, text: "" };
  const none = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  return { channel, payload, epoch, sequence, offset: 0, time: 0, ...none };
}

function toQos({ qos }: MqttSubscription, { properties }: Message): 0 | 1 | 2 {
  const published = properties?.qos ?? 2;
  return published < qos ? published : qos;
}

function tryParse(parseText: (text: string) => string, text: string): string | undefined {
  try {
    return parseText(text);
  } catch {
    return undefined;
  }
}

function parse<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new MessagingError("bad_channel", error.message, { cause: error });
  }
}
