/**
 * The JetStream engine: any number of nodes share one stream on a NATS server or cluster.
 *
 * **One order, one count.** Every node follows the whole stream and applies its records in the same order, so that all
 * nodes assign the same offsets, know the same keys and remove the same messages (`state.ts`). Nodes do not coordinate
 * before publishing, and no append is refused because of a concurrent one: the records of all nodes are in flight
 * together, and the stream orders them. A record holds consecutive messages that were appended to one channel in one
 * turn. A message's sequence is its record's sequence times 1024 plus its index in the record, so sequences have gaps;
 * offsets have none.
 *
 * **Acknowledgement.** An append resolves when its record has come back from the stream and was announced on this node:
 * the server delivers only what it has stored, in a cluster what a majority has stored. The server's ack to the publisher
 * serves to detect refusals and losses. A record without an ack is resent every second with the same id, by which the
 * server recognises duplicates for a minute. After ten seconds the append is rejected, and its message may or may not
 * have been stored. Appends that are in flight while a server of the cluster fails may change their order.
 *
 * **Offsets across restarts.** A node that starts reads the heads of all records. Purged records cannot be counted, but
 * each head states what its publisher knew of the channel: its offset as of which record. A channel is purged only up
 * to a record that a remaining head covers, and that head corrects the offset. `DELETE` is a record as well: on every
 * node, it removes what the channel had before. Rules have the same effect on all nodes if all have the same rules.
 * Removed messages are purged from the stream two minutes later, so that no node misses what it has yet to announce;
 * keyed ones six minutes later, as nodes learn of a key from its record.
 *
 * **Idempotency.** A key is in the head of its record. The second of two records with the same key is ignored, and its
 * publisher gets the receipt of the first, or `key_reused` if it is another message. The keys of transient messages have records of their own, called claims.
 *
 * **Transient messages** go to the other nodes as plain NATS messages, after everything that was appended on this node
 * before them has been announced. Disconnected nodes miss them.
 *
 * **Epoch.** It is in the stream's description; a new stream gets a new one. When the server turns out to have lost
 * announced messages, or has another record in the place of one, the node that notices renews the epoch; the others
 * check it every two seconds. If a single server, or all of a cluster, lose power while no node is running to notice,
 * nothing is lost only with `sync_interval: always` in the server's configuration.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Log, LogInsight, LogPage, LogQuery, Receipt, StoredChannel } from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import { type Draft, isTransient, type Message } from "../../core/message.ts";
import type { Metrics } from "../../core/metrics/metrics.ts";
import type { Rules } from "../../core/rules.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import { JetStreamBus } from "./bus.ts";
import { createEntries, type Pending } from "./entries.ts";
import { Inbound } from "./inbound.ts";
import { APPEND_MILLISECONDS, AppendQueue, type Entry } from "./append_queue.ts";
import { JetStreamLink, type NatsCredentials } from "./link.ts";
import { type Content, decodeContents, decodeHead, HEAD } from "./record.ts";
import { JetStreamReader } from "./reader.ts";
import { JetStreamServiceState } from "./service_state.ts";
import type { JetStreamState } from "./state.ts";
import { JetStreamSubjects } from "./subject.ts";
import { GRACE_MILLISECONDS, JetStreamSweeper } from "./sweeper.ts";
import type { JetStreamUrl } from "./url.ts";
import { JetStreamPublisher } from "./publisher.ts";
import { createChannelLimitError } from "../stamp.ts";

export interface JetStreamEngineOptions extends JetStreamUrl {
  readonly credentials?: NatsCredentials;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Receives the time from sending each record to its return. */
  readonly metrics?: Metrics | undefined;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** How long removed messages stay on the server, in milliseconds. */
  readonly grace?: number;
  /** The size of the cache of recent messages, in bytes of payload. */
  readonly cachedBytes?: number;
  /** The limit on channels; a message that would create one more is refused. No limit by default. */
  readonly maxChannels?: number;
}

/** A record that reaches this size takes no more messages. */
const RECORD_BYTES = 256 * 1024;
/** How often a read is tried that finds a message purged, catching up in between. */
const READ_ATTEMPTS = 5;

