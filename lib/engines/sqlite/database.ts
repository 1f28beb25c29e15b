/** The SQLite engine's connection to its database: statements, transactions, checkpoints, and reporting failures. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Logger } from "../../core/logger.ts";
import { resultCode, SQLITE_FULL } from "./error.ts";

/** Whether commits are handed to the operating system, or each is flushed to the disk. */
export type Synchronous = "normal" | "full";

/** Free pages that stay in the file in any case, and how many are returned at once, in a millisecond or so. */
const MIN_FREE_PAGES = 256;
const PAGES_PER_SHRINK = 128;

/** Owns an open database, which all parts of the engine share. */
export class SqliteDatabase implements Disposable {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #logger: Logger;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  readonly #freePages: StatementSync;
  readonly #pageCount: StatementSync;
  readonly #vacuum: StatementSync;
  #isInTransaction = false;
  #failing = false;
  /** Sequences of damaged messages that were logged. */
  readonly #damaged = new Set<number>();
  /** While frozen: the setting of automatic checkpoints to restore, in pages. */
  #checkpointPages: number | undefined;

  constructor(database: DatabaseSync, path: string, logger: Logger) {
    this.path = path;
    this.#database = database;
    this.#logger = logger;
    // Prepared, because errors of `exec()` carry no result code.
    this.#begin = this.prepare("BEGIN IMMEDIATE");
    this.#commit = this.prepare("COMMIT");
    this.#rollback = this.prepare("ROLLBACK");
    this.#freePages = this.prepare("PRAGMA freelist_count");
    this.#pageCount = this.prepare("PRAGMA page_count");
    this.#vacuum = this.prepare(`PRAGMA incremental_vacuum(${PAGES_PER_SHRINK})`);
  }

  /** Whether a body of `transact` is running. */
  get isInTransaction(): boolean {
    return this.#isInTransaction;
  }

  prepare(sql: string): StatementSync {
    return this.#database.prepare(sql);
  }

  /**
   * Runs the body in one transaction. Transactions do not nest.
   *
   * @throws errors of the body or SQLite, after rolling back
   */
  transact<T>(body: () => T): T {
    if (this.#isInTransaction) throw new TypeError("A transaction is under way");
    // Rolling back may have failed before.
    if (this.#database.isTransaction) this.#rollback.run();
    this.#begin.run();
    this.#isInTransaction = true;
    try {
      const result = body();
      this.#commit.run();
      return result;
    } catch (error) {
      // SQLite rolls back by itself after some errors.
      if (this.#database.isTransaction) this.#rollback.run();
      if (resultCode(error) === SQLITE_FULL) this.#checkpoint();
      throw error;
    } finally {
      this.#isInTransaction = false;
    }
  }

  /** Sets whether each commit is flushed to the disk. */
  set synchronous(value: Synchronous) {
    this.prepare(`PRAGMA synchronous = ${value}`).get();
  }

  /**
   * Moves all commits into the database file, which does not change from then on until `thaw`; new commits gather in the
   * write-ahead log.
   *
   * @param mark marks the file, calls `checkpoint`, and removes the mark, which thus stays in the frozen file
   * @throws errors of SQLite; call `thaw` then as well
   */
  freeze(mark: (checkpoint: () => void) => void): void {
    if (this.#checkpointPages !== undefined) throw new TypeError("The file is frozen already");
    this.#checkpointPages = Number(this.prepare("PRAGMA wal_autocheckpoint").get()?.wal_autocheckpoint);
    this.prepare("PRAGMA wal_autocheckpoint = 0").get();
    mark(() => {
      const { busy } = this.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() ?? {};
      if (busy !== 0) throw new Error("The write-ahead log is in use");
    });
  }

  /** Allows checkpoints again. */
  thaw(): void {
    if (this.#checkpointPages === undefined) return;
    this.prepare(`PRAGMA wal_autocheckpoint = ${this.#checkpointPages}`).get();
    this.#checkpointPages = undefined;
  }

  /**
   * Returns free pages to the file system, a few at a time, while they are more than a quarter of the file: some are kept
   * for new messages. Files of older versions do not shrink.
   *
   * @returns whether there are more to return
   * @throws errors of SQLite
   */
  shrink(): boolean {
    const free = Number(this.#freePages.get()?.freelist_count);
    if (free <= MIN_FREE_PAGES || free * 4 <= Number(this.#pageCount.get()?.page_count)) return false;
    this.#vacuum.all();
    return Number(this.#freePages.get()?.freelist_count) < free;
  }

  /** Whether the last write failed. */
  get isFailing(): boolean {
    return this.#failing;
  }

  /** Logs a failed write; repeated failures only after `reportSuccess`. */
  reportFailure(error: unknown): void {
    if (this.#failing) return;
    this.#failing = true;
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : String(cause);
    this.#logger.write("error", "engine write failed", { engine: this.path, reason });
  }

  reportSuccess(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#logger.write("info", "engine writes again", { engine: this.path });
  }

  /** Logs that a stored message is damaged, once for each, and what to do. */
  reportDamage(channel: string, offset: number, sequence: number): void {
    if (this.#damaged.has(sequence)) return;
    this.#damaged.add(sequence);
    this.#logger.write("error", "stored message is damaged and left out", {
      engine: this.path,
      channel,
      offset,
      reason:
        "its checksum is wrong: check the disk and the memory, and restore the latest backup if it has the message",
    });
  }

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /**
   * Moves commits from the write-ahead log into the database file as far as there is space. The write-ahead log then
   * starts over in the space it has, so that messages can be removed on a full disk, or replace removed ones.
   */
  #checkpoint(): void {
    if (this.#checkpointPages !== undefined) return;
    try {
      this.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
    } catch {
      // There is no space: the next write fails as well.
    }
  }
}
