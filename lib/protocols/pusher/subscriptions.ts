/** The subscriptions of one Pusher session: who may open them, what a new subscriber gets, and ending them. */
import type { Caller } from "../../auth/callouts.ts";
import type { Pass } from "../../auth/pass.ts";
import { Serial } from "../../base/serial.ts";
import { parseChannel, selectChannel } from "../../core/channel.ts";
import type { Client } from "../../core/client.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Cursor } from "../../core/log.ts";
import type { Member } from "../../core/presence.ts";
import { formatId, type Message } from "../../core/message.ts";
import { findResumeId } from "../../core/replay.ts";
import { parseSince } from "../../core/since.ts";
import { encodeBatch, type Frame } from "../../core/socket.ts";
import type { SubscribeOptions, Subscription } from "../../core/subscription.ts";
import { watchExpiry } from "../protocol.ts";
import type { MountedApp } from "./apps.ts";
import { type ChannelKind, isChannelName, parseKind } from "./channel_name.ts";
import type { PusherContext } from "./context.ts";
import { encodeEscapedFrame, encodeFrame, escapeText, openPositionedEncoder } from "./frames.ts";
import { encodePresence, type RoomSubscriber } from "./rooms.ts";
import { isSigned } from "./signature.ts";
import {
  checkInfo,
  denied,
  invalid,
  limitReached,
  parseRequest,
  parseUser,
  type Refusal,
  type SignedIn,
  type SubscribeRequest,
} from "./subscribe_request.ts";

interface Entry extends RoomSubscriber {
  subscription: Subscription | undefined;
}

/** Where a subscription begins: live as the protocol has it, live with ids, or behind a position. */
type Start =
  | { readonly kind: "live" | "latest" }
  | { readonly kind: "since"; readonly cursor: Cursor };

export class PusherSubscriptions {
  readonly #context: PusherContext;
  readonly #app: MountedApp;
  readonly #client: Client;
  readonly #send: (frame: Frame) => void;
  readonly #entries = new Map<string, Entry>();
  readonly #caller: Caller | undefined;
  /** What waits for the application to decide, in order. */
  readonly #asking = new Serial();
  /** What the client may do on public channels, once it has asked for one. */
  #pass: Promise<Pass> | undefined;
  #closed = false;
  #forgetExpiry: () => void = () => {};

