/** What services remember in the SQLite engine's file: the table `state`. The engine owns it. */
import { MessagingError } from "../../core/errors.ts";
import type { LogState, StateEntry } from "../../core/log.ts";
import type { SqliteDatabase } from "./database.ts";
import { toMessagingError } from "./error.ts";

export class SqliteServiceState implements LogState {
  readonly #database: SqliteDatabase;
  readonly #statements;
  #closed = false;

  constructor(database: SqliteDatabase) {
    this.#database = database;
    this.#statements = {
      read: database.prepare("SELECT value, revision FROM state WHERE key = ?"),
      insert: database.prepare("INSERT INTO state VALUES (?, ?, 1) ON CONFLICT DO NOTHING"),
      update: database.prepare(
        "UPDATE state SET value = ?, revision = revision + 1 WHERE key = ? AND revision = ?",
      ),
    };
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
    try {
      const { changes } = this.#database.transact(() =>
        revision === 0 ? insert.run(key, value) : update.run(value, key, revision)
      );
      return Number(changes) === 1 ? revision + 1 : undefined;
    } catch (cause) {
      throw toMessagingError(cause, `write the state "${key}"`);
    }
  }

  close(): void {
    this.#closed = true;
  }

  #demandOpen(): void {
    if (this.#closed) throw new MessagingError("log_unavailable", "The engine is closed");
  }
}
