/**
 * What goes to one client: numbers the messages, keeps within the client's receive maximum, and sends again what was
 * not acknowledged. The session owns one for each connection.
 */
import type { Selector } from "../../core/channel.ts";
import { type Message, payloadSize } from "../../core/message.ts";
import type { OutboxLimits } from "../../core/outbox.ts";
import type { Subscription } from "../../core/subscription.ts";
import { encodePacket, type IPublishPacket, type Packet, type Version } from "./codec.ts";
import { encodePayload, secondsLeft, toPublishProperties } from "./properties.ts";
import { REASONS } from "./reasons.ts";

/** What the last SUBSCRIBE to a filter said of it. */
export interface SubscriptionTerms {
  qos: 0 | 1 | 2;
  noLocal: boolean;
  retainAsPublished: boolean;
  identifier: number | undefined;
}

/** A filter that the client has subscribed to. */
export interface MqttSubscription extends SubscriptionTerms {
  readonly filter: string;
  readonly selector: Selector;
  readonly group: string | undefined;
  /** The hub's; undefined until it is open. */
  live: Subscription | undefined;
  /** The last stored message that was handed over, or after which the subscription began. */
  epoch: string;
  sequence: number;
  /** Set after messages were lost, until the client is told: the id of the first one that is left. */
  gap?: string | undefined;
}

export interface Outgoing {
  readonly message: Message;
  /** Undefined for a direct message. */
  readonly subscription: MqttSubscription | undefined;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Whether it is from before the subscription, and sent as it is retained: it says nothing of how far the client has got. */
  readonly isOld?: boolean;
  /** Messages before this one were lost; see the subscription. */
  readonly gap?: string | undefined;
}

/** A message with a packet id. */
export interface Inflight extends Outgoing {
  readonly qos: 1 | 2;
  /** PUBREC has come. */
  released: boolean;
}

export interface DeliveryOptions {
  readonly version: Version;
  /** Most messages with a QoS above 0 on their way to the client. */
  readonly receiveMaximum: number;
  /** Largest packet that the client takes, in bytes. */
  readonly maxPacketBytes: number;
  /** Most topic aliases that the client takes. */
  readonly aliasMaximum: number;
  readonly limits: OutboxLimits;
  /** Whether the session outlives its connection. */
  isPersistent(): boolean;
  /** Sends encoded packets; ends the connection if there is no room. */
  send(packets: readonly Uint8Array<ArrayBuffer>[]): void;
  /** Stores the session. */
  save(): Promise<void>;
  /** Stores it soon. */
  saveLater(): void;
  /** Ends the connection with an error, that of storing the session. */
  fail(error: unknown): void;
}

const MAX_PACKET_ID = 65_535;

/** The packet of a message at QoS 0 before 5.0: the same bytes for everybody, so that they are encoded once. */
const SHARED = new WeakMap<Message, Uint8Array<ArrayBuffer>>();

export class Delivery {
  /** By packet id, in the order of sending. */
  readonly inflight: Map<number, Inflight>;
  readonly #options: DeliveryOptions;
  #queue: Outgoing[] = [];
  #queuedBytes = 0;
  #lastId = 0;
  #blocked = true;
  #closed = false;
  readonly #aliases = new Map<string, number>();
  #wake: (() => void)[] = [];

  /** @param inflight what an earlier connection left */
  constructor(options: DeliveryOptions, inflight: Map<number, Inflight>) {
    this.#options = options;
    this.inflight = inflight;
    this.#lastId = [...inflight.keys()].at(-1) ?? 0;
  }

  /** Sends what an earlier connection left, then goes on. */
  start(): void {
    const packets: Uint8Array<ArrayBuffer>[] = [];
    for (const [messageId, item] of this.inflight) {
      const packet = item.released
        ? this.#encodeAck("pubrel", messageId)
        : this.#encodePublish(item, messageId, true);
      if (packet === undefined) this.inflight.delete(messageId);
      else packets.push(packet);
    }
    this.#blocked = false;
    if (packets.length > 0) this.#options.send(packets);
    this.#pump();
  }

