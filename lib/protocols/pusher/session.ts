/** One client's session in the Pusher protocol: the connection, pings, signing in, and client events. */
import type { Caller } from "../../auth/callouts.ts";
import { Heartbeat } from "../../base/heartbeat.ts";
import { TokenBucket } from "../../base/token_bucket.ts";
import { type Client, type ClientControl, createClient } from "../../core/client.ts";
import { createDraft } from "../../core/draft.ts";
import { cutReason, MessagingError, toMessagingError } from "../../core/errors.ts";
import type { Connection } from "../../core/limits.ts";
import { Outbox } from "../../core/outbox.ts";
import type { Frame, Socket, SocketHandler } from "../../core/socket.ts";
import { utf8Length } from "../../base/utf8.ts";
import type { MountedApp } from "./apps.ts";
import { isChannelName, MAX_USER_ID, parseKind, userChannel } from "./channel_name.ts";
import type { PusherContext, SessionHandle } from "./context.ts";
import { CLIENT_EVENT_REFUSED, CLOSE, CLOSE_CODES } from "./errors.ts";
import {
  type ClientFrame,
  encodeError,
  encodeFrame,
  findMaxFrameBytes,
  openEncoder,
  parseFrame,
  toEventPayload,
} from "./frames.ts";
import { NamedSocket } from "./named_socket.ts";
import { findRefusal, NO_SUCH_PATH, RefusedSession } from "./refused.ts";
import { PUSHER } from "./rooms.ts";
import { isSigned } from "./signature.ts";
import type { SignedIn } from "./subscribe_request.ts";
import { PusherSubscriptions } from "./subscriptions.ts";

/** Client events of one connection: the rate that Pusher allows. */
const CLIENT_EVENT_RATE = { perSecond: 10, burst: 10 };
const MAX_EVENT_NAME = 200;

/** Opens a session; what is wrong with its URL is told over the socket, as clients expect it. */
export function openSession(
  context: PusherContext,
  app: MountedApp | undefined,
  version: string | null,
  { connection, caller }: { readonly connection: Connection; readonly caller: Caller | undefined },
): SocketHandler {
  const refusal = findRefusal(app, version);
  if (app === undefined || refusal !== undefined) {
    return new RefusedSession(context.hub, refusal ?? NO_SUCH_PATH, connection.address);
  }
  return new PusherSession(context, app, connection, caller);
}

class PusherSession implements SocketHandler, SessionHandle {
  readonly app: MountedApp;
  readonly #context: PusherContext;
  readonly #connection: Connection;
  readonly #caller: Caller | undefined;
  readonly #socketId = createSocketId();
  readonly #clientEvents = new TokenBucket(CLIENT_EVENT_RATE, performance.now());
  #client: Client | undefined;
  #subscriptions: PusherSubscriptions | undefined;
  #heartbeat: Heartbeat | undefined;
  #user: SignedIn | undefined;

  constructor(
    context: PusherContext,
    app: MountedApp,
    connection: Connection,
    caller: Caller | undefined,
  ) {
    this.#caller = caller;
    this.#context = context;
    this.app = app;
    this.#connection = connection;
  }

  get user(): string | undefined {
    return this.#user?.id;
  }

