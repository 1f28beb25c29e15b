/**
 * Copies the SQLite engine's file while it is written to. All that is committed is moved into the database file, and
 * until the copy is taken, new commits stay in the write-ahead log beside it: nobody waits for the copy.
 */
import { MessagingError } from "../../core/errors.ts";
import type { Backup } from "../../core/log.ts";
import type { SqliteDatabase } from "./database.ts";
import { markCopy } from "./life.ts";

/** Bytes that are read at once, and everybody waits for: a fraction of a millisecond's worth. */
const CHUNK_BYTES = 256 * 1024;
/** How long a copy may take: all that is written meanwhile is written twice, and kept until then. */
const DEADLINE_MILLISECONDS = 15 * 60_000;

export class SqliteBackups implements Disposable {
  readonly #database: SqliteDatabase;
  /**
   * Closing any handle of a file takes away the locks that the process has on it (POSIX fcntl), and another process
   * could open the log. So this one is kept until the database is closed, and used only in ways that are synchronous:
   * the others make a second handle, and close it.
   */
  #file: Deno.FsFile | undefined;
  #end: ((reason: string) => void) | undefined;

  constructor(database: SqliteDatabase) {
    this.#database = database;
  }

  /**
   * Begins a copy of all that is committed.
   *
   * @throws {MessagingError} `log_unavailable` while another is under way
   * @throws what SQLite throws when the disk is full or fails
   */
  open(): Backup {
    if (this.#end !== undefined) {
      throw new MessagingError("log_unavailable", "Another backup is under way: wait until it has ended");
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

  /** Breaks off the copy that is under way, for the database is about to be closed. */
  stop(): void {
    this.#end?.("The engine was closed during the backup");
  }

  /** Call it once the database is closed. */
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
      cancel: () => end("Nobody takes the backup any more"),
    });
  }
}
