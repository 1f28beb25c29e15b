/**
 * One client's session in the Centrifuge protocol, whatever it is carried by: connecting, pings, expiry, and the order
 * of the commands that follow. Transports feed it frames and give it a socket to answer on.
 */
import type { Caller } from "../../auth/callouts.ts";
import type { Pass } from "../../auth/pass.ts";
import type { Tie } from "../../auth/grants.ts";
import { Deadline } from "../../base/deadline.ts";
import { Heartbeat } from "../../base/heartbeat.ts";
import { Serial } from "../../base/serial.ts";
import { SliceClock } from "../../base/slices.ts";
import { type Client, createClient } from "../../core/client.ts";
import { changeInfo } from "../../core/client_info.ts";
import { checkSize } from "../../core/draft.ts";
import { MessagingError, toMessagingError } from "../../core/errors.ts";
import { JoiningSocket } from "../../core/joining_socket.ts";
import type { Connection } from "../../core/limits.ts";
import { Outbox } from "../../core/outbox.ts";
import type { Action } from "../../core/rules.ts";
import type { Frame, Socket } from "../../core/socket.ts";
import { CentrifugeChannels } from "./channels.ts";
import type {
  Command,
  ConnectRequest,
  ConnectResult,
  End,
  RefreshResult,
  Reply,
  SubscribeResult,
} from "./codec.ts";
import { CommandQueue } from "./command_queue.ts";
import { CentrifugeCommands } from "./commands.ts";
import type { CentrifugeContext, ChannelOwner } from "./context.ts";
import type { CentrifugeFormat } from "./encoders.ts";
import { isFatal, toDisconnect, toExpiry, toReplyError } from "./errors.ts";
import { FrameQueue } from "./frame_queue.ts";
import { checkFrameSize, EarlyFrames } from "./frame_size.ts";
import { readIntroduction } from "./introduction.ts";
import { isLong, sendInSlices } from "./slow_answer.ts";

/** How a session reaches its client. */
export interface CentrifugeTransport {
  /** Shown as the protocol in presence and logs. */
  readonly protocol: string;
  readonly connection: Connection;
  readonly socket: Socket;
  /** Ends the connection, telling the client why in the transport's way. A slow one is not waited for. */
  hangUp(end: End, isSlow: boolean): void;
  /** Drops what is queued, of which there is too much. */
  discard(): void;
  /** Who it is for an application that decides. */
  readonly caller: Caller | undefined;
  /** Whether further commands come by `POST /emulation`. */
  readonly emulated: boolean;
}

/** Seconds an expired client may still take to refresh: it starts when the time is up. */
const REFRESH_SECONDS = 25;
/** Commands that may wait while a connect is checked: what one frame holds is plenty. */
const MAX_WAITING_COMMANDS = 1_024;

export class CentrifugeSession implements ChannelOwner {
  /** Names the session to `POST /emulation`; whoever knows it may speak for the client. */
  readonly id: string = crypto.randomUUID();
  readonly context: CentrifugeContext;
  readonly format: CentrifugeFormat;
  readonly #transport: CentrifugeTransport;
  readonly #socket: JoiningSocket;
  readonly #outbox: Outbox;
  #state: "new" | "connecting" | "connected" | "ended" = "new";
  readonly #frames = new FrameQueue((frame) => this.#read(frame));
  readonly #received = new CommandQueue((command) => this.#take(command));
  #waiting: Command[] = [];
  readonly #early: EarlyFrames;
  /** For the heavy turns that follow each other. */
  #slice = new SliceClock();
  readonly #heavy = new Serial();
  #client: Client | undefined;
  #channels: CentrifugeChannels | undefined;
  #commands: CentrifugeCommands | undefined;
  #pass: Pass | undefined;
  #staleTimer: ReturnType<typeof setTimeout> | undefined;
  #heartbeat: Heartbeat | undefined;
  readonly #expiry = new Deadline();

