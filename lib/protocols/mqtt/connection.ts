/**
 * One MQTT connection, whatever carries it: reads packets within bounds, connects, keeps alive, and ends with the reason
 * code that the version has for it. What a connected client does is its session's.
 */
import type { Pass } from "../../auth/pass.ts";
import { cutReason, MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import { Outbox } from "../../core/outbox.ts";
import { Frame, type Socket } from "../../core/socket.ts";
import {
  encodePacket,
  type IConnackPacket,
  type IConnectPacket,
  type Packet,
  PacketDecoder,
  type Version,
} from "./codec.ts";
import type { MqttContext, SessionConnection } from "./context.ts";
import { FramingError, PacketFramer } from "./framer.ts";
import { readPayload } from "./properties.ts";
import { REASONS, toReason, toReturnCode } from "./reasons.ts";
import { MAX_ALIASES, MqttSession } from "./session.ts";
import { parseTopic } from "./topics.ts";

/** Room for the header, topic and properties of a packet beside the largest message. */
const HEAD_BYTES = 32 * 1024;
const MAX_CLIENT_ID_LENGTH = 256;
/** The user name that goes with an API key as the password. */
const KEY_USER = "apikey";
/** How long a client may be silent, as a multiple of its keep-alive (section 3.1.2.10). */
const KEEP_ALIVE_FACTOR = 1.5;

/** A CONNECT that is answered with a reason code. */
class Refusal extends Error {
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.reason = reason;
  }
}

export class MqttConnection implements SessionConnection {
  /** Resolves when its session is stored. */
  readonly finished: Promise<void>;
  readonly context: MqttContext;
  readonly connection: Connection;
  readonly socket: Socket;
  readonly outbox: Outbox;
  readonly maxPacketBytes: number;
  version: Version = 4;
  clientId = "";
  pass: Pass | undefined;
  readonly #framer: PacketFramer;
  readonly #decoder = new PacketDecoder();
  readonly #finish: () => void;
  #state: "new" | "connecting" | "connected" | "ended" = "new";
  #waiting: Packet[] = [];
  #waitingBytes = 0;
  #session: MqttSession | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #keepAlive = 0;
  #heard = 0;

