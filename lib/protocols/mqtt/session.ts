/**
 * The session of a connected MQTT client: puts together what it publishes, what it is subscribed to and what is on its
 * way to it, and keeps what of that outlives the connection.
 */
import type { Pass } from "../../auth/pass.ts";
import { type Client, createClient, parseClientId, parseClientName } from "../../core/client.ts";
import { selectChannel } from "../../core/channel.ts";
import { toMessagingError } from "../../core/errors.ts";
import type { Message } from "../../core/message.ts";
import { watchExpiry } from "../protocol.ts";
import type { IConnectPacket, IPublishPacket, ISubscribePacket, IUnsubscribePacket } from "./codec.ts";
import type { SessionConnection } from "./context.ts";
import { Delivery, type Inflight } from "./delivery.ts";
import { PacketIds } from "./packet_ids.ts";
import { createPublishDraft, MAX_ALIASES, Publishing } from "./publishing.ts";
import { SessionSaver } from "./session_saver.ts";
import type { SessionRecord, StoredInflight } from "./session_store.ts";
import { MQTT_ENCODER, SessionSocket } from "./socket.ts";
import { Subscriptions } from "./subscriptions.ts";
import { parseFilter } from "./topics.ts";
import type { ArmedWill, RemovedWill, Will } from "./wills.ts";

/** How the hub's clients name the protocol. Their ids are given by `ClientIds`. */
const PROTOCOLS = ["mqtt", "mqtt5"];
const LARGEST_PACKET = 268_435_460;
/** For each second of its expiry: how often a connected session is stored at least, and how long it is then valid. */
const REFRESH_MILLISECONDS = 500;
const CONNECTED_MILLISECONDS = 1_500;

export class MqttSession {
  /** Seconds that the session is kept without its client. */
  expiry: number;
  /** Whose share it counts for, as `Shares.ownerOf` says. */
  readonly owner: string | undefined;
  readonly #connection: SessionConnection;
  readonly #pass: Pass;
  readonly #will: Will | undefined;
  #armedWill: ArmedWill | undefined;
  /** The will of an earlier connection, until this one is connected. */
  #removedWill: RemovedWill | undefined;
  readonly #inflight = new Map<number, Inflight>();
  readonly #client: Client;
  /** Whether it had an expiry when it began: DISCONNECT may end it. */
  readonly #wasPersistent: boolean;
  readonly #saver: SessionSaver;
  readonly #delivery: Delivery;
  readonly #subscriptions: Subscriptions;
  readonly #publishing: Publishing;
  #packetIds: PacketIds;
  #forgetExpiry: () => void = () => {};
  #closed = false;

