/**
 * Counts, for reads after a gap, what the SQLite engine's file still has of some channels. In slices, as there may be
 * millions: what is removed while it counts may be among the counted.
 */
import { nextSlice } from "../../base/slices.ts";
import { Remnant } from "../../core/resume_id.ts";
import type { SqliteChannel } from "./channel.ts";
import type { ChannelIndex } from "./channel_index.ts";
import type { SqliteDatabase } from "./database.ts";
import type { SqliteSelection } from "./selection.ts";

/** Rows or sequences that are looked at before other tasks have their turn. */
const SLICE = 16_384;

interface Slice {
  readonly kept: number;
  /** The last sequence that was looked at. */
  readonly end: number;
}

export class SqliteRemnants {
  readonly #oldestKept: (channel: SqliteChannel, now: number) => number;
  readonly #statements;

  /** @param oldestKept since when messages of a channel are not too old */
  constructor(
    database: SqliteDatabase,
    index: ChannelIndex,
    oldestKept: (channel: SqliteChannel, now: number) => number,
  ) {
    this.#oldestKept = oldestKept;
    const isKept = "(expires IS NULL OR expires > ?)";
    this.#statements = {
      one: index.prepare(({ messages }) =>
        `SELECT count(*) AS seen, count(*) FILTER (WHERE ${isKept}) AS kept, max(sequence) AS last
        FROM (SELECT sequence, expires FROM ${messages} WHERE channel = ? AND sequence > ? AND sequence <= ?
          ORDER BY sequence LIMIT ${SLICE})`
      ),
      several: database.prepare(
        `SELECT channel, count(*) AS kept FROM messages WHERE ${isKept} AND sequence > ? AND sequence <= ?
        AND channel IN (SELECT value FROM json_each(?)) GROUP BY channel`,
      ),
      every: database.prepare(`SELECT channel, count(*) AS kept FROM messages
        WHERE ${isKept} AND sequence > ? AND sequence <= ? GROUP BY channel`),
      first: database.prepare("SELECT sequence FROM messages WHERE sequence > ? ORDER BY sequence LIMIT 1"),
      // The first that is not too old: those before it are left out of pages, and will be removed.
      fresh: index.prepare(({ messages }) =>
        `SELECT sequence FROM ${messages}
        WHERE channel = ? AND sequence > ? AND sequence <= ? AND coalesce(since, time) >= ?
          ORDER BY sequence LIMIT 1`
      ),
    };
  }

  /**
   * Counts what is left of the messages with `after < sequence <= upTo`.
   *
   * Messages may be removed between two slices. What is too old is left out of each slice at once, so that it makes no
   * difference whether it is still stored; what was removed before its time is for the caller to notice.
   */
  async count(selected: SqliteSelection, after: number, upTo: number, now: number): Promise<Remnant> {
    const { channels } = selected;
    const [only] = channels;
    const takenBack: number[] = [];
    let stored = 0;
    let position = after;
    while (position < upTo && only !== undefined) {
      const slice = channels.length === 1
        ? this.#countOne(only, position, upTo, now)
        : this.#countSeveral(selected, position, upTo, now);
      stored += slice.kept;
      for (const channel of channels) {
        for (const sequence of channel.takenBack) {
          if (sequence > position && sequence <= slice.end) takenBack.push(sequence);
        }
      }
      position = slice.end;
      if (position < upTo) await nextSlice();
    }
    return new Remnant(upTo, stored, takenBack);
  }

  #countOne(channel: SqliteChannel, after: number, upTo: number, now: number): Slice {
    const row = this.#statements.one.get(now, channel.id, after, upTo);
    const end = row === undefined || Number(row.seen) < SLICE ? upTo : Number(row.last);
    return { kept: Number(row?.kept ?? 0) - this.#countAged(channel, after, end, now), end };
  }

  #countSeveral({ byId, ids, isDense }: SqliteSelection, after: number, upTo: number, now: number): Slice {
    const { several, every, first } = this.#statements;
    // Removed ones are not looked through.
    const next = first.get(after);
    if (next === undefined || Number(next.sequence) > upTo) return { kept: 0, end: upTo };
    const start = Number(next.sequence) - 1;
    const end = Math.min(start + SLICE, upTo);
    const rows = isDense ? every.all(now, start, end) : several.all(now, start, end, ids);
    let kept = 0;
    for (const row of rows) {
      const channel = byId.get(Number(row.channel));
      if (channel !== undefined) kept += Number(row.kept) - this.#countAged(channel, start, end, now);
    }
    return { kept, end };
  }

  /** How many in a slice are too old, and not removed yet. */
  #countAged(channel: SqliteChannel, after: number, end: number, now: number): number {
    const oldest = this.#oldestKept(channel, now);
    if (channel.oldest >= oldest) return 0;
    const fresh = this.#statements.fresh.get(channel.id, after, end, oldest);
    const upTo = fresh === undefined ? end : Number(fresh.sequence) - 1;
    return Number(this.#statements.one.get(now, channel.id, after, upTo)?.kept ?? 0);
  }
}