  constructor(context: CentrifugeContext, format: CentrifugeFormat, transport: CentrifugeTransport) {
    this.context = context;
    this.format = format;
    this.#transport = transport;
    this.#socket = new JoiningSocket(transport.socket, (frames) => format.join(frames));
    this.#outbox = new Outbox(this.#socket, context.outboxLimits);
    const { handshakeTimeout, maxMessageBytes } = context.settings;
    this.#early = new EarlyFrames(maxMessageBytes);
    this.#staleTimer = setTimeout(
      () =>
        this.end(new MessagingError("handshake_timeout", `No connect within ${handshakeTimeout} seconds`)),
      handshakeTimeout * 1_000,
    );
    context.sessions.set(this.id, this);
  }

  /** The connected client. */
  get client(): Client {
    if (this.#client === undefined) throw new TypeError("The session is not connected");
    return this.#client;
  }

  /** Takes one frame or body of commands. Bad ones end the session with 3501, one that is too large with 1009. */
  receive(frame: string | Uint8Array): void {
    if (this.#state === "ended") return;
    try {
      if (this.#state === "connected") checkFrameSize(frame, this.context.settings.maxMessageBytes);
      else this.#early.add(frame);
    } catch (error) {
      if (error instanceof MessagingError) return this.end(error);
      throw error;
    }
    this.#frames.add(frame);
  }

  #read(frame: string | Uint8Array): void {
    if (this.#state === "ended") return;
    let commands;
    try {
      commands = this.format.codec.decode(frame);
    } catch (error) {
      if (error instanceof MessagingError) return this.end(error);
      return this.#refuse(error instanceof Error ? error.message : String(error));
    }
    if (this.#received.add(commands)) return;
    this.end(new MessagingError("too_many_requests", "Too many commands at once: wait for answers"));
  }

  /** Connects a unidirectional client by its bare request. */
  connect(request: ConnectRequest): void {
    this.#take({ id: 1, kind: "connect", request });
  }

  /** Ends the session and its connection, for one of our errors or as an operator says. Again it does nothing. */
  end(reason: MessagingError | End): void {
    if (this.#state === "ended") return;
    const isError = reason instanceof MessagingError;
    if (isError) this.#count(reason);
    const isSlow = isError && reason.code === "slow_subscriber";
    if (isSlow) this.#transport.discard();
    else this.#socket.flush();
    const end = isError ? toDisconnect(reason) : reason;
    this.#transport.hangUp(end, isSlow);
    this.closed(end.code);
  }

  /** Ends the session of a client that does not keep to the protocol. */
  #refuse(reason: string): void {
    const error = new MessagingError("bad_frame", reason);
    const { code } = toDisconnect(error);
    this.context.logger.write("warn", "client refused", { id: this.#client?.id, code, reason });
    this.end(error);
  }

  /** The connection is gone: nothing is sent any more, and nothing is left behind. */
  closed(code: number): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearTimeout(this.#staleTimer);
    this.#heartbeat?.stop();
    this.#expiry.clear();
    this.#waiting = [];
    this.#frames.clear();
    this.#received.clear();
    this.#channels?.closeAll();
    this.context.sessions.delete(this.id);
    if (this.#client !== undefined) this.context.hub.disconnect(this.#client, code);
  }

  /** Sends replies and pushes. */
  send(...replies: readonly Reply[]): void {
    if (this.#state !== "ended") this.sendFrame(this.format.encodeReplies(replies));
  }

  sendFrame(frame: Frame): void {
    if (this.#state === "ended") return;
    if (!this.#outbox.offer([frame])) {
      this.end(new MessagingError("slow_subscriber", "Too many messages are waiting for you: reconnect"));
    }
  }

  sendSubscribed(id: number, result: SubscribeResult): Promise<void> | undefined {
    const reply = { id, kind: "subscribe", result } as const;
    if (!isLong(result)) return void this.send(reply);
    return sendInSlices(reply, this.format, this.#socket, () => this.#isEnded);
  }

  /** What the client may do. */
  get pass(): Pass {
    if (this.#pass === undefined) throw new TypeError("The session is not connected");
    return this.#pass;
  }

  /** @throws {MessagingError} when the client may not do something on a channel */
  demand(action: Action, channel: string, tie: Tie): void {
    const denial = this.pass.deny(action, channel, tie);
    if (denial === undefined) return;
    // Who is connected without a token has no better credentials to offer: the command is denied, not the connection.
    throw denial.code === "unauthorized" ? new MessagingError("forbidden", "permission denied") : denial;
  }

  /**
   * Runs what may read and answer much, one at a time and as the client takes it: however many commands it sends, it
   * costs the server one page.
   */
  async inHeavyTurn<T>(run: () => Promise<T>): Promise<T> {
    if (this.#heavy.waiting >= MAX_WAITING_COMMANDS) {
      throw new MessagingError("too_many_requests", `At most ${MAX_WAITING_COMMANDS} reads may wait`);
    }
    // A few at once are not held up: a publish that came behind a subscribe may not overtake it.
    if (this.#heavy.waiting === 0) this.#slice = new SliceClock();
    return await this.#heavy.run(async () => {
      if (this.#slice.isOver) await this.#slice.next();
      await this.#socket.drained();
      if (this.#isEnded) throw new MessagingError("internal", "The connection has ended");
      return await run();
    });
  }

  /** Commands are taken in order; those that come while a connect is checked wait for it. */
  #take(command: Command): void {
    if (this.#state === "ended") return;
    if (command.kind === "connect") {
      if (this.#state !== "new") return this.#refuse("a second connect");
      this.#state = "connecting";
      this.#connect(command.id, command.request).catch((error) => this.#fail(command.id, error));
    } else if (this.#state === "connecting") {
      if (this.#waiting.push(command) > MAX_WAITING_COMMANDS) {
        this.#refuse("too many commands");
      }
    } else if (this.#state === "new") this.#refuse(`${command.kind} before connect`);
    else this.#run(command);
  }

  #run(command: Exclude<Command, { kind: "connect" }>): void {
    if (command.kind === "pong") {
      if (!this.#heartbeat?.answer()) this.#refuse("a pong without a ping");
      return;
    }
    const commands = this.#commands;
    if (commands === undefined) throw new TypeError("A connected session has commands");
    commands.answer(command).then(
      (reply) => reply !== undefined && this.send(reply),
      (error) => this.#fail(command.id, error),
    );
  }

  async #connect(id: number, request: ConnectRequest): Promise<void> {
    const { gate, hub, settings } = this.context;
    if (hub.draining) throw new MessagingError("draining", "The server is restarting: try again in a moment");
    const { caller } = this.#transport;
    const { data, name, version } = request;
    if (data !== undefined) checkSize(data, settings.maxMessageBytes);
    const pass = await gate.admitConnection(request.token, caller, { data, name, version });
    if (this.#isEnded) return;
    this.#pass = pass;
    const said = readIntroduction(request);
    const client = createClient({
      id: caller?.client ?? crypto.randomUUID(),
      connection: this.#transport.connection,
      name: pass.isTrusted ? said.name : undefined,
      user: pass.user,
      info: pass.info ?? (pass.isTrusted ? said.info : undefined),
      labels: pass.labels,
      protocol: this.#transport.protocol,
      socket: this.#socket,
      outbox: this.#outbox,
      encoder: this.format.encoder,
      echo: true,
      hearsRemovals: said.hearsRemovals,
      end: (error) => this.end(error),
      control: {
        disconnect: (code, reason) => this.end({ code, reason }),
        subscribe: (channel, options) => channels.subscribeByServer(channel, options),
        unsubscribe: (channel, code, reason) => channels.unsubscribeByServer(channel, { code, reason }),
        refresh: (expires, info) => {
          this.#changeInfo(info);
          this.#expire(expires, 0);
          this.send({ kind: "push", push: { kind: "refresh", content: toExpiry(expires) } });
        },
      },
    });
    const channels = new CentrifugeChannels(this);
    this.#client = client;
    this.#channels = channels;
    this.#commands = new CentrifugeCommands({
      session: this,
      channels,
      connection: this.#transport.connection,
      refresh: (token) => this.#refresh(token),
    });
    hub.connect(client);

    // Nothing of the server-side subscriptions may overtake the answer to connect.
    this.#socket.hold();
    const subs = await channels.openServerSide(pass.claims, request.subs);
    if (this.#isEnded) return;
    clearTimeout(this.#staleTimer);
    this.#state = "connected";
    const { pingInterval, pongTimeout } = settings;
    const result: ConnectResult = {
      client: client.id,
      version: hub.identity.version,
      // An application that let it in is asked again by the server.
      ...(pass.isIdentified ? {} : toExpiry(pass.expires)),
      data: pass.data,
      subs,
      ping: pingInterval,
      pong: !this.format.unidirectional,
      ...(this.#transport.emulated ? { session: this.id, node: hub.identity.node } : {}),
    };
    const reply: Reply = this.format.unidirectional
      ? { kind: "push", push: { kind: "connect", content: result } }
      : { id, kind: "connect", result };
    this.#socket.release(this.format.encodeReplies([reply]));
    this.#expire(pass.expires, pass.isIdentified ? 0 : undefined);
    this.#heartbeat = new Heartbeat({
      interval: pingInterval,
      timeout: this.format.unidirectional ? undefined : pongTimeout,
      ping: () => this.send({ kind: "server_ping" }),
      onSilence: () => this.end(new MessagingError("idle", "No answer to a ping")),
    });
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const command of waiting) this.#take(command);
  }

  get #isEnded(): boolean {
    return this.#state === "ended";
  }

  async #refresh(token: string): Promise<RefreshResult> {
    // What it is subscribed to stays, as Centrifugo's users expect; what it may ask for from now on is the new token's.
    const pass = await this.context.gate.renew(this.pass, token);
    this.#pass = pass;
    this.#changeInfo(pass.info);
    this.#expire(pass.expires);
    return { client: this.client.id, ...toExpiry(pass.expires) };
  }

  #expire(expires: number, grace = REFRESH_SECONDS): void {
    this.#expiry.clear();
    if (expires === 0 || this.#isEnded) return;
    this.#expiry.set((expires + grace) * 1_000, () => {
      if (this.pass.isIdentified) {
        this.#renewByApplication().catch((error) => this.end(toMessagingError(error)));
      } else this.end(new MessagingError("token_expired", "The token has expired"));
    });
  }

  async #renewByApplication(): Promise<void> {
    const pass = await this.context.gate.renewByApplication(this.pass);
    if (this.#isEnded) return;
    this.#pass = pass;
    this.#changeInfo(pass.info);
    // An answer in the past would ask again at once, and again.
    if (pass.expires !== 0 && pass.expires * 1_000 <= Date.now()) {
      return this.end(new MessagingError("token_expired", "The connection has expired: connect again"));
    }
    this.#expire(pass.expires, 0);
  }

  /** What others see of the client from now on; without a new info, it stays as it is. */
  #changeInfo(info: string | undefined): void {
    const { hub, cluster } = this.context;
    if (info !== undefined) changeInfo(hub, cluster, this.client, info);
  }

  #fail(id: number, cause: unknown): void {
    if (this.#isEnded) return;
    const error = toMessagingError(cause);
    if (error.code === "internal" && error.cause !== undefined) this.#logInternal(error.cause);
    const wasConnecting = this.#state === "connecting";
    // A connect that failed takes everything that waited for it along; the client tries again or gives up.
    if (wasConnecting) this.#waiting = [];
    // There is nothing to answer on a unidirectional transport.
    if (isFatal(error) || this.format.unidirectional) return this.end(error);
    this.#count(error);
    this.send({ id, kind: "error", error: toReplyError(error) });
    if (wasConnecting) this.#state = "new";
  }

  #count({ code, message }: MessagingError): void {
    const what = this.#transport.protocol;
    this.context.hub.metrics.refused(code, { what, message, client: this.#client?.id });
  }

  #logInternal(cause: unknown): void {
    const reason = cause instanceof Error ? cause.stack : String(cause);
    this.context.logger.write("error", "command failed", { id: this.#client?.id, reason });
  }
}
