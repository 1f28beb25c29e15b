/** The subscriptions of one Centrifuge session: opening with recovery, expiry, joins and leaves, ending. */
import type { Tie } from "../../auth/grants.ts";
import type { ConnectionClaims, TokenSubscription } from "../../auth/claims.ts";
import { parseChannel, selectChannel } from "../../core/channel.ts";
import type { ServerSubscribeOptions } from "../../core/client.ts";
import { Deadline } from "../../base/deadline.ts";
import { MessagingError } from "../../core/errors.ts";
import { describeSubscriptionLimit } from "../../core/limits.ts";
import { MAX_HISTORY_BYTES, MAX_HISTORY_MESSAGES } from "../../core/history.ts";
import type { Cursor, LogPage } from "../../core/log.ts";
import type { Message, Payload } from "../../core/message.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import { encodeBatch } from "../../core/socket.ts";
import type { Opening, Subscription } from "../../core/subscription.ts";
import type {
  End,
  Push,
  SubRefreshRequest,
  SubRefreshResult,
  SubscribeRequest,
  SubscribeResult,
} from "./codec.ts";
import { toClientInfo, toPublication } from "./encoders.ts";
import type { ChannelOwner } from "./context.ts";
import { toExpiry, UNSUBSCRIBES } from "./errors.ts";

/** Seconds an expired subscription may still take to refresh. */
const REFRESH_SECONDS = 25;
/** The flag by which a client asks for an error where there is no recovery. */
const REJECT_UNRECOVERED = 2;

/** One subscription, from when its channel is taken. */
interface Entry {
  readonly tie: Tie;
  subscription: Subscription | undefined;
  unwatch: (() => void) | undefined;
  readonly expiry: Deadline;
  /** Whether its history is still being read. */
  opening: boolean;
  /** Why the server ends it as soon as it is open. */
  end: End | undefined;
  /** Called when it is open, or closed before it ever was. */
  settle(): void;
}

/** How a subscription came about. */
interface Admission {
  readonly tie: Tie;
  readonly serverSide: boolean;
  readonly info: string | undefined;
  readonly data: Payload | undefined;
  /** Seconds since 1970; 0 for never. */
  readonly expires: number;
  /** Whether the application allowed it: the client cannot refresh it. */
  readonly isAsked?: boolean;
}

type Position = Pick<SubscribeRequest, "recover" | "epoch" | "offset" | "flag" | "joinLeave">;

/** How a channel is taken that a rule allows. */
const BY_RULE: Admission = { tie: "none", serverSide: true, info: undefined, data: undefined, expires: 0 };

/** How a channel is taken that the application allows, which decides anew when the subscription has expired. */
const BY_APPLICATION: Admission = { ...BY_RULE, tie: "token", isAsked: true };

const FROM_NOW: Position = { recover: false, epoch: "", offset: 0, flag: 0, joinLeave: false };

export class CentrifugeChannels {
  readonly #session: ChannelOwner;
  readonly #entries = new Map<string, Entry>();
  /** The last subscribe or unsubscribe command under way on a channel. None of these rejects. */
  readonly #turns = new Map<string, Promise<void>>();
  #closed = false;

  constructor(session: ChannelOwner) {
    this.#session = session;
  }

  /** What ties the client to a channel. */
  tie(channel: string): Tie {
    return this.#entries.get(channel)?.tie ?? "none";
  }

  /**
   * Subscribes by command. `onResult` sends the answer, before anything of the channel is pushed.
   *
   * @throws {MessagingError}
   */
  async subscribe(request: SubscribeRequest, onResult: (result: SubscribeResult) => void): Promise<void> {
    const { channel } = request;
    if (request.type !== 0 || request.hasTagsFilter) {
      throw new MessagingError("not_available", "Only streams without filters can be subscribed to");
    }
    await this.#inTurn(channel, async () => {
      if (this.#entries.has(channel)) throw alreadySubscribed(channel);
      const admission = await this.#admit(request);
      // The server may have taken it while the token was checked.
      if (this.#entries.has(channel)) throw alreadySubscribed(channel);
      await this.#open(channel, request, admission, onResult);
    });
  }

  /** Unsubscribes by command, after a subscribe that is still under way. */
  async unsubscribe(channel: string): Promise<void> {
    await this.#inTurn(channel, () => void this.close(channel));
  }