  constructor(context: MqttContext, connection: Connection, socket: Socket) {
    this.context = context;
    this.connection = connection;
    this.socket = socket;
    this.outbox = new Outbox(socket, context.outboxLimits);
    this.maxPacketBytes = context.settings.maxMessageBytes + HEAD_BYTES;
    this.#framer = new PacketFramer(this.maxPacketBytes, (packet) => this.#read(packet));
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    context.connectionsOpen.add(this);
    const { mqttConnectTimeout } = context.settings;
    this.#silence = setTimeout(() => {
      this.#count(new MessagingError("handshake_timeout", `No CONNECT within ${mqttConnectTimeout} seconds`));
      this.#hangUp("No CONNECT");
    }, mqttConnectTimeout * 1_000);
  }

  /** Reads bytes as they arrive. Resolves when there is room for more. */
  receive(bytes: Uint8Array<ArrayBuffer>): Promise<void> | undefined {
    if (this.#isEnded) return;
    this.#heard = performance.now();
    try {
      this.#framer.feed(bytes);
    } catch (error) {
      if (error instanceof FramingError) this.#refuse(error.reason, error.message);
      else this.fail(error);
    }
    return this.#session?.roomForMore();
  }

  /** Ends the connection of a client that does not keep to the protocol. */
  refuse(message: string): void {
    this.#refuse(REASONS.protocolError, message);
  }

  end(reason: number, message: string): void {
    if (this.#isEnded) return;
    if (this.#state === "connected" && this.version === 5) {
      this.send({ cmd: "disconnect", reasonCode: reason, properties: { reasonString: cutReason(message) } });
    }
    this.#hangUp(message);
  }

  /** Ends the connection for one of our errors. */
  endFor(error: MessagingError): void {
    if (this.#isEnded) return;
    this.#count(error);
    if (error.code === "slow_subscriber") {
      // Nothing more fits in.
      this.socket.terminate();
      return this.closed();
    }
    this.end(toReason(error.code), error.message);
  }

  /** Ends the connection for any error. */
  fail(error: unknown): void {
    const known = toMessagingError(error);
    if (known.code === "internal") {
      const reason = error instanceof Error ? error.stack ?? error.message : String(error);
      this.context.logger.write("error", "mqtt connection failed", { id: this.clientId, reason });
    }
    this.endFor(known);
  }

  /** Sends a packet; ends the connection of a client that does not read. */
  send(packet: Packet): void {
    this.sendEncoded([encodePacket(packet, this.version)]);
  }

  sendEncoded(packets: readonly Uint8Array<ArrayBuffer>[]): void {
    if (this.#isEnded) return;
    if (!this.outbox.offer(packets.map((bytes) => new Frame(bytes)))) {
      this.endFor(new MessagingError("slow_subscriber", "Too many packets are waiting for you: read them"));
    }
  }

  /** The connection is gone. Its session is stored, its will published. */
  closed(isRegular = false): void {
    if (this.#isEnded) return;
    this.#state = "ended";
    clearTimeout(this.#silence);
    this.#waiting = [];
    const { context } = this;
    const storing = this.#session?.close(isRegular) ?? Promise.resolve();
    storing.catch((error) => {
      context.logger.write("error", "storing an mqtt session failed", {
        id: this.clientId,
        reason: String(error),
      });
    }).finally(() => {
      context.connectionsOpen.delete(this);
      if (context.connected.get(this.clientId) === this) context.connected.delete(this.clientId);
      this.#finish();
    });
  }

  get #isEnded(): boolean {
    return this.#state === "ended";
  }

  #count({ code, message }: MessagingError): void {
    const { hub } = this.context;
    hub.metrics.refused(code, {
      what: "mqtt",
      message,
      client: this.clientId,
      address: this.connection.address,
    });
  }

  #refuse(reason: number, message: string): void {
    if (this.#isEnded) return;
    this.#count(new MessagingError("bad_frame", message));
    this.context.logger.write("warn", "client refused", { id: this.clientId, code: reason, reason: message });
    this.end(reason, message);
  }

  #hangUp(message: string): void {
    this.socket.close(1000, cutReason(message));
    this.closed();
  }

  #read(bytes: Uint8Array<ArrayBuffer>): boolean {
    let packet;
    try {
      packet = this.#decoder.decode(bytes);
    } catch (error) {
      // A version that we do not know is answered in the oldest way, which all clients understand.
      if (this.#state === "new" && error instanceof Error && /protocol version/i.test(error.message)) {
        this.send({ cmd: "connack", returnCode: 1, sessionPresent: false });
      }
      throw error;
    }
    this.#take(packet, bytes.byteLength);
    return !this.#isEnded;
  }

  #take(packet: Packet, size: number): void {
    if (packet.cmd === "connect") {
      if (this.#state !== "new") return this.refuse("A second CONNECT");
      this.#state = "connecting";
      this.version = packet.protocolVersion ?? 4;
      this.#decoder.setVersion(this.version);
      this.#connect(packet).catch((error) => this.#answerRefusal(error));
    } else if (this.#state === "new") this.refuse(`${packet.cmd.toUpperCase()} before CONNECT`);
    else if (this.#state === "connecting") {
      this.#waitingBytes += size;
      if (this.#waitingBytes > this.maxPacketBytes) return this.refuse("Too much before CONNACK");
      this.#waiting.push(packet);
    } else this.#run(packet);
  }

  #run(packet: Packet): void {
    const session = this.#session;
    if (session === undefined || this.#isEnded) return;
    try {
      switch (packet.cmd) {
        case "publish":
          return session.publish(packet);
        case "puback":
        case "pubrec":
        case "pubcomp":
          return session.acknowledge(packet.cmd, packet.messageId ?? 0, packet.reasonCode ?? 0);
        case "pubrel":
          return session.release(packet.messageId ?? 0);
        case "subscribe":
          return session.subscribe(packet);
        case "unsubscribe":
          return session.unsubscribe(packet);
        case "pingreq":
          session.touch();
          return this.send({ cmd: "pingresp" });
        case "disconnect": {
          if (!session.changeExpiry(packet.properties?.sessionExpiryInterval)) {
            return this.refuse(
              "A session that ends with its connection cannot be made to last by DISCONNECT",
            );
          }
          const keepsWill = packet.reasonCode === REASONS.disconnectWithWill;
          this.socket.close(1000, "");
          return this.closed(!keepsWill);
        }
        case "auth":
          return this.#refuse(REASONS.badAuthMethod, "There is no extended authentication here");
        default:
          return this.refuse(`${packet.cmd.toUpperCase()} is for servers to send`);
      }
    } catch (error) {
      if (error instanceof FramingError) this.#refuse(error.reason, error.message);
      else this.fail(error);
    }
  }

  async #connect(packet: IConnectPacket): Promise<void> {
    const { context } = this;
    const { hub, settings, connected } = context;
    if (hub.draining) throw new MessagingError("draining", "The server is restarting: try again in a moment");
    if (packet.properties?.authenticationMethod !== undefined) {
      throw new Refusal(REASONS.badAuthMethod, "There is no extended authentication here");
    }
    if (packet.properties?.receiveMaximum === 0 || packet.properties?.maximumPacketSize === 0) {
      throw new Refusal(REASONS.protocolError, "A maximum of 0");
    }
    const clean = packet.clean === true;
    this.clientId = this.#chooseId(packet, clean);
    const pass = await this.#admit(packet);
    if (this.#isEnded) return;
    this.pass = pass;
    this.#checkWill(packet, pass);

    // Whoever has the id goes first, and has stored the session before it is read.
    for (
      let other = connected.get(this.clientId);
      other !== undefined;
      other = connected.get(this.clientId)
    ) {
      const owner = other instanceof MqttConnection ? other.pass?.user : undefined;
      if (!pass.isTrusted && owner !== pass.user) throw takenId();
      other.end(REASONS.takenOver, "Another connection has this client id");
      await other.finished;
      if (this.#isEnded) return;
    }
    connected.set(this.clientId, this);
    const loaded = await context.store.load(this.clientId);
    if (this.#isEnded) return;
    const { record, revision } = loaded;
    if (record !== undefined && !pass.isTrusted && record.user !== pass.user) throw takenId();
    const session = new MqttSession(this, packet, pass, revision);
    if (session.expiry > 0 && record === undefined && context.store.size >= settings.mqttMaxSessions) {
      throw new Refusal(REASONS.quotaExceeded, "The server keeps enough sessions: raise --mqtt-max-sessions");
    }
    const kept = clean ? undefined : record;
    await session.restore(kept, record !== undefined);
    if (this.#isEnded) return;
    context.wills.cancel(this.clientId);
    this.#session = session;
    clearTimeout(this.#silence);
    if (!session.connect()) return;
    this.#state = "connected";
    this.send(this.#createConnack(packet, session, kept !== undefined));
    this.#watchSilence(packet.keepalive ?? 0);
    session.start();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const one of waiting) this.#run(one);
  }

  #chooseId({ clientId }: IConnectPacket, clean: boolean): string {
    if (clientId.length > MAX_CLIENT_ID_LENGTH || /\p{Cc}/u.test(clientId)) {
      throw new Refusal(
        REASONS.badClientId,
        `A client id has at most ${MAX_CLIENT_ID_LENGTH} characters and no control characters`,
      );
    }
    if (clientId !== "") return clientId;
    if (!this.context.settings.mqttAssignIds || (this.version !== 5 && !clean)) {
      throw new Refusal(REASONS.badClientId, "A client id is needed here");
    }
    return `auto-${crypto.randomUUID()}`;
  }

  /** The password is a token, or an API key where the user name says so. */
  async #admit({ username, password }: IConnectPacket): Promise<Pass> {
    const { gate } = this.context;
    const secret = password?.toString() ?? "";
    if (username !== KEY_USER || gate.isOpen) return await gate.admitConnection(secret);
    let request;
    try {
      request = new Request("http://localhost/", { headers: { "x-api-key": secret } });
    } catch {
      throw new Refusal(REASONS.badCredentials, "The API key is unknown");
    }
    if (!gate.carriesKey(request)) throw new Refusal(REASONS.badCredentials, "The API key is unknown");
    return gate.operator;
  }

  #checkWill({ will }: IConnectPacket, pass: Pass): void {
    if (will === undefined) return;
    const { hub, settings } = this.context;
    try {
      const channel = parseTopic(will.topic);
      hub.checkName(channel);
      pass.demand("publish", channel);
      readPayload(
        { qos: 0, retain: false, payload: will.payload, properties: will.properties },
        this.version,
      );
    } catch (error) {
      if (error instanceof SyntaxError) throw new Refusal(REASONS.badTopic, `Will: ${error.message}`);
      throw error;
    }
    if (will.payload.length > settings.maxMessageBytes) {
      throw new Refusal(REASONS.tooLarge, `The will is larger than ${settings.maxMessageBytes} bytes`);
    }
  }

  #createConnack(packet: IConnectPacket, session: MqttSession, sessionPresent: boolean): IConnackPacket {
    const connack: IConnackPacket = { cmd: "connack", reasonCode: 0, returnCode: 0, sessionPresent };
    if (this.version !== 5) return connack;
    const { mqttMaxInflight } = this.context.settings;
    const asked = packet.properties?.sessionExpiryInterval ?? 0;
    const keepAlive = this.#limitKeepAlive(packet.keepalive ?? 0);
    return {
      ...connack,
      properties: {
        receiveMaximum: mqttMaxInflight,
        maximumPacketSize: this.maxPacketBytes,
        topicAliasMaximum: MAX_ALIASES,
        ...(session.expiry === asked ? {} : { sessionExpiryInterval: session.expiry }),
        ...(packet.clientId === "" ? { assignedClientIdentifier: this.clientId } : {}),
        ...(keepAlive === packet.keepalive ? {} : { serverKeepAlive: keepAlive }),
      },
    };
  }

  #limitKeepAlive(seconds: number): number {
    const { mqttMaxKeepAlive } = this.context.settings;
    if (mqttMaxKeepAlive === 0 || this.version !== 5) return seconds;
    return seconds === 0 ? mqttMaxKeepAlive : Math.min(seconds, mqttMaxKeepAlive);
  }

  #watchSilence(asked: number): void {
    this.#keepAlive = this.#limitKeepAlive(asked) * KEEP_ALIVE_FACTOR * 1_000;
    if (this.#keepAlive > 0) this.#listenFor(this.#keepAlive);
  }

  /** One timer looks at when something was last heard: setting one for each packet would cost more. */
  #listenFor(milliseconds: number): void {
    this.#silence = setTimeout(() => {
      const left = this.#heard + this.#keepAlive - performance.now();
      if (left > 0) return this.#listenFor(left);
      this.endFor(new MessagingError("idle", "Nothing heard within 1.5 times the keep-alive"));
    }, milliseconds);
  }

  #answerRefusal(error: unknown): void {
    if (this.#isEnded) return;
    const isRefusal = error instanceof Refusal;
    const known = isRefusal ? new MessagingError("bad_request", error.message) : toMessagingError(error);
    if (known.code === "internal") return this.fail(error);
    const reason = isRefusal ? error.reason : toReason(known.code);
    this.#count(known);
    this.context.logger.write("warn", "client refused", {
      id: this.clientId,
      code: reason,
      reason: known.message,
    });
    this.send({
      cmd: "connack",
      sessionPresent: false,
      reasonCode: reason,
      returnCode: toReturnCode(reason),
      ...(this.version === 5 ? { properties: { reasonString: known.message } } : {}),
    });
    this.#hangUp(known.message);
  }
}

function takenId(): Refusal {
  return new Refusal(REASONS.badClientId, "The client id belongs to another user: choose another");
}
