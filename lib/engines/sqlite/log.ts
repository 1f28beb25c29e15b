/**
 * The SQLite engine, the default log: one file that holds every channel's messages, offsets and idempotency keys.
 *
 * What survives, for messages whose append resolved:
 * - the process killed: everything. A commit has reached the operating system, whatever becomes of the process.
 * - a power cut or a crashed operating system, with `synchronous=normal` (the default): the file is whole, but the
 *   commits of the last moments may be lost, those since the last checkpoint at most. The log then starts a new
 *   epoch and keeps what is there, so that every reader who resumes is told of a gap. It does so too, to be on the
 *   safe side, when it cannot tell whether the machine went down, for want of `--allow-sys=osUptime`.
 * - the same with `synchronous=full`: everything, as far as the disk keeps what it says it wrote. Every commit
 *   waits for the disk; all that is appended during one turn of the event loop shares one commit.
 *
 * When the disk is full, appends are refused and reads go on; once there is room, everything works again. Room is
 * also what messages leave that are removed; but removing takes some itself, 5 MB at most, when the newest commits
 * are yet to be moved into the file.
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
import type { Draft, Message } from "../../core/message.ts";
import type { Rules } from "../../core/rules.ts";
import { type Schedule, Turn } from "../../base/turn.ts";
import { SqliteBackups } from "./backup.ts";
import type { SqliteChannel } from "./channel.ts";
import type { SqliteDatabase, Synchronous } from "./database.ts";
import { toLogError } from "./error.ts";
import { openSqliteFile } from "./file.ts";
import { beginLife, endLife, readBootTime } from "./life.ts";
import { SqliteReader } from "./reader.ts";
import { SqliteRetention } from "./retention.ts";
import { SqliteState } from "./state.ts";
import { settle } from "../stamp.ts";
import { needsDisk, SqliteWriter } from "./writer.ts";

export interface SqliteLogOptions {
  /** Path of the file; it and its directory are created when they are missing. */
  readonly path: string;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Where the time of each commit is counted. */
  readonly metrics?: Metrics | undefined;
  /** Channels it remembers; a message that would need one more is refused. No limit when left out. */
  readonly maxChannels?: number;
  readonly synchronous?: Synchronous;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** When the machine was started, in milliseconds since 1970; undefined when that cannot be told. */
  readonly bootTime?: () => number | undefined;
  /** Pages of 4 KiB the file may grow to. Beyond it, the disk counts as full. */
  readonly maxPages?: number;
}

interface Pending {
  readonly draft: Draft;
  readonly resolve: (receipt: Receipt) => void;
  readonly reject: (error: MessagingError) => void;
}

/**
 * Opens a log that is kept in a file. No other process can open it until the log is disposed.
 *
 * @throws {MessagingError} `log_unavailable` or `log_full`, saying what is wrong with the file and what to do
 */
export function openSqliteLog(options: SqliteLogOptions): SqliteLog {
  const { path, logger, maxPages, synchronous = "normal", bootTime = readBootTime } = options;
  const database = openSqliteFile({ path, logger, maxPages });
  try {
    const { epoch, renewed } = beginLife(database, synchronous, bootTime());
    database.synchronous = synchronous;
    if (renewed !== undefined) {
      logger.write("warn", "engine has a new epoch", { engine: path, epoch, reason: renewed });
    }
    return new SqliteLog(database, new SqliteState(database, epoch), options);
  } catch (cause) {
    database[Symbol.dispose]();
    throw toLogError(cause, `open the database "${path}"`);
  }
}

export class SqliteLog implements Log, LogBackup, LogInsight {
  onStored: (messages: readonly Message[]) => void = () => {};
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #writer: SqliteWriter;
  readonly #reader: SqliteReader;
  readonly #retention: SqliteRetention;
  readonly #backups: SqliteBackups;
  readonly #turn: Turn<Pending>;
  readonly #now: () => number;
  readonly #metrics: Metrics | undefined;
  #closed = false;

  /** Takes over the database. Use {@linkcode openSqliteLog}. */
  constructor(
    database: SqliteDatabase,
    state: SqliteState,
    options: Pick<SqliteLogOptions, "rules" | "maxChannels" | "now" | "schedule" | "metrics">,
  ) {
    const { rules, maxChannels = Infinity, now = Date.now, schedule } = options;
    this.#database = database;
    this.#state = state;
    this.#now = now;
    this.#metrics = options.metrics;
    this.#writer = new SqliteWriter(database, state, maxChannels);
    this.#reader = new SqliteReader(database, state, rules, now);
    this.#retention = new SqliteRetention(database, state, rules, now);
    this.#backups = new SqliteBackups(database);
    this.#turn = new Turn((batch) => this.#store(batch), schedule);
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
      throw toLogError(cause, "read stored messages");
    }
  }

  async clear(name: string): Promise<number> {
    if (this.#closed) throw closedError();
    this.#turn.flush();
    const channel = this.#state.channels.get(name);
    if (channel === undefined) return 0;
    try {
      return await this.#retention.clear(channel, channel.sequence);
    } catch (cause) {
      throw toLogError(cause, `remove the messages of "${name}"`);
    }
  }

  // deno-lint-ignore require-await -- errors come one way
  async openBackup(): Promise<Backup> {
    if (this.#closed) throw closedError();
    this.#turn.flush();
    try {
      return this.#backups.open();
    } catch (cause) {
      throw toLogError(cause, "back up the database");
    }
  }

  checkReady(): string | undefined {
    if (this.#closed) return closedError().message;
    if (!this.#database.isFailing) return undefined;
    try {
      this.#writer.probe();
    } catch (cause) {
      return toLogError(cause, "store messages").message;
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

  /** Does what the rules and ttls ask for now, instead of bit by bit. */
  sweep(): void {
    this.#retention.sweep();
  }

  [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#turn.flush();
    this.#closed = true;
    this.#retention.close();
    this.#backups.stop();
    try {
      endLife(this.#database);
    } catch (error) {
      // As good as killed: the next start deals with it.
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
      stored = this.#writer.store(batch.map(({ draft }) => draft), this.#now());
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

  /** Nothing of the batch is stored. What needs no disk is delivered all the same. */
  #refuse(batch: readonly Pending[], cause: unknown): void {
    const error = toLogError(cause, "store the message");
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
