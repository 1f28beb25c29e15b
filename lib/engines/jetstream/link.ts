/**
 * The JetStream engine's way to its server: connects, creates or checks the stream, loads what it holds, follows it,
 * and begins anew whenever something of that fails, for as long as it takes.
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

/** How the server is to know us. */
export interface NatsCredentials {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** What a credentials file holds. */
  readonly creds?: string | undefined;
  /** Certificate authorities in PEM, for servers whose certificates no public one signed. */
  readonly ca?: string | undefined;
}

export interface LinkOptions extends JetStreamUrl {
  readonly subjects: JetStreamSubjects;
  readonly credentials: NatsCredentials;
  readonly rules: Rules;
  readonly logger: Logger;
  readonly now: () => number;
  /** A connection is there, or another one. */
  onConnect(connection: NatsConnection): void;
  /** Takes the records that follow those of the state, in order. */
  onRecord(record: StreamRecord): void;
  /** What came so far is to be applied to the state, as what comes next depends on it. */
  flush(): void;
  /** The stream is loaded; what comes next is for this state. `reason` says why there is another than before. */
  onLoad(state: JetStreamState, reason: string): void;
  /** The stream is followed. */
  onUp(): void;
  onDown(): void;
}

const CONNECT_MILLISECONDS = 3_000;
/** Longest wait for an answer: a cluster that elects a leader gives none, and is asked again. */
const REQUEST_MILLISECONDS = 2_000;
/** Between attempts: the first, the longest, and by how much each is longer. */
const RETRY_MILLISECONDS = 100;
const LONGEST_RETRY_MILLISECONDS = 5_000;
const RETRY_FACTOR = 2;
/** A connection that answers no ping for so long is given up, and its server taken for gone. */
const PING_MILLISECONDS = 2_000;
const MAX_PINGS_OUT = 2;
/** How often a server is asked again that seems to have lost messages: it may not have caught up yet. */
const LOSS_CHECKS = 6;
const LOSS_CHECK_MILLISECONDS = 500;
/** How often it is asked whether the epoch is another: a node that misses nothing itself is not told otherwise. */
const EPOCH_CHECK_MILLISECONDS = 2_000;

export class JetStreamLink implements AsyncDisposable {
  readonly #options: LinkOptions;
  #connection: NatsConnection | undefined;
  #manager: JetStreamManager | undefined;
  #state: JetStreamState | undefined;
  #consumer: JetStreamConsumer | undefined;
  #problem: string | undefined = "it has not been reached yet";
  #complaint: string | undefined;
  /** Whether the stream lost records before they were seen here. */
  #hasMissed = false;
  readonly #warned = new Set<string>();
  #closed = false;
  /** Resolves when a connection that was lost is there again, or given up. */
  #disconnected: PromiseWithResolvers<void> | undefined;
  /** Ends the time in which all is well. */
  #end: (reason: string) => void = () => {};
  /** Ends a pause. */
  #nudge: () => void = () => {};
  #onFirst: () => void = () => {};
  /** Resolves when the stream is there for the first time, or cannot be reached at first. */
  readonly started: Promise<void>;
  readonly #running: Promise<void>;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.started = new Promise((resolve) => this.#onFirst = resolve);
    this.#running = this.#run();
  }

  /** Why there is no log at present, in words for the operator; undefined while there is one. */
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
    this.#end("it is closed");
    this.#nudge();
    await this.#connection?.close();
    await this.#running;
    // It may have been opened meanwhile.
    this.#consumer?.stop();
    await this.#connection?.close();
  }

  async #run(): Promise<void> {
    for (let wait = RETRY_MILLISECONDS; !this.#closed;) {
      try {
        const trouble = Promise.withResolvers<string>();
        this.#end = trouble.resolve;
        await this.#attach(trouble);
        wait = RETRY_MILLISECONDS;
        const watch = setInterval(() => void this.#checkEpoch(trouble), EPOCH_CHECK_MILLISECONDS);
        const reason = await trouble.promise;
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

  async #attach(trouble: PromiseWithResolvers<string>): Promise<void> {
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
    // Others may have written since, so that it is as long as it was.
    if (known?.newest !== undefined && known.epoch === opened.epoch) {
      const isOther = await isReplaced(manager, this.#options.stream, known.newest);
      if (isOther) opened = await renewEpoch(manager, opened);
    }
    let state = known;
    const reason = state?.epoch === opened.epoch
      ? "This node was cut off for so long that messages it had not seen are gone"
      : `The engine lost messages it had announced, and has the new epoch ${opened.epoch}`;
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
        // Nothing is removed that nodes may not have seen, unless they were away for longer than that.
        this.#hasMissed ||= sequence !== last + 1;
        if (this.#hasMissed) return trouble.resolve("messages that were not seen here are gone");
        last = sequence;
        onRecord(this.#readRecord(message, sequence));
      },
      onEnd: (reason) => trouble.resolve(`following the stream ended: ${reason}`),
    });
    if (state === known && this.#consumer.pending < opened.last - from) {
      this.#hasMissed = true;
      return trouble.resolve("messages that were not seen here are gone");
    }
    this.#problem = undefined;
    if (this.#complaint !== undefined) {
      logger.write("info", "engine is reachable again", { engine: this.#name });
    }
    this.#complaint = undefined;
    onUp();
    this.#onFirst();
  }

  /** Ends the time in which all is well if the stream has another epoch by now. */
  async #checkEpoch(trouble: PromiseWithResolvers<string>): Promise<void> {
    const manager = this.#manager;
    if (manager === undefined) return;
    try {
      const epoch = await readEpoch(manager, this.#options.stream);
      if (epoch !== this.#state?.epoch) trouble.resolve("the stream has another epoch");
    } catch {
      // A server that does not answer is soon found silent.
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
      // Only the servers that are named are permitted, and known to be right.
      ignoreClusterUpdates: true,
      reconnectTimeWait: RETRY_MILLISECONDS,
      pingInterval: PING_MILLISECONDS,
      maxPingOut: MAX_PINGS_OUT,
      // A server that is being configured may refuse us for a while.
      ignoreAuthErrorAbort: true,
      ...(tls ? { tls: ca === undefined ? {} : { ca } } : {}),
      ...(creds !== undefined ? { authenticator: credsAuthenticator(new TextEncoder().encode(creds)) } : {}),
      ...(user !== undefined ? { user } : {}),
      ...(password !== undefined ? { pass: password } : {}),
      ...(token !== undefined ? { token } : {}),
    };
  }

  /** Hears what becomes of a connection until it is closed. */
  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") {
        this.#disconnected ??= Promise.withResolvers();
        this.#end("the connection was lost");
      } else if (status.type === "reconnect") {
        this.#disconnected?.resolve();
        this.#disconnected = undefined;
        this.#end("the connection was lost for a moment");
        this.#nudge();
      }
    }
    this.#disconnected?.resolve();
    this.#disconnected = undefined;
    this.#end("the connection was closed");
  }

  /** Applies all that the stream holds. */
  async #load(
    epoch: string,
    messages: number,
    last: number,
    connection: NatsConnection,
    manager: JetStreamManager,
  ): Promise<JetStreamState> {
    const { rules, now, stream } = this.#options;
    const state = new JetStreamState(epoch, rules);
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
    state.finishLoading(last, now());
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
      this.#nudge = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
