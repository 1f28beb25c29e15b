/** The subscriptions of one Pusher session: who may open them, what a new subscriber gets, and ending them. */
import { parseChannel, selectChannel } from "../../core/channel.ts";
import type { Client } from "../../core/client.ts";
import { MessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import type { Member } from "../../core/presence.ts";
import type { Message } from "../../core/message.ts";
import { encodeBatch, type Frame } from "../../core/socket.ts";
import type { Subscription } from "../../core/subscription.ts";
import { utf8Length } from "../../base/utf8.ts";
import type { MountedApp } from "./apps.ts";
import { type ChannelKind, isChannelName, parseKind } from "./channel_name.ts";
import type { PusherContext } from "./context.ts";
import { encodeFrame } from "./frames.ts";
import { listUsers, type RoomSubscriber } from "./rooms.ts";
import { isSigned } from "./signature.ts";

/** Pusher's limits of a member: its id in characters, what is said of it in bytes. */
const MAX_USER_ID = 128;
const MAX_USER_INFO_BYTES = 1_024;

/** What a `pusher:subscribe` asks for. */
interface Request {
  readonly channel: string;
  readonly auth: string;
  readonly channelData: string | undefined;
}

interface Entry extends RoomSubscriber {
  subscription: Subscription | undefined;
}

/** Why a subscription is refused, in the form of the protocol. */
interface Refusal {
  readonly type: "AuthError" | "LimitReached" | "InvalidChannel";
  readonly error: string;
  readonly status: number;
}

export class PusherSubscriptions {
  readonly #context: PusherContext;
  readonly #app: MountedApp;
  readonly #client: Client;
  readonly #send: (frame: Frame) => void;
  readonly #entries = new Map<string, Entry>();

  constructor(context: PusherContext, app: MountedApp, client: Client, send: (frame: Frame) => void) {
    this.#context = context;
    this.#app = app;
    this.#client = client;
    this.#send = send;
  }

  has(channel: string): boolean {
    return this.#entries.has(channel);
  }

  /** Who the client is on a presence channel. */
  userOn(channel: string): string | undefined {
    return this.#entries.get(channel)?.user;
  }

  /** Subscribes, or tells the client why not. Subscribing again does nothing. */
  async subscribe(data: unknown, socketId: string, signedInUser: string | undefined): Promise<void> {
    const request = parseRequest(data);
    if (request === undefined) return this.#refuse("", invalid("pusher:subscribe needs a channel"));
    const { channel, channelData } = request;
    if (this.#entries.has(channel)) return;
    const kind = parseKind(channel);
    const refusal = this.#findRefusal(request, kind, socketId, signedInUser);
    if (refusal !== undefined) return this.#refuse(channel, refusal);
    const { hub, rooms } = this.#context;
    let member: Member | undefined;
    if (kind.isPresence) {
      const user = parseUser(channelData ?? "");
      if (typeof user === "string") {
        return this.#refuse(channel, { type: "AuthError", error: user, status: 400 });
      }
      const { id, name, protocol, since } = this.#client;
      member = { id, name, protocol, since, user: user.id, channelInfo: user.info };
    }
    const entry: Entry = { subscription: undefined, user: member?.user, send: this.#send };
    this.#entries.set(channel, entry);
    rooms.enter(this.#app, channel, entry);
    const selector = selectChannel(this.#app.prefix + channel);
    const shown = member === undefined ? {} : { member };
    if (!kind.isCache) {
      entry.subscription = hub.subscribe(this.#client, selector, shown);
      this.#succeed(channel, kind);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    entry.subscription = hub.subscribe(this.#client, selector, {
      ...shown,
      opening: {
        after: { kind: "latest" },
        limit: 1,
        onOpen: ({ messages }, announced) => {
          this.#succeed(channel, kind);
          this.#sendCached(channel, messages, announced);
          resolve();
        },
      },
    });
    await promise;
  }

  /** Unsubscribes; from a channel that is not subscribed to it does nothing. */
  unsubscribe(data: unknown): void {
    const request = parseRequest(data);
    if (request !== undefined) this.#close(request.channel);
  }

  /** Ends all subscriptions. */
  closeAll(): void {
    for (const channel of [...this.#entries.keys()]) this.#close(channel);
  }

  #close(channel: string): void {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return;
    this.#entries.delete(channel);
    if (entry.subscription !== undefined) this.#context.hub.unsubscribe(entry.subscription);
    this.#context.rooms.leave(this.#app, channel, entry);
  }

  /** Why a subscription may not be opened. On this protocol the app's signatures decide, and for public channels the gate. */
  #findRefusal(
    { channel, auth, channelData }: Request,
    kind: ChannelKind,
    socketId: string,
    signedInUser: string | undefined,
  ): Refusal | undefined {
    const { hub, settings, gate } = this.#context;
    if (!isChannelName(channel)) {
      return invalid(`Invalid channel name ${JSON.stringify(channel.slice(0, 60))}`);
    }
    const name = this.#app.prefix + channel;
    try {
      parseChannel(name);
      hub.checkName(name);
    } catch (error) {
      return invalid(error instanceof Error ? error.message : String(error));
    }
    if (this.#entries.size >= settings.maxSubscriptions) {
      const { message } = describeSubscriptionLimit(settings.maxSubscriptions);
      return { type: "LimitReached", error: message, status: 4_004 };
    }
    if (kind.user !== undefined) {
      return kind.user === signedInUser ? undefined : denied("Sign in as that user first: pusher.signin()");
    }
    if (!kind.isPrivate) {
      const denial = gate.admitApp().deny("subscribe", name);
      return denial === undefined ? undefined : denied(denial.message);
    }
    const signed = kind.isPresence ? `${socketId}:${channel}:${channelData ?? ""}` : `${socketId}:${channel}`;
    // Other channels may carry data too, and then it is signed.
    const texts = kind.isPresence || channelData === undefined
      ? [signed]
      : [signed, `${signed}:${channelData}`];
    if (texts.some((text) => isSigned(this.#app, auth, text))) return undefined;
    return denied(
      "The connection is unauthorized: the auth is not the signature of this socket, channel and data",
    );
  }

  #refuse(channel: string, { type, error, status }: Refusal): void {
    const { hub, logger } = this.#context;
    const code = type === "AuthError"
      ? "forbidden"
      : type === "LimitReached"
      ? "too_many_subscriptions"
      : "bad_channel";
    hub.metrics.refused(code, { what: `pusher ${channel}`, message: error, client: this.#client.id });
    logger.write("warn", "subscription refused", { id: this.#client.id, channel, reason: error });
    this.#send(encodeFrame("pusher:subscription_error", { type, error, status }, channel));
  }

  #succeed(channel: string, { isPresence }: ChannelKind): void {
    this.#send(
      encodeFrame(
        "pusher_internal:subscription_succeeded",
        isPresence ? this.#describe(channel) : {},
        channel,
      ),
    );
  }

  #describe(channel: string): unknown {
    const users = listUsers(this.#context.hub, this.#app.prefix + channel);
    const hash = Object.fromEntries(users.map(({ id, info }) => [id, info ?? null]));
    return { presence: { count: users.length, ids: users.map(({ id }) => id), hash } };
  }

  /** The last event, or word that there is none, then what was published since. */
  #sendCached(channel: string, messages: readonly Message[], announced: readonly Message[]): void {
    const all = [...messages, ...announced];
    if (messages.length === 0) {
      this.#send(encodeFrame("pusher:cache_miss", {}, channel));
      this.#context.webhooks.cacheMiss(this.#app, channel);
    }
    if (all.length > 0 && !this.#client.outbox.offer(encodeBatch(this.#client.encoder, all))) {
      this.#client.end(
        new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"),
      );
    }
  }
}

function parseRequest(data: unknown): Request | undefined {
  if (typeof data !== "object" || data === null) return undefined;
  const { channel, auth, channel_data: channelData } = data as Record<string, unknown>;
  if (typeof channel !== "string" || channel === "") return undefined;
  return {
    channel,
    auth: typeof auth === "string" ? auth : "",
    channelData: typeof channelData === "string" ? channelData : undefined,
  };
}

/** The member that signed data describes, or why it describes none. */
function parseUser(channelData: string): { readonly id: string; readonly info: string | undefined } | string {
  let value: unknown;
  try {
    value = JSON.parse(channelData);
  } catch {
    return "channel_data is not JSON: it needs user_id, and may have user_info";
  }
  const { user_id: id, user_info: info } = (value ?? {}) as Record<string, unknown>;
  // Some servers sign numbers.
  const text = typeof id === "number" ? String(id) : id;
  if (typeof text !== "string" || text === "" || text.length > MAX_USER_ID) {
    return `channel_data needs user_id, of 1 to ${MAX_USER_ID} characters`;
  }
  const json = info === undefined || info === null ? undefined : JSON.stringify(info);
  if (json !== undefined && utf8Length(json) > MAX_USER_INFO_BYTES) {
    return `user_info has more than ${MAX_USER_INFO_BYTES} bytes`;
  }
  return { id: text, info: json };
}

function invalid(error: string): Refusal {
  return { type: "InvalidChannel", error, status: 400 };
}

function denied(error: string): Refusal {
  return { type: "AuthError", error, status: 401 };
}
