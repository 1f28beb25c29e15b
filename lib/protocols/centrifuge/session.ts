/**
 * One client's session in the Centrifuge protocol, whatever it is carried by: connecting, pings, expiry, and the
 * commands that follow. Transports feed it frames and give it a socket to answer on.
 */
import {
  type Decision,
  mayConnect,
  mayUse,
  type Requester,
  type Tie,
  toRequester,
} from "../../auth/grants.ts";
import type { ConnectionClaims, TokenResult, TokenVerifier } from "../../auth/tokens.ts";
import { type Client, parseClientName } from "../../core/client.ts";
import type { Cluster } from "../../core/cluster/cluster.ts";
import { Deadline } from "../../base/deadline.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import { Heartbeat } from "../../base/heartbeat.ts";
import { JoiningSocket } from "../../core/joining_socket.ts";
import type { Connection } from "../../core/limits.ts";
import { Outbox } from "../../core/outbox.ts";
import { Serial } from "../../base/serial.ts";
import type { Action, Rules } from "../../core/rules.ts";
import type { Socket } from "../../core/socket.ts";
import { CentrifugeChannels } from "./channels.ts";
import type {
  Command,
  ConnectRequest,
  ConnectResult,
  End,
  PublishRequest,
  Reply,
  ReplyError,
} from "./codec.ts";
import type { CentrifugeFormat } from "./encoders.ts";
import {
  CommandError,
  DisconnectError,
  DISCONNECTS,
  ERRORS,
  parseChannelOrThrow,
  toDisconnect,
  toExpiry,
  toReason,
  toReplyError,
} from "./errors.ts";
import { answerHistory, answerPresence, answerPresenceStats } from "./queries.ts";
import type { ProtocolContext } from "../protocol.ts";

/** What Centrifuge sessions work with besides what all protocols do. */
export interface CentrifugeContext extends ProtocolContext {
  readonly rules: Rules;
  /** Whether everybody is let in. */
  readonly open: boolean;
  /** Checks tokens; undefined without a key for them. */
  readonly verifier: TokenVerifier | undefined;
  /** Names this process to clients. */
  readonly node: string;
  /** The other nodes, where there may be any. */
  readonly cluster?: Cluster | undefined;
  /** Sessions by their id, for commands that arrive by another request. */
  readonly sessions: Map<string, CentrifugeSession>;
  /** Channels one connection may be on. */
  readonly maxSubscriptions: number;
  /** Seconds a client has to connect. */
  readonly handshakeTimeout: number;
  /** Seconds between pings. */
  readonly pingInterval: number;
  /** Seconds a client has to answer a ping. */
  readonly pongTimeout: number;
}

/** How a session reaches its client. */
export interface CentrifugeTransport {
  /** Shown as the protocol in presence and logs. */
  readonly protocol: string;
  readonly connection: Connection;
  readonly socket: Socket;
  /** Ends the connection, telling the client why in the transport's way. */
  hangUp(end: End): void;
  /** Drops what is queued, of which there is too much. */
  discard(): void;
  /** Whether further commands come by `POST /emulation`. */
  readonly emulated: boolean;
}

/** Seconds an expired client may still take to refresh: it starts when the time is up. */
const REFRESH_SECONDS = 25;
/** Commands that may wait while a connect is checked: what one frame holds is plenty. */
const MAX_WAITING_COMMANDS = 1_024;

export class CentrifugeSession {
  /** Names the session to `POST /emulation`; whoever knows it may speak for the client. */
  readonly id: string = crypto.randomUUID();
  readonly context: CentrifugeContext;
  readonly format: CentrifugeFormat;
  readonly #transport: CentrifugeTransport;
  readonly #socket: JoiningSocket;
  readonly #outbox: Outbox;
  #state: "new" | "connecting" | "connected" | "ended" = "new";
  #waiting: Command[] = [];
  readonly #heavy = new Serial();
  #client: Client | undefined;
  #channels: CentrifugeChannels | undefined;
  #requester: Requester = { kind: "open" };
  #staleTimer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: Heartbeat | undefined;
  readonly #expiry = new Deadline();

  constructor(context: CentrifugeContext, format: CentrifugeFormat, transport: CentrifugeTransport) {
    this.context = context;
    this.format = format;
    this.#transport = transport;
    this.#socket = new JoiningSocket(transport.socket, (frames) => format.join(frames));
    this.#outbox = new Outbox(this.#socket, context.outboxLimits);
    this.#staleTimer = setTimeout(() => this.end(DISCONNECTS.stale), context.handshakeTimeout * 1_000);
    context.sessions.set(this.id, this);
  }