  constructor(connection: SessionConnection, packet: IConnectPacket, pass: Pass, revision: number) {
    const { context, version } = connection;
    const { mqttMaxSessionExpiry, mqttMaxInflight } = context.settings;
    const { properties = {} } = packet;
    this.#connection = connection;
    this.#pass = pass;
    this.owner = context.limits.shares.ownerOf(connection.connection.address, pass);
    const asked = version === 5 ? properties.sessionExpiryInterval ?? 0 : packet.clean ? 0 : Infinity;
    this.expiry = Math.min(asked, mqttMaxSessionExpiry);
    this.#wasPersistent = this.expiry > 0;
    const isPersistent = () => this.expiry > 0;
    const saver = this.#saver = new SessionSaver({
      connection,
      revision,
      isPersistent,
      refreshAfter: () => this.expiry * REFRESH_MILLISECONDS,
      createRecord: () => this.#createRecord(),
    });
    const save = () => saver.save();
    const saveLater = () => saver.saveLater();
    const delivery = this.#delivery = new Delivery({
      version,
      receiveMaximum: Math.min(version === 5 ? properties.receiveMaximum ?? 65_535 : 65_535, mqttMaxInflight),
      maxPacketBytes: properties.maximumPacketSize ?? LARGEST_PACKET,
      aliasMaximum: Math.min(properties.topicAliasMaximum ?? 0, MAX_ALIASES),
      limits: context.outboxLimits,
      isPersistent,
      send: (packets) => connection.sendEncoded(packets),
      save,
      saveLater,
      fail: (error) => connection.fail(error),
    }, this.#inflight);
    const client = this.#client = createSessionClient(connection, pass, delivery);
    this.#subscriptions = new Subscriptions({ connection, client, pass, delivery, isPersistent, save });
    this.#will = readWill(packet, connection, client, this.owner);
    this.#packetIds = new PacketIds(context.state);
    const packetIds = () => isPersistent() ? this.#packetIds : undefined;
    this.#publishing = new Publishing({ connection, client, pass, packetIds, saveLater });
  }

  /**
   * Takes up what an earlier connection left, as far as this one may read it, and claims it: an earlier connection on
   * another node can no longer store anything.
   *
   * @param hasEnded whether the connection has ended meanwhile: then it claims nothing
   * @throws {MessagingError} what the engine rejects with, or the application that is to say what may be read
   */
  async restore(
    record: SessionRecord | undefined,
    wasStored: boolean,
    hasEnded: () => boolean,
  ): Promise<void> {
    this.#saver.isStored = wasStored;
    this.#subscriptions.restore(record?.subscriptions ?? []);
    if (record !== undefined) {
      this.#packetIds = new PacketIds(this.#connection.context.state, record.incarnation);
      for (const packetId of record.packetIds) this.#publishing.received.set(packetId, undefined);
    }
    for (const stored of record?.inflight ?? []) {
      if (hasEnded()) return;
      if (!stored.released && !await this.#mayRead(stored.channel)) continue;
      const message = await this.#find(stored);
      if (message === undefined) {
        const { channel, sequence } = stored;
        this.#connection.context.logger.write("warn", "unacknowledged mqtt message is gone", {
          id: this.#connection.clientId,
          channel,
          reason: sequence === 0 ? "the channel is ephemeral" : "its history does not reach back to it",
        });
        continue;
      }
      const { packetId, qos, released, filter, retain } = stored;
      const subscription = this.#subscriptions.get(filter);
      this.#inflight.set(packetId, { message, subscription, qos, released, retain });
    }
    if (!hasEnded()) await this.#saver.save();
  }

  /**
   * Settles the will of an earlier connection. Errors like the engine.
   *
   * @param isResumed whether its session goes on
   */
  async meetWill(isResumed: boolean, hasEnded: () => boolean): Promise<void> {
    const { context: { wills }, clientId } = this.#connection;
    this.#removedWill = (await wills.meet(clientId, isResumed, hasEnded)).removed;
  }

  /** Has the will kept, if there is one, until the connection ends. Errors like the engine. */
  async armWill(hasEnded: () => boolean): Promise<void> {
    const { context: { wills }, clientId } = this.#connection;
    if (this.#will === undefined) return;
    this.#armedWill = await wills.arm(clientId, { ...this.#will, delay: this.#willDelay }, hasEnded);
  }

  /**
   * The connection has ended before its client was connected: the will is not published, that of an earlier connection
   * waits again, and nothing more is stored. Resolves once that holds; throws nothing.
   */
  async abandon(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#saver.abandon(), this.#returnWill()]);
  }

  async #returnWill(): Promise<void> {
    const { context: { wills }, clientId } = this.#connection;
    await this.#armedWill?.disarm();
    if (this.#removedWill !== undefined) await wills.putBack(clientId, this.#removedWill);
  }

  /** Connects to the hub. Returns false if the hub ended the client at once. */
  connect(): boolean {
    const isConnected = this.#connection.context.hub.connect(this.#client, undefined, PROTOCOLS);
    if (isConnected) this.#removedWill = undefined;
    return isConnected;
  }

  /** Sends again what is unacknowledged, and what came meanwhile. */
  start(): void {
    this.#forgetExpiry = watchExpiry(this.#connection.context, this.#pass, this.#client);
    this.#delivery.start();
    this.#subscriptions.start();
  }

  /** Resolves when the client may send more; undefined at once. */
  roomForMore(): Promise<void> | undefined {
    return this.#publishing.roomForMore();
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
    this.#publishing.publish(packet);
  }

  /** Takes a PUBREL: the packet id is free again. */
  release(messageId: number): void {
    this.#publishing.release(messageId);
  }

  /** Takes an acknowledgement of what was sent to the client. */
  acknowledge(command: "puback" | "pubrec" | "pubcomp", messageId: number, reason: number): void {
    this.#delivery.acknowledge(command, messageId, reason).catch((error) => this.#connection.fail(error));
  }

  /** Takes a SUBSCRIBE, answers it, and sends the retained messages. */
  subscribe(packet: ISubscribePacket): void {
    this.#subscriptions.subscribe(packet);
  }

  /** Takes an UNSUBSCRIBE and answers it. */
  unsubscribe(packet: IUnsubscribePacket): void {
    this.#subscriptions.unsubscribe(packet);
  }

  /**
   * The connection has ended.
   *
   * @param isRegular whether the client said so, and its will is not to be published
   * @returns resolves when the session is stored, and the will published or forgotten; rejects only then, too, with
   *   what kept the session from being stored
   */
  async close(isRegular: boolean): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#forgetExpiry();
    this.#publishing.close();
    this.#delivery.close();
    this.#subscriptions.close();
    this.#connection.context.hub.disconnect(this.#client);
    const outcomes = await Promise.allSettled([this.#saver.close(), this.#settleWill(isRegular)]);
    if (this.#wasPersistent && this.expiry === 0) {
      outcomes.push(...await Promise.allSettled([this.#releasePacketIds()]));
    }
    const failed = outcomes.find(({ status }) => status === "rejected");
    if (failed?.status === "rejected") throw failed.reason;
  }

  async #releasePacketIds(): Promise<void> {
    await this.#publishing.settled();
    await this.#packetIds.releaseAll(this.#publishing.received.keys());
  }

  /** The will is published when the session ends, if that is earlier. */
  get #willDelay(): number {
    return Math.min(this.#will?.delay ?? 0, this.expiry);
  }

  async #settleWill(isRegular: boolean): Promise<void> {
    if (isRegular) await this.#armedWill?.disarm();
    else await this.#armedWill?.fire(this.#willDelay);
  }

  #createRecord(): SessionRecord {
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
      hasKey: this.#pass.hasKey,
      owner: this.owner,
      expiry: this.expiry,
      // A connected session is stored again before that: after a kill, the client has at least its expiry to return.
      expiresAt: Date.now() + this.expiry * (this.#closed ? 1_000 : CONNECTED_MILLISECONDS),
      subscriptions: this.#subscriptions.toStored(),
      inflight,
      incarnation: this.#packetIds.incarnation,
      packetIds: [...this.#publishing.received.keys()],
    };
  }

  /**
   * Whether what was on its way may be sent again: rights may have changed since then, and whoever has no user shares
   * its sessions with all others who have none.
   */
  async #mayRead(channel: string): Promise<boolean> {
    const pass = this.#pass;
    if (pass.asks("subscribe", channel)) {
      try {
        await pass.admitSubscription(selectChannel(channel));
      } catch (error) {
        const known = toMessagingError(error);
        // The session stays as it is until the application answers again.
        if (known.retry || known.code === "internal") throw known;
        return false;
      }
    }
    return pass.deny("subscribe", channel) === undefined;
  }

  /** Finds a message that is to be sent again; undefined if the log has removed it. */
  async #find({ channel, epoch, sequence, released }: StoredInflight): Promise<Message | undefined> {
    const { hub } = this.#connection.context;
    if (released) return createReleased(channel, epoch, sequence);
    if (sequence === 0) return undefined;
    const { selector } = parseFilter(channel);
    const after = { kind: "id" as const, epoch, sequence: sequence - 1 };
    const { messages: [message] } = await hub.read({ selector, after, limit: 1 });
    return message?.sequence === sequence && message.epoch === epoch ? message : undefined;
  }
}

