/**
 * The JetStream engine: one stream on a NATS server or cluster is the log of any number of nodes.
 *
 * **One order, one count.** Every node follows the whole stream and applies its records in the same order, so that all
 * come to the same offsets, know the same keys and remove the same messages (`state.ts`). Nobody asks
 * before publishing and nobody is refused for another's sake: however many nodes write to one channel, their records
 * are in flight together, and the stream's order decides. A record holds what was appended to one channel in one turn,
 * in a row. A message's sequence is that of its record times 1024 plus its place; the ids of a log thus have gaps,
 * offsets have none.
 *
 * **What is acknowledged.** An append resolves when its record comes back from the stream and is announced here: the
 * server delivers only what it has stored, on a cluster what a majority has. The server's answer to the publisher
 * serves to notice refusals and losses. A record that is not answered for in a second is sent again under the same id,
 * which the server knows for a minute; after ten seconds the append is rejected, and then nobody can say whether it
 * was stored. Between appends that are in flight while a server of the cluster fails, the order may change.
 *
 * **Counting over restarts.** A node that starts reads the heads of all records. What was removed is not there to be
 * counted; but each head says what its publisher knew of the channel: how many messages it had had up to which record.
 * A channel is emptied only up to a record of which a remaining one knows, and that corrects the count. `DELETE` is a
 * record as well: what is before it in the channel is gone, on all nodes alike. So are rules (the same for all nodes,
 * or they differ in what they show). From the disk it goes two minutes later, so that no node misses what it is about
 * to announce; what has an idempotency key six minutes later, as its record is how nodes know the key.
 *
 * **Idempotency.** A key is in the head of its record. Of two with the same key the second counts for nothing; its
 * publisher gets the first one's receipt. Messages that are not stored have their keys in records of their own.
 *
 * **What is not stored** goes to the other nodes as plain NATS messages, after all that was appended here before it has
 * been announced. It is lost to nodes that are cut off.
 *
 * **Epoch.** It is in the stream's description: a new stream has a new one. When the server turns out to have lost what
 * was announced, or has another record in its place, the epoch is renewed by whichever node finds that; the others ask
 * for it every two seconds. A single server, or all of a cluster, that lose power while no node is running
 * to notice need `sync_interval: always` in the server's configuration to lose nothing.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Log, LogInsight, LogPage, LogQuery, Receipt, StoredChannel } from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import { type Draft, isTransient, type Message } from "../../core/message.ts";
import type { Metrics } from "../../core/metrics/metrics.ts";
import type { Rules } from "../../core/rules.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import { JetStreamBus } from "./bus.ts";
import { createEntries, type Pending } from "./entries.ts";
import { Inbound } from "./inbound.ts";
import { APPEND_MILLISECONDS, type Entry, JetStreamLine } from "./line.ts";
import { JetStreamLink, type NatsCredentials } from "./link.ts";
import { type Content, decodeContents, decodeHead, HEAD } from "./record.ts";
import { JetStreamReader } from "./reader.ts";
import type { JetStreamState } from "./state.ts";
import { JetStreamSubjects } from "./subject.ts";
import { GRACE_MILLISECONDS, JetStreamSweeper } from "./sweeper.ts";
import type { JetStreamUrl } from "./url.ts";
import { JetStreamWire } from "./wire.ts";
import { describeChannelLimit } from "../stamp.ts";

export interface JetStreamLogOptions extends JetStreamUrl {
  readonly credentials?: NatsCredentials;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Where the time from sending a record to having it back is counted. */
  readonly metrics?: Metrics | undefined;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** Milliseconds that removed messages stay on the server. */
  readonly grace?: number;
  /** Bytes of payload of the newest messages that are kept in memory for readers. */
  readonly cachedBytes?: number;
  /** Channels it remembers; a message that would need one more is refused. No limit when left out. */
  readonly maxChannels?: number;
}

/** Beyond it, no message is added to a record. */
const RECORD_BYTES = 256 * 1024;
/** Reads that find a message gone try again, having caught up. */
const READ_ATTEMPTS = 5;

/**
 * Opens a log that is a stream of NATS JetStream. When its server cannot be reached, it goes on trying for ever; until
 * then appends and reads reject.
 *
 * @returns once the stream is loaded, or the first attempt has failed
 * @throws {MessagingError} `log_unavailable` where Deno's permissions do not let it try
 */
export async function openJetStreamLog(options: JetStreamLogOptions): Promise<JetStreamLog> {
  for (const host of options.servers) {
    if (Deno.permissions.querySync({ name: "net", host }).state === "granted") continue;
    throw new MessagingError(
      "log_unavailable",
      `Deno's permissions do not cover the NATS server ${host}: use deno task node instead of deno task start, ` +
        `or start with deno run --allow-net=${host} and the other flags of the start task`,
    );
  }
  const log = new JetStreamLog(options);
  await log.started;
  return log;
}

