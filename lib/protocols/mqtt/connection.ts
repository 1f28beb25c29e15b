/**
 * One MQTT connection, whatever carries it: reads packets within bounds, connects, keeps alive, and ends with the
 * reason code that the version has for it. What a connected client does is its session's.
 */
import { describeReason } from "../../base/reason.ts";
import type { Caller } from "../../auth/callouts.ts";
import type { Pass } from "../../auth/pass.ts";
import { nextSlice, SliceClock } from "../../base/slices.ts";
import { cutReason, MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import { Outbox } from "../../core/outbox.ts";
import { Frame, type Socket } from "../../core/socket.ts";
import type { ClientIdClaim } from "./client_ids.ts";
import { encodePacket, type IConnectPacket, type Packet, PacketDecoder, type Version } from "./codec.ts";
import type { MqttContext, SessionConnection } from "./context.ts";
import { FramingError, PacketFramer } from "./framer.ts";
import {
  admitClient,
  chooseClientId,
  createConnack,
  demandSupported,
  demandWill,
  limitKeepAlive,
} from "./handshake.ts";
import { openSession } from "./opening.ts";
import { REASONS, toConnectReason, toDisconnectReason, toReason, toReturnCode } from "./reasons.ts";
import { Refusal } from "./refusal.ts";
import type { MqttSession } from "./session.ts";

/** Room for the header, topic and properties of a packet beside the largest message. */
const HEAD_BYTES = 32 * 1024;
/** How long a client may be silent, as a multiple of its keep-alive (section 3.1.2.10). */
const KEEP_ALIVE_FACTOR = 1.5;

/** Packets that are read in one slice, and how many of the largest may wait for theirs. */
const MAX_SLICE_PACKETS = 256;
const MAX_UNREAD_PACKETS = 8;
/** What arrives at once and may hold work for long waits for its slice from the start. */
const SMALL_BYTES = 4 * 1024;

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
  readonly #framer: PacketFramer;
  readonly #decoder = new PacketDecoder();
  readonly #finish: () => void;
  readonly #caller: Caller | undefined;
  #state: "new" | "connecting" | "connected" | "ended" = "new";
  /** The reading of packets that have arrived and wait for their slice. */
  #reading: Promise<void> | undefined;
  #claim: ClientIdClaim | undefined;
  /** The opening of the session, from the claim on. */
  #opening: Promise<void> | undefined;
  #session: MqttSession | undefined;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #keepAlive = 0;
  #heard = 0;

  /** @param caller who it is for the application that decides */
  constructor(context: MqttContext, connection: Connection, socket: Socket, caller?: Caller) {
    this.#caller = caller;
    this.context = context;
    this.connection = connection;
    this.socket = socket;
    this.outbox = new Outbox(socket, context.outboxLimits);
    this.maxPacketBytes = context.settings.maxMessageBytes + HEAD_BYTES;
    this.#framer = new PacketFramer(this.maxPacketBytes);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    context.connectionsOpen.add(this);
    const { mqttConnectTimeout } = context.settings;
    this.#silence = setTimeout(() => {
      const what = this.#state === "new" ? "No CONNECT" : "Not connected";
      this.endFor(new MessagingError("handshake_timeout", `${what} within ${mqttConnectTimeout} seconds`));
    }, mqttConnectTimeout * 1_000);
  }

  /** Reads bytes as they arrive. Resolves when there is room for more. */
  receive(bytes: Uint8Array<ArrayBuffer>): Promise<void> | undefined {
    if (this.#isEnded) return;
    this.#heard = performance.now();
    this.#framer.push(bytes);
    if (this.#framer.waitingBytes > MAX_UNREAD_PACKETS * this.maxPacketBytes) {
      this.endFor(new MessagingError("too_many_requests", "Too many packets at once: wait for answers"));
      return;
    }
    this.#readOn(bytes.byteLength <= SMALL_BYTES);
    return this.#reading?.then(() => this.#session?.roomForMore()) ?? this.#session?.roomForMore();
  }

  /** The client has closed: what it sent before counts. */
  closedByClient(): void {
    if (this.#reading === undefined) this.closed();
    else void this.#reading.then(() => this.closed());
  }

  /** Ends the connection of a client that does not keep to the protocol. */
  refuse(message: string): void {
    this.#refuse(REASONS.protocolError, message);
  }

  /** Ends the connection. A client that waits for its CONNACK is refused with it: no DISCONNECT may come before. */
  end(reason: number, message: string): void {
    if (this.#isEnded) return;
    const properties = { reasonString: cutReason(message) };
    if (this.#state === "connected" && this.version === 5) {
      this.send({ cmd: "disconnect", reasonCode: reason, properties });
    } else if (this.#state === "connecting") {
      const reasonCode = toConnectReason(reason);
      const returnCode = toReturnCode(reasonCode);
      this.send({ cmd: "connack", sessionPresent: false, reasonCode, returnCode, properties });
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
    const reason = this.#state === "connecting" ? toReason(error.code) : toDisconnectReason(error.code);
    this.end(reason, error.message);
  }

  /** Ends the connection for any error: of ours, or what a packet is refused for, be that read at once or later. */
  fail(error: unknown): void {
    if (error instanceof FramingError) return this.#refuse(error.reason, error.message);
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
    this.#framer.clear();
    this.#claim?.release();
    void this.#store(isRegular);
  }

  async #store(isRegular: boolean): Promise<void> {
    const { connectionsOpen, logger } = this.context;
    try {
      // Whoever takes the client id over finds nothing of this connection still under way.
      await (this.#session?.close(isRegular) ?? this.#opening);
    } catch (error) {
      // What fails while it is opened is answered there.
      if (this.#session !== undefined) {
        const reason = describeReason(error);
        logger.write("error", "storing an mqtt session failed", { id: this.clientId, reason });
      }
    }
    connectionsOpen.delete(this);
    this.#finish();
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

  /**
   * Reads what has arrived, unless that is going on.
   *
   * @param atOnce whether the first slice is now
   */
  #readOn(atOnce: boolean): void {
    if (this.#reading !== undefined) return;
    if (!atOnce || !this.#readSlice()) this.#reading = this.#readRest();
  }

  /** Reads packets in slices: thousands in one frame hold up nobody else. */
  async #readRest(): Promise<void> {
    do await nextSlice(); while (!this.#readSlice());
    this.#reading = undefined;
  }

  /** Returns whether there is nothing left to read for now. What follows CONNECT waits for CONNACK. */
  #readSlice(): boolean {
    const clock = new SliceClock();
    let isDone = false;
    // Storing and delivering a message come after its packet was read, when the clock is not looked at any more.
    this.#guard(() => {
      for (let count = 0; count < MAX_SLICE_PACKETS && !clock.isOver; count++) {
        const packet = this.#isEnded || this.#state === "connecting" ? undefined : this.#framer.next();
        isDone = packet === undefined;
        if (packet === undefined) return;
        this.#read(packet);
      }
    });
    return isDone || this.#isEnded;
  }

  /** Ends the connection for what a packet makes us throw. */
  #guard(run: () => void): void {
    try {
      run();
    } catch (error) {
      this.fail(error);
    }
  }

  #read(bytes: Uint8Array<ArrayBuffer>): void {
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
    this.#take(packet);
  }

  #take(packet: Packet): void {
    if (packet.cmd === "connect") {
      if (this.#state !== "new") return this.refuse("A second CONNECT");
      this.#state = "connecting";
      this.version = packet.protocolVersion ?? 4;
      this.#decoder.setVersion(this.version);
      this.#connect(packet).catch((error) => this.#answerRefusal(error));
    } else if (this.#state === "new") this.refuse(`${packet.cmd.toUpperCase()} before CONNECT`);
    else this.#run(packet);
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
          // CONNECT has named no method, or was refused (section 4.12).
          return this.refuse("An AUTH without an authentication method");
        default:
          return this.refuse(`${packet.cmd.toUpperCase()} is for servers to send`);
      }
    } catch (error) {
      this.fail(error);
    }
  }

  async #connect(packet: IConnectPacket): Promise<void> {
    const { context } = this;
    demandSupported(packet, context);
    this.clientId = chooseClientId(packet, this.version, context.settings);
    const pass = await admitClient(packet, context, this.#caller);
    if (this.#isEnded) return;
    demandWill(packet, this.version, pass, context);
    this.#claim = context.clientIds.claim(this.clientId, pass, this);
    await (this.#opening = this.#open(packet, pass, this.#claim));
    this.#opening = undefined;
  }

  async #open(packet: IConnectPacket, pass: Pass, claim: ClientIdClaim): Promise<void> {
    await claim.granted;
    if (this.#isEnded) return;
    const opened = await openSession(this, packet, pass, () => this.#isEnded);
    if (opened === undefined) return;
    const { session, isPresent: sessionPresent } = opened;
    if (this.#isEnded) return await session.abandon();
    // One that the hub refuses never was connected.
    if (!session.connect()) return await session.abandon();
    this.#session = session;
    clearTimeout(this.#silence);
    this.#state = "connected";
    const { version, clientId, maxPacketBytes, context: { settings } } = this;
    const { expiry } = session;
    this.send(createConnack(packet, { version, clientId, sessionPresent, expiry, maxPacketBytes }, settings));
    this.#watchSilence(packet.keepalive ?? 0);
    session.start();
    this.#readOn(this.#framer.waitingBytes <= SMALL_BYTES);
  }

  #watchSilence(asked: number): void {
    this.#keepAlive = limitKeepAlive(asked, this.version, this.context.settings) * KEEP_ALIVE_FACTOR * 1_000;
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
    this.end(reason, known.message);
  }
}
