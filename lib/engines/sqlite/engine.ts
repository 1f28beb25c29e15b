/**
 * The SQLite engine, the default: one file holds the messages, offsets and idempotency keys of all channels.
 *
 * Durability of messages whose append has resolved:
 * - The process is killed: nothing is lost, as a commit has reached the operating system.
 * - The power fails or the operating system crashes, with `synchronous=normal` (the default): the file stays intact, but
 *   the commits since the last checkpoint may be lost. The engine then starts a new epoch and keeps what is there, so
 *   that every subscriber who resumes is told of a gap. To be safe it does the same when it cannot tell whether the
 *   machine was restarted, because the permission `--allow-sys=osUptime` is missing.
 * - The same with `synchronous=full`: nothing is lost, if the disk honours flushes. Every commit waits for the disk; all
 *   appends of one turn of the event loop share one commit.
 *
 * When the disk is full, appends are refused and reads continue; once there is space, appends succeed again. Removed
 * messages leave space in the file for new ones, but removing takes up to 5 MB itself while the newest commits are still
 * in the write-ahead log.
 */
import { MessagingError } from "../../core/errors.ts";
import type {
  Backup,
  Log,
  LogBackup,
  LogInsight,
  LogPage,
  LogQuery,
  Receipt,
  StoredChannel,
} from "../../core/log.ts";
import type { Logger } from "../../core/logger.ts";
import type { Metrics } from "../../core/metrics/metrics.ts";
import type { Draft, Message, MessageId, Removal } from "../../core/message.ts";
import type { Rules } from "../../core/rules.ts";
import { createSteadyClock } from "../../base/steady_clock.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import { SqliteBackups } from "./backup.ts";
import type { SqliteChannel } from "./channel.ts";
import type { SqliteDatabase, Synchronous } from "./database.ts";
import { toMessagingError } from "./error.ts";
import { explainOpenError, openSqliteFile } from "./file.ts";
import { markCleanShutdown, readBootTime, resumeEpoch } from "./epoch.ts";
import { SqliteReader } from "./reader.ts";
import { SqliteRetention } from "./retention.ts";
import { SqliteServiceState } from "./service_state.ts";
import { SqliteState } from "./state.ts";
import { MAX_BATCH, settle } from "../stamp.ts";
import { needsDisk, SqliteWriter } from "./writer.ts";

export interface SqliteEngineOptions {
  /** Path of the file; it and its directory are created when they are missing. */
  readonly path: string;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Receives the duration of each commit. */
  readonly metrics?: Metrics | undefined;
  /** The limit on channels; a message that would create one more is refused. No limit by default. */
  readonly maxChannels?: number;
  /** How long after its newest message an empty channel is forgotten, in milliseconds; a day by default. */
  readonly forgetAfter?: number;
  /** How many forgotten channels are remembered apart. */
  readonly maxTombstones?: number;
  readonly synchronous?: Synchronous;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** When the machine was started, in milliseconds since 1970; undefined if unknown. */
  readonly bootTime?: () => number | undefined;
  /** The maximum size of the file in pages of 4 KiB; beyond it, the disk counts as full. */
  readonly maxPages?: number;
}

interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

/**
 * Opens the engine. No other process can open its file until the engine is disposed.
 *
 * @throws {MessagingError} `log_unavailable` or `log_full`, with the cause and the cure
 */
export function openSqliteEngine(options: SqliteEngineOptions): SqliteEngine {
  const { path, logger, maxPages, synchronous = "normal", bootTime = readBootTime } = options;
  const database = openSqliteFile({ path, logger, maxPages });
  try {
    const { epoch, renewed } = resumeEpoch(database, synchronous, bootTime());
    database.synchronous = synchronous;
    if (renewed !== undefined) {
      logger.write("warn", "engine has a new epoch", { engine: path, epoch, reason: renewed });
    }
    return new SqliteEngine(
      database,
      new SqliteState(database, epoch, synchronous, options.maxTombstones),
      options,
    );
  } catch (cause) {
    database[Symbol.dispose]();
    throw explainOpenError(path, cause);
  }
}

