/** The in-memory state of the SQLite engine's channels, which appends and most of a read need only. */
import { SliceClock } from "../../base/slices.ts";
import type { Selector } from "../../core/channel.ts";
import type { ChannelRules, Rules } from "../../core/rules.ts";
import { type Selection, Selections } from "../../core/selections.ts";
import type { SqliteDatabase } from "./database.ts";
import { SqliteTombstones } from "./tombstones.ts";

/** The state of one channel. It is updated after the transaction is committed. */
export interface SqliteChannel {
  readonly id: number;
  readonly name: string;
  /** The position of the newest message. */
  offset: number;
  sequence: number;
  /** When the newest message was stored, by the clock for deadlines. */
  touched: number;
  /** The number of stored messages. */
  count: number;
  /** A lower bound on when stored messages were stored; infinite if there are none. */
  oldest: number;
  /** The newest message that was removed; 0 if none was. */
  removedOffset: number;
  removedSequence: number;
  removedTime: number;
  /** At the start, the time of the newest message that was taken back. */
  readonly takenBackTime: number;
  /** Since the start, the sequences of messages that were taken back. */
  takenBack: readonly number[];
  /** Since the start, the last removal by number or request: its newest message, and its number in the engine. */
  cutSequence: number;
  cutAt: number;
  /** Since the start, the newest message that was removed for its age. */
  agedSequence: number;
  agedSince: number;
  /** See {@linkcode historyOf}. */
  history: ChannelRules["history"] | undefined;
}

/** What a channel's rule keeps, looked up once: reads and checks of very many channels ask for that of each. */
export function historyOf(channel: SqliteChannel, rules: Rules): ChannelRules["history"] {
  return channel.history ??= rules.for(channel.name).history;
}

/** Looks that up of channels of which it is not known yet, in slices. */
export async function learnHistories(channels: readonly SqliteChannel[], rules: Rules): Promise<void> {
  const clock = new SliceClock();
  for (const channel of channels) {
    if (channel.history !== undefined) continue;
    historyOf(channel, rules);
    if (clock.isOver) await clock.next();
  }
}

/** The initial values. */
const NOTHING_REMOVED = {
  removedOffset: 0,
  removedSequence: 0,
  removedTime: 0,
  takenBackTime: 0,
  takenBack: [],
  cutSequence: 0,
  cutAt: 0,
  agedSequence: 0,
  agedSince: 0,
  history: undefined,
};

const LOAD = `
  SELECT channels.id, name, removed_offset, removed_sequence, removed_time,
    taken_back_offset, taken_back_sequence, taken_back_time, stored, coalesce(first.since, first.time) AS oldest,
    last.sequence, last.offset, coalesce(last.since, last.time) AS touched
  FROM channels
  LEFT JOIN (
    SELECT channel, count(*) AS stored, min(sequence) AS low, max(sequence) AS high FROM channel_index GROUP BY channel
  ) AS bounds ON bounds.channel = channels.id
  LEFT JOIN messages AS first ON first.sequence = low
  LEFT JOIN messages AS last ON last.sequence = high
  ORDER BY channels.id`;

/** All channels that had a stored message, but for those that were forgotten. */
export class SqliteChannels {
  readonly tombstones: SqliteTombstones;
  readonly #database: SqliteDatabase;
  #all: SqliteChannel[] = [];
  #forgets = 0;
  #lastId: number;
  readonly #byName = new Map<string, SqliteChannel>();
  readonly #byId = new Map<number, SqliteChannel>();
  readonly #selections = new Selections<SqliteChannel>(this);
  readonly #insert;
  readonly #noteRemoved;
  readonly #noteTakenBack;
  readonly #delete;

  /**
   * Call it while the index of channels is complete.
   *
   * @param maxTombstones how many forgotten channels are remembered apart
   */
  constructor(database: SqliteDatabase, maxTombstones?: number) {
    this.#database = database;
    this.tombstones = new SqliteTombstones(database, maxTombstones);
    // Ids of forgotten channels are not used again: a read under way may have them.
    this.#lastId = this.tombstones.id;
    this.#insert = database.prepare(`
      INSERT INTO channels (id, name, removed_offset, removed_sequence, removed_time, taken_back_offset)
        VALUES (?, ?, ?, ?, ?, ?)`);
    this.#delete = database.prepare("DELETE FROM channels WHERE id = ?");
    this.#noteRemoved = database.prepare(`
      UPDATE channels SET removed_offset = max(removed_offset, ?), removed_sequence = max(removed_sequence, ?),
        removed_time = max(removed_time, ?) WHERE id = ?`);
    this.#noteTakenBack = database.prepare(`
      UPDATE channels SET taken_back_offset = max(taken_back_offset, ?),
        taken_back_sequence = max(taken_back_sequence, ?), taken_back_time = max(taken_back_time, ?) WHERE id = ?`);
    this.#load();
  }

  /** In order of creation. */
  get all(): readonly SqliteChannel[] {
    return this.#all;
  }

  /** How often channels were forgotten. */
  get forgets(): number {
    return this.#forgets;
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

  /**
   * Inserts a channel into the database. Its offsets go on where they were, should it have been forgotten. Call `add` after
   * the transaction.
   */
  create(name: string): SqliteChannel {
    const id = ++this.#lastId;
    const tombstone = this.tombstones.find(name);
    const { offset, removedOffset, removedSequence, removedTime } = tombstone;
    this.#insert.run(id, name, removedOffset, removedSequence, removedTime, offset);
    return {
      id,
      name,
      sequence: 0,
      touched: 0,
      count: 0,
      oldest: Infinity,
      ...NOTHING_REMOVED,
      ...tombstone,
    };
  }

  /**
   * Deletes channels without messages from the database.
   *
   * @param time of the engine's newest message
   * @returns what to call after the transaction, as `bury` says
   */
  forget(channels: readonly SqliteChannel[], time: number): (removals: number) => void {
    const finish = this.tombstones.bury(channels, time);
    for (const { id } of channels) this.#delete.run(id);
    return (removals) => {
      finish(removals);
      for (const { id, name } of channels) {
        this.#byName.delete(name);
        this.#byId.delete(id);
      }
      this.#all = this.#all.filter(({ id }) => this.#byId.has(id));
      this.#forgets++;
    };
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

  /** Records in the database that one message was taken back, in the transaction that removes it. */
  noteTakenBack(channel: SqliteChannel, offset: number, sequence: number, time: number): void {
    this.#noteTakenBack.run(offset, sequence, time, channel.id);
  }

  #load(): void {
    for (const row of this.#database.prepare(LOAD).all()) {
      const removedOffset = Number(row.removed_offset);
      const removedSequence = Number(row.removed_sequence);
      const takenBackTime = Number(row.taken_back_time);
      this.#lastId = Math.max(this.#lastId, Number(row.id));
      this.add({
        ...NOTHING_REMOVED,
        id: Number(row.id),
        name: String(row.name),
        // Every offset and sequence ever assigned is stored, was removed, or taken back.
        offset: Math.max(removedOffset, Number(row.taken_back_offset), Number(row.offset ?? 0)),
        sequence: Math.max(removedSequence, Number(row.taken_back_sequence), Number(row.sequence ?? 0)),
        takenBackTime,
        touched: Math.max(Number(row.touched ?? 0), Number(row.removed_time), takenBackTime),
        count: Number(row.stored ?? 0),
        oldest: row.oldest === null ? Infinity : Number(row.oldest),
        removedOffset,
        removedSequence,
        removedTime: Number(row.removed_time),
      });
    }
  }
}