/** The will of a client. Whether it may publish it was checked with CONNECT. */
function readWill(
  { will }: IConnectPacket,
  connection: SessionConnection,
  client: Client,
  owner: string | undefined,
): Will | undefined {
  if (will === undefined) return undefined;
  const { willDelayInterval = 0, ...properties } = will.properties ?? {};
  const { payload, qos = 0, retain = false } = will;
  const draft = createPublishDraft(
    { payload, qos, retain, properties },
    will.topic,
    connection.version,
    client,
    {
      idempotencyKey: crypto.randomUUID(),
      publisher: "mqtt-will",
      owner,
    },
  );
  return { draft, delay: connection.version === 5 ? willDelayInterval : 0 };
}

/** What the hub knows of the client. */
function createSessionClient(connection: SessionConnection, pass: Pass, delivery: Delivery): Client {
  const { clientId } = connection;
  const id = pass.isTrusted ? tryParse(parseClientId, clientId) : undefined;
  return createClient({
    id: id ?? crypto.randomUUID(),
    choseId: id !== undefined,
    name: tryParse(parseClientName, clientId),
    user: pass.user,
    info: pass.info,
    labels: pass.labels,
    connection: connection.connection,
    protocol: connection.version === 5 ? "mqtt5" : "mqtt",
    socket: new SessionSocket(
      connection.socket,
      // For this client alone.
      (message) => {
        delivery.offer([{ message, subscription: undefined, qos: 0, retain: false }]);
      },
      () => delivery.drained(),
    ),
    outbox: connection.outbox,
    encoder: MQTT_ENCODER,
    echo: true,
    end: (error) => connection.endFor(error),
  });
}

/** Of a message that the client has, only the packet id matters. */
function createReleased(channel: string, epoch: string, sequence: number): Message {
  const payload = { kind: "text" as const, text: "" };
  const none = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  return { channel, payload, epoch, sequence, offset: 0, time: 0, ...none };
}

function tryParse(parseText: (text: string) => string, text: string): string | undefined {
  try {
    return parseText(text);
  } catch {
    return undefined;
  }
}