  /** The connected client. */
  get client(): Client {
    if (this.#client === undefined) throw new TypeError("The session is not connected");
    return this.#client;
  }

  /** Reads one frame or body of commands. Bad ones end the session with 3501. */
  receive(frame: string | Uint8Array): void {
    if (this.#state === "ended") return;
    let commands;
    try {
      commands = this.format.codec.decode(frame);
    } catch (error) {
      return this.end(DISCONNECTS.badRequest, error);
    }
    for (const command of commands) this.#take(command);
  }

  /** Connects a one-way client by its bare request. */
  connect(request: ConnectRequest): void {
    this.#take({ id: 1, kind: "connect", request });
  }

  /** Ends the session and its connection. Ending it again does nothing. */
  end(end: End, cause?: unknown): void {
    if (this.#state === "ended") return;
    if (cause !== undefined) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      this.context.logger.write("warn", "client refused", { id: this.#client?.id, code: end.code, reason });
    }
    this.#count(end.code, cause instanceof Error ? cause.message : String(cause ?? end.reason));
    const slow = end.code === DISCONNECTS.slow.code;
    if (slow) this.#transport.discard();
    else this.#socket.flush();
    this.#transport.hangUp(end);
    this.closed(end.code);
  }

  /** The connection is gone: nothing is sent any more, and nothing is left behind. */
  closed(code: number): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#staleTimer);
    this.#heartbeat?.stop();
    this.#expiry.clear();
    this.#waiting = [];
    this.#channels?.closeAll();
    this.context.sessions.delete(this.id);
    if (this.#client !== undefined) this.context.hub.disconnect(this.#client, code);
  }

  /** Sends replies and pushes. */
  send(...replies: readonly Reply[]): void {
    if (this.#state === "ended") return;
    if (!this.#outbox.offer([this.format.encodeReplies(replies)])) this.end(DISCONNECTS.slow);
  }

  /** The channels a token named for this client. */
  get requester(): Requester {
    return this.#requester;
  }

  /**
   * Asks whether the client may do something on a channel.
   *
   * @throws {CommandError} 103; the log is told which rule denied and what would allow it
   */
  check(action: Action, channel: string, tie: Tie): void {
    this.#demand(mayUse(action, channel, this.#requester, this.context.rules.for(channel), tie));
  }

  #demand(decision: Decision): void {
    if (decision.allowed) return;
    this.context.logger.write("warn", "permission denied", {
      id: this.#client?.id,
      reason: decision.message,
    });
    throw new CommandError(ERRORS.permissionDenied, decision.clientMessage);
  }

  /**
   * Runs what may read and answer much, one at a time and as the client takes it: however many commands it sends, it
   * costs the server one page.
   */
  async inHeavyTurn<T>(run: () => Promise<T>): Promise<T> {
    if (this.#heavy.waiting >= MAX_WAITING_COMMANDS) {
      throw new CommandError(ERRORS.tooManyRequests, `At most ${MAX_WAITING_COMMANDS} reads may wait`);
    }
    return await this.#heavy.run(async () => {
      await this.#socket.drained();
      if (this.#isEnded) throw new CommandError(ERRORS.internal);
      return await run();
    });
  }

  /** Commands are taken in order; those that come while a connect is checked wait for it. */
  #take(command: Command): void {
    if (this.#state === "ended") return;
    if (command.kind === "connect") {
      if (this.#state !== "new") return this.end(DISCONNECTS.badRequest, "a second connect");
      this.#state = "connecting";
      this.#connect(command.id, command.request).catch((error) => this.#fail(command.id, error));
    } else if (this.#state === "connecting") {
      if (this.#waiting.push(command) > MAX_WAITING_COMMANDS) {
        this.end(DISCONNECTS.badRequest, "too many commands");
      }
    } else if (this.#state === "new") this.end(DISCONNECTS.badRequest, `${command.kind} before connect`);
    else this.#run(command);
  }

  #run(command: Exclude<Command, { kind: "connect" }>): void {
    if (command.kind === "pong") {
      if (!this.#heartbeat?.answer()) this.end(DISCONNECTS.badRequest, "a pong without a ping");
      return;
    }
    this.#answer(command).then(
      (reply) => reply !== undefined && this.send(reply),
      (error) => this.#fail(command.id, error),
    );
  }

  /** Answers a command; what answers itself, at the right moment, resolves to undefined. */
  async #answer(command: Exclude<Command, { kind: "pong" | "connect" }>): Promise<Reply | undefined> {
    const { id } = command;
    const channels = this.#channels;
    if (channels === undefined) throw new TypeError("A connected session has channels");
    // Before rules are looked up by it. Ending what was never begun is no mistake.
    if ("channel" in command.request && command.kind !== "unsubscribe") {
      parseChannelOrThrow(command.request.channel);
      this.context.hub.checkName(command.request.channel);
    }
    switch (command.kind) {
      case "subscribe":
        await channels.subscribe(command.request, (result) => this.send({ id, kind: "subscribe", result }));
        return undefined;
      case "unsubscribe":
        await channels.unsubscribe(command.request.channel);
        return { id, kind: "unsubscribe", result: {} };
      case "publish":
        await this.#publish(command.request);
        return { id, kind: "publish", result: {} };
      case "presence":
        this.check("presence", command.request.channel, channels.tie(command.request.channel));
        return { id, kind: "presence", result: answerPresence(this.context, command.request.channel) };
      case "presence_stats":
        this.check("presence", command.request.channel, channels.tie(command.request.channel));
        return {
          id,
          kind: "presence_stats",
          result: answerPresenceStats(this.context, command.request.channel),
        };
      case "history":
        this.check("history", command.request.channel, channels.tie(command.request.channel));
        return {
          id,
          kind: "history",
          result: await this.inHeavyTurn(() => answerHistory(this.context, command.request)),
        };
      case "ping":
        return { id, kind: "ping", result: {} };
      case "send":
        // Nobody on the server listens to messages that expect no answer.
        return undefined;
      case "rpc":
        throw new CommandError(
          ERRORS.notAvailable,
          `No method ${JSON.stringify(command.request.method)} here`,
        );
      case "refresh":
        return { id, kind: "refresh", result: await this.#refresh(command.request.token) };
      case "sub_refresh":
        return { id, kind: "sub_refresh", result: await channels.refresh(command.request) };
    }
  }

  async #publish({ channel, data, type }: PublishRequest): Promise<void> {
    if (type !== 0) throw new CommandError(ERRORS.notAvailable, "Only streams can be published to");
    if (data === undefined) throw new CommandError(ERRORS.badRequest, "A publish needs data");
    this.check("publish", channel, this.#channels?.tie(channel) ?? "none");
    this.#transport.connection.countPublish();
    const { id, name, user, info, socket } = this.client;
    await this.context.hub.publish({
      channel,
      payload: data,
      from: { id, name, user, info },
      socketId: socket.id,
    });
  }

  async #connect(id: number, request: ConnectRequest): Promise<void> {
    const { open, hub } = this.context;
    if (hub.draining) throw new DisconnectError(DISCONNECTS.shutdown);
    const claims = await this.#identify(request);
    if (this.#isEnded) return;
    const user = claims?.user === "" ? undefined : claims?.user;
    this.#requester = open ? { kind: "open" } : toRequester(claims);
    const client: Client = {
      id: crypto.randomUUID(),
      address: this.#transport.connection.address,
      name: open ? readName(request) : undefined,
      user,
      info: claims?.info,
      protocol: this.#transport.protocol,
      since: Date.now(),
      socket: this.#socket,
      outbox: this.#outbox,
      encoder: this.format.encoder,
      echo: true,
      end: (error) => this.end(toDisconnect(error)),
      control: {
        disconnect: (code, reason) => this.end({ code, reason }),
        subscribe: (channel, options) => channels.subscribeByServer(channel, options),
        unsubscribe: (channel, code, reason) => channels.unsubscribeByServer(channel, { code, reason }),
        refresh: (expires) => {
          this.#expire(expires, 0);
          this.send({ kind: "push", push: { kind: "refresh", content: toExpiry(expires) } });
        },
      },
    };
    const channels = new CentrifugeChannels(this);
    this.#client = client;
    this.#channels = channels;
    hub.connect(client);

    // Nothing of the server-side subscriptions may overtake the answer to connect.
    this.#socket.hold();
    const subs = await channels.openServerSide(claims, request.subs);
    if (this.#isEnded) return;
    clearTimeout(this.#staleTimer);
    this.#state = "connected";
    const { pingInterval, pongTimeout, node } = this.context;
    const result: ConnectResult = {
      client: client.id,
      version: hub.identity.version,
      ...toExpiry(claims?.expires ?? 0),
      subs,
      ping: pingInterval,
      pong: !this.format.oneWay,
      ...(this.#transport.emulated ? { session: this.id, node } : {}),
    };
    const reply: Reply = this.format.oneWay
      ? { kind: "push", push: { kind: "connect", content: result } }
      : { id, kind: "connect", result };
    this.#socket.release(this.format.encodeReplies([reply]));
    this.#expire(claims?.expires ?? 0);
    this.#heartbeat = new Heartbeat({
      interval: pingInterval,
      timeout: this.format.oneWay ? undefined : pongTimeout,
      ping: () => this.send({ kind: "server_ping" }),
      onSilence: () => this.end(DISCONNECTS.noPong),
    });
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const command of waiting) this.#take(command);
  }

  get #isEnded(): boolean {
    return this.#state === "ended";
  }

  /** Who connects; undefined for clients that bring no token. */
  async #identify({ token }: ConnectRequest): Promise<ConnectionClaims | undefined> {
    const { open, verifier, rules } = this.context;
    if (open) return undefined;
    if (token !== "") {
      if (verifier === undefined) throw new DisconnectError(DISCONNECTS.invalidToken);
      return this.#accept(await verifier.verifyConnectionToken(token));
    }
    const decision = mayConnect(true, rules.admitsAnonymous);
    if (decision.allowed) return undefined;
    this.context.logger.write("warn", "permission denied", { reason: decision.message });
    throw new DisconnectError(DISCONNECTS.badRequest);
  }

  #accept<Claims>(result: TokenResult<Claims>): Claims {
    if (result.kind === "valid") return result.claims;
    this.context.logger.write("warn", "token refused", { id: this.#client?.id, reason: result.reason });
    switch (result.kind) {
      case "expired":
        throw new CommandError(ERRORS.tokenExpired);
      case "unavailable":
        throw new CommandError(ERRORS.internal);
      default:
        throw new DisconnectError(DISCONNECTS.invalidToken);
    }
  }

  async #refresh(token: string): Promise<{ client: string; expires?: boolean; ttl?: number }> {
    const { verifier } = this.context;
    if (verifier === undefined) throw new CommandError(ERRORS.notAvailable, "Connections do not expire here");
    const claims = this.#accept(
      await verifier.verifyConnectionToken(token, { user: this.client.user ?? "" }),
    );
    // What it is subscribed to stays, as Centrifugo's users expect; what it may ask for from now on is the new token's.
    this.#requester = toRequester(claims);
    this.#expire(claims.expires);
    return { client: this.client.id, ...toExpiry(claims.expires) };
  }

  #expire(expires: number, grace = REFRESH_SECONDS): void {
    this.#expiry.clear();
    if (expires === 0 || this.#isEnded) return;
    this.#expiry.set((expires + grace) * 1_000, () => this.end(DISCONNECTS.expired));
  }

  #fail(id: number, error: unknown): void {
    if (this.#isEnded) return;
    if (error instanceof DisconnectError) return this.end(error.end);
    const reply = error instanceof CommandError ? error.reply : this.#describe(error);
    const wasConnecting = this.#state === "connecting";
    // A connect that failed takes everything that waited for it along; the client tries again or gives up.
    if (wasConnecting) this.#waiting = [];
    if (this.format.oneWay) {
      if (reply.temporary) return this.end(DISCONNECTS.serverError);
      return this.end(reply.code === 109 ? DISCONNECTS.expired : DISCONNECTS.badRequest);
    }
    this.#count(reply.code, reply.message, error);
    this.send({ id, kind: "error", error: reply });
    if (wasConnecting) this.#state = "new";
  }

  #count(code: number, message: string, error?: unknown): void {
    const reason = error instanceof MessagingError ? error.code : toReason(code);
    const what = this.#transport.protocol;
    if (reason !== undefined) {
      this.context.hub.metrics.refused(reason, { what, message, client: this.#client?.id });
    }
  }

  #describe(error: unknown): ReplyError {
    const known = toMessagingError(error);
    if (known.code === "internal") {
      const cause = error instanceof MessagingError ? error.cause : error;
      const reason = cause instanceof Error ? cause.stack : String(cause);
      this.context.logger.write("error", "command failed", { id: this.#client?.id, reason });
    }
    return toReplyError(known);
  }
}

/** An open server takes a client's word for its name: `data: { "name": "John" }`. */
function readName({ data }: ConnectRequest): string | undefined {
  if (data?.kind !== "json") return undefined;
  const value: unknown = JSON.parse(data.text);
  if (typeof value !== "object" || value === null || !("name" in value)) return undefined;
  try {
    return typeof value.name === "string" ? parseClientName(value.name) : undefined;
  } catch {
    return undefined;
  }
}
