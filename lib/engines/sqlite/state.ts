/** The in-memory state of the SQLite engine. It is updated after each transaction. */
import { SqliteChannels } from "./channel.ts";
import { ChannelIndex } from "./channel_index.ts";
import type { SqliteDatabase, Synchronous } from "./database.ts";

export class SqliteState {
  readonly epoch: string;
  readonly index: ChannelIndex;
  readonly channels: SqliteChannels;
  /** The newest sequence ever assigned. */
  sequence: number;
  /** The time of the newest message: times never decrease. */
  time: number;
  /** A lower bound on the next expiry of a message with a ttl; infinite if there is none. */
  nextExpiry: number;
  /** How often messages were removed by number or request since the start. */
  removals = 0;

  /** @param maxTombstones how many forgotten channels are remembered apart */
  constructor(
    database: SqliteDatabase,
    epoch: string,
    synchronous: Synchronous,
    maxTombstones?: number,
  ) {
    this.epoch = epoch;
    this.index = new ChannelIndex(database, this, synchronous);
    this.channels = new SqliteChannels(database, maxTombstones);
    this.sequence = this.channels.tombstones.sequence;
    this.time = this.channels.tombstones.time;
    for (const { sequence, removedTime, takenBackTime } of this.channels.all) {
      this.sequence = Math.max(this.sequence, sequence);
      this.time = Math.max(this.time, removedTime, takenBackTime);
    }
    const newest = database.prepare("SELECT time FROM messages ORDER BY sequence DESC LIMIT 1").get();
    this.time = Math.max(this.time, Number(newest?.time ?? 0));
    this.nextExpiry = readNextExpiry(database);
  }
}

/** Reads when the next message with a ttl expires; infinite if there is none. */
export function readNextExpiry(database: SqliteDatabase): number {
  const next = database.prepare("SELECT min(expires) AS next FROM messages WHERE expires IS NOT NULL").get()
    ?.next;
  return typeof next === "number" ? next : Infinity;
}
