/** What one transaction of the SQLite engine's retention removes, and what the engine's state has to know of it. */
import type { Rules } from "../../core/rules.ts";
import { historyOf, type SqliteChannel } from "./channel.ts";
import type { SqliteDatabase } from "./database.ts";
import type { SqliteState } from "./state.ts";

/** A stored message, without what it says. */
export interface StoredRow {
  readonly sequence: number;
  readonly offset: number;
  readonly time: number;
  readonly since: number;
  readonly expires: number | null;
}

/** What is removed from a channel. */
interface Removal {
  readonly channel: SqliteChannel;
  count: number;
  offset: number;
  sequence: number;
  time: number;
  /** When the first message that stays was stored, as far as is known. */
  oldest: number | undefined;
  /**
   * The newest of them that was still readable, and the newest that was too old to be, if the former is not newer: who
   * misses both misses the newer one.
   */
  cutSequence: number;
  agedSequence: number;
  agedSince: number;
}

type Statements = ReturnType<typeof prepareStatements>;

/** Makes the removals of each transaction. */
export class SqliteRemover {
  readonly #state: SqliteState;
  readonly #rules: Rules;
  readonly #statements: Statements;

  constructor(database: SqliteDatabase, state: SqliteState, rules: Rules) {
    this.#state = state;
    this.#rules = rules;
    this.#statements = prepareStatements(database, state);
  }

  /** @param now the time that deadlines count from */
  begin(now: number): SqliteRemovals {
    return new SqliteRemovals(this.#state, this.#rules, this.#statements, now);
  }
}

/** Call its methods in a transaction, `apply` after it. */
export class SqliteRemovals {
  readonly #state: SqliteState;
  readonly #rules: Rules;
  readonly #statements: Statements;
  readonly #now: number;
  readonly #removals = new Map<SqliteChannel, Removal>();

  /** Use {@linkcode SqliteRemover.begin}. */
  constructor(state: SqliteState, rules: Rules, statements: Statements, now: number) {
    this.#state = state;
    this.#rules = rules;
    this.#statements = statements;
    this.#now = now;
  }

  /** Removes messages of a channel that exceed its rule in number or age, at most `room`. Returns how many. */
  removeOldest(channel: SqliteChannel, room: number): number {
    const { messages } = historyOf(channel, this.#rules);
    const oldest = this.#oldestOf(channel);
    const excess = Math.min(Math.max(channel.count - messages, 0), room);
    let kept = this.#findAt(channel, excess);
    if (kept !== undefined && channel.oldest < oldest) {
      const next = this.#findAt(channel, room);
      kept = this.#findSince(channel, kept.sequence, next?.sequence ?? Infinity, oldest) ?? next;
    }
    this.#open(channel).oldest = kept?.since;
    return this.#removeUpTo(channel, kept === undefined ? channel.sequence : kept.sequence - 1);
  }

  /** Removes messages of a channel up to a sequence, at most `room`. Returns how many. */
  removeUpTo(channel: SqliteChannel, sequence: number, room: number): number {
    const kept = this.#findAt(channel, room);
    return this.#removeUpTo(channel, Math.min(kept === undefined ? Infinity : kept.sequence - 1, sequence));
  }

  /** Removes messages whose ttl is over, at most `room`. Returns how many. */
  removeExpired(room: number): number {
    const rows = this.#statements.expired.all(
      this.#now,
      room,
    ) as unknown as (StoredRow & { channel: number })[];
    for (const row of rows) {
      this.#statements.remove.run(row.sequence);
      this.#state.index.remove(row.channel, row.sequence);
      this.#add(this.#state.channels.getById(row.channel), row, 1);
    }
    return rows.length;
  }

  /** Records in the database what was removed. */
  note(): void {
    for (const { channel, count, offset, sequence, time } of this.#removals.values()) {
      if (count > 0) this.#state.channels.noteRemoved(channel, offset, sequence, time);
    }
  }

  /** Applies the removals to the in-memory state. */
  apply(): void {
    for (const removal of this.#removals.values()) {
      const { channel, oldest } = removal;
      channel.count -= removal.count;
      channel.removedOffset = Math.max(channel.removedOffset, removal.offset);
      channel.removedSequence = Math.max(channel.removedSequence, removal.sequence);
      channel.removedTime = Math.max(channel.removedTime, removal.time);
      channel.agedSequence = Math.max(channel.agedSequence, removal.agedSequence);
      channel.agedSince = Math.max(channel.agedSince, removal.agedSince);
      if (removal.cutSequence > 0) {
        channel.cutSequence = removal.cutSequence;
        channel.cutAt = ++this.#state.removals;
      }
      if (channel.count === 0) channel.oldest = Infinity;
      else if (oldest !== undefined) channel.oldest = oldest;
    }
  }

