/** The subscriptions of one Centrifuge session: opening with recovery, expiry, joins and leaves, ending. */
import type { Tie } from "../../auth/grants.ts";
import type { ConnectionClaims } from "../../auth/claims.ts";
import { normalizeChannel, selectChannel } from "../../core/channel.ts";
import type { ServerSubscribeOptions } from "../../core/client.ts";
import { Deadline } from "../../base/deadline.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import { MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES } from "../../core/history.ts";
import type { Message } from "../../core/message.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import { encodeBatch } from "../../core/socket.ts";
import type { Opening } from "../../core/subscription.ts";
import type {
  End,
  Push,
  SubRefreshRequest,
  SubRefreshResult,
  SubscribeRequest,
  SubscribeResult,
} from "./codec.ts";
import { sharePresenceFrame, toClientInfo } from "./encoders.ts";
import type { ChannelOwner } from "./context.ts";
import { type Admission, admitAsked, admitByToken, admitSubscribe, verifySubscription } from "./admission.ts";
import { ChannelDelivery, respell } from "./delivery.ts";
import { MapCatchUps } from "./map_catch_up.ts";
import { findPersonalChannel } from "./personal.ts";
import type { Entry } from "./entry.ts";
import { isFatal, toExpiry, UNSUBSCRIBES } from "./errors.ts";
import {
  alreadySubscribed,
  describeMapOpened,
  describeOpened,
  MAP_TYPE,
  type OnResult,
  sizeOf,
  type Start,
  toCursor,
} from "./results.ts";

/** Bytes after which reading stops what was published to a map while it was read page by page. */
const MAX_MAP_BYTES = 4 * MAX_HISTORY_BYTES;
/** Bytes of what was missed that come with the answer to connect: further channels are told as not recovered. */
const MAX_CONNECT_BYTES = 2 * MAX_HISTORY_BYTES;
/** Seconds an expired subscription may still take to refresh. */
const REFRESH_SECONDS = 25;
/** The flag by which a client asks for an error where there is no recovery. */
const REJECT_UNRECOVERED = 2;

const FROM_NOW: Start = { recover: false, epoch: "", offset: 0, flag: 0, joinLeave: false };

export class CentrifugeChannels {
  readonly #session: ChannelOwner;
  readonly #entries = new Map<string, Entry>();
  /** Subscriptions to maps that are not live yet. */
  readonly #catchUps: MapCatchUps;
  /** The last subscribe or unsubscribe command under way on a channel. None of these rejects. */
  readonly #turns = new Map<string, Promise<void>>();
  #closed = false;

