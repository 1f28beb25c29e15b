/**
 * The JetStream engine's link to its server: connects, creates or checks the stream, loads it, follows it, and starts
 * over with a backoff whenever a step fails.
 */
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import {
  type ConnectionOptions,
  credsAuthenticator,
  type Msg,
  type NatsConnection,
} from "@nats-io/transport-node";
import type { Logger } from "../../core/logger.ts";
import type { Rules } from "../../core/rules.ts";
import { JetStreamConsumer } from "./consumer.ts";
import { decodeHead, HEAD, type StreamRecord } from "./record.ts";
import { JetStreamState } from "./state.ts";
import { isReplaced, openStream, readEpoch, renewEpoch } from "./stream.ts";
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
  /** The clock for deadlines. */
  readonly steadyNow: () => number;
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
/** How often to ask again a server that seems to have lost messages: it may still be catching up. */
const LOSS_CHECKS = 6;
const LOSS_CHECK_MILLISECONDS = 500;
/** How often to check the epoch: another node may have renewed it. */
const EPOCH_CHECK_MILLISECONDS = 2_000;

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
  readonly #warned = new Set<string>();
  #closed = false;
  /** Resolves when a lost connection is re-established or given up. */
  #disconnected: PromiseWithResolvers<void> | undefined;
  /** Ends following the stream, for a reason. */
  #fail: (reason: string) => void = () => {};
  /** Ends a pause early. */
  #endPause: () => void = () => {};
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
    this.#endPause();
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
        const watch = setInterval(() => void this.#checkEpoch(failure), EPOCH_CHECK_MILLISECONDS);
        const reason = await failure.promise;
        clearInterval(watch);
        if (this.#closed) return;
        this.#goDown(reason);
      } catch (error) {
        this.#goDown(describe(error));
        this.#onFirst();
        if (this.#closed) return;
        await this.#sleep(wait * (1 + Math.random() / 4));
        wait = Math.min(wait * RETRY_FACTOR, LONGEST_RETRY_MILLISECONDS);
      }
    }
  }

  async #attach(failure: PromiseWithResolvers<string>): Promise<void> {
    this.#consumer?.stop();
    await this.#disconnected?.promise;
    if (this.#closed) return;
    const { connection, manager } = await this.#connect();
    const { flush, onRecord, onLoad, onUp, logger } = this.#options;
    let opened = await openStream(manager, this.#options);
    for (const warning of opened.warnings) {
      if (!this.#warned.has(warning)) logger.write("warn", warning);
      this.#warned.add(warning);
    }
    flush();
    const known = this.#state;
    for (let i = 0; known?.epoch === opened.epoch && opened.last < known.processed; i++) {
      if (i === LOSS_CHECKS) {
        opened = await renewEpoch(manager, opened);
        break;
      }
      await this.#sleep(LOSS_CHECK_MILLISECONDS);
      opened = await openStream(manager, this.#options);
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
      state = await this.#load(opened.epoch, opened.messages, opened.last, connection, manager);
    }
    if (this.#closed) return;
    if (state !== known) {
      this.#state = state;
      this.#hasMissed = false;
      onLoad(state, reason);
    }
    const from = state.processed;
    let last = from;
    this.#consumer = await JetStreamConsumer.open({
      connection,
      manager,
      stream: this.#options.stream,
      from: from + 1,
      onMessage: (message, sequence) => {
        // Records are purged only after a grace period, so this node was disconnected for longer.
        this.#hasMissed ||= sequence !== last + 1;
        if (this.#hasMissed) return failure.resolve("messages that this node had not seen were purged");
        last = sequence;
        onRecord(this.#readRecord(message, sequence));
      },
      onEnd: (reason) => failure.resolve(`following the stream ended: ${reason}`),
    });
    if (state === known && this.#consumer.pending < opened.last - from) {
      this.#hasMissed = true;
      return failure.resolve("messages that this node had not seen were purged");
    }
    this.#problem = undefined;
    if (this.#complaint !== undefined) {
      logger.write("info", "engine is reachable again", { engine: this.#name });
    }
    this.#complaint = undefined;
    onUp();
    this.#onFirst();
  }

  /** Fails the link if the epoch of the stream has changed. */
  async #checkEpoch(failure: PromiseWithResolvers<string>): Promise<void> {
    const manager = this.#manager;
    if (manager === undefined) return;
    try {
      const epoch = await readEpoch(manager, this.#options.stream);
      if (epoch !== this.#state?.epoch) failure.resolve("the stream has another epoch");
    } catch {
      // The consumer notices a server that does not answer.
    }
  }

  async #connect(): Promise<{ connection: NatsConnection; manager: JetStreamManager }> {
    if (this.#connection !== undefined && this.#manager !== undefined && !this.#connection.isClosed()) {
      return { connection: this.#connection, manager: this.#manager };
    }
    const connection = await connectNats(this.#connectionOptions());
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
    for await (const status of connection.status()) {
      if (status.type === "disconnect") {
        this.#disconnected ??= Promise.withResolvers();
        this.#fail("the connection was lost");
      } else if (status.type === "reconnect") {
        this.#disconnected?.resolve();
        this.#disconnected = undefined;
        this.#fail("the connection was re-established");
        this.#endPause();
      }
    }
    this.#disconnected?.resolve();
    this.#disconnected = undefined;
    this.#fail("the connection was closed");
  }

  /** Loads the whole stream into a new state. */
  async #load(
    epoch: string,
    messages: number,
    last: number,
    connection: NatsConnection,
    manager: JetStreamManager,
  ): Promise<JetStreamState> {
    const { rules, steadyNow, stream } = this.#options;
    const state = new JetStreamState(epoch, rules, steadyNow);
    if (messages > 0) {
      const done = Promise.withResolvers<void>();
      const consumer = await JetStreamConsumer.open({
        connection,
        manager,
        stream,
        from: 1,
        headersOnly: true,
        onMessage: (message, sequence, pending) => {
          state.apply(this.#readRecord(message, sequence));
          if (pending === 0 || sequence >= last) done.resolve();
        },
        onEnd: (reason) => done.reject(new Error(`loading the stream ended: ${reason}`)),
      });
      if (consumer.pending === 0) done.resolve();
      await done.promise.finally(() => consumer.stop());
      void consumer.close();
    }
    state.finishLoading(last, steadyNow());
    return state;
  }

  #readRecord(message: Msg, sequence: number): StreamRecord {
    const channel = this.#options.subjects.readChannel(message.subject);
    const text = message.headers?.get(HEAD);
    return {
      sequence,
      channel: channel ?? "",
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

  #sleep(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.#endPause = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