  /** Messages of a channel that were stored before are too old to be read. */
  #oldestOf(channel: SqliteChannel): number {
    return this.#now - historyOf(channel, this.#rules).seconds * 1_000;
  }

  /** The message of a channel that has so many older ones. */
  #findAt({ id }: SqliteChannel, older: number): Pick<StoredRow, "sequence" | "since"> | undefined {
    return this.#statements.at.get(id, older) as unknown as StoredRow | undefined;
  }

  /** The first message of a channel, from one sequence to before another, that was stored at a time or later. */
  #findSince(
    { id }: SqliteChannel,
    from: number,
    before: number,
    since: number,
  ): Pick<StoredRow, "sequence" | "since"> | undefined {
    return this.#statements.firstSince.get(id, from, before, since) as unknown as StoredRow | undefined;
  }

  #removeUpTo(channel: SqliteChannel, upTo: number): number {
    const { newest, newestByReason, removeUpTo } = this.#statements;
    const last = newest.get(channel.id, upTo) as unknown as StoredRow | undefined;
    if (last === undefined) return 0;
    const removal = this.#open(channel);
    const oldest = this.#oldestOf(channel);
    if (last.since >= oldest && (last.expires === null || last.expires > this.#now)) {
      removal.cutSequence = last.sequence;
    } else {
      const { aged, agedSince, readable } = newestByReason.get(channel.id, upTo, oldest, this.#now)!;
      removal.agedSequence = Number(aged ?? 0);
      removal.agedSince = Number(agedSince ?? 0);
      removal.cutSequence = Number(readable ?? 0);
    }
    const count = removeUpTo.run(channel.id, upTo);
    this.#state.index.removeUpTo(channel.id, upTo);
    this.#add(channel, last, count);
    return count;
  }

  /** @param last the newest of `count` messages that were removed */
  #add(channel: SqliteChannel, { offset, sequence, time }: StoredRow, count: number): void {
    const removal = this.#open(channel);
    removal.count += count;
    removal.offset = Math.max(removal.offset, offset);
    removal.sequence = Math.max(removal.sequence, sequence);
    removal.time = Math.max(removal.time, time);
  }

  #open(channel: SqliteChannel): Removal {
    let removal = this.#removals.get(channel);
    if (removal === undefined) {
      removal = {
        channel,
        count: 0,
        offset: 0,
        sequence: 0,
        time: 0,
        oldest: undefined,
        cutSequence: 0,
        agedSequence: 0,
        agedSince: 0,
      };
      this.#removals.set(channel, removal);
    }
    return removal;
  }
}

/** No statement returns a row for each message that is removed: to make objects of them would cost more than removing. */
function prepareStatements(database: SqliteDatabase, { index }: SqliteState) {
  return {
    at: index.prepare(({ messages, entries }) =>
      `SELECT sequence, coalesce(since, time) AS since FROM ${messages} WHERE channel = ?1 AND sequence =
        (SELECT sequence FROM ${entries} WHERE channel = ?1 ORDER BY sequence LIMIT 1 OFFSET ?2)`
    ),
    firstSince: index.prepare(({ messages }) =>
      `SELECT sequence, coalesce(since, time) AS since FROM ${messages}
        WHERE channel = ? AND sequence >= ? AND sequence < ? AND coalesce(since, time) >= ?
        ORDER BY sequence LIMIT 1`
    ),
    newest: index.prepare(({ messages }) =>
      `SELECT sequence, offset, time, coalesce(since, time) AS since, expires FROM ${messages}
        WHERE channel = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1`
    ),
    newestByReason: index.prepare(({ messages }) =>
      `SELECT
          max(sequence) FILTER (WHERE stored < ?3) AS aged,
          max(stored) FILTER (WHERE stored < ?3) AS agedSince,
          max(sequence) FILTER (WHERE stored >= ?3 AND (expires IS NULL OR expires > ?4)) AS readable
        FROM (SELECT sequence, coalesce(since, time) AS stored, expires FROM ${messages}
          WHERE channel = ?1 AND sequence <= ?2)`
    ),
    removeUpTo: index.prepare(({ entries }) =>
      `DELETE FROM messages WHERE sequence IN
        (SELECT sequence FROM ${entries} WHERE channel = ? AND sequence <= ?)`
    ),
    expired: database.prepare(
      `SELECT sequence, channel, offset, time, coalesce(since, time) AS since, expires FROM messages
        WHERE expires <= ? ORDER BY expires LIMIT ?`,
    ),
    remove: database.prepare("DELETE FROM messages WHERE sequence = ?"),
  };
}