  open(listened: Socket): void {
    const { hub, outboxLimits, settings, sessions } = this.#context;
    const socket = new NamedSocket(this.#socketId, listened);
    const control: ClientControl = {
      disconnect: (_code, reason) => this.hangUp(CLOSE.unauthorized, reason),
      subscribe: () => Promise.resolve(false),
      unsubscribe: () => false,
      refresh: () => {},
    };
    const client = createClient({
      id: this.#socketId,
      connection: this.#connection,
      protocol: PUSHER,
      socket,
      outbox: new Outbox(socket, outboxLimits),
      encoder: openEncoder(this.app),
      echo: false,
      end: (error) => this.#end(error),
      control,
    });
    this.#client = client;
    if (!hub.connect(client)) return;
    sessions.add(this);
    this.#subscriptions = new PusherSubscriptions(
      this.#context,
      this.app,
      client,
      this.#caller,
      (frame) => this.#send(frame),
    );
    this.#send(encodeFrame("pusher:connection_established", {
      socket_id: this.#socketId,
      activity_timeout: settings.pusherActivityTimeout,
    }));
    this.#heartbeat = new Heartbeat({
      interval: settings.pusherActivityTimeout,
      timeout: settings.pusherPongTimeout,
      ping: () => this.#send(encodeFrame("pusher:ping", {})),
      onSilence: () => this.#end(new MessagingError("idle", "Pong reply not received in time")),
    });
  }

  message(data: string | Uint8Array<ArrayBuffer>): void {
    if (this.#client === undefined) return;
    // Whatever arrives shows that the client lives.
    this.#heartbeat?.answer();
    const { maxMessageBytes } = this.#context.settings;
    const limit = findMaxFrameBytes(Math.min(this.app.maxEventBytes, maxMessageBytes), maxMessageBytes);
    if (data.length > limit || (typeof data === "string" && utf8Length(data) > limit)) {
      return this.#fail(new MessagingError("too_large", `The frame is larger than ${limit} bytes`));
    }
    let frame: ClientFrame;
    try {
      if (typeof data !== "string") throw new SyntaxError("Frames are text");
      frame = parseFrame(data);
    } catch (error) {
      return this.#warn(CLOSE.reconnect, error instanceof Error ? error.message : String(error));
    }
    this.#take(frame).catch((error) => this.#fail(error));
  }

  /** The socket has ended. */
  close(code: number): void {
    this.#leave(code);
  }

  hangUp(code: number, reason: string): void {
    const client = this.#client;
    if (client === undefined) return;
    client.socket.send([encodeError(code, reason)]);
    client.socket.close(code, cutReason(reason));
    this.#leave(code);
  }

  async #take({ event, channel, data, rawData }: ClientFrame): Promise<void> {
    switch (event) {
      case "pusher:ping":
        return this.#send(encodeFrame("pusher:pong", {}));
      case "pusher:pong":
        return;
      case "pusher:subscribe":
        return await this.#subscriptions?.subscribe(data, this.#socketId, this.#user);
      case "pusher:unsubscribe":
        return this.#subscriptions?.unsubscribe(data);
      case "pusher:signin":
        return this.#signIn(data);
    }
    if (event.startsWith("client-")) return await this.#publish(event, channel, rawData);
    // Unknown events of the protocol are of clients newer than this server.
    if (!event.startsWith("pusher:")) {
      this.#warn(CLIENT_EVENT_REFUSED, `Events of clients begin with "client-"`);
    }
  }

  #signIn(data: unknown): void {
    const { user_data: userData, auth } = isRecord(data) ? data : {};
    const refuse = (reason: string) => this.hangUp(CLOSE.unauthorized, reason);
    if (typeof userData !== "string" || typeof auth !== "string") {
      return refuse("A sign-in needs user_data and auth, which the application's server signs");
    }
    if (!isSigned(this.app, auth, `${this.#socketId}::user::${userData}`)) {
      return refuse("The sign-in is not signed by this app");
    }
    const user = parseUserData(userData);
    if (typeof user === "string") return refuse(user);
    if (this.#user !== undefined && this.#user.id !== user.id) {
      return refuse("This connection is signed in as another user: reconnect to sign in anew");
    }
    this.#user = user;
    this.#send(encodeFrame("pusher:signin_success", { user_data: userData }));
  }

  async #publish(event: string, channel: string | undefined, data: unknown): Promise<void> {
    const refusal = this.#findEventFault(event, channel, data);
    if (refusal !== undefined) return this.#warn(CLIENT_EVENT_REFUSED, refusal);
    const wait = this.#clientEvents.take(performance.now());
    if (wait > 0) return this.#warn(CLIENT_EVENT_REFUSED, "Client event refused: at most 10 a second");
    this.#connection.countPublish();
    const name = channel ?? "";
    const { hub, webhooks } = this.#context;
    const user = this.#subscriptions?.userOn(name);
    const text = typeof data === "string" ? data : JSON.stringify(data ?? null);
    await hub.publish(createDraft({
      channel: this.app.prefix + name,
      payload: toEventPayload(text),
      event,
      ephemeral: true,
      from: { id: this.#socketId, user },
      socketId: this.#socketId,
    }));
    webhooks.clientEvent(this.app, { channel: name, event, data: text, socketId: this.#socketId, user });
  }

  /** Why a client event is refused; undefined when it may go out. */
  #findEventFault(event: string, channel: string | undefined, data: unknown): string | undefined {
    if (channel === undefined) return "A client event needs a channel";
    if (!this.app.clientEvents) return "Client events are switched off for this app";
    const { isPrivate, isEncrypted, user } = parseKind(channel);
    if (!isPrivate || user !== undefined) return "Client events are for private and presence channels";
    if (isEncrypted) return "Client events are not for encrypted channels";
    if (!this.#subscriptions?.has(channel)) return "Client events are for channels that are subscribed to";
    if (event.length > MAX_EVENT_NAME) return `The event's name has more than ${MAX_EVENT_NAME} characters`;
    const size = utf8Length(typeof data === "string" ? data : JSON.stringify(data ?? null));
    return size > this.app.maxEventBytes
      ? `The data is larger than ${this.app.maxEventBytes} bytes`
      : undefined;
  }

  #send(frame: Frame): void {
    if (this.#client?.outbox.offer([frame]) === false) {
      this.#end(new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"));
    }
  }

  /** Tells a client of an error that does not end its connection. */
  #warn(code: number, message: string): void {
    this.#count(code === CLIENT_EVENT_REFUSED ? "forbidden" : "bad_frame", message);
    this.#send(encodeError(code, message));
  }

  #fail(cause: unknown): void {
    const error = toMessagingError(cause);
    if (error.code === "internal") {
      const reason = error.cause instanceof Error ? error.cause.stack : String(error.cause);
      this.#context.logger.write("error", "event failed", { id: this.#socketId, reason });
    }
    this.#count(error.code, error.message);
    this.#send(encodeError(CLIENT_EVENT_REFUSED, error.message));
  }

  #end(error: MessagingError): void {
    if (this.#client === undefined) return;
    this.#count(error.code, error.message);
    const { socket } = this.#client;
    this.hangUp(CLOSE_CODES[error.code], error.message);
    if (error.code === "slow_subscriber") socket.terminate();
  }

  #count(code: MessagingError["code"], message: string): void {
    this.#context.hub.metrics.refused(code, { what: "pusher", message, client: this.#socketId });
  }

  #leave(code: number): void {
    const client = this.#client;
    if (client === undefined) return;
    this.#client = undefined;
    this.#heartbeat?.stop();
    this.#subscriptions?.closeAll();
    this.#context.sessions.delete(this);
    this.#context.hub.disconnect(client, code);
  }
}

/** Two whole numbers that no other connection has. */
function createSocketId(): string {
  const [a = 0, b = 0] = crypto.getRandomValues(new Uint32Array(2));
  return `${a}.${b}`;
}

/** The user that signed data describes, or why it describes none. */
function parseUserData(data: string): SignedIn | string {
  let value: unknown;
  try {
    value = JSON.parse(data);
  } catch {
    return "user_data is not JSON";
  }
  const { id, user_info: info } = isRecord(value) ? value : {};
  if (typeof id !== "string" || id === "") return "user_data needs an id, which is a string";
  // Its channel could not be named: the sign-in would succeed and nothing would ever arrive.
  if (!isChannelName(userChannel(id))) {
    return `The id of user_data may have characters of A-Z a-z 0-9 _ - = @ , . ; : # $ ~ ! ' ( ) +, and ${MAX_USER_ID} of them`;
  }
  return { id, info: info === undefined || info === null ? undefined : JSON.stringify(info) };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