  constructor(session: ChannelOwner) {
    this.#session = session;
    this.#catchUps = new MapCatchUps({
      session,
      invalidate: (channel) => void this.unsubscribeByServer(channel, UNSUBSCRIBES.invalidated),
      open: (...args) => this.#open(...args),
    });
  }

  /** What ties the client to a channel. */
  tie(channel: string): Tie {
    return this.#entries.get(channel)?.tie ?? "none";
  }

  /**
   * Subscribes by command. `onResult` sends the answer, before anything of the channel is pushed.
   *
   * @param spelling the channel's name as the client wrote it, perhaps in another normal form
   * @throws {MessagingError}
   */
  async subscribe(
    request: SubscribeRequest,
    onResult: OnResult,
    spelling: string = request.channel,
  ): Promise<void> {
    const { channel } = request;
    if (request.type === MAP_TYPE) return await this.#subscribeToMap(request, onResult, spelling);
    if (request.type !== 0) {
      throw new MessagingError(
        "not_available",
        "Only streams and maps can be subscribed to, no presence or polls",
      );
    }
    const delivery = ChannelDelivery.open(this.#session, request, spelling);
    await this.#inTurn(channel, async () => {
      if (this.#entries.has(channel)) throw alreadySubscribed(channel);
      const admission = await admitSubscribe(this.#session, request);
      // The server may have taken it while the token was checked.
      if (this.#entries.has(channel)) throw alreadySubscribed(channel);
      await this.#open(channel, { ...request, delivery }, { ...admission, spelling }, onResult);
    });
  }

  async #subscribeToMap(
    request: SubscribeRequest,
    onResult: OnResult,
    spelling: string,
  ): Promise<void> {
    const { channel } = request;
    await this.#inTurn(channel, async () => {
      if (this.#entries.has(channel)) throw alreadySubscribed(channel);
      const { maxSubscriptions } = this.#session.context.settings;
      if (this.#entries.size + this.#catchUps.size > maxSubscriptions) {
        throw describeSubscriptionLimit(maxSubscriptions);
      }
      // Pages are read and written as the client takes them.
      await this.#session.inHeavyTurn(() => this.#catchUps.subscribe(request, onResult, spelling));
    });
  }

  /** Unsubscribes by command, after a subscribe that is still under way. */
  async unsubscribe(channel: string): Promise<void> {
    await this.#inTurn(channel, () => void this.close(channel));
  }

  /**
   * Subscribes to what the connection token names, and on unidirectional transports to what the request asks for as far
   * as that is allowed; the results go into the answer to connect.
   */
  async openServerSide(
    claims: ConnectionClaims | undefined,
    requests: ReadonlyMap<string, SubscribeRequest>,
  ): Promise<ReadonlyMap<string, SubscribeResult>> {
    const results = new Map<string, SubscribeResult>();
    let room = MAX_CONNECT_BYTES;
    const claimed = claims?.channels ?? [];
    const positions = new Map([...requests].map(([name, request]) => [normalizeChannel(name), request]));
    const personal = findPersonalChannel(this.#session, claims);
    const asked = this.#session.format.unidirectional
      ? [...positions.keys()].filter((name) => name !== personal && !claimed.includes(name))
      : [];
    const admissions = [
      ...(personal === undefined || claimed.includes(personal)
        ? []
        : [[personal, admitByToken(undefined)] as const]),
      ...claimed.map((channel) => [channel, admitByToken(claims?.subs.get(channel))] as const),
      ...(await Promise.all(asked.map((channel) => admitAsked(this.#session, channel)))).flat(),
    ];
    await Promise.all(admissions.map(async ([channel, admission]) => {
      const asked = positions.get(channel);
      const delivery = asked && ChannelDelivery.open(this.#session, { ...asked, delta: "" }, channel);
      const onResult = (result: SubscribeResult) => {
        results.set(channel, result);
        room -= sizeOf(result);
        return this.#session.format.codec.prepare("subscribe", result);
      };
      const start = { ...asked ?? FROM_NOW, flag: 0, delivery, hasRoom: () => room > 0 };
      await this.#open(channel, start, admission, onResult);
    }));
    return results;
  }

  /** Subscribes on the server's behalf, and tells the client. */
  async subscribeByServer(channel: string, options: ServerSubscribeOptions): Promise<boolean> {
    if (this.#entries.has(channel)) return false;
    const { info, data, expires = 0, since } = options;
    const admission: Admission = { tie: "token", serverSide: true, info, data, expires };
    let opened = false;
    const start: Start = since === undefined
      ? FROM_NOW
      : { ...FROM_NOW, ...since, recover: true, mayRecover: true };
    await this.#open(channel, start, admission, ({ publications = [], ...result }) => {
      opened = true;
      const { recoverable, positioned, epoch, offset } = result;
      this.#push({ kind: "subscribe", channel, content: { recoverable, positioned, epoch, offset, data } });
      for (const content of publications) this.#push({ kind: "pub", channel, content });
    });
    return opened;
  }

  /** Ends a subscription on the server's behalf and tells the client why. Answers whether there was one. */
  unsubscribeByServer(channel: string, end: End): boolean {
    const entry = this.#entries.get(channel);
    if (entry === undefined) {
      const isOnItsWay = this.#catchUps.drop(channel);
      if (isOnItsWay) this.#push({ kind: "unsubscribe", channel, content: end });
      return isOnItsWay;
    }
    // Tell the client of the subscription before telling it of its end.
    if (entry.opening) entry.end = end;
    else {
      this.close(channel);
      this.#push({ kind: "unsubscribe", channel: entry.spelling, content: end });
    }
    return true;
  }

  /** Ends a subscription in silence. Answers whether there was one. */
  close(channel: string): boolean {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return this.#catchUps.drop(channel);
    this.#entries.delete(channel);
    this.#session.pass.forgetSubscription(channel);
    entry.expiry.clear();
    entry.unwatch?.();
    entry.unwatchMap?.();
    if (entry.subscription !== undefined) this.#session.context.hub.unsubscribe(entry.subscription);
    entry.settle();
    return true;
  }

  /** Ends all subscriptions in silence; none is opened any more. */
  closeAll(): void {
    this.#closed = true;
    this.#catchUps.close();
    for (const channel of [...this.#entries.keys()]) this.close(channel);
  }

  /** Takes a new token for a subscription. */
  async refresh({ channel, token }: SubRefreshRequest): Promise<SubRefreshResult> {
    const entry = this.#entries.get(channel);
    if (entry === undefined) {
      throw new MessagingError("forbidden", `Not subscribed to "${channel}"`);
    }
    const claims = await verifySubscription(this.#session, channel, token);
    if (claims === undefined) throw new MessagingError("not_available", "Subscriptions do not expire here");
    // It may have ended while the token was checked.
    if (this.#entries.get(channel) !== entry) {
      throw new MessagingError("forbidden", `Not subscribed to "${channel}"`);
    }
    this.#expire(channel, entry, claims.expires);
    return toExpiry(claims.expires);
  }

  /** Runs a command on a channel after those that came before it. */
  async #inTurn(channel: string, run: () => Promise<void> | void): Promise<void> {
    const result = (this.#turns.get(channel) ?? Promise.resolve()).then(run);
    const turn = result.catch(() => {});
    this.#turns.set(channel, turn);
    try {
      await result;
    } finally {
      if (this.#turns.get(channel) === turn) this.#turns.delete(channel);
    }
  }

  /** Resolves when the subscription is open, or the connection has ended before. */
  async #open(
    channel: string,
    start: Start,
    admission: Admission,
    onResult: OnResult,
  ): Promise<void> {
    // A map has its turn.
    if (!start.recover || start.map !== undefined) {
      return await this.#openNow(channel, start, admission, onResult);
    }
    await this.#session.inHeavyTurn(() => this.#openNow(channel, start, admission, onResult));
  }

  async #openNow(
    channel: string,
    start: Start,
    admission: Admission,
    onResult: OnResult,
  ): Promise<void> {
    if (this.#closed) return;
    if (this.#entries.has(channel)) throw alreadySubscribed(channel);
    const { client, context } = this.#session;
    const { tie, serverSide, info, data, expires, spelling = channel, isAsked } = admission;
    const { delivery } = start;
    const { maxSubscriptions } = context.settings;
    if (this.#entries.size >= maxSubscriptions) {
      const error = describeSubscriptionLimit(maxSubscriptions);
      if (serverSide) return this.#session.end(error);
      throw error;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const entry: Entry = {
      tie,
      subscription: undefined,
      unwatch: undefined,
      unwatchMap: undefined,
      expiry: new Deadline(),
      spelling,
      opening: true,
      end: undefined,
      settle: resolve,
    };
    this.#entries.set(channel, entry);
    const member: Member = info === undefined ? client : { ...describe(client), channelInfo: info };
    const recovers = start.recover && (start.hasRoom?.() ?? true) &&
      (start.mayRecover || this.#mayRecover(channel, tie));
    const receive = (messages: readonly Message[]) =>
      delivery?.offer(messages) ??
        client.outbox.offer(
          encodeBatch(client.encoder, messages.map((message) => respell(message, spelling))),
        );
    const opening: Opening = {
      after: recovers ? toCursor(start) : { kind: "latest" },
      limit: recovers ? MAX_HISTORY_MESSAGES : 0,
      maxBytes: start.map === undefined ? MAX_HISTORY_BYTES : MAX_MAP_BYTES,
      onOpen: (page, announced) => {
        entry.opening = false;
        const opened = start.map === undefined
          ? describeOpened(context.rules.for(channel), start, recovers, page, announced)
          : describeMapOpened(start, start.map, page, announced);
        const isRefused = start.map === undefined && start.recover && !opened?.result.recovered &&
          (start.flag & REJECT_UNRECOVERED) !== 0;
        if (opened === undefined || isRefused) {
          reject(new MessagingError("history_gone", "unrecoverable position"));
          return void this.close(channel);
        }
        const answered = onResult({ ...opened.result, data, ...(isAsked ? {} : toExpiry(expires)) });
        // Before what may close it: others wait until the answer is sent.
        resolve(answered ?? undefined);
        if (opened.rest.length > 0 && !receive(opened.rest)) {
          client.end(
            new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"),
          );
        }
        // A client that has no room for all this is gone by now.
        if (this.#closed) return;
        entry.unwatch = this.#watch(channel, start.joinLeave, spelling, member);
        if (isAsked && this.#session.pass.renewsSubscriptions) this.#askAgain(channel, entry, expires);
        else this.#expire(channel, entry, expires);
        if (entry.end !== undefined) this.unsubscribeByServer(channel, entry.end);
      },
    };
    entry.unwatchMap = start.map?.onLive();
    entry.subscription = context.hub.subscribe(client, selectChannel(channel), {
      member,
      opening,
      // Others share their frames.
      ...(spelling === channel && delivery === undefined ? {} : { receive }),
    });
    await promise;
  }

  /** Recovery is history by another name, and asks for the same permission. */
  #mayRecover(channel: string, tie: Tie): boolean {
    return this.#session.pass.may("history", channel, tie);
  }

  /** Pushes joins and leaves of a channel to a client that asks and may know who is there, or where rules say so. */
  #watch(channel: string, isAsked: boolean, spelling: string, self: Member): (() => void) | undefined {
    const { context, pass } = this.#session;
    const { forceJoinLeave, presence } = context.rules.for(channel);
    const isForced = forceJoinLeave && presence;
    if (!isForced && !(isAsked && pass.may("presence", channel, this.tie(channel)))) return undefined;
    // As Centrifugo's clients know it: the first thing told without asking is their own join.
    if (isForced) this.#push({ kind: "join", channel: spelling, content: { info: toClientInfo(self) } });
    return context.hub.presence.watch(channel, (change: PresenceChange) => {
      this.#session.sendFrame(sharePresenceFrame(this.#session.format, change, spelling));
    });
  }

  #expire(channel: string, entry: Entry, expires: number): void {
    entry.expiry.clear();
    if (expires === 0) return;
    const end = () => void this.unsubscribeByServer(channel, UNSUBSCRIBES.expired);
    entry.expiry.set((expires + REFRESH_SECONDS) * 1_000, end);
  }

  /** Asks the application that allowed a subscription again when that has expired. */
  #askAgain(channel: string, entry: Entry, expires: number): void {
    entry.expiry.clear();
    if (expires === 0) return;
    entry.expiry.set(expires * 1_000, () => {
      this.#renew(channel, entry).catch((error) => this.#session.end(toMessagingError(error)));
    });
  }

  async #renew(channel: string, entry: Entry): Promise<void> {
    let expires: number | undefined;
    try {
      expires = await this.#session.pass.renewSubscription(channel);
    } catch (error) {
      // The client subscribes again, and is told then what is wrong, unless the application ends its connection.
      if (!(error instanceof MessagingError) || isFatal(error)) throw error;
    }
    if (this.#entries.get(channel) !== entry) return;
    // A time in the past would ask again at once, and again.
    const goesOn = expires !== undefined && (expires === 0 || expires * 1_000 > Date.now());
    if (goesOn) this.#askAgain(channel, entry, expires!);
    else this.unsubscribeByServer(channel, UNSUBSCRIBES.expired);
  }

  #push(push: Push): void {
    this.#session.send({ kind: "push", push });
  }
}

function describe({ id, name, user, info, protocol, since }: Member): Member {
  return { id, name, user, info, protocol, since };
}
