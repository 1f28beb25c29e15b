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
 * the server delivers only what it has stored, in a cluster what a majority has stored. The server's ack to the
 * publisher serves to detect refusals and losses. A record without an ack is resent every second with the same id, by
 * which the server recognises duplicates for a minute. After ten seconds the append is rejected, and its message may or
 * may not have been stored. Appends that are in flight while a server of the cluster fails may change their order.
 *
 * **Offsets across restarts.** A node that starts reads the heads of all records. Purged records cannot be counted, but
 * each head states what its publisher knew of the channel: its offset as of which record. A channel is purged only up
 * to a record that a remaining head covers, and that head corrects the offset. `DELETE` is a record as well: on every
 * node, it removes what the channel had before. Rules have the same effect on all nodes if all have the same rules.
 * Removed messages are purged from the stream two minutes later, so that no node misses what it has yet to announce;
 * keyed ones six minutes later, as nodes learn of a key from its record.
 *
 * **Idempotency.** A key is in the head of its record. The second of two records with the same key is ignored, and its
 * publisher gets the receipt of the first, or `key_reused` if it is another message. The keys of transient messages
 * have records of their own, called claims.
 *
 * **Transient messages** go to the other nodes as plain NATS messages, after everything that was appended on this node
 * before them has been announced. Disconnected nodes miss them.
 *
 * **Epoch.** It is in the stream's description; a new stream gets a new one. Each head names the epoch of what its
 * publisher knew, so that a publisher that does not know yet of a new epoch cannot shift the offsets of nodes that
 * start later. When the stream turns out to have lost announced messages, as a majority of its servers confirms
 * (`confirmation.ts`), or has another record in the place of one, the node that notices renews the epoch; the others
 * check it every two seconds. If a single server, or all of a cluster, lose power while no node is running to notice,
 * nothing is lost only with `sync_interval: always` in the server's configuration.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Log, LogInsight, LogPage, LogQuery, Receipt, StoredChannel } from "../../core/log.ts";
import type { Draft, Message, MessageId, Removal } from "../../core/message.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { Turn } from "../../base/turn.ts";
import { JetStreamBus } from "./bus.ts";
import { createEntries, type Pending } from "./entries.ts";
import { Inbound } from "./inbound.ts";
import { APPEND_MILLISECONDS, AppendQueue, type Entry } from "./append_queue.ts";
import { JetStreamLink } from "./link.ts";
import { isBehind, JetStreamLookups } from "./lookups.ts";
import { encodeRemoved } from "./record.ts";
import { NewChannels } from "./new_channels.ts";
import type { JetStreamEngineOptions } from "./options.ts";
import { JetStreamReader } from "./reader.ts";
import { MarkedAppends } from "./markers.ts";
import { JetStreamServiceState } from "./service_state.ts";
import type { Applied, JetStreamState } from "./state.ts";
import { JetStreamSubjects } from "./subject.ts";
import { GRACE_MILLISECONDS, JetStreamSweeper } from "./sweeper.ts";
import { JetStreamPublisher } from "./publisher.ts";
import { formatPermissionCure } from "../../base/task.ts";

export type { JetStreamEngineOptions };

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
      `Deno's permissions do not cover the NATS server ${host}: ` +
        formatPermissionCure(`--allow-net=${host}`, Deno.execPath()),
    );
  }
  const engine = new JetStreamEngine(options);
  await engine.started;
  return engine;
}

