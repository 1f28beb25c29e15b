/** The SQLite engine's hold on its file: statements, transactions, and what is said of failures. */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { Logger } from "../../core/logger.ts";
import { resultCode, SQLITE_FULL } from "./error.ts";

/** How commits are written: handed to the operating system, or forced to the disk one by one. */
export type Synchronous = "normal" | "full";

/** Owns an open database. All parts of one log share it. */
export class SqliteDatabase implements Disposable {
  readonly path: string;
  readonly #database: DatabaseSync;
  readonly #logger: Logger;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #rollback: StatementSync;
  #failing = false;
  /** After how many pages in the write-ahead log they are moved to the file, while that is not to happen. */
  #checkpointPages: number | undefined;

  constructor(database: DatabaseSync, path: string, logger: Logger) {
    this.path = path;
    this.#database = database;
    this.#logger = logger;
    // Prepared, because errors of `exec()` carry no result code.
    this.#begin = this.prepare("BEGIN IMMEDIATE");
    this.#commit = this.prepare("COMMIT");
    this.#rollback = this.prepare("ROLLBACK");
  }

  prepare(sql: string): StatementSync {
    return this.#database.prepare(sql);
  }

  /**
   * Runs the body in one transaction.
   *
   * @throws what the body or SQLite throws; then nothing of it is stored
   */
  transact<T>(body: () => T): T {
    // A failure may have been too grave to roll back at once.
    if (this.#database.isTransaction) this.#rollback.run();
    this.#begin.run();
    try {
      const result = body();
      this.#commit.run();
      return result;
    } catch (error) {
      // SQLite rolls back by itself after some failures.
      if (this.#database.isTransaction) this.#rollback.run();
      if (resultCode(error) === SQLITE_FULL) this.#checkpoint();
      throw error;
    }
  }

  /** Sets whether commits are forced to the disk one by one, or written out together later. */
  set synchronous(value: Synchronous) {
    this.prepare(`PRAGMA synchronous = ${value}`).get();
  }

  /**
   * Moves all that is committed to the database file, which from then on stays as it is, while new commits gather in
   * the write-ahead log.
   *
   * @param mark changes what the file says of itself, and changes it back behind the `commit` it calls
   * @throws what SQLite throws; the file goes on changing then, once it is told to `thaw`
   */
  freeze(mark: (commit: () => void) => void): void {
    if (this.#checkpointPages !== undefined) throw new TypeError("The file is frozen already");
    this.#checkpointPages = Number(this.prepare("PRAGMA wal_autocheckpoint").get()?.wal_autocheckpoint);
    this.prepare("PRAGMA wal_autocheckpoint = 0").get();
    mark(() => {
      const { busy } = this.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() ?? {};
      if (busy !== 0) throw new Error("The write-ahead log is in use");
    });
  }

  /** Lets the file change again. */
  thaw(): void {
    if (this.#checkpointPages === undefined) return;
    this.prepare(`PRAGMA wal_autocheckpoint = ${this.#checkpointPages}`).get();
    this.#checkpointPages = undefined;
  }

  /** Whether the newest write failed. */
  get isFailing(): boolean {
    return this.#failing;
  }

  /** Logs a failed write: the first one only, until `reportSuccess`. */
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

  [Symbol.dispose](): void {
    this.#database.close();
  }

  /**
   * Moves what is in the write-ahead log to the database file, if that has the room. Then the write-ahead log starts
   * over in the space it has, and on a full disk messages can still be removed, or stored where others were.
   */
  #checkpoint(): void {
    if (this.#checkpointPages !== undefined) return;
    try {
      this.prepare("PRAGMA wal_checkpoint(PASSIVE)").get();
    } catch {
      // There is no room. Whoever writes next finds out.
    }
  }
}