  /**
   * Subscribes to what the connection token names, and on unidirectional transports to what the request asks for as far as
   * that is allowed; the results go into the answer to connect.
   */
  async openServerSide(
    claims: ConnectionClaims | undefined,
    positions: ReadonlyMap<string, SubscribeRequest>,
  ): Promise<ReadonlyMap<string, SubscribeResult>> {
    const results = new Map<string, SubscribeResult>();
    const claimed = claims?.channels ?? [];
    const asked = this.#session.format.unidirectional
      ? [...positions.keys()].filter((name) => !claimed.includes(name))
      : [];
    const admissions = [
      ...claimed.map((channel) => [channel, admit(claims?.subs.get(channel))] as const),
      ...(await Promise.all(asked.map((channel) => this.#admitAsked(channel)))).flat(),
    ];
    await Promise.all(admissions.map(async ([channel, admission]) => {
      const position = positions.get(channel) ?? FROM_NOW;
      const onResult = (result: SubscribeResult) => void results.set(channel, result);
      await this.#open(channel, { ...position, flag: 0 }, admission, onResult);
    }));
    return results;
  }

  /** How a unidirectional client takes a channel it asked for; empty when it may not, and the log is told why. */
  async #admitAsked(channel: string): Promise<readonly (readonly [string, Admission])[]> {
    const { context, pass } = this.#session;
    try {
      parseChannel(channel);
      context.hub.checkName(channel);
      if (!pass.asks("subscribe", channel)) {
        this.#session.demand("subscribe", channel, "none");
        return [[channel, BY_RULE]];
      }
      return [[channel, { ...BY_APPLICATION, ...await pass.admitSubscription(selectChannel(channel)) }]];
    } catch (error) {
      if (error instanceof SyntaxError || error instanceof MessagingError) return [];
      throw error;
    }
  }

  /** Subscribes on the server's behalf, and tells the client. */
  async subscribeByServer(channel: string, options: ServerSubscribeOptions): Promise<boolean> {
    if (this.#entries.has(channel)) return false;
    const { info, data, expires = 0 } = options;
    const admission: Admission = { tie: "token", serverSide: true, info, data, expires };
    let opened = false;
    await this.#open(channel, FROM_NOW, admission, ({ recoverable, positioned, epoch, offset }) => {
      opened = true;
      this.#push({ kind: "subscribe", channel, content: { recoverable, positioned, epoch, offset, data } });
    });
    return opened;
  }

  /** Ends a subscription on the server's behalf and tells the client why. Answers whether there was one. */
  unsubscribeByServer(channel: string, end: End): boolean {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return false;
    // Tell the client of the subscription before telling it of its end.
    if (entry.opening) entry.end = end;
    else {
      this.close(channel);
      this.#push({ kind: "unsubscribe", channel, content: end });
    }
    return true;
  }

  /** Ends a subscription in silence. Answers whether there was one. */
  close(channel: string): boolean {
    const entry = this.#entries.get(channel);
    if (entry === undefined) return false;
    this.#entries.delete(channel);
    this.#session.pass.forgetSubscription(channel);
    entry.expiry.clear();
    entry.unwatch?.();
    if (entry.subscription !== undefined) this.#session.context.hub.unsubscribe(entry.subscription);
    entry.settle();
    return true;
  }

  /** Ends all subscriptions in silence; none is opened any more. */
  closeAll(): void {
    this.#closed = true;
    for (const channel of [...this.#entries.keys()]) this.close(channel);
  }

  /** Takes a new token for a subscription. */
  async refresh({ channel, token }: SubRefreshRequest): Promise<SubRefreshResult> {
    const entry = this.#entries.get(channel);
    if (entry === undefined) {
      throw new MessagingError("forbidden", `Not subscribed to "${channel}"`);
    }
    const claims = await this.#verify(channel, token);
    if (claims === undefined) throw new MessagingError("not_available", "Subscriptions do not expire here");
    // It may have ended while the token was checked.
    if (this.#entries.get(channel) !== entry) {
      throw new MessagingError("forbidden", `Not subscribed to "${channel}"`);
    }
    this.#expire(channel, entry, claims.expires);
    return toExpiry(claims.expires);
  }

  /** Decides whether a client may subscribe, by its token or by the rules. */
  async #admit({ channel, token, data }: SubscribeRequest): Promise<Admission> {
    const session = this.#session;
    const claims = token === "" ? undefined : await this.#verify(channel, token);
    if (claims !== undefined) {
      return { ...admit(claims), serverSide: false, expires: claims.expires };
    }
    if (session.pass.asks("subscribe", channel)) {
      const allowed = await session.pass.admitSubscription(selectChannel(channel), { token, data });
      return { ...BY_APPLICATION, ...allowed, serverSide: false };
    }
    session.demand("subscribe", channel, "none");
    return { ...BY_RULE, serverSide: false };
  }

  async #verify(channel: string, token: string) {
    const { context, client } = this.#session;
    return await context.gate.admitSubscription(
      { channel, user: client.user ?? "", client: client.id },
      token,
    );
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
    position: Position,
    admission: Admission,
    onResult: (result: SubscribeResult) => void,
  ): Promise<void> {
    if (!position.recover) return await this.#openNow(channel, position, admission, onResult);
    await this.#session.inHeavyTurn(() => this.#openNow(channel, position, admission, onResult));
  }

  async #openNow(
    channel: string,
    position: Position,
    admission: Admission,
    onResult: (result: SubscribeResult) => void,
  ): Promise<void> {
    if (this.#closed) return;
    if (this.#entries.has(channel)) throw alreadySubscribed(channel);
    const { client, context } = this.#session;
    const { tie, serverSide, info, data, expires, isAsked } = admission;
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
      expiry: new Deadline(),
      opening: true,
      end: undefined,
      settle: resolve,
    };
    this.#entries.set(channel, entry);
    const member: Member = info === undefined ? client : { ...describe(client), channelInfo: info };
    const recovers = position.recover && this.#mayRecover(channel, tie);
    const opening: Opening = {
      after: recovers ? toCursor(position) : { kind: "latest" },
      limit: recovers ? MAX_HISTORY_MESSAGES : 0,
      maxBytes: MAX_HISTORY_BYTES,
      onOpen: (page, announced) => {
        entry.opening = false;
        const opened = this.#describe(channel, position, recovers, page, announced);
        if (position.recover && !opened.result.recovered && (position.flag & REJECT_UNRECOVERED) !== 0) {
          reject(new MessagingError("history_gone", "unrecoverable position"));
          return void this.close(channel);
        }
        onResult({ ...opened.result, data, ...(isAsked ? {} : toExpiry(expires)) });
        if (opened.rest.length > 0 && !client.outbox.offer(encodeBatch(client.encoder, opened.rest))) {
          client.end(
            new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"),
          );
        }
        // A client that has no room for all this is gone by now.
        if (this.#closed) return;
        if (position.joinLeave) entry.unwatch = this.#watch(channel);
        this.#expire(channel, entry, expires);
        if (entry.end !== undefined) this.unsubscribeByServer(channel, entry.end);
        resolve();
      },
    };
    entry.subscription = context.hub.subscribe(client, selectChannel(channel), { member, opening });
    await promise;
  }

  /** The answer to a subscribe, and what was announced meanwhile and is not in it. */
  #describe(
    channel: string,
    position: Position,
    recovers: boolean,
    page: LogPage,
    announced: readonly Message[],
  ): { result: SubscribeResult; rest: readonly Message[] } {
    const { ephemeral, conflate } = this.#session.context.rules.for(channel);
    // On a conflated channel offsets are passed over by rule: no position would hold.
    if (ephemeral || conflate) return { result: { wasRecovering: position.recover }, rest: announced };
    const { epoch } = page.position;
    const base = { recoverable: true, positioned: true, epoch, wasRecovering: position.recover };
    const stored = announced.filter(({ sequence }) => sequence > 0);
    const missed = [...page.messages, ...stored];
    if (recovers && page.kind === "complete" && !page.more && missed.length <= MAX_HISTORY_MESSAGES) {
      const publications = missed.map(toPublication);
      const rest = announced.filter(({ sequence }) => sequence === 0);
      return { result: { ...base, recovered: true, offset: position.offset, publications }, rest };
    }
    if (position.recover) {
      const rest = announced.filter(({ sequence }) => sequence === 0);
      return { result: { ...base, offset: stored.at(-1)?.offset ?? page.position.offset }, rest };
    }
    return { result: { ...base, offset: page.position.offset }, rest: announced };
  }

  /** Recovery is history by another name, and asks for the same permission. */
  #mayRecover(channel: string, tie: Tie): boolean {
    return this.#session.pass.may("history", channel, tie);
  }

