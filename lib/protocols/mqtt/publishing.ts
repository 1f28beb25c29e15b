/**
 * What a connected client publishes: checks its messages, has them stored, and acknowledges them in the order of
 * arrival. The session owns one for each connection.
 */
import type { Pass } from "../../auth/pass.ts";
import { Serial } from "../../base/serial.ts";
import { type Client, describeSender } from "../../core/client.ts";
import { createDraft, type DraftOptions } from "../../core/draft.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Draft } from "../../core/message.ts";
import type { AckCommand, IPublishPacket, Version } from "./codec.ts";
import type { SessionConnection } from "./context.ts";
import { FramingError } from "./framer.ts";
import type { PacketIds } from "./packet_ids.ts";
import { type Published, readPayload, readProperties } from "./properties.ts";
import { REASONS, toPublishReason } from "./reasons.ts";
import { parseTopic, toChannelError } from "./topics.ts";

/** Topic aliases that a client may use. */
export const MAX_ALIASES = 32;

/** Packet ids that may await their PUBREL, as a multiple of the messages in flight. */
const RELEASE_FACTOR = 16;

export interface PublishingOptions {
  readonly connection: SessionConnection;
  readonly client: Client;
  readonly pass: Pass;
  /** The packet ids that are stored with messages; undefined for a session that ends with its connection. */
  packetIds(): PacketIds | undefined;
  /** Stores the session soon. */
  saveLater(): void;
}

export class Publishing {
  /**
   * QoS 2 messages that are not released, each with the reason code of its PUBREC. Of one that an earlier connection
   * left it is undefined: the log knows whether it is stored.
   */
  readonly received = new Map<number, Promise<number> | undefined>();
  readonly #options: PublishingOptions;
  readonly #aliases = new Map<number, string>();
  /** Packet ids of this connection that the client may not use again yet, which its quota counts (section 4.9). */
  readonly #unacknowledged = new Set<number>();
  /** Messages that are being stored. */
  #count = 0;
  #bytes = 0;
  /** Packet ids that are being freed. */
  #releasing = 0;
  #answered: Promise<void> = Promise.resolve();
  readonly #asked = new Serial();
  #closed = false;

  constructor(options: PublishingOptions) {
    this.#options = options;
  }

  /** Resolves when the client may send more; undefined at once. */
  roomForMore(): Promise<void> | undefined {
    const { mqttMaxInflight } = this.#options.connection.context.settings;
    return this.#count > mqttMaxInflight ? this.#answered : undefined;
  }

