/** Where a log of the SQLite engine stands, in memory. It changes only after the transaction that changes it. */
import { SqliteChannels } from "./channel.ts";
import type { SqliteDatabase } from "./database.ts";

export class SqliteState {
  readonly epoch: string;
  readonly channels: SqliteChannels;
  /** The newest sequence ever given. */
  sequence: number;
  /** The time of the newest message: none after it may be older. */
  time: number;
  /** When the next message with a ttl expires, or earlier; infinite when there is none. */
  nextExpiry: number;
  /** How often messages were removed for their number or by request since the start. */
  removals = 0;

  constructor(database: SqliteDatabase, epoch: string) {
    this.epoch = epoch;
    this.channels = new SqliteChannels(database);
    this.sequence = 0;
    this.time = 0;
    for (const { sequence, removedTime } of this.channels.all) {
      this.sequence = Math.max(this.sequence, sequence);
      this.time = Math.max(this.time, removedTime);
    }
    const newest = database.prepare("SELECT time FROM messages ORDER BY sequence DESC LIMIT 1").get();
    this.time = Math.max(this.time, Number(newest?.time ?? 0));
    this.nextExpiry = readNextExpiry(database);
  }
}

/** When the next message with a ttl expires; infinite when there is none. */
export function readNextExpiry(database: SqliteDatabase): number {
  const next = database.prepare("SELECT min(expires) AS next FROM messages WHERE expires IS NOT NULL").get()
    ?.next;
  return typeof next === "number" ? next : Infinity;
}
