/**
 * What is left of channels that the SQLite engine has forgotten: a row of five numbers each, found by a hash of the name,
 * and one floor for those beyond a limit.
 */
import {
  type Ghost,
  hashChannel,
  lowerIntoFloor,
  MAX_TOMBSTONES,
  mergeTombstones,
  NO_TOMBSTONE,
  type Tombstone,
} from "../forgotten.ts";
import type { SqliteDatabase } from "./database.ts";

/** A channel that is forgotten. */
interface Buried extends Tombstone {
  readonly id: number;
  readonly name: string;
  readonly sequence: number;
  readonly cutSequence: number;
  readonly agedSequence: number;
}

const READ = `SELECT coalesce(max(offset), 0) AS offset, coalesce(max(removed_offset), 0) AS removed_offset,
  coalesce(max(removed_sequence), 0) AS removed_sequence, coalesce(max(removed_time), 0) AS removed_time,
  count(*) AS count FROM `;

export class SqliteTombstones {
  /** The newest sequence, time and id that forgotten channels had: none is given again. */
  readonly sequence: number;
  readonly time: number;
  readonly id: number;
  readonly #database: SqliteDatabase;
  readonly #max: number;
  readonly #find;
  readonly #insert;
  readonly #noteNewest;
  readonly #setFloor;
  #count: number;
  #floor: Tombstone;
  /** What was removed from any forgotten channel. */
  #all: Tombstone;
  #cutSequence = 0;
  #cutAt = 0;

  /** @param max how many are kept apart */
  constructor(database: SqliteDatabase, max: number = MAX_TOMBSTONES) {
    this.#database = database;
    this.#max = max;
    this.#find = database.prepare(
      "SELECT offset, removed_offset, removed_sequence, removed_time FROM forgotten WHERE hash = ?",
    );
    this.#insert = database.prepare("INSERT OR REPLACE INTO forgotten VALUES (?, ?, ?, ?, ?)");
    this.#noteNewest = database.prepare(
      "UPDATE floor SET sequence = max(sequence, ?), time = max(time, ?), channel = max(channel, ?)",
    );
    this.#setFloor = database.prepare(
      "UPDATE floor SET offset = ?, removed_offset = ?, removed_sequence = ?, removed_time = ?",
    );
    const { sequence, time, channel } = database.prepare("SELECT sequence, time, channel FROM floor").get() ??
      {};
    [this.sequence, this.time, this.id] = [Number(sequence), Number(time), Number(channel)];
    const kept = database.prepare(`${READ} forgotten`).get() ?? {};
    this.#count = Number(kept.count);
    this.#floor = readTombstone(database.prepare(`${READ} floor`).get());
    this.#all = mergeTombstones(this.#floor, readTombstone(kept));
  }

  /** What an unknown channel begins from. */
  find(name: string): Tombstone {
    if (this.#count === 0) return this.#floor;
    const row = this.#find.get(hashChannel(name));
    return row === undefined ? this.#floor : readTombstone(row);
  }

  /** The ghost of one unknown channel. */
  ghostOf(name: string): Ghost {
    return { ...this.find(name), cutSequence: this.#cutSequence, cutAt: this.#cutAt };
  }

  /** The ghost of all that was ever forgotten. */
  get ghostOfAll(): Ghost {
    return { ...this.#all, cutSequence: this.#cutSequence, cutAt: this.#cutAt };
  }

  /**
   * Writes tombstones of channels, in the transaction that deletes them.
   *
   * @param time of the engine's newest message
   * @returns what to call once it is committed; `removals` counts those of the engine
   */
  bury(channels: readonly Buried[], time: number): (removals: number) => void {
    let all = this.#all;
    for (
      const { id, name, offset, sequence, removedOffset, removedSequence, removedTime } of channels
    ) {
      const hash = hashChannel(name);
      const before = this.#find.get(hash);
      const tombstone = mergeTombstones(
        { offset, removedOffset, removedSequence, removedTime },
        before === undefined ? NO_TOMBSTONE : readTombstone(before),
      );
      this.#insert.run(
        hash,
        tombstone.offset,
        tombstone.removedOffset,
        tombstone.removedSequence,
        tombstone.removedTime,
      );
      this.#noteNewest.run(sequence, time, id);
      all = mergeTombstones(all, tombstone);
    }
    const { count, floor } = this.#lowerOldest();
    return (removals) => {
      this.#count = count;
      this.#floor = floor;
      this.#all = all;
      // What became too old while a page was read counts as cut off as well.
      this.#cutSequence = channels.reduce(
        (newest, { cutSequence, agedSequence }) => Math.max(newest, cutSequence, agedSequence),
        this.#cutSequence,
      );
      this.#cutAt = removals;
    };
  }

  /** Makes the oldest tenth of too many tombstones part of the floor. */
  #lowerOldest(): { readonly count: number; readonly floor: Tombstone } {
    const count = Number(this.#database.prepare("SELECT count(*) AS count FROM forgotten").get()?.count);
    if (count <= this.#max) return { count, floor: this.#floor };
    const oldest = `FROM forgotten ORDER BY removed_sequence, offset LIMIT ${
      count - Math.floor(this.#max * 0.9)
    }`;
    const floor = lowerIntoFloor(
      this.#floor,
      readTombstone(this.#database.prepare(`${READ} (SELECT * ${oldest})`).get()),
    );
    const removed = this.#database.prepare(`DELETE FROM forgotten WHERE hash IN (SELECT hash ${oldest})`)
      .run();
    this.#setFloor.run(floor.offset, floor.removedOffset, floor.removedSequence, floor.removedTime);
    return { count: count - Number(removed.changes), floor };
  }
}

function readTombstone(row: Readonly<Record<string, unknown>> = {}): Tombstone {
  return {
    offset: Number(row.offset),
    removedOffset: Number(row.removed_offset),
    removedSequence: Number(row.removed_sequence),
    removedTime: Number(row.removed_time),
  };
}