  /** Takes a PUBLISH. It is acknowledged once it is stored. */
  publish(packet: IPublishPacket): void {
    const { qos, messageId = 0, payload: { length: size } } = packet;
    if (qos > 0 && messageId === 0) throw new FramingError(REASONS.malformed, "A packet id of 0");
    const topic = this.#resolveAlias(packet);
    this.#demandRoom(packet);
    if (qos > 0) this.#unacknowledged.add(messageId);
    this.#count++;
    this.#bytes += size;
    const result = qos === 2 ? this.#storeOnce(packet, topic, messageId) : this.#store(packet, topic);
    const settled = result.then((reason) => reason, (error) => this.#refuse(error, qos));
    this.#answered = this.#answered.then(async () => {
      const reason = await settled;
      this.#count--;
      this.#bytes -= size;
      if (reason === undefined || this.#closed) return;
      if (qos === 1) this.#acknowledge("puback", messageId, reason);
      if (qos !== 2) return;
      if (reason >= 0x80) {
        // The packet id is free again (section 4.3.3), and nothing may be left that makes the next message a duplicate.
        await this.#options.packetIds()?.release(messageId);
        this.received.delete(messageId);
      }
      this.#acknowledge("pubrec", messageId, reason);
    }).catch((error) => this.#options.connection.fail(error));
  }

  /** Takes a PUBREL: the packet id is free again. */
  release(messageId: number): void {
    const { connection, packetIds, saveLater } = this.#options;
    if (this.#releasing >= connection.context.settings.mqttMaxInflight * RELEASE_FACTOR) {
      throw new FramingError(REASONS.receiveMaximumExceeded, "Too many PUBREL await their PUBCOMP");
    }
    this.#releasing++;
    // After the message itself, whose PUBREC the client may have from before.
    this.#answered = this.#answered.then(async () => {
      const ids = packetIds();
      const known = await ids?.release(messageId) ?? this.received.has(messageId);
      this.received.delete(messageId);
      if (ids !== undefined) saveLater();
      this.#releasing--;
      this.#acknowledge("pubcomp", messageId, known ? REASONS.success : REASONS.idNotFound);
    }).catch((error) => connection.fail(error));
  }

  /** Resolves when everything that came before is stored or refused. */
  settled(): Promise<void> {
    return this.#answered;
  }

  /** Nothing is acknowledged any more. */
  close(): void {
    this.#closed = true;
  }

  /** Stores a message; resolves to the reason code for the client. */
  async #store(packet: Published, topic: string, marker?: string): Promise<number> {
    const { connection: { context, connection, version }, client, pass } = this.#options;
    const socketId = client.socket.id;
    const owner = packet.retain ? context.limits.shares.ownerOf(connection.address, pass) : undefined;
    const draft = createPublishDraft(packet, topic, version, client, { socketId, marker, owner });
    context.hub.checkName(draft.channel);
    const isAsked = pass.asks("publish", draft.channel);
    if (!isAsked) pass.demand("publish", draft.channel);
    connection.countPublish();
    const publish = async () => {
      const allowed = isAsked ? await pass.admitPublish(draft.channel, draft.payload) : undefined;
      return await context.hub.publish({ ...draft, ...allowed });
    };
    // One after another, as messages keep their order however long the application takes for each.
    const { subscribers } = await (isAsked ? this.#asked.run(publish) : publish());
    return subscribers === 0 ? REASONS.noMatchingSubscribers : REASONS.success;
  }

  /** Stores a QoS 2 message, unless the message of its packet id is stored already. */
  #storeOnce(packet: Published, topic: string, messageId: number): Promise<number> {
    const known = this.received.get(messageId);
    if (known !== undefined) return known;
    const ids = this.#options.packetIds();
    const result = this.#store(packet, topic, ids?.markerOf(messageId));
    this.received.set(messageId, result);
    if (ids !== undefined) this.#options.saveLater();
    return result;
  }

  #demandRoom({ qos, messageId = 0, payload }: IPublishPacket): void {
    const { version, context: { settings, outboxLimits } } = this.#options.connection;
    const { mqttMaxInflight } = settings;
    const isFlood = version === 5
      ? qos > 0 && !this.#unacknowledged.has(messageId) && this.#unacknowledged.size >= mqttMaxInflight
      : this.#count > outboxLimits.messages;
    if (isFlood || this.#bytes > outboxLimits.bytes + payload.length) {
      throw new FramingError(REASONS.receiveMaximumExceeded, "Too many messages await their acknowledgement");
    }
    if (
      qos === 2 && !this.received.has(messageId) && this.received.size >= mqttMaxInflight * RELEASE_FACTOR
    ) {
      throw new FramingError(REASONS.receiveMaximumExceeded, "Too many messages await their release");
    }
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

  /** The reason code to refuse a message with; undefined where the connection was ended instead. */
  #refuse(error: unknown, qos: number): number | undefined {
    const known: MessagingError = toMessagingError(error);
    const { connection } = this.#options;
    const reason = known.code === "internal" ? String(known.cause) : known.message;
    connection.context.logger.write(known.code === "internal" ? "error" : "warn", "message refused", {
      id: connection.clientId,
      code: known.code,
      reason,
    });
    // 3.1.1 has no way to refuse a message, and QoS 0 no answer to do it with.
    if (connection.version === 5 && qos > 0) return toPublishReason(known.code);
    connection.endFor(known);
    return undefined;
  }

  #acknowledge(cmd: AckCommand, messageId: number, reasonCode: number): void {
    if (cmd !== "pubrec" || reasonCode >= 0x80) this.#unacknowledged.delete(messageId);
    if (!this.#closed) this.#options.connection.send({ cmd, messageId, reasonCode });
  }
}

/**
 * The draft of a PUBLISH or a will.
 *
 * @throws {MessagingError} `bad_channel`
 */
export function createPublishDraft(
  packet: Published,
  topic: string,
  version: Version,
  client: Client,
  options: Pick<DraftOptions, "socketId" | "marker" | "idempotencyKey" | "publisher" | "owner">,
): Draft {
  return toChannelError(() => {
    const properties = readProperties(packet);
    return createDraft({
      channel: parseTopic(topic),
      payload: readPayload(packet, version),
      from: describeSender(client),
      ttl: properties.ttl,
      properties,
      ...options,
    });
  });
}