export class JetStreamEngine implements Log, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  onRemoved: (removal: Removal) => void = () => {};
  onCleared: (removal: Removal) => void = () => {};
  onReset: (reason: string) => void = () => {};
  readonly bus: JetStreamBus;
  readonly state: JetStreamServiceState;
  readonly #options: JetStreamEngineOptions;
  readonly #now: () => number;
  readonly #subjects: JetStreamSubjects;
  readonly #link: JetStreamLink;
  readonly #lookups: JetStreamLookups;
  readonly #queue = new AppendQueue(
    (entry, number) =>
      this.#publisher.send(entry, number, this.#state?.peek(entry.channel)?.state, this.#state?.epoch),
    () => this.#state?.processed ?? 0,
  );
  readonly #publisher: JetStreamPublisher;
  readonly #reader: JetStreamReader;
  readonly #sweeper: JetStreamSweeper;
  readonly #inbound: Inbound;
  readonly #incoming: Turn<Pending>;
  readonly #markers: MarkedAppends;
  readonly #newChannels: NewChannels;
  #state: JetStreamState | undefined;
  /** Since when the server has been unreachable; undefined while it is reachable. */
  #downSince: number | undefined = performance.now();
  #closed = false;

  /** Use {@linkcode openJetStreamEngine}. */
  constructor(options: JetStreamEngineOptions) {
    const { stream, rules, logger, now = Date.now, schedule, grace = GRACE_MILLISECONDS } = options;
    this.#options = options;
    this.#now = now;
    this.#newChannels = new NewChannels(options.maxChannels);
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
    this.#lookups = new JetStreamLookups({
      stream,
      manager: () => this.#link.manager,
      waitFor: (record, milliseconds) => this.#inbound.waitFor(record, milliseconds),
      fail: (attempt, cause) => this.#unavailable(attempt, cause),
    });
    const fetch = (record: number) => this.#lookups.fetch(record);
    this.#reader = new JetStreamReader(fetch, now, steadyNow, options.cachedBytes);
    this.#incoming = new Turn((batch) => this.#enqueue(batch), schedule);
    this.#markers = new MarkedAppends({
      state: this.state,
      top: () => this.top,
      append: (draft) => this.#append(draft),
      places: (channel, after) => this.#state?.get(channel)?.placesAfter(after) ?? [],
      readHead: async (record) => (await this.#lookups.getRecord(record, "store the message"))?.head,
    });
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
      announceRemoval: (removal) => this.onRemoved(removal),
      announceClearing: (removal) => this.onCleared(removal),
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
      appendAnchor: (channel) => this.#appendMarker({ kind: "anchor", channel }, () => {}, () => {}),
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
    return draft.marker === undefined ? this.#append(draft) : this.#markers.append(draft, draft.marker);
  }

  async read(query: LogQuery): Promise<LogPage> {
    if (this.#closed) throw closedError();
    if (query.isCurrent || isBehind(this.#state, query)) {
      await this.#lookups.catchUpWith(query, () => this.#state);
    }
    for (let i = 0; i < READ_ATTEMPTS; i++) {
      const state = this.#state;
      if (state === undefined) throw this.#unavailable("read stored messages");
      const page = await this.#reader.read(state, query);
      if (page !== undefined && state === this.#state) return page;
      await this.#lookups.catchUp();
    }
    throw this.#unavailable("read stored messages");
  }

  async clear(channel: string, hasKeys = false): Promise<number> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    this.#incoming.flush();
    const { top } = this;
    // Where other nodes have nothing to empty, no marker takes the place of a channel.
    if (!hasKeys && await this.#isUnknown(channel)) {
      this.onCleared({ kind: "all", channel, ...top, offset: 0 });
      return 0;
    }
    return await new Promise((resolve, reject) => {
      const settle = (applied: Applied) => resolve(applied.kind === "cleared" ? applied.count : 0);
      this.#appendMarker({ kind: "clear", channel }, settle, reject);
    });
  }

  async remove(channel: string, { epoch, sequence }: MessageId): Promise<boolean> {
    const refusal = this.#refusal();
    if (refusal !== undefined) throw refusal;
    this.#incoming.flush();
    if (await this.#isUnknown(channel)) return false;
    const state = this.#state;
    if (state === undefined) throw this.#unavailable("remove the message");
    if (epoch !== state.epoch) return false;
    return await new Promise((resolve, reject) => {
      const settle = (applied: Applied) => resolve(applied.kind === "removed");
      this.#appendMarker({ kind: "remove", channel, key: encodeRemoved(sequence) }, settle, reject);
    });
  }

  checkReady(): string | undefined {
    const { problem } = this.#link;
    if (problem === undefined) return undefined;
    return `NATS JetStream at ${this.#options.servers.join(",")} cannot be reached: ${problem}`;
  }

  *listStored(): Iterable<StoredChannel> {
    for (const { name, offset, length } of this.#state?.all ?? []) {
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

  #append(draft: Draft): Promise<Receipt> {
    return new Promise((resolve, reject) => this.#incoming.add({ draft, resolve, reject }));
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
    const admitted = batch.filter((pending) => this.#newChannels.admit(pending, this.#state));
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

  /** Whether a channel has no records: clearing it would create the channel. */
  async #isUnknown(channel: string): Promise<boolean> {
    const isNew = () => this.#state?.get(channel) === undefined && this.#queue.isEmpty;
    if (this.#state === undefined || !isNew()) return false;
    await this.#lookups.catchUp();
    return isNew();
  }

  /** Appends a record without messages. */
  #appendMarker(
    marker: { readonly kind: "clear" | "anchor" | "remove"; readonly channel: string; readonly key?: string },
    settle: Entry["settle"],
    reject: (error: MessagingError) => void,
  ): void {
    const now = this.#now();
    const time = Math.max(now, this.#state?.time ?? 0);
    const clock = this.#state?.readClock(now) ?? now;
    this.#queue.add({ ...marker, drafts: [], time, clock, bytes: marker.channel.length, settle, reject });
    this.#queue.pump();
  }

  #load(state: JetStreamState, reason: string): void {
    const isFirst = this.#state === undefined;
    this.#state = state;
    if (isFirst) {
      // Loading announces nothing: who subscribed before the server was reached would miss messages without knowing.
      this.onReset("The engine was not reachable yet: reconnect, and resume by id");
      return;
    }
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
