/** Writes the session of a connection to the store, one write at a time. The session owns one. */
import { Deadline } from "../../base/deadline.ts";
import { REASONS } from "./reasons.ts";
import type { SessionConnection } from "./context.ts";
import type { SessionRecord } from "./session_store.ts";

const SAVE_PAUSE_MILLISECONDS = 100;

export interface SaverOptions {
  readonly connection: SessionConnection;
  /** The revision of what is stored. */
  readonly revision: number;
  /** Whether the session outlives its connection. */
  isPersistent(): boolean;
  /** Milliseconds after which it is stored again at the latest, so that it does not expire while it is connected. */
  refreshAfter(): number;
  /** What is to be remembered now. */
  createRecord(): SessionRecord;
}

export class SessionSaver {
  readonly #options: SaverOptions;
  #revision: number;
  #isStored = false;
  #writing: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #refresh = new Deadline();
  #closed = false;

  constructor(options: SaverOptions) {
    this.#options = options;
    this.#revision = options.revision;
  }

  /** Tells whether the store holds a session of the client. */
  set isStored(isStored: boolean) {
    this.#isStored = isStored;
  }

  /** Stores the session. Resolves when a write that began after the call is done; calls meanwhile share one. */
  save(): Promise<void> {
    if (!this.#isStored && !this.#options.isPersistent()) return Promise.resolve();
    return this.#next ??= this.#writing.catch(() => {}).then(() => {
      this.#next = undefined;
      return this.#writing = this.#closed ? Promise.resolve() : this.#write();
    });
  }

  /** Stores it soon. */
  saveLater(): void {
    if (this.#closed) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.save().catch((error) => this.#options.connection.fail(error));
    }, SAVE_PAUSE_MILLISECONDS);
  }

  /** Stores nothing more. Resolves when no write is going on. */
  async abandon(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#refresh.clear();
    await this.#writing.catch(() => {});
  }

  /** Stores it for the last time. Resolves when that is done. */
  async close(): Promise<void> {
    await this.abandon();
    if (this.#isStored || this.#options.isPersistent()) await this.#write();
  }

  async #write(): Promise<void> {
    if (this.#revision < 0) return;
    const { connection } = this.#options;
    const record = this.#options.isPersistent() ? this.#options.createRecord() : undefined;
    const revision = await connection.context.store.save(connection.clientId, record, this.#revision);
    this.#isStored = record !== undefined;
    if (revision !== undefined) {
      this.#revision = revision;
      if (record !== undefined && !this.#closed) {
        this.#refresh.set(Date.now() + this.#options.refreshAfter(), () => this.saveLater());
      }
      return;
    }
    // Nothing is stored any more: the session is another node's.
    this.#revision = -1;
    connection.end(REASONS.takenOver, "Another connection has this client id");
  }
}
