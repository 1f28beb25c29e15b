/**
 * Opens the SQLite engine's file: makes sure that it is ours, that nobody else has it, and that its schema is of
 * this version. Everything that can be wrong with it ends here, in one clear line.
 */
import { dirname } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { MessagingError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { SqliteDatabase } from "./database.ts";
import { resultCode, SQLITE_BUSY, SQLITE_FULL, SQLITE_NOTADB, SQLITE_READONLY } from "./error.ts";
import { APPLICATION_ID, MIGRATIONS } from "./schema.ts";

export interface SqliteFileOptions {
  readonly path: string;
  readonly logger: Logger;
  /** Pages the file may grow to; without bound when left out. */
  readonly maxPages?: number | undefined;
  readonly migrations?: readonly string[] | undefined;
}

/** How long to wait for a process that is about to end, in milliseconds. Nobody else waits for a lock, ever. */
const LOCK_TIMEOUT = 250;
/** The write-ahead log is cut to this after a burst made it longer, in bytes. */
const WAL_BYTES = 64 * 1024 * 1024;

/**
 * Opens the file, which other processes cannot open from then on, and creates it and its directory if they are
 * missing. Until told otherwise every transaction reaches the disk.
 *
 * @throws {MessagingError} `log_unavailable` or `log_full`, saying what is wrong and what to do
 */
export function openSqliteFile(options: SqliteFileOptions): SqliteDatabase {
  const { path, logger, maxPages, migrations = MIGRATIONS } = options;
  const database = connect(path);
  try {
    pragma(database, "locking_mode = EXCLUSIVE");
    const version = checkOwner(database, path, migrations.length);
    const mode = pragma(database, "journal_mode = WAL");
    if (mode !== "wal") throw refusal(path, `its file system allows no write-ahead log (${mode})`);
    pragma(database, "synchronous = FULL");
    pragma(database, "temp_store = MEMORY");
    pragma(database, `journal_size_limit = ${WAL_BYTES}`);
    if (maxPages !== undefined) pragma(database, `max_page_count = ${maxPages}`);
    const file = new SqliteDatabase(database, path, logger);
    if (version < migrations.length) file.transact(() => migrate(database, version, migrations));
    return file;
  } catch (cause) {
    database.close();
    throw cause instanceof MessagingError ? cause : explain(path, cause);
  }
}

function connect(path: string): DatabaseSync {
  try {
    return new DatabaseSync(path, { timeout: LOCK_TIMEOUT });
  } catch (cause) {
    if (isPermissionError(cause)) throw explain(path, cause);
  }
  const directory = dirname(path);
  try {
    Deno.mkdirSync(directory, { recursive: true });
  } catch (cause) {
    if (isPermissionError(cause)) throw explain(path, cause);
    throw refusal(path, `its directory "${directory}" cannot be created; create it`, cause);
  }
  try {
    return new DatabaseSync(path, { timeout: LOCK_TIMEOUT });
  } catch (cause) {
    throw explain(path, cause);
  }
}

/** Returns the schema version of a file that is ours, or 0 for a new one. */
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

/** Sets or asks a pragma; returns what it answers. */
function pragma(database: DatabaseSync, text: string): unknown {
  return Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0];
}

function explain(path: string, cause: unknown): MessagingError {
  if (isPermissionError(cause)) {
    const directory = dirname(path);
    return refusal(
      path,
      `Deno may not use it; start with --allow-read=${directory} --allow-write=${directory}`,
      cause,
    );
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  switch (resultCode(cause)) {
    case SQLITE_BUSY:
      return refusal(path, "another process has it open; stop that one", cause);
    case SQLITE_NOTADB:
      return refusal(path, "the file is no database; move it away", cause);
    case SQLITE_FULL:
      return new MessagingError(
        "log_full",
        `Cannot open the database "${path}": its disk is full; free some space`,
        {
          cause,
        },
      );
    case SQLITE_READONLY:
      return refusal(path, "it may only be read; make the file and its directory writable", cause);
    default:
      return refusal(
        path,
        `${reason}; make sure that it is a file, writable, in a writable directory`,
        cause,
      );
  }
}

function refusal(path: string, reason: string, cause?: unknown): MessagingError {
  return new MessagingError(
    "log_unavailable",
    `Cannot open the database "${path}": ${reason}, or name another file with --engine sqlite:PATH`,
    cause === undefined ? undefined : { cause },
  );
}

function isPermissionError(error: unknown): boolean {
  return error instanceof Error && error.name === "NotCapable";
}
