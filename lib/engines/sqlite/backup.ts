/**
 * Copies the SQLite engine's file while it is in use. First a checkpoint moves all commits into the database file; until
 * the copy is complete, new commits stay in the write-ahead log, so that nothing waits for the copy.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Backup } from "../../core/log.ts";
import type { SqliteDatabase } from "./database.ts";
import { markCopy } from "./epoch.ts";

/** Bytes per synchronous read, which blocks the event loop for a fraction of a millisecond. */
const CHUNK_BYTES = 256 * 1024;
/** The time limit of a copy: meanwhile the write-ahead log keeps growing. */
const DEADLINE_MILLISECONDS = 15 * 60_000;

export class SqliteBackups implements Disposable {
  readonly #database: SqliteDatabase;
  /**
   * Closing any descriptor of a file releases the process's locks on it (POSIX fcntl), and then another process could
   * open the database. So this one is kept until the database is closed, and only read synchronously: Deno's
   * asynchronous reads duplicate the descriptor, and close the duplicate.
   */
  #file: Deno.FsFile | undefined;
  #end: ((reason: string) => void) | undefined;

  constructor(database: SqliteDatabase) {
    this.#database = database;
  }

  /**
   * Begins a copy of everything that is committed.
   *
   * @throws {MessagingError} `log_unavailable` while another is in progress
   * @throws errors of SQLite, when the disk is full or fails
   */
  open(): Backup {
    if (this.#end !== undefined) {
      throw new MessagingError("log_unavailable", "Another backup is in progress: wait until it is complete");
    }
    const file = this.#file ??= Deno.openSync(this.#database.path, { read: true });
    try {
      this.#database.freeze((commit) => markCopy(this.#database, commit));
    } catch (error) {
      this.#database.thaw();
      throw error;
    }
    const { size } = file.statSync();
    return { size, stream: this.#stream(file, size) };
  }

  /** Aborts the copy in progress, because the database is about to be closed. */
  stop(): void {
    this.#end?.("The engine was closed during the backup");
  }

  /** Call it after closing the database. */
  [Symbol.dispose](): void {
    this.#file?.close();
  }

  #stream(file: Deno.FsFile, size: number): ReadableStream<Uint8Array<ArrayBuffer>> {
    let failure: string | undefined;
    const end = (reason: string) => {
      failure ??= reason;
      clearTimeout(timer);
      if (this.#end !== end) return;
      this.#end = undefined;
      this.#database.thaw();
    };
    this.#end = end;
    const late = `The backup took longer than ${DEADLINE_MILLISECONDS / 60_000} minutes`;
    const timer = setTimeout(() => end(late), DEADLINE_MILLISECONDS);
    let read = 0;
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        if (failure !== undefined) throw new MessagingError("log_unavailable", failure);
        const chunk = new Uint8Array(Math.min(CHUNK_BYTES, size - read));
        file.seekSync(read, Deno.SeekMode.Start);
        const count = file.readSync(chunk);
        if (count === null) {
          end("The database became shorter during the backup");
          throw new MessagingError("log_unavailable", "The database became shorter during the backup");
        }
        read += count;
        controller.enqueue(chunk.subarray(0, count));
        if (read < size) return;
        end("The backup is complete");
        controller.close();
      },
      cancel: () => end("The backup was cancelled"),
    });
  }
}
