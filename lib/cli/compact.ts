/**
 * Makes the file of a stopped server as small as what it holds, and lets it shrink by itself from then on. Run by
 * `deno task compact FILE`. It needs all permissions: with fewer, Deno does not let SQLite use a second file, as VACUUM
 * does.
 */
import { DatabaseSync } from "node:sqlite";

const USAGE = "Usage: deno task compact FILE, such as deno task compact data/raindrops.db";

/** "rain", as the SQLite engine marks its files. */
const APPLICATION_ID = 0x7261696e;
const INCREMENTAL = 2;

/** An error that the user can fix. */
class CompactError extends Error {}

/**
 * Rewrites the file. SQLite copies it beside the original and replaces it in one transaction, so that an interruption
 * leaves it as it was.
 *
 * @returns its size in bytes before and after
 */
function compact(file: string): { readonly before: number; readonly after: number } {
  const { size: before } = Deno.statSync(file);
  const database = new DatabaseSync(file, { timeout: 250 });
  const pragma = (text: string) => Object.values(database.prepare(`PRAGMA ${text}`).get() ?? {})[0];
  try {
    pragma("locking_mode = EXCLUSIVE");
    if (pragma("application_id") !== APPLICATION_ID) {
      throw new CompactError(`${file} is no file of Raindrops`);
    }
    // Without a write, another process that has the file open would not be noticed.
    database.exec("BEGIN IMMEDIATE; COMMIT");
    pragma(`auto_vacuum = ${INCREMENTAL}`);
    database.exec("VACUUM");
    pragma("wal_checkpoint(TRUNCATE)");
  } finally {
    database.close();
  }
  return { before, after: Deno.statSync(file).size };
}

/** What went wrong, and what to do about it. */
function explain(file: string, error: unknown): string | undefined {
  if (error instanceof CompactError) return error.message;
  if (error instanceof Deno.errors.NotFound) return `There is no file ${file}`;
  const reason = error instanceof Error ? error.message : String(error);
  if (/\block/.test(reason)) return `${file} is in use: stop the server first`;
  if (/\bfull\b/.test(reason)) return `The disk is full: compacting takes as much space as the file has now`;
  if (/not a database|malformed/.test(reason)) return `${file} is damaged, or no database (${reason})`;
  return undefined;
}

if (import.meta.main) {
  const [file, ...rest] = Deno.args;
  if (file === undefined || file.startsWith("-") || rest.length > 0) {
    console.error(USAGE);
    Deno.exit(2);
  }
  try {
    const { before, after } = compact(file);
    console.log(`${file}: ${before} bytes before, ${after} after`);
  } catch (error) {
    const message = explain(file, error);
    if (message === undefined) throw error;
    console.error(message);
    Deno.exit(1);
  }
}
