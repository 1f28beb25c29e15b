/**
 * Which messages each channel has: a table beside the messages into which they are entered late, many at a time. An index
 * of SQLite's own would be written with each message, and cost more than the message itself while many channels take turns.
 *
 * What is not entered yet is newer than all that is. A query about one channel has it entered first; where that fails, as
 * on a full disk, it looks through all messages instead.
 */
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite";
import type { SqliteDatabase, Synchronous } from "./database.ts";

/** Messages that wait at most. More would make entering them a noticeable pause, and save little. */
const MAX_LATE = 4_096;

/** What a query about one channel reads from. */
export interface ChannelSource {
  /** In place of the table `messages`. */
  readonly messages: string;
  /** The same, with nothing but `channel` and `sequence`. */
  readonly entries: string;
}

/** First the index, then the messages. */
const INDEXED: ChannelSource = {
  messages: "channel_index NATURAL CROSS JOIN messages",
  entries: "channel_index",
};
/** All messages, while some are not entered. */
const PLAIN: ChannelSource = { messages: "messages", entries: "messages" };

type Row = Readonly<Record<string, SQLOutputValue>>;

export class ChannelIndex {
  readonly #database: SqliteDatabase;
  readonly #stored: { readonly sequence: number };
  readonly #maxLate: number;
  readonly #enter: StatementSync;
  readonly #note: StatementSync;
  readonly #remove: StatementSync;
  readonly #removeOne: StatementSync;
  readonly #noteRemoved: StatementSync;
  /** All messages up to this sequence are entered. */
  #end: number;

  /**
   * Enters what a process that was killed has left.
   *
   * @param stored tells the newest sequence ever assigned; not asked for before this has returned
   * @throws errors of SQLite
   */
  constructor(
    database: SqliteDatabase,
    stored: { readonly sequence: number },
    synchronous: Synchronous = "normal",
  ) {
    this.#database = database;
    this.#stored = stored;
    // Where each commit waits for the disk, one of its own for the index would cost more than it saves.
    this.#maxLate = synchronous === "full" ? 0 : MAX_LATE;
    this.#enter = database.prepare(
      `INSERT INTO channel_index SELECT channel, sequence FROM messages WHERE sequence > ? AND sequence <= ?
        ORDER BY channel, sequence`,
    );
    this.#note = database.prepare("UPDATE indexed SET sequence = ?, entries = entries + ?");
    this.#remove = database.prepare("DELETE FROM channel_index WHERE channel = ? AND sequence <= ?");
    this.#removeOne = database.prepare("DELETE FROM channel_index WHERE channel = ? AND sequence = ?");
    this.#noteRemoved = database.prepare("UPDATE indexed SET entries = entries - ?");
    this.#end = database.transact(() => this.#open());
  }

  /** Prepares a query. Its SQL is made for what it reads from, and has a condition `channel = ?`. */
  prepare(toSql: (source: ChannelSource) => string): ChannelQuery {
    const [indexed, plain] = [INDEXED, PLAIN].map((source) => this.#database.prepare(toSql(source)));
    return new ChannelQuery(() => this.complete() ? indexed! : plain!);
  }

  /**
   * Enters all messages.
   *
   * @returns whether all are entered now. It is not tried during a transaction, nor while the database fails.
   */
  complete(): boolean {
    const { sequence } = this.#stored;
    if (this.#end >= sequence) return true;
    if (this.#database.isInTransaction || this.#database.isFailing) return false;
    try {
      this.#database.transact(() => this.#enterUpTo(sequence));
    } catch (error) {
      this.#database.reportFailure(error);
      return false;
    }
    this.#end = sequence;
    return true;
  }

  /**
   * Enters messages that the current transaction stores, and those before them, if they are many.
   *
   * @param upTo the newest of them
   * @returns what to call after the transaction
   */
  enterMany(upTo: number): () => void {
    if (upTo - this.#end <= this.#maxLate) return () => {};
    this.#enterUpTo(upTo);
    return () => this.#end = upTo;
  }

  /** Takes out the messages of a channel up to a sequence, in the transaction that removes them. */
  removeUpTo(channel: number, sequence: number): void {
    this.#noteRemoved.run(this.#remove.run(channel, sequence).changes);
  }

  /** Takes out one message, in the transaction that removes it. */
  remove(channel: number, sequence: number): void {
    this.#noteRemoved.run(this.#removeOne.run(channel, sequence).changes);
  }

  /** Enters all messages. Returns the sequence of the newest. */
  #open(): number {
    const [indexed] = this.#database.prepare("SELECT sequence, entries FROM indexed").all();
    const { entries } = this.#database.prepare("SELECT count(*) AS entries FROM channel_index").get() ?? {};
    const { newest } = this.#database.prepare("SELECT max(sequence) AS newest FROM messages").get() ?? {};
    const upTo = Number(newest ?? 0);
    const isWhole = indexed !== undefined && indexed.entries === entries;
    if (!isWhole) {
      // The file was damaged, and rescued without a part of the index.
      this.#database.prepare("DELETE FROM channel_index").run();
      this.#database.prepare("DELETE FROM indexed").run();
      this.#database.prepare("INSERT INTO indexed VALUES (0, 0)").run();
    }
    const end = isWhole ? Number(indexed.sequence) : 0;
    // It is further on if the newest messages were removed.
    if (end !== upTo) this.#enterUpTo(upTo, end);
    return upTo;
  }

  #enterUpTo(upTo: number, after = this.#end): void {
    this.#note.run(upTo, this.#enter.run(after, upTo).changes);
  }
}

/** A query about one channel. */
export class ChannelQuery {
  readonly #choose: () => StatementSync;

  constructor(choose: () => StatementSync) {
    this.#choose = choose;
  }

  get(...values: readonly SQLInputValue[]): Row | undefined {
    return this.#choose().get(...values);
  }

  all(...values: readonly SQLInputValue[]): Row[] {
    return this.#choose().all(...values);
  }

  /** Returns how many rows it has changed. */
  run(...values: readonly SQLInputValue[]): number {
    return Number(this.#choose().run(...values).changes);
  }
}
