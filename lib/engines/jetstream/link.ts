/**
 * The JetStream engine's link to its server: connects, creates or checks the stream, loads it, follows it, and starts
 * over with a backoff whenever a step fails.
 */
import { Pause } from "../../base/pause.ts";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import {
  type ConnectionOptions,
  credsAuthenticator,
  type Msg,
  type NatsConnection,
} from "@nats-io/transport-node";
import type { Logger } from "../../core/logger.ts";
import type { Rules } from "../../core/rules.ts";
import { openConfirmed } from "./confirmation.ts";
import { JetStreamConsumer } from "./consumer.ts";
import { decodeHead, HEAD, type StreamRecord } from "./record.ts";
import { JetStreamState } from "./state.ts";
import { isReplaced, type OpenedStream, openStream, readEpoch, renewEpoch } from "./stream.ts";
import type { JetStreamSubjects } from "./subject.ts";
import { connectNats } from "./transport.ts";
import type { JetStreamUrl } from "./url.ts";

/** How to authenticate at the server. */
export interface NatsCredentials {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** The contents of a credentials file. */
  readonly creds?: string | undefined;
  /** Certificate authorities in PEM, for servers with certificates of a private one. */
  readonly ca?: string | undefined;
}

export interface LinkOptions extends JetStreamUrl {
  readonly subjects: JetStreamSubjects;
  readonly credentials: NatsCredentials;
  readonly rules: Rules;
  readonly logger: Logger;
  /** How to reach a server; over TCP by default. */
  readonly connect?: (options: ConnectionOptions) => Promise<NatsConnection>;
  /** The clock for deadlines. */
  readonly steadyNow: () => number;
  /** How long after its newest message an empty channel is forgotten, in milliseconds. */
  readonly forgetAfter?: number;
  /** Called with each new connection. */
  onConnect(connection: NatsConnection): void;
  /** Called in order with the records that follow those in the state. */
  onRecord(record: StreamRecord): void;
  /** Must apply all records delivered so far to the state, which is inspected next. */
  flush(): void;
  /** Called when the stream was loaded into a new state. `reason` says why the previous one was replaced. */
  onLoad(state: JetStreamState, reason: string): void;
  /** Called when the stream is being followed. */
  onUp(): void;
  onDown(): void;
}

const CONNECT_MILLISECONDS = 3_000;
/** The timeout of requests. A cluster that is electing a leader does not answer; the request is repeated. */
const REQUEST_MILLISECONDS = 2_000;
/** The backoff between attempts: initial, maximum and factor. */
const RETRY_MILLISECONDS = 100;
const LONGEST_RETRY_MILLISECONDS = 5_000;
const RETRY_FACTOR = 2;
/** A connection is given up after this many unanswered pings. */
const PING_MILLISECONDS = 2_000;
const MAX_PINGS_OUT = 2;
/** How often to check the epoch: another node may have renewed it. */
const EPOCH_CHECK_MILLISECONDS = 2_000;
/** How long a follower may be behind before another is tried: while it delivers nothing, and in checks of the epoch. */
const BEHIND_MILLISECONDS = 3_000;
const BEHIND_CHECKS = 3;
/** How often to look at the system's clock while disconnected, and by how much it may go wrong. */
const CLOCK_CHECK_MILLISECONDS = 1_000;
const CLOCK_STEP_MILLISECONDS = 1_000;