/**
 * Opens the engine. While no server can be reached, it keeps trying, and appends and reads reject.
 *
 * @returns once the stream is loaded, or the first attempt has failed
 * @throws {MessagingError} `log_unavailable` if Deno's permissions do not allow connecting
 */
export async function openJetStreamEngine(options: JetStreamEngineOptions): Promise<JetStreamEngine> {
  for (const host of options.servers) {
    if (Deno.permissions.querySync({ name: "net", host }).state === "granted") continue;
    throw new MessagingError(
      "log_unavailable",
      `Deno's permissions do not cover the NATS server ${host}: use deno task serve instead of deno task start, ` +
        `or start with deno run --allow-net=${host} and the other flags of the start task`,
    );
  }
  const engine = new JetStreamEngine(options);
  await engine.started;
  return engine;
}

export class JetStreamEngine implements Log, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  onReset: (reason: string) => void = () => {};
  readonly bus: JetStreamBus;
  readonly state: JetStreamServiceState;
  readonly #options: JetStreamEngineOptions;
  readonly #now: () => number;
  readonly #subjects: JetStreamSubjects;
  readonly #link: JetStreamLink;
  readonly #queue = new AppendQueue(
    (entry, number) => this.#publisher.send(entry, number, this.#state?.get(entry.channel)?.state),
    () => this.#state?.processed ?? 0,
  );
  readonly #publisher: JetStreamPublisher;
  readonly #reader: JetStreamReader;
  readonly #sweeper: JetStreamSweeper;
  readonly #inbound: Inbound;
  readonly #incoming: Turn<Pending>;
  /** Channels created by records in flight. */
  readonly #newChannels = new Set<string>();
  #state: JetStreamState | undefined;
  /** Since when the server has been unreachable; undefined while it is reachable. */
  #downSince: number | undefined = performance.now();
  #closed = false;

  /** Use {@linkcode openJetStreamEngine}. */
  constructor(options: JetStreamEngineOptions) {
    const { stream, rules, logger, now = Date.now, schedule, grace = GRACE_MILLISECONDS } = options;
    this.#options = options;
    this.#now = now;
    const steadyNow = createSteadyClock(now);
    this.#subjects = new JetStreamSubjects(stream);
    this.bus = new JetStreamBus(this.#subjects.bus);
    this.state = new JetStreamServiceState({
      stream,
      replicas: options.replicas,
      prefix: this.#subjects.state,
      current: () => {
        const { connection, manager } = this.#link;
        return connection === undefined || manager === undefined ? undefined : { connection, manager };
      },
      fail: (attempt, cause) => this.#unavailable(attempt, cause),
    });
    this.#publisher = new JetStreamPublisher({
      subjects: this.#subjects,
      logger,
      onAck: (number, ack) => this.#queue.acknowledge(number, ack),
      onTransient: (body) => this.#inbound.addTransient(body),
      onPurged: (channel, record) => this.#sweeper.notePurged(channel, record),
    });
    this.#reader = new JetStreamReader((record) => this.#fetch(record), now, steadyNow, options.cachedBytes);
    this.#incoming = new Turn((batch) => this.#enqueue(batch), schedule);
    this.#inbound = new Inbound({
      queue: this.#queue,
      reader: this.#reader,
      metrics: options.metrics,
      schedule,
      now,
      steadyNow,
      numberOf: (id) => this.#publisher.numberOf(id),
      state: () => this.#state,
      announce: (messages) => this.onStored(messages),
      broadcast: (drafts) => this.#publisher.broadcast(drafts),
    });
    this.#link = new JetStreamLink({
      ...options,
      credentials: options.credentials ?? {},
      subjects: this.#subjects,
      steadyNow,
      onConnect: (connection) => this.#publisher.attach(connection),
      onRecord: (record) => this.#inbound.add(record),
      flush: () => this.#inbound.flush(),
      onLoad: (state, reason) => this.#load(state, reason),
      onUp: () => this.#goUp(),
      onDown: () => this.#goDown(),
    });
    this.#sweeper = new JetStreamSweeper({
      stream,
      subjects: this.#subjects,
      rules,
      grace,
      now,
      steadyNow,
      current: () => {
        const { manager } = this.#link;
        return manager === undefined || this.#state === undefined
          ? undefined
          : { state: this.#state, manager };
      },
      appendAnchor: (channel) => this.#appendMarker("anchor", channel, () => {}, () => {}),
      announcePurge: (channel, record) => this.#publisher.announcePurge(channel, record),
      onError: (error) => logger.write("warn", "removing old messages failed", { reason: describe(error) }),
    });
  }

  /** Resolves when the stream is loaded, or the first attempt has failed. */
  get started(): Promise<void> {
    return this.#link.started;
  }

  get top(): Log["top"] {
    // No engine has this epoch, so nobody can resume from it.
    return this.#state?.top ?? { epoch: "0", sequence: 0 };
  }

  append(draft: Draft): Promise<Receipt> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => this.#incoming.add({ draft, resolve, reject }));
  }

  async read(query: LogQuery): Promise<LogPage> {
    if (this.#closed) throw closedError();
    if (this.#isBehind(query)) await this.#catchUp();
    for (let i = 0; i < READ_ATTEMPTS; i++) {
      const state = this.#state;
      if (state === undefined) throw this.#unavailable("read stored messages");
      const page = await this.#reader.read(state, query);
      if (page !== undefined && state === this.#state) return page;
      await this.#catchUp();
    }
    throw this.#unavailable("read stored messages");
  }

  async clear(channel: string): Promise<number> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    this.#incoming.flush();
    if (await this.#isUnknown(channel)) return 0;
    return await new Promise((resolve, reject) => this.#appendMarker("clear", channel, resolve, reject));
  }

  checkReady(): string | undefined {
    const { problem } = this.#link;
    if (problem === undefined) return undefined;
    return `NATS JetStream at ${this.#options.servers.join(",")} cannot be reached: ${problem}`;
  }

  *listStored(): Iterable<StoredChannel> {
    for (const { name, offset, length } of this.#state?.channels ?? []) {
      if (offset > 0) yield { channel: name, offset, stored: length };
    }
  }

  findStored(channel: string): StoredChannel | undefined {
    const { offset = 0, length = 0 } = this.#state?.get(channel) ?? {};
    return offset > 0 ? { channel, offset, stored: length } : undefined;
  }

  /** Purges from the server what is due now. */
  async sweep(): Promise<void> {
    await this.#sweeper.sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#incoming.flush();
    this.#closed = true;
    this.#sweeper[Symbol.dispose]();
    if (this.#link.problem === undefined) {
      let timer;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, APPEND_MILLISECONDS));
      await Promise.race([this.#queue.drained(), late]);
      clearTimeout(timer);
    }
    await this.#link[Symbol.asyncDispose]();
    this.#inbound.flush();
    this.#queue[Symbol.dispose]();
  }

  #refusal(): MessagingError | undefined {
    if (this.#closed) return closedError();
    // The outage is already longer than an append waits.
    if (this.#downSince !== undefined && performance.now() - this.#downSince > APPEND_MILLISECONDS) {
      return this.#unavailable("store the message");
    }
    return this.#queue.refusal;
  }

  /** Queues the drafts of a turn. */
  #enqueue(batch: readonly Pending[]): void {
    const now = this.#now();
    const time = Math.max(now, this.#state?.time ?? 0);
    const clock = this.#state?.readClock(now) ?? now;
    if (this.#queue.isEmpty) this.#newChannels.clear();
    const admitted = batch.filter((pending) => this.#admit(pending));
    const room = this.#link.connection?.info?.max_payload ?? Infinity;
    const context = { time, clock, maxBytes: Math.min(RECORD_BYTES, room / 2), epoch: () => this.top.epoch };
    for (const entry of createEntries(admitted, context)) {
      const { key, channel, fingerprint } = entry;
      const first = key === undefined ? undefined : this.#state?.findKey(channel, key, fingerprint, clock);
      const refusal = this.#publisher.findSizeError(entry);
      if (refusal !== undefined) entry.reject(refusal);
      else if (first === undefined) this.#queue.add(entry);
      else entry.settle(first, 0);
    }
    this.#queue.pump();
    this.#inbound.deliverTransients();
  }

  /** Refuses a message that would create a channel beyond the limit. */
  #admit({ draft, reject }: Pending): boolean {
    const { maxChannels = Infinity } = this.#options;
    const { channel } = draft;
    if (maxChannels === Infinity || isTransient(draft)) return true;
    if (this.#state?.get(channel) !== undefined || this.#newChannels.has(channel)) return true;
    // Under constant load the set is never cleared: channels that exist by now would be counted twice.
    for (const name of this.#newChannels) {
      if (this.#state?.get(name) !== undefined) this.#newChannels.delete(name);
    }
    if ((this.#state?.channels.length ?? 0) + this.#newChannels.size >= maxChannels) {
      reject(createChannelLimitError(channel, maxChannels));
      return false;
    }
    this.#newChannels.add(channel);
    return true;
  }

  /** Whether a channel has no records: clearing it would create the channel. */
  async #isUnknown(channel: string): Promise<boolean> {
    const isNew = () => this.#state?.get(channel) === undefined && this.#queue.isEmpty;
    if (this.#state === undefined || !isNew()) return false;
    await this.#catchUp();
    return isNew();
  }

  /** Appends a record without messages. */
  #appendMarker(
    kind: "clear" | "anchor",
    channel: string,
    resolve: (count: number) => void,
    reject: (error: MessagingError) => void,
  ): void {
    const now = this.#now();
    const time = Math.max(now, this.#state?.time ?? 0);
    const clock = this.#state?.readClock(now) ?? now;
    const settle: Entry["settle"] = (applied) => resolve(applied.kind === "cleared" ? applied.count : 0);
    this.#queue.add({ kind, channel, drafts: [], time, clock, bytes: channel.length, settle, reject });
    this.#queue.pump();
  }

  #load(state: JetStreamState, reason: string): void {
    const isFirst = this.#state === undefined;
    this.#state = state;
    if (isFirst) return;
    this.#reader.reset();
    this.#queue.rejectSent();
    this.#options.logger.write("error", reason, { engine: this.#options.stream });
    this.onReset(reason);
  }

  #goUp(): void {
    this.#downSince = undefined;
    this.bus.attach(this.#link.connection, true);
    this.#queue.resume();
    this.#inbound.deliverTransients();
  }

  #goDown(): void {
    this.#downSince ??= performance.now();
    this.#queue.pause();
    this.bus.attach(this.#link.connection, false);
  }

  async #fetch(record: number): Promise<readonly Content[] | undefined> {
    const { manager } = this.#link;
    if (manager === undefined) throw this.#unavailable("read stored messages");
    const { stream } = this.#options;
    try {
      // A follower may not have it yet; then the leader is asked.
      const message = await manager.direct.getMessage(stream, { seq: record }) ??
        await manager.streams.getMessage(stream, { seq: record });
      const head = message === null ? undefined : decodeHead(message.header.get(HEAD));
      return message === null ? undefined : decodeContents(message.data, head?.count ?? 0);
    } catch (cause) {
      throw this.#unavailable("read stored messages", cause);
    }
  }

  /** Whether the cursor is ahead of this node: it may come from another node. */
  #isBehind({ after, selector }: LogQuery): boolean {
    const state = this.#state;
    if (state === undefined) return false;
    if (after.kind === "id") return after.epoch === state.epoch && after.sequence > state.sequence;
    if (after.kind !== "offset" || (after.epoch ?? state.epoch) !== state.epoch) return false;
    return selector.channel !== undefined && after.offset > (state.get(selector.channel)?.offset ?? 0);
  }

  /** Resolves once everything is applied that the stream holds now. */
  async #catchUp(): Promise<void> {
    const { manager } = this.#link;
    if (manager === undefined) throw this.#unavailable("read stored messages");
    let last;
    try {
      last = (await manager.streams.info(this.#options.stream)).state.last_seq;
    } catch (cause) {
      throw this.#unavailable("read stored messages", cause);
    }
    if (!await this.#inbound.waitFor(last, APPEND_MILLISECONDS)) {
      throw this.#unavailable("read stored messages");
    }
  }

  /** The error for clients: the server's address and errors are only for the operator. */
  #unavailable(attempt: string, cause?: unknown): MessagingError {
    return new MessagingError(
      "log_unavailable",
      `Cannot ${attempt}: the NATS server cannot be reached; try again in a moment`,
      { cause: cause ?? this.#link.problem },
    );
  }
}

function closedError(): MessagingError {
  return new MessagingError("log_unavailable", "The engine is closed");
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