  /** Pushes joins and leaves of a channel to a client that may know who is there. */
  #watch(channel: string): (() => void) | undefined {
    const { context, pass } = this.#session;
    if (!pass.may("presence", channel, this.tie(channel))) return undefined;
    return context.hub.presence.watch(channel, ({ kind, member }: PresenceChange) => {
      this.#push({ kind, channel, content: { info: toClientInfo(member) } });
    });
  }

  #expire(channel: string, entry: Entry, expires: number): void {
    entry.expiry.clear();
    if (expires === 0) return;
    const end = () => void this.unsubscribeByServer(channel, UNSUBSCRIBES.expired);
    entry.expiry.set((expires + REFRESH_SECONDS) * 1_000, end);
  }

  #push(push: Push): void {
    this.#session.send({ kind: "push", push });
  }
}

function alreadySubscribed(channel: string): MessagingError {
  return new MessagingError("already_subscribed", `Already subscribed to "${channel}"`);
}

function admit(settings: TokenSubscription | undefined): Admission {
  const data: Payload | undefined = settings?.data === undefined
    ? undefined
    : { kind: "json", text: settings.data };
  return { tie: "token", serverSide: true, info: settings?.info, data, expires: 0 };
}

function describe({ id, name, user, info, protocol, since }: Member): Member {
  return { id, name, user, info, protocol, since };
}

function toCursor({ recover, epoch, offset }: Position): Cursor {
  if (!recover) return { kind: "latest" };
  return epoch === "" ? { kind: "offset", offset } : { kind: "offset", offset, epoch };
}
