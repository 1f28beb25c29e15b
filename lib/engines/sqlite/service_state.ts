/** What services remember in the SQLite engine's file: the table `state`. The engine owns it. */
import { MessagingError } from "../../core/errors.ts";
import { nextSlice } from "../../base/slices.ts";
import type { LogState, StateEntry, StateItem } from "../../core/log.ts";
import type { SqliteDatabase } from "./database.ts";
import { toMessagingError } from "./error.ts";

/** A page of a list, so that a long list holds up nobody. */
const PAGE_ENTRIES = 100;

export class SqliteServiceState implements LogState {
  readonly #database: SqliteDatabase;
  readonly #statements;
  /** The highest revision that may be known to anybody in this process: revisions are not stored beyond their entries. */
  #revision: number;
  #closed = false;

  constructor(database: SqliteDatabase) {
    this.#database = database;
    this.#statements = {
      read: database.prepare("SELECT value, revision FROM state WHERE key = ?"),
      insert: database.prepare("INSERT INTO state VALUES (?, ?, ?) ON CONFLICT DO NOTHING"),
      update: database.prepare("UPDATE state SET value = ?, revision = ? WHERE key = ? AND revision = ?"),
      delete: database.prepare("DELETE FROM state WHERE key = ? AND revision = ?"),
      list: database.prepare(
        "SELECT key, value, revision FROM state WHERE key >= ? AND key > ? AND key < ? ORDER BY key LIMIT ?",
      ),
    };
    const newest = database.prepare("SELECT max(revision) AS revision FROM state").get();
    this.#revision = Number(newest?.revision ?? 0);
  }

  // deno-lint-ignore require-await -- errors reject, never throw
  async read(key: string): Promise<StateEntry | undefined> {
    this.#demandOpen();
    try {
      const row = this.#statements.read.get(key);
      return row === undefined ? undefined : { value: String(row.value), revision: Number(row.revision) };
    } catch (cause) {
      throw toMessagingError(cause, `read the state "${key}"`);
    }
  }

  // deno-lint-ignore require-await -- errors reject, never throw
  async write(key: string, value: string, revision: number): Promise<number | undefined> {
    this.#demandOpen();
    const { insert, update } = this.#statements;
    const next = this.#revision + 1;
    try {
      const { changes } = this.#database.transact(() =>
        revision === 0 ? insert.run(key, value, next) : update.run(value, next, key, revision)
      );
      if (Number(changes) === 0) return undefined;
      return this.#revision = next;
    } catch (cause) {
      throw toMessagingError(cause, `write the state "${key}"`);
    }
  }

  // deno-lint-ignore require-await -- errors reject, never throw
  async delete(key: string, revision: number): Promise<boolean> {
    this.#demandOpen();
    try {
      return Number(this.#database.transact(() => this.#statements.delete.run(key, revision)).changes) === 1;
    } catch (cause) {
      throw toMessagingError(cause, `remove the state "${key}"`);
    }
  }

  /** The value of a key, synchronously. @throws errors of SQLite */
  find(key: string): string | undefined {
    const row = this.#statements.read.get(key);
    return row === undefined ? undefined : String(row.value);
  }

  /** Writes an entry that is not there yet, in the transaction that the caller has begun. @throws errors of SQLite */
  place(key: string, value: string): void {
    this.#statements.insert.run(key, value, ++this.#revision);
  }

  async *list(prefix: string): AsyncIterable<StateItem> {
    let after = "";
    while (true) {
      const page = this.#readPage(prefix, after);
      yield* page;
      if (page.length < PAGE_ENTRIES) return;
      after = page.at(-1)?.key ?? after;
      await nextSlice();
    }
  }

  #readPage(prefix: string, after: string): StateItem[] {
    this.#demandOpen();
    try {
      // Keys are ASCII: none with this prefix lies beyond it and a tilde.
      return this.#statements.list.all(prefix, after, `${prefix}~`, PAGE_ENTRIES).map((row) => ({
        key: String(row.key),
        value: String(row.value),
        revision: Number(row.revision),
      }));
    } catch (cause) {
      throw toMessagingError(cause, `list the state "${prefix}..."`);
    }
  }

  close(): void {
    this.#closed = true;
  }

  #demandOpen(): void {
    if (this.#closed) throw new MessagingError("log_unavailable", "The engine is closed");
  }
}
