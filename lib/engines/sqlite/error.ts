/** Translates SQLite's errors into those of the Log port. */
import { MessagingError } from "../../core/errors.ts";

/** Primary result codes, https://www.sqlite.org/rescode.html */
export const SQLITE_BUSY = 5;
export const SQLITE_READONLY = 8;
export const SQLITE_CORRUPT = 11;
export const SQLITE_FULL = 13;
export const SQLITE_NOTADB = 26;

/**
 * The primary result code of an error thrown by a statement; undefined for other errors, among them those of
 * `exec()` and of the constructor, which carry none.
 */
export function resultCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("errcode" in error) || typeof error.errcode !== "number") {
    return undefined;
  }
  return error.errcode & 0xff;
}

/** The error for clients after a failed statement. It does not tell where the file is. */
export function toMessagingError(cause: unknown, attempt: string): MessagingError {
  if (cause instanceof MessagingError) return cause;
  if (resultCode(cause) === SQLITE_FULL) {
    return new MessagingError(
      "log_full",
      `Cannot ${attempt}: the disk of the database is full; free some space, or keep less with --rules`,
      { cause },
    );
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new MessagingError("log_unavailable", `Cannot ${attempt}: the database failed with "${reason}"`, {
    cause,
  });
}