export class SqliteEngine implements Log, LogBackup, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  onRemoved: (removal: Removal) => void = () => {};
  onCleared: (removal: Removal) => void = () => {};
  readonly state: SqliteServiceState;
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #writer: SqliteWriter;
  readonly #reader: SqliteReader;
  readonly #retention: SqliteRetention;
  readonly #backups: SqliteBackups;
  readonly #turn: Turn<Pending>;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #metrics: Metrics | undefined;
  #closed = false;

  /** Takes over the database. Use {@linkcode openSqliteEngine}. */
  constructor(
    database: SqliteDatabase,
    state: SqliteState,
    options: Pick<
      SqliteEngineOptions,
      "rules" | "maxChannels" | "forgetAfter" | "now" | "schedule" | "metrics"
    >,
  ) {
    const { rules, maxChannels = Infinity, now = Date.now, schedule } = options;
    this.#database = database;
    this.#state = state;
    this.state = new SqliteServiceState(database);
    this.#now = now;
    this.#steadyNow = createSteadyClock(now);
    this.#metrics = options.metrics;
    this.#writer = new SqliteWriter(database, state, this.state, maxChannels);
    this.#reader = new SqliteReader(database, state, rules, now, this.#steadyNow);
    this.#retention = new SqliteRetention(database, state, rules, this.#steadyNow, options.forgetAfter);
    this.#backups = new SqliteBackups(database);
    this.#turn = new Turn((batch) => this.#store(batch), schedule, MAX_BATCH);
  }

  get top(): Log["top"] {
    return { epoch: this.#state.epoch, sequence: this.#state.sequence };
  }

  append(draft: Draft): Promise<Receipt> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => this.#turn.add({ draft, resolve, reject }));
  }

  async read(query: LogQuery): Promise<LogPage> {
    if (this.#closed) throw closedError();
    try {
      return await this.#reader.read(query);
    } catch (cause) {
      throw toMessagingError(cause, "read stored messages");
    }
  }

  async clear(name: string): Promise<number> {
    if (this.#closed) throw closedError();
    this.#turn.flush();
    const channel = this.#state.channels.get(name);
    const { offset, sequence } = channel ?? { ...this.top, offset: 0 };
    const removal = { kind: "all" as const, channel: name, epoch: this.#state.epoch, sequence, offset };
    try {
      const removed = channel === undefined ? 0 : await this.#retention.clear(channel, sequence);
      if (removed > 0) this.onRemoved(removal);
      else this.onCleared(removal);
      return removed;
    } catch (cause) {
      throw toMessagingError(cause, `remove the messages of "${name}"`);
    }
  }

  // deno-lint-ignore require-await -- errors reject, never throw
  async remove(name: string, { epoch, sequence }: MessageId): Promise<boolean> {
    if (this.#closed) throw closedError();
    this.#turn.flush();
    const channel = this.#state.channels.get(name);
    if (channel === undefined || epoch !== this.#state.epoch) return false;
    let offset;
    try {
      offset = this.#retention.remove(channel, sequence);
    } catch (cause) {
      throw toMessagingError(cause, `remove a message of "${name}"`);
    }
    if (offset === undefined) return false;
    this.onRemoved({ kind: "message", channel: name, epoch, sequence, offset });
    return true;
  }

  // deno-lint-ignore require-await -- errors reject, never throw
  async openBackup(): Promise<Backup> {
    if (this.#closed) throw closedError();
    this.#turn.flush();
    try {
      return this.#backups.open();
    } catch (cause) {
      throw toMessagingError(cause, "back up the database");
    }
  }

  checkReady(): string | undefined {
    if (this.#closed) return closedError().message;
    if (!this.#database.isFailing) return undefined;
    try {
      this.#writer.probe();
    } catch (cause) {
      return toMessagingError(cause, "store messages").message;
    }
    this.#database.reportSuccess();
    return undefined;
  }

  *listStored(): Iterable<StoredChannel> {
    for (const channel of this.#state.channels.all) yield describe(channel);
  }

  findStored(channel: string): StoredChannel | undefined {
    const found = this.#state.channels.get(channel);
    return found === undefined ? undefined : describe(found);
  }

  /** Removes everything that rules and ttls require, immediately. */
  sweep(): void {
    this.#retention.sweep();
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#turn.flush();
    this.#closed = true;
    this.state.close();
    this.#retention.close();
    this.#backups.stop();
    try {
      markCleanShutdown(this.#database);
    } catch (error) {
      // The next start treats it as an unclean shutdown.
      this.#database.reportFailure(error);
    }
    this.#database[Symbol.dispose]();
    this.#backups[Symbol.dispose]();
    return Promise.resolve();
  }

  #store(batch: readonly Pending[]): void {
    let stored;
    const start = performance.now();
    try {
      stored = this.#writer.store(batch.map(({ draft }) => draft), this.#now(), this.#steadyNow());
    } catch (cause) {
      return this.#refuse(batch, cause);
    }
    if (stored.written.length > 0) {
      this.#metrics?.commit.observe(performance.now() - start);
      this.#database.reportSuccess();
    }
    if (stored.messages.length > 0) this.onStored(stored.messages);
    batch.forEach((pending, i) => settle(pending, stored.receipts[i]!));
    this.#retention.notice(stored.written);
  }

  /** Rejects the batch, none of which is stored; transient messages without a key are delivered all the same. */
  #refuse(batch: readonly Pending[], cause: unknown): void {
    const error = toMessagingError(cause, "store the message");
    this.#database.reportFailure(error);
    for (const { draft, reject } of batch) {
      if (needsDisk(draft)) reject(error);
    }
    const rest = batch.filter(({ draft }) => !needsDisk(draft));
    if (rest.length > 0) this.#store(rest);
  }
}

function describe({ name, offset, count }: SqliteChannel): StoredChannel {
  return { channel: name, offset, stored: count };
}

function closedError(): MessagingError {
  return new MessagingError("log_unavailable", "The engine is closed");
}