export class JetStreamLink implements AsyncDisposable {
  readonly #options: LinkOptions;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;
  #state: JetStreamState | undefined;
  #consumer: JetStreamConsumer | undefined;
  #problem: string | undefined = "it has not been reached yet";
  #complaint: string | undefined;
  /** Whether records were purged before this node had seen them. */
  #hasMissed = false;
  /** The newest record that came, and how often the stream had more while none came. */
  #received = 0;
  #behind = { received: 0, checks: 0 };
  readonly #warned = new Set<string>();
  #closed = false;
  /** Resolves when a lost connection is re-established or given up. */
  #disconnected: PromiseWithResolvers<void> | undefined;
  /** Ends following the stream, for a reason. */
  #fail: (reason: string) => void = () => {};
  /** Ends a pause early. */
  readonly #pause = new Pause();
  #onFirst: () => void = () => {};
  /** Resolves when the stream was loaded for the first time, or the first attempt has failed. */
  readonly started: Promise<void>;
  readonly #running: Promise<void>;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.started = new Promise((resolve) => this.#onFirst = resolve);
    this.#running = this.#run();
  }

  /** Why the stream is unavailable, for the operator; undefined while it is available. */
  get problem(): string | undefined {
    return this.#problem;
  }

  get state(): JetStreamState | undefined {
    return this.#state;
  }

  get connection(): NatsConnection | undefined {
    return this.#connection;
  }

  get manager(): JetStreamManager | undefined {
    return this.#problem === undefined ? this.#manager : undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    if (this.#problem === undefined) await this.#consumer?.close();
    this.#consumer?.stop();
    this.#fail("it is closed");
    this.#pause.end();
    await this.#connection?.close();
    await this.#running;
    // They may have been opened in the meantime.
    this.#consumer?.stop();
    await this.#connection?.close();
  }

  async #run(): Promise<void> {
    for (let wait = RETRY_MILLISECONDS; !this.#closed;) {
      try {
        const failure = Promise.withResolvers<string>();
        this.#fail = failure.resolve;
        await this.#attach(failure);
        wait = RETRY_MILLISECONDS;
        const watch = setInterval(() => void this.#check(failure), EPOCH_CHECK_MILLISECONDS);
        const reason = await failure.promise;
        clearInterval(watch);
        if (this.#closed) return;
        this.#goDown(reason);
      } catch (error) {
        this.#goDown(describe(error));
        this.#onFirst();
        if (this.#closed) return;
        await this.#pause.wait(wait * (1 + Math.random() / 4));
        wait = Math.min(wait * RETRY_FACTOR, LONGEST_RETRY_MILLISECONDS);
      }
    }
  }

  async #attach(failure: PromiseWithResolvers<string>): Promise<void> {
    this.#consumer?.stop();
    await this.#disconnected?.promise;
    if (this.#closed) return;
    const { connection, manager } = await this.#connect();
    const { flush, onRecord, onLoad, onUp, logger, steadyNow } = this.#options;
    let opened = await openStream(manager, this.#options);
    for (const warning of opened.warnings) {
      if (!this.#warned.has(warning)) logger.write("warn", warning);
      this.#warned.add(warning);
    }
    flush();
    const known = this.#state;
    if (known !== undefined && (known.epoch !== opened.epoch || opened.last < known.processed)) {
      const clock = known.readClock(steadyNow());
      const confirmed = await openConfirmed({ ...this.#options, connection, manager, clock });
      opened = confirmed.opened;
      const isLost = known.epoch === opened.epoch && confirmed.end <= known.processed;
      if (isLost) opened = await renewEpoch(manager, opened);
    }
    // The stream may have lost records, and grown since to the length it had.
    if (known?.newest !== undefined && known.epoch === opened.epoch) {
      const isOther = await isReplaced(manager, this.#options.stream, known.newest);
      if (isOther) opened = await renewEpoch(manager, opened);
    }
    let state = known;
    const reason = state?.epoch === opened.epoch
      ? "This node was disconnected for so long that messages it had not seen were purged"
      : `The stream lost messages that had been announced; the new epoch is ${opened.epoch}`;
    if (state?.epoch !== opened.epoch || this.#hasMissed) {
      state = await this.#load(opened, connection, manager);
    }
    if (this.#closed) return;
    if (state !== known) {
      this.#state = state;
      this.#hasMissed = false;
      onLoad(state, reason);
    }
    const from = this.#received = state.processed;
    this.#consumer = await JetStreamConsumer.open({
      connection,
      manager,
      stream: this.#options.stream,
      from: from + 1,
      onMessage: (message, sequence, stored) => {
        // A follower that is behind begins with what it gets next.
        if (sequence <= this.#received) return;
        // Records are purged only after a grace period, so this node was disconnected for longer.
        this.#hasMissed ||= sequence !== this.#received + 1;
        if (this.#hasMissed) return failure.resolve("messages that this node had not seen were purged");
        this.#received = sequence;
        onRecord(this.#readRecord(message, sequence, stored));
      },
      onIdle: (end) => {
        if (end <= this.#received) return;
        this.#hasMissed = true;
        failure.resolve("messages that this node had not seen were purged");
      },
      onEnd: (reason) => failure.resolve(`following the stream ended: ${reason}`),
    });
    this.#problem = undefined;
    if (this.#complaint !== undefined) {
      logger.write("info", "engine is reachable again", { engine: this.#name });
    }
    this.#complaint = undefined;
    onUp();
    this.#onFirst();
  }

  /** Fails the link if the epoch of the stream has changed, or it goes on elsewhere. */
  async #check(failure: PromiseWithResolvers<string>): Promise<void> {
    const manager = this.#manager;
    if (manager === undefined) return;
    try {
      const { epoch, last } = await readEpoch(manager, this.#options.stream);
      if (epoch !== this.#state?.epoch) failure.resolve("the stream has another epoch");
      const isBehind = last > this.#received && this.#received === this.#behind.received;
      this.#behind = { received: this.#received, checks: isBehind ? this.#behind.checks + 1 : 0 };
      if (this.#behind.checks >= BEHIND_CHECKS) failure.resolve(BEHIND);
    } catch {
      // The consumer notices a server that does not answer.
    }
  }

  async #connect(): Promise<{ connection: NatsConnection; manager: JetStreamManager }> {
    if (this.#connection !== undefined && this.#manager !== undefined && !this.#connection.isClosed()) {
      return { connection: this.#connection, manager: this.#manager };
    }
    const { connect = connectNats } = this.#options;
    const connection = await connect(this.#connectionOptions());
    this.#connection = connection;
    this.#manager = await jetstreamManager(connection, {
      checkAPI: false,
      timeout: REQUEST_MILLISECONDS,
    });
    void this.#watch(connection);
    this.#options.onConnect(connection);
    return { connection, manager: this.#manager };
  }

  #connectionOptions(): ConnectionOptions {
    const { servers, tls, credentials: { user, password, token, creds, ca }, stream } = this.#options;
    return {
      servers: [...servers],
      name: `raindrops ${stream}`,
      timeout: CONNECT_MILLISECONDS,
      maxReconnectAttempts: -1,
      // Deno's permissions cover only the configured servers.
      ignoreClusterUpdates: true,
      reconnectTimeWait: RETRY_MILLISECONDS,
      pingInterval: PING_MILLISECONDS,
      maxPingOut: MAX_PINGS_OUT,
      // A server whose configuration is being changed may reject the credentials for a while.
      ignoreAuthErrorAbort: true,
      ...(tls ? { tls: ca === undefined ? {} : { ca } } : {}),
      ...(creds !== undefined ? { authenticator: credsAuthenticator(new TextEncoder().encode(creds)) } : {}),
      ...(user !== undefined ? { user } : {}),
      ...(password !== undefined ? { pass: password } : {}),
      ...(token !== undefined ? { token } : {}),
    };
  }

  /** Watches the status of a connection until it is closed. */
  async #watch(connection: NatsConnection): Promise<void> {
    const wasSetBack = watchClock();
    let timer;
    for await (const status of connection.status()) {
      if (status.type === "disconnect") {
        this.#disconnected ??= Promise.withResolvers();
        this.#fail("the connection was lost");
        clearInterval(timer);
        // The client measures its pauses by the system's clock: set back by an hour, it would not dial for an hour.
        timer = setInterval(() => {
          if (wasSetBack()) void connection.close();
        }, CLOCK_CHECK_MILLISECONDS);
      } else if (status.type === "reconnect") {
        clearInterval(timer);
        this.#disconnected?.resolve();
        this.#disconnected = undefined;
        this.#fail("the connection was re-established");
        this.#pause.end();
      }
    }
    clearInterval(timer);
    this.#disconnected?.resolve();
    this.#disconnected = undefined;
    this.#fail("the connection was closed");
  }

  /** Loads the whole stream into a new state. */
  async #load(
    { epoch, begins, messages, last }: OpenedStream,
    connection: NatsConnection,
    manager: JetStreamManager,
  ): Promise<JetStreamState> {
    const { rules, steadyNow, stream, forgetAfter } = this.#options;
    const state = new JetStreamState(epoch, rules, steadyNow, { forgetAfter, begins });
    if (messages > 0) {
      const done = Promise.withResolvers<void>();
      let idleSince: number | undefined;
      const consumer = await JetStreamConsumer.open({
        connection,
        manager,
        stream,
        from: 1,
        headersOnly: true,
        onMessage: (message, sequence, stored) => {
          idleSince = undefined;
          state.apply(this.#readRecord(message, sequence, stored));
          if (sequence >= last) done.resolve();
        },
        // The last ones may have been removed. What is missing at the end of a follower that is behind will come.
        onIdle: (end) => {
          if (end >= last) return done.resolve();
          idleSince ??= performance.now();
          if (performance.now() - idleSince >= BEHIND_MILLISECONDS) done.reject(new Error(BEHIND));
        },
        onEnd: (reason) => done.reject(new Error(`loading the stream ended: ${reason}`)),
      });
      await done.promise.finally(() => consumer.stop());
      void consumer.close();
    }
    state.finishLoading(last, steadyNow());
    return state;
  }

  #readRecord(message: Msg, sequence: number, stored: number): StreamRecord {
    const channel = this.#options.subjects.readChannel(message.subject);
    const text = message.headers?.get(HEAD);
    return {
      sequence,
      channel: channel ?? "",
      stored,
      id: message.headers?.get("Nats-Msg-Id") ?? "",
      head: channel === undefined || !text ? undefined : decodeHead(text),
      body: message.data,
    };
  }

  #goDown(reason: string): void {
    const isNews = this.#complaint !== reason;
    this.#problem = reason;
    this.#complaint = reason;
    this.#options.onDown();
    if (!isNews || this.#closed) return;
    this.#options.logger.write("warn", "engine cannot be reached, trying again", {
      engine: this.#name,
      reason,
    });
  }

  get #name(): string {
    const { servers, stream } = this.#options;
    return `nats://${servers.join(",")}?stream=${stream}`;
  }
}

const BEHIND = "following the stream ended: its server is behind the others";

/** Tells whether the system's clock has been set back since now. */
function watchClock(): () => boolean {
  const lead = Date.now() - performance.now();
  return () => Date.now() - performance.now() < lead - CLOCK_STEP_MILLISECONDS;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
