/** The in-memory state of the SQLite engine's channels, which appends and most of a read need only. */
import type { Selector } from "../../core/channel.ts";
import { type Selection, Selections } from "../../core/selections.ts";
import type { SqliteDatabase } from "./database.ts";

/** The state of one channel. It is updated after the transaction is committed. */
export interface SqliteChannel {
  readonly id: number;
  readonly name: string;
  /** The position of the newest message. */
  offset: number;
  sequence: number;
  /** The number of stored messages. */
  count: number;
  /** A lower bound on when stored messages were stored; infinite if there are none. */
  oldest: number;
  /** The newest message that was removed; 0 if none was. */
  removedOffset: number;
  removedSequence: number;
  removedTime: number;
  /** Since the start, the last removal by number or request: its newest message, and its number in the engine. */
  cutSequence: number;
  cutAt: number;
  /** Since the start, the newest message that was removed for its age. */
  agedSequence: number;
  agedSince: number;
}

/** The initial values. */
const NOTHING_REMOVED = {
  removedOffset: 0,
  removedSequence: 0,
  removedTime: 0,
  cutSequence: 0,
  cutAt: 0,
  agedSequence: 0,
  agedSince: 0,
};

const LOAD = `
  SELECT channels.id, name, removed_offset, removed_sequence, removed_time, stored, coalesce(first.since, first.time) AS oldest,
    last.sequence, last.offset
  FROM channels
  LEFT JOIN (
    SELECT channel, count(*) AS stored, min(sequence) AS low, max(sequence) AS high FROM messages GROUP BY channel
  ) AS bounds ON bounds.channel = channels.id
  LEFT JOIN messages AS first ON first.sequence = low
  LEFT JOIN messages AS last ON last.sequence = high
  ORDER BY channels.id`;

/** All channels that ever had a stored message. */
export class SqliteChannels {
  readonly #database: SqliteDatabase;
  readonly #all: SqliteChannel[] = [];
  readonly #byName = new Map<string, SqliteChannel>();
  readonly #byId = new Map<number, SqliteChannel>();
  readonly #selections = new Selections<SqliteChannel>(this);
  readonly #insert;
  readonly #noteRemoved;

  constructor(database: SqliteDatabase) {
    this.#database = database;
    this.#insert = database.prepare("INSERT INTO channels (name) VALUES (?)");
    this.#noteRemoved = database.prepare(`
      UPDATE channels SET removed_offset = max(removed_offset, ?), removed_sequence = max(removed_sequence, ?),
        removed_time = max(removed_time, ?) WHERE id = ?`);
    this.#load();
  }

  /** In order of creation. The list only grows. */
  get all(): readonly SqliteChannel[] {
    return this.#all;
  }

  get(name: string): SqliteChannel | undefined {
    return this.#byName.get(name);
  }

  getById(id: number): SqliteChannel {
    const channel = this.#byId.get(id);
    if (channel === undefined) {
      throw new RangeError(`The database holds a message of channel ${id}, which it does not know`);
    }
    return channel;
  }

  /** The channels of a list or pattern. */
  select(selector: Selector): Selection<SqliteChannel> | Promise<Selection<SqliteChannel>> {
    return this.#selections.select(selector);
  }

  /** Inserts a channel into the database. Call `add` after the transaction. */
  create(name: string): SqliteChannel {
    const id = Number(this.#insert.run(name).lastInsertRowid);
    return { id, name, offset: 0, sequence: 0, count: 0, oldest: Infinity, ...NOTHING_REMOVED };
  }

  add(channel: SqliteChannel): void {
    this.#all.push(channel);
    this.#byName.set(channel.name, channel);
    this.#byId.set(channel.id, channel);
  }

  /** Records in the database that messages up to this one were removed, in the transaction that removes them. */
  noteRemoved(channel: SqliteChannel, offset: number, sequence: number, time: number): void {
    this.#noteRemoved.run(offset, sequence, time, channel.id);
  }

  #load(): void {
    for (const row of this.#database.prepare(LOAD).all()) {
      const removedOffset = Number(row.removed_offset);
      const removedSequence = Number(row.removed_sequence);
      this.add({
        ...NOTHING_REMOVED,
        id: Number(row.id),
        name: String(row.name),
        // Every offset and sequence ever assigned is stored or was removed.
        offset: Math.max(removedOffset, Number(row.offset ?? 0)),
        sequence: Math.max(removedSequence, Number(row.sequence ?? 0)),
        count: Number(row.stored ?? 0),
        oldest: row.oldest === null ? Infinity : Number(row.oldest),
        removedOffset,
        removedSequence,
        removedTime: Number(row.removed_time),
      });
    }
  }
}