  /** Takes messages for the client. Returns false if too many are waiting. */
  offer(items: readonly Outgoing[]): boolean {
    if (this.#closed) return true;
    const { limits } = this.#options;
    const wasEmpty = this.#queue.length === 0;
    for (const item of items) {
      this.#queue.push(item);
      this.#queuedBytes += payloadSize(item.message.payload);
    }
    this.#pump();
    // Like a socket's queue, an empty one has room for anything.
    return wasEmpty || (this.#queue.length <= limits.messages && this.#queuedBytes <= limits.bytes);
  }

  /** Takes retained messages that match a new subscription. */
  offerRetained(subscription: MqttSubscription, messages: readonly Message[]): void {
    this.offer(messages.map((message) => {
      return { message, subscription, qos: toQos(subscription, message), retain: true, isOld: true };
    }));
  }

  /** Whether nothing waits to be sent. */
  get isIdle(): boolean {
    return this.#queue.length === 0;
  }

  /** Drops what waits for subscriptions that have ended. To do that for one after another takes long. */
  drop(subscriptions: ReadonlySet<MqttSubscription>): void {
    this.#keep(({ subscription }) => subscription === undefined || !subscriptions.has(subscription));
  }

  /** Drops what waits for a subscription and was removed meanwhile. */
  takeBack(subscription: MqttSubscription, isTakenBack: (message: Message) => boolean): void {
    this.#keep((item) => item.subscription !== subscription || !isTakenBack(item.message));
  }

  #keep(isWanted: (item: Outgoing) => boolean): void {
    if (this.#queue.length === 0) return;
    this.#queue = this.#queue.filter(isWanted);
    this.#queuedBytes = this.#queue.reduce((bytes, { message }) => bytes + payloadSize(message.payload), 0);
    this.#notify();
  }

  /** Resolves when nothing waits any more, or the connection has ended. */
  drained(): Promise<void> {
    if (this.#queue.length === 0 || this.#closed) return Promise.resolve();
    return new Promise((resolve) => this.#wake.push(resolve));
  }

  /** Takes an acknowledgement of the client. */
  async acknowledge(
    command: "puback" | "pubrec" | "pubcomp",
    messageId: number,
    reason: number,
  ): Promise<void> {
    const item = this.inflight.get(messageId);
    if (command === "pubrec") {
      if (item?.qos !== 2) {
        const unknown = reason < 0x80 ? REASONS.idNotFound : undefined;
        if (unknown !== undefined) this.#options.send([this.#encodeAck("pubrel", messageId, unknown)]);
        return;
      }
      if (reason < 0x80) {
        item.released = true;
        // Otherwise a kill could make it a message of its own again.
        if (this.#options.isPersistent()) await this.#options.save();
        if (!this.#closed) this.#options.send([this.#encodeAck("pubrel", messageId)]);
        return;
      }
    } else if (item?.qos !== (command === "puback" ? 1 : 2)) return;
    this.inflight.delete(messageId);
    if (this.#options.isPersistent()) this.#options.saveLater();
    this.#pump();
  }

  /** Nothing is sent any more. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#notify();
  }

  /** Sends what may be sent, in order. */
  #pump(): void {
    if (this.#blocked || this.#closed) return;
    const packets: Uint8Array<ArrayBuffer>[] = [];
    let count = 0;
    let mustSave = false;
    for (const item of this.#queue) {
      if (item.qos > 0 && this.inflight.size >= this.#options.receiveMaximum) break;
      count++;
      this.#queuedBytes -= payloadSize(item.message.payload);
      const packet = this.#number(item);
      if (packet === undefined) continue;
      packets.push(packet);
      if (item.qos === 2) mustSave = true;
    }
    if (count === 0) return;
    this.#queue.splice(0, count);
    this.#notify();
    if (packets.length === 0) return;
    if (!mustSave || !this.#options.isPersistent()) return this.#options.send(packets);
    // After a kill the message must still have its packet id: with another one it would arrive twice.
    this.#blocked = true;
    this.#options.save().then(() => {
      this.#blocked = false;
      if (this.#closed) return;
      this.#options.send(packets);
      this.#pump();
    }, (error) => {
      // What has its packet id is sent when the client is back. Without an end, nothing more would ever be.
      if (!this.#closed) this.#options.fail(error);
    });
  }

  #number(item: Outgoing): Uint8Array<ArrayBuffer> | undefined {
    const { message, subscription, qos } = item;
    if (subscription !== undefined && message.sequence > 0 && item.isOld !== true) {
      subscription.epoch = message.epoch;
      subscription.sequence = message.sequence;
    }
    if (qos === 0) return this.#encodePublish(item, undefined, false);
    const messageId = this.#nextId();
    const packet = this.#encodePublish(item, messageId, false);
    if (packet !== undefined) this.inflight.set(messageId, { ...item, qos, released: false });
    return packet;
  }

  #nextId(): number {
    do this.#lastId = this.#lastId % MAX_PACKET_ID + 1; while (this.inflight.has(this.#lastId));
    return this.#lastId;
  }

  /** Undefined for a message that has expired or is too large for the client. */
  #encodePublish(item: Outgoing, messageId: number | undefined, dup: boolean) {
    const { version, maxPacketBytes, aliasMaximum } = this.#options;
    const { message, qos, retain, subscription } = item;
    if ((secondsLeft(message) ?? 1) <= 0) return undefined;
    const isShared = version !== 5 && qos === 0 && !retain;
    const encoded = isShared ? SHARED.get(message) : undefined;
    if (encoded !== undefined) return encoded;
    const packet: IPublishPacket = {
      cmd: "publish",
      topic: message.channel,
      payload: encodePayload(message.payload),
      qos,
      dup,
      retain,
      ...(messageId === undefined ? {} : { messageId }),
    };
    if (version !== 5) {
      const bytes = encodePacket(packet, version);
      if (isShared) SHARED.set(message, bytes);
      return bytes;
    }
    const properties = toPublishProperties(message, subscription?.identifier, item.gap);
    packet.properties = properties;
    const known = this.#aliases.get(message.channel);
    const isNew = known === undefined && this.#aliases.size < aliasMaximum;
    const alias = known ?? (isNew ? this.#aliases.size + 1 : undefined);
    if (alias !== undefined) properties.topicAlias = alias;
    if (known !== undefined) packet.topic = "";
    const bytes = encodePacket(packet, version);
    if (bytes.byteLength > maxPacketBytes) return undefined;
    if (isNew && alias !== undefined) this.#aliases.set(message.channel, alias);
    return bytes;
  }

  #encodeAck(cmd: "pubrel", messageId: number, reasonCode: number = REASONS.success) {
    const packet: Packet = { cmd, messageId, reasonCode };
    return encodePacket(packet, this.#options.version);
  }

  #notify(): void {
    if (this.#queue.length > 0) return;
    const waiting = this.#wake;
    this.#wake = [];
    for (const resolve of waiting) resolve();
  }
}

/** The lower one of a subscription and a message. */
export function toQos({ qos }: MqttSubscription, { properties }: Message): 0 | 1 | 2 {
  const published = properties?.qos ?? 2;
  return published < qos ? published : qos;
}
