/**
 * Opens the SQLite engine's file: checks that it is ours, locks it, and migrates its schema. Whatever is wrong with the
 * file is reported in one line.
 */
import { basename, dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MessagingError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { SqliteDatabase } from "./database.ts";
import {
  resultCode,
  SQLITE_BUSY,
  SQLITE_CORRUPT,
  SQLITE_FULL,
  SQLITE_NOTADB,
  SQLITE_READONLY,
} from "./error.ts";
import { APPLICATION_ID, MIGRATIONS } from "./schema.ts";
import { formatTask } from "../../base/task.ts";

export interface SqliteFileOptions {
  readonly path: string;
  readonly logger: Logger;
  /** The maximum size in pages; unlimited by default. */
  readonly maxPages?: number | undefined;
  readonly migrations?: readonly string[] | undefined;
}

/** How long to wait for the lock of a process that is shutting down, in milliseconds. */
const LOCK_TIMEOUT = 250;
/** The write-ahead log is truncated to this size after a burst, in bytes. */
const WAL_BYTES = 64 * 1024 * 1024;

/**
 * Opens the file and locks it; creates it and its directory if they are missing. Each commit is flushed to the disk until
 * `synchronous` is set.
 *
 * @throws {MessagingError} `log_unavailable` or `log_full`, with the cause and the cure
 */
export function openSqliteFile(options: SqliteFileOptions): SqliteDatabase {
  const { path, logger, maxPages, migrations = MIGRATIONS } = options;
  const database = connect(path);
  try {
    pragma(database, "locking_mode = EXCLUSIVE");
    const version = checkOwner(database, path, migrations.length);
    // Takes effect only before the first table is created. Older files keep the space of what was removed for new messages.
    if (version === 0) pragma(database, "auto_vacuum = INCREMENTAL");
    const mode = pragma(database, "journal_mode = WAL");
    if (mode !== "wal") {
      throw refusal(path, `its file system does not support write-ahead logs (${mode})`, undefined, true);
    }
    pragma(database, "synchronous = FULL");
    pragma(database, "temp_store = MEMORY");
    pragma(database, `journal_size_limit = ${WAL_BYTES}`);
    if (maxPages !== undefined) pragma(database, `max_page_count = ${maxPages}`);
    const file = new SqliteDatabase(database, path, logger);
    if (version < migrations.length) file.transact(() => migrate(database, version, migrations));
    return file;
  } catch (cause) {
    database.close();
    throw explainOpenError(path, cause);
  }
}

function connect(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: LOCK_TIMEOUT });
  } catch (cause) {
    if (isPermissionError(cause)) throw explainOpenError(path, cause);
  }
  const directory = dirname(path);
  try {
    Deno.mkdirSync(directory, { recursive: true });
  } catch (cause) {
    if (isPermissionError(cause)) throw explainOpenError(path, cause);
    throw refusal(path, `its directory "${directory}" cannot be created; create it`, cause, true);
  }
  try {
    return new DatabaseSync(path, { timeout: LOCK_TIMEOUT });
  } catch (cause) {
    throw explainOpenError(path, cause);
  }
}

/** Checks that the file is ours or new. Returns its schema version, 0 for a new one. */
function checkOwner(database: DatabaseSync, path: string, newest: number): number {
  const owner = pragma(database, "application_id");
  const version = Number(pragma(database, "user_version"));
  const { tables } = database.prepare("SELECT count(*) AS tables FROM sqlite_schema").get() ?? {};
  if (owner !== APPLICATION_ID && (owner !== 0 || version !== 0 || tables !== 0)) {
    throw refusal(path, "it is another program's database");
  }
  if (version > newest) {
    throw refusal(
      path,
      `a newer Raindrops wrote it (schema ${version}, this one knows ${newest}); start that version`,
    );
  }
  return version;
}

function migrate(database: DatabaseSync, version: number, migrations: readonly string[]): void {
  for (const step of migrations.slice(version)) database.exec(step);
  pragma(database, `application_id = ${APPLICATION_ID}`);
  pragma(database, `user_version = ${migrations.length}`);
}

/** Sets or reads a pragma; returns its value. */
function pragma(database: DatabaseSync, text: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0];
}

/** The error for a file that cannot be opened, with the cause and the cure. */
export function explainOpenError(path: string, cause: unknown): MessagingError {
  if (cause instanceof MessagingError) return cause;
  if (isPermissionError(cause)) {
    const directory = dirname(path);
    return refusal(
      path,
      `Deno has no permission for it; use ${
        formatTask("serve", Deno.execPath())
      }, or start with --allow-read=${directory} ` +
        `--allow-write=${directory}`,
      cause,
      true,
    );
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  switch (resultCode(cause)) {
    case SQLITE_BUSY:
      return refusal(path, "another process has it open; stop that one", cause);
    case SQLITE_CORRUPT:
      return refusal(
        path,
        `the file is damaged (${reason}); restore the latest backup, or move the file away and rescue what is left with ` +
          `sqlite3 DAMAGED ".recover" | sqlite3 "${path}"`,
        cause,
      );
    case SQLITE_NOTADB:
      return refusal(
        path,
        "the file is not a database; move it away, and restore the latest backup if there is one",
        cause,
      );
    case SQLITE_FULL:
      return new MessagingError(
        "log_full",
        `Cannot open the database "${path}": its disk is full; free some space`,
        {
          cause,
        },
      );
    case SQLITE_READONLY:
      return refusal(path, "it is read-only; make the file and its directory writable", cause, true);
    default:
      return refusal(
        path,
        `${reason}; make sure that it is a file, writable, in a writable directory`,
        cause,
        true,
      );
  }
}

/** @param elsewhere whether it takes another directory; where another file will do, it is in one that may be written */
function refusal(path: string, reason: string, cause?: unknown, elsewhere = false): MessagingError {
  const name = basename(path) === "second.db" ? "third.db" : "second.db";
  const other = elsewhere ? "PATH" : `${dirname(path)}/${name}`;
  return new MessagingError(
    "log_unavailable",
    `Cannot open the database "${path}": ${reason}, or name another file with --engine sqlite:${other}`,
    cause === undefined ? undefined : { cause },
  );
}

function isPermissionError(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}