export class JetStreamLog implements Log, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  onReset: (reason: string) => void = () => {};
  readonly bus: JetStreamBus;
  readonly #options: JetStreamLogOptions;
  readonly #now: () => number;
  readonly #subjects: JetStreamSubjects;
  readonly #link: JetStreamLink;
  readonly #line = new JetStreamLine(
    (entry, number) => this.#wire.send(entry, number, this.#state?.get(entry.channel)?.state),
    () => this.#state?.processed ?? 0,
  );
  readonly #wire: JetStreamWire;
  readonly #reader: JetStreamReader;
  readonly #sweeper: JetStreamSweeper;
  readonly #inbound: Inbound;
  readonly #handed: Turn<Pending>;
  /** Channels that come up with records on their way. */
  readonly #opening = new Set<string>();
  #state: JetStreamState | undefined;
  /** When the server was lost; undefined while it is there. */
  #downSince: number | undefined = performance.now();
  #closed = false;

  /** Use {@linkcode openJetStreamLog}. */
  constructor(options: JetStreamLogOptions) {
    const { stream, rules, logger, now = Date.now, schedule, grace = GRACE_MILLISECONDS } = options;
    this.#options = options;
    this.#now = now;
    this.#subjects = new JetStreamSubjects(stream);
    this.bus = new JetStreamBus(this.#subjects.bus);
    this.#wire = new JetStreamWire({
      subjects: this.#subjects,
      logger,
      onAck: (number, ack) => this.#line.acknowledge(number, ack),
      onTransient: (body) => this.#inbound.addTransient(body),
      onPurged: (channel, record) => this.#sweeper.notice(channel, record),
    });
    this.#reader = new JetStreamReader((record) => this.#fetch(record), now, options.cachedBytes);
    this.#handed = new Turn((batch) => this.#hand(batch), schedule);
    this.#inbound = new Inbound({
      line: this.#line,
      reader: this.#reader,
      metrics: options.metrics,
      schedule,
      now,
      numberOf: (id) => this.#wire.numberOf(id),
      state: () => this.#state,
      announce: (messages) => this.onStored(messages),
      pass: (drafts) => this.#wire.pass(drafts),
    });
    this.#link = new JetStreamLink({
      ...options,
      credentials: options.credentials ?? {},
      subjects: this.#subjects,
      now,
      onConnect: (connection) => this.#wire.use(connection),
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
      current: () => {
        const { manager } = this.#link;
        return manager === undefined || this.#state === undefined
          ? undefined
          : { state: this.#state, manager };
      },
      anchor: (channel) => this.#mark("anchor", channel, () => {}, () => {}),
      tell: (channel, record) => this.#wire.tellPurged(channel, record),
      onError: (error) => logger.write("warn", "removing old messages failed", { reason: describe(error) }),
    });
  }

  /** Resolves when the stream is loaded, or the first attempt has failed. */
  get started(): Promise<void> {
    return this.#link.started;
  }

  get top(): Log["top"] {
    // No log's epoch is this one: who has seen nothing of it yet has missed nothing he can resume from.
    return this.#state?.top ?? { epoch: "0", sequence: 0 };
  }

  append(draft: Draft): Promise<Receipt> {
    const refusal = this.#refusal();
    if (refusal !== undefined) return Promise.reject(refusal);
    return new Promise((resolve, reject) => this.#handed.add({ draft, resolve, reject }));
  }

  async read(query: LogQuery): Promise<LogPage> {
    if (this.#closed) throw closedError();
    if (this.#isAhead(query)) await this.#catchUp();
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
    this.#handed.flush();
    if (await this.#isUnknown(channel)) return 0;
    return await new Promise((resolve, reject) => this.#mark("clear", channel, resolve, reject));
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

  /** Removes from the server what is due now. */
  async sweep(): Promise<void> {
    await this.#sweeper.sweep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#handed.flush();
    this.#closed = true;
    this.#sweeper[Symbol.dispose]();
    if (this.#link.problem === undefined) {
      let timer;
      const late = new Promise<void>((resolve) => timer = setTimeout(resolve, APPEND_MILLISECONDS));
      await Promise.race([this.#line.drained(), late]);
      clearTimeout(timer);
    }
    await this.#link[Symbol.asyncDispose]();
    this.#inbound.flush();
    this.#line[Symbol.dispose]();
  }

  #refusal(): MessagingError | undefined {
    if (this.#closed) return closedError();
    // What has been away for longer than anybody waits is not waited for.
    if (this.#downSince !== undefined && performance.now() - this.#downSince > APPEND_MILLISECONDS) {
      return this.#unavailable("store the message");
    }
    return this.#line.refusal;
  }

  /** Takes the drafts of a turn. */
  #hand(batch: readonly Pending[]): void {
    const time = Math.max(this.#now(), this.#state?.time ?? 0);
    if (this.#line.isEmpty) this.#opening.clear();
    const admitted = batch.filter((pending) => this.#admit(pending));
    const room = this.#link.connection?.info?.max_payload ?? Infinity;
    const context = { time, maxBytes: Math.min(RECORD_BYTES, room / 2), epoch: () => this.top.epoch };
    for (const entry of createEntries(admitted, context)) {
      const { key, channel } = entry;
      const first = key === undefined ? undefined : this.#state?.findKey(channel, key, time);
      const refusal = this.#wire.findRefusal(entry);
      if (refusal !== undefined) entry.reject(refusal);
      else if (first === undefined) this.#line.add(entry);
      else entry.settle({ kind: "duplicate", receipt: first }, 0);
    }
    this.#line.pump();
    this.#inbound.release();
  }

  /** Refuses a message that would need a channel too many. */
  #admit({ draft, reject }: Pending): boolean {
    const { maxChannels = Infinity } = this.#options;
    const { channel } = draft;
    if (maxChannels === Infinity || isTransient(draft)) return true;
    if (this.#state?.get(channel) !== undefined || this.#opening.has(channel)) return true;
    // While some are always on their way, those that have come up are counted twice.
    for (const name of this.#opening) if (this.#state?.get(name) !== undefined) this.#opening.delete(name);
    if ((this.#state?.channels.length ?? 0) + this.#opening.size >= maxChannels) {
      reject(describeChannelLimit(channel, maxChannels));
      return false;
    }
    this.#opening.add(channel);
    return true;
  }

  /** Whether nobody has written to a channel: a record of its clearing would make one of it, which stays. */
  async #isUnknown(channel: string): Promise<boolean> {
    const isNew = () => this.#state?.get(channel) === undefined && this.#line.isEmpty;
    if (this.#state === undefined || !isNew()) return false;
    await this.#catchUp();
    return isNew();
  }

  /** Stores a record without messages. */
  #mark(
    kind: "clear" | "anchor",
    channel: string,
    resolve: (count: number) => void,
    reject: (error: MessagingError) => void,
  ): void {
    const time = Math.max(this.#now(), this.#state?.time ?? 0);
    const settle: Entry["settle"] = (applied) => resolve(applied.kind === "cleared" ? applied.count : 0);
    this.#line.add({ kind, channel, drafts: [], time, bytes: channel.length, settle, reject });
    this.#line.pump();
  }

  #load(state: JetStreamState, reason: string): void {
    const isFirst = this.#state === undefined;
    this.#state = state;
    if (isFirst) return;
    this.#reader.reset();
    this.#line.abandon();
    this.#options.logger.write("error", reason, { engine: this.#options.stream });
    this.onReset(reason);
  }

  #goUp(): void {
    this.#downSince = undefined;
    this.bus.use(this.#link.connection, true);
    this.#line.open();
    this.#inbound.release();
  }

  #goDown(): void {
    this.#downSince ??= performance.now();
    this.#line.shut();
    this.bus.use(this.#link.connection, false);
  }

  async #fetch(record: number): Promise<readonly Content[] | undefined> {
    const { manager } = this.#link;
    if (manager === undefined) throw this.#unavailable("read stored messages");
    const { stream } = this.#options;
    try {
      // A server that follows may not have it yet; the leader, which is asked then, has.
      const message = await manager.direct.getMessage(stream, { seq: record }) ??
        await manager.streams.getMessage(stream, { seq: record });
      const head = message === null ? undefined : decodeHead(message.header.get(HEAD));
      return message === null ? undefined : decodeContents(message.data, head?.count ?? 0);
    } catch (cause) {
      throw this.#unavailable("read stored messages", cause);
    }
  }

  /** Whether a reader knows of more than this node: another node may have told him. */
  #isAhead({ after, selector }: LogQuery): boolean {
    const state = this.#state;
    if (state === undefined) return false;
    if (after.kind === "id") return after.epoch === state.epoch && after.sequence > state.sequence;
    if (after.kind !== "offset" || (after.epoch ?? state.epoch) !== state.epoch) return false;
    return selector.channel !== undefined && after.offset > (state.get(selector.channel)?.offset ?? 0);
  }

  /** Resolves when everything is applied that the stream holds now. */
  async #catchUp(): Promise<void> {
    const { manager } = this.#link;
    if (manager === undefined) throw this.#unavailable("read stored messages");
    let last;
    try {
      last = (await manager.streams.info(this.#options.stream)).state.last_seq;
    } catch (cause) {
      throw this.#unavailable("read stored messages", cause);
    }
    if (!await this.#inbound.reached(last, APPEND_MILLISECONDS)) {
      throw this.#unavailable("read stored messages");
    }
  }

  /** What clients are told; where the server is and what it says is for the operator alone. */
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