  /** @param caller who it is for the application that decides; undefined where there is none */
  constructor(
    context: PusherContext,
    app: MountedApp,
    client: Client,
    caller: Caller | undefined,
    send: (frame: Frame) => void,
  ) {
    this.#caller = caller;
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
  async subscribe(data: unknown, socketId: string, signedIn: SignedIn | undefined): Promise<void> {
    const request = parseRequest(data);
    if (request === undefined) return this.#refuse("", invalid("pusher:subscribe needs a channel"));
    const { gate, settings } = this.#context;
    if (this.#caller === undefined) return await this.#open(request, socketId, signedIn, gate.admitApp());
    if (this.#asking.waiting >= settings.maxSubscriptions) {
      return this.#refuse(request.channel, limitReached(settings.maxSubscriptions));
    }
    await this.#asking.run(async () => {
      try {
        const pass = await this.#ask(request.channel);
        if (!this.#closed) await this.#open(request, socketId, signedIn, pass);
      } catch (error) {
        if (!(error instanceof MessagingError)) throw error;
        if (!this.#closed) this.#refuse(request.channel, denied(error.message));
      }
    });
  }

  /**
   * Asks the application about a public channel: who the client is, where it says that, and whether it may subscribe.
   *
   * @throws {MessagingError} what it says
   */
  async #ask(channel: string): Promise<Pass> {
    const { gate } = this.#context;
    const { isPrivate, user } = parseKind(channel);
    if (isPrivate || user !== undefined || !isChannelName(channel)) return gate.admitApp();
    try {
      const pass = await (this.#pass ??= this.#identify());
      const name = this.#app.prefix + channel;
      if (pass.asks("subscribe", name)) await pass.admitSubscription(selectChannel(name));
      return pass;
    } catch (error) {
      // Whoever could not be identified may be the next time.
      this.#pass = undefined;
      throw error;
    }
  }

  async #identify(): Promise<Pass> {
    const pass = await this.#context.gate.admitAppClient(this.#caller);
    this.#forgetExpiry();
    // What others see of the client on presence channels comes from the app's signatures.
    if (!this.#closed) this.#forgetExpiry = watchExpiry(this.#context, pass, this.#client, false);
    return pass;
  }

  async #open(
    request: SubscribeRequest,
    socketId: string,
    signedIn: SignedIn | undefined,
    pass: Pass,
  ): Promise<void> {
    const { channel, channelData } = request;
    if (this.#entries.has(channel)) return;
    const kind = parseKind(channel);
    const refusal = this.#findRefusal(request, kind, socketId, { signedIn, pass });
    if (refusal !== undefined) return this.#refuse(channel, refusal);
    const start = this.#parseStart(request, kind, pass);
    if ("type" in start) return this.#refuse(channel, start);
    const { hub } = this.#context;
    let member: Member | undefined;
    if (kind.isPresence) {
      // Whoever has signed in needs no channel_data.
      const user = channelData === undefined && signedIn !== undefined
        ? checkInfo(signedIn)
        : parseUser(channelData ?? "");
      if (typeof user === "string") {
        return this.#refuse(channel, { type: "AuthError", error: user, status: 400 });
      }
      const { id, name, protocol, since } = this.#client;
      member = { id, name, protocol, since, user: user.id, channelInfo: user.info };
    }
    const entry: Entry = { subscription: undefined, user: member?.user, send: this.#send };
    this.#entries.set(channel, entry);
    // The answer says who is there.
    const current = kind.isPresence ? hub.untilCurrent() : undefined;
    if (current !== undefined) await current;
    if (this.#entries.get(channel) !== entry) return;
    const selector = selectChannel(this.#app.prefix + channel);
    const shown = member === undefined ? {} : { member };
    if (start.kind !== "live") {
      entry.subscription = hub.subscribe(this.#client, selector, {
        ...shown,
        ...this.#readFrom(channel, start),
      });
      this.#succeed(channel, kind, entry, start.kind === "latest");
      return;
    }
    if (!kind.isCache) {
      entry.subscription = hub.subscribe(this.#client, selector, shown);
      this.#succeed(channel, kind, entry);
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    entry.subscription = hub.subscribe(this.#client, selector, {
      ...shown,
      opening: {
        after: { kind: "latest" },
        limit: 1,
        onOpen: ({ messages }, announced) => {
          this.#succeed(channel, kind, entry);
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
    if (request === undefined) return;
    if (this.#asking.waiting === 0) return this.#close(request.channel);
    void this.#asking.run(() => Promise.resolve(this.#close(request.channel)));
  }

  /** Ends all subscriptions. */
  closeAll(): void {
    this.#closed = true;
    this.#forgetExpiry();
    for (const channel of [...this.#entries.keys()]) this.#close(channel);
  }

  #close(channel: string): void {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return;
    this.#entries.delete(channel);
    void this.#pass?.then((pass) => pass.forgetSubscription(this.#app.prefix + channel), () => {});
    if (entry.subscription !== undefined) this.#context.hub.unsubscribe(entry.subscription);
    this.#context.rooms.leave(this.#app, channel, entry);
  }

  /** Where a subscription begins: without `since` at what comes, unnumbered. */
  #parseStart({ channel, since }: SubscribeRequest, { isPrivate }: ChannelKind, pass: Pass): Start | Refusal {
    if (since === undefined || since === null) return { kind: "live" };
    if (since === "latest") return { kind: "latest" };
    const name = this.#app.prefix + channel;
    // The signature stands for a token that names the channel.
    const denial = pass.deny("history", name, isPrivate ? "token" : "none");
    // A channel without history is read as an empty one.
    if (denial?.code === "history_off") return { kind: "latest" };
    if (denial !== undefined) return denied(denial.message);
    try {
      if (typeof since !== "string" && typeof since !== "number") {
        throw new SyntaxError("since must be a string or a number");
      }
      return { kind: "since", cursor: parseSince(String(since), selectChannel(name), Date.now()) };
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      return { type: "InvalidSince", error: error.message, status: 400 };
    }
  }

  /** What a subscription with `since` reads: messages with ids, and word of a gap. */
  #readFrom(channel: string, start: Start): Pick<SubscribeOptions, "since" | "receive" | "onGap"> {
    const encoder = openPositionedEncoder(this.#app);
    return {
      since: start.kind === "since" ? start.cursor : undefined,
      receive: (messages) => this.#client.outbox.offer(encodeBatch(encoder, messages)),
      onGap: (gap) => {
        const data = { id: findResumeId(gap), earliest: gap.earliest };
        this.#send(encodeFrame("raindrops:gap", data, channel));
        return true;
      },
    };
  }

  /**
   * Why a subscription may not be opened. On this protocol the app's signatures decide, and for public channels the
   * gate.
   */
  #findRefusal(
    { channel, auth, channelData }: SubscribeRequest,
    kind: ChannelKind,
    socketId: string,
    { signedIn, pass }: { readonly signedIn: SignedIn | undefined; readonly pass: Pass },
  ): Refusal | undefined {
    const { hub, settings } = this.#context;
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
      return limitReached(settings.maxSubscriptions);
    }
    if (kind.user !== undefined) {
      return kind.user === signedIn?.id ? undefined : denied("Sign in as that user first: pusher.signin()");
    }
    if (!kind.isPrivate) {
      const denial = pass.deny("subscribe", name);
      return denial === undefined ? undefined : denied(denial.message);
    }
    const signed = `${socketId}:${channel}`;
    // Presence channels take what is signed with the member, others may carry data too.
    const texts = channelData === undefined
      ? [signed]
      : kind.isPresence
      ? [`${signed}:${channelData}`]
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
      : type === "InvalidSince"
      ? "bad_option"
      : "bad_channel";
    hub.metrics.refused(code, { what: `pusher ${channel}`, message: error, client: this.#client.id });
    logger.write("warn", "subscription refused", { id: this.#client.id, channel, reason: error });
    this.#send(encodeFrame("pusher:subscription_error", { type, error, status }, channel));
  }

  /**
   * Tells the client that it has subscribed, and from then on what changes.
   *
   * @param isPositioned whether the client is told behind which id it begins
   */
  #succeed(channel: string, { isPresence }: ChannelKind, entry: Entry, isPositioned = false): void {
    const { hub } = this.#context;
    const { epoch, sequence } = hub.top;
    const data = [
      ...(isPresence
        ? [`${escapeText('"presence"')}:${encodePresence(hub, this.#app.prefix + channel)}`]
        : []),
      ...(isPositioned ? [escapeText(`"id":${JSON.stringify(formatId(epoch, sequence))}`)] : []),
    ];
    this.#send(encodeEscapedFrame("pusher_internal:subscription_succeeded", `{${data.join(",")}}`, channel));
    // The success may have been too much for a slow client.
    if (this.#entries.get(channel) === entry) this.#context.rooms.enter(this.#app, channel, entry);
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
