/**
 * Removes messages by rules and ttls from the SQLite engine's file. It works in small transactions, each in its own turn
 * of the event loop, so that other tasks wait for one of them at most.
 */
import { nextSlice } from "../../base/slices.ts";
import type { Rules } from "../../core/rules.ts";
import { FORGET_MILLISECONDS } from "../forgotten.ts";
import type { SqliteChannel } from "./channel.ts";
import type { SqliteDatabase } from "./database.ts";
import { readNextExpiry, type SqliteState } from "./state.ts";

/** The limit on rows that one transaction removes. */
const STEP_ROWS = 500;
/** The limit on channels that one transaction checks. */
const STEP_CHANNELS = 100;
/** The time for steps in one turn of the event loop, in milliseconds. */
const TURN_BUDGET = 5;
/** The interval of checks for old messages, in milliseconds. */
const TICK = 1_000;
/** Channels checked in one tick. */
const CHANNELS_PER_TICK = 10_000;
/** How long messages may stay in the file beyond their maximum age, in milliseconds. */
const AGE_SLACK = 60_000;

/** Messages taken back that are remembered, of each channel. */
const MAX_TAKEN_BACK = 1_000;

/** What one transaction removes from a channel. */
interface Removal {
  readonly channel: SqliteChannel;
  count: number;
  offset: number;
  sequence: number;
  time: number;
  oldest: number | undefined;
  /** The newest of them that was still readable, and the newest that was too old to be. */
  cutSequence: number;
  agedSequence: number;
  agedSince: number;
}

interface RemovedRow {
  readonly sequence: number;
  readonly offset: number;
  readonly time: number;
  readonly since: number;
  readonly expires: number | null;
}

export class SqliteRetention {
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #rules: Rules;
  readonly #now: () => number;
  readonly #statements;
  /** Channels that exceed their rule. */
  readonly #due = new Set<SqliteChannel>();
  readonly #forgetAfter: number;
  /** Channels to forget, if nothing is stored in them meanwhile. */
  readonly #idle = new Set<SqliteChannel>();
  #nextChannel = 0;
  #receiptsDue = true;
  readonly #timer: ReturnType<typeof setInterval>;
  #turn: ReturnType<typeof setImmediate> | undefined;
  #rest: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(
    database: SqliteDatabase,
    state: SqliteState,
    rules: Rules,
    now: () => number,
    forgetAfter?: number,
  ) {
    this.#forgetAfter = forgetAfter ?? FORGET_MILLISECONDS;
    this.#database = database;
    this.#state = state;
    this.#rules = rules;
    this.#now = now;
    this.#statements = {
      oldest: state.index.prepare((messages) =>
        `SELECT sequence, offset, time, coalesce(since, time) AS since, expires FROM ${messages}
          WHERE channel = ? AND sequence <= ? ORDER BY sequence LIMIT ?`
      ),
      removeUpTo: state.index.prepare((messages) =>
        `DELETE FROM messages WHERE sequence IN
          (SELECT sequence FROM ${messages} WHERE channel = ? AND sequence <= ?)`
      ),
      expired: database.prepare(
        `SELECT sequence, channel, offset, time, coalesce(since, time) AS since, expires FROM messages
          WHERE expires <= ? ORDER BY expires LIMIT ?`,
      ),
      remove: database.prepare("DELETE FROM messages WHERE sequence = ?"),
      one: database.prepare(
        `SELECT sequence, offset, time, coalesce(since, time) AS since, expires FROM messages
          WHERE sequence = ? AND channel = ?`,
      ),
      removeReceipts: database.prepare(`
        DELETE FROM receipts WHERE (channel, key) IN
          (SELECT channel, key FROM receipts WHERE expires <= ? ORDER BY expires LIMIT ?)`),
    };
    this.#timer = setInterval(() => this.#tick(), TICK);
    Deno.unrefTimer(Number(this.#timer));
  }

  /** Checks channels that were written to, and schedules the removal of what exceeds their rule. */
  notice(channels: readonly SqliteChannel[]): void {
    for (const channel of channels) {
      const { messages } = this.#rules.for(channel.name).history;
      // A tenth at a time, as each transaction has a fixed cost.
      const excess = channel.count - messages;
      if (excess > 0 && (excess * 10 >= messages || excess >= STEP_ROWS)) this.#due.add(channel);
    }
    if (this.#due.size > 0) this.#schedule();
  }

  /**
   * Removes what is due in one transaction, at most {@linkcode STEP_ROWS} rows.
   *
   * @returns whether more is due
   * @throws errors of SQLite; then nothing is removed
   */
  step(): boolean {
    const now = this.#now();
    const { nextExpiry } = this.#state;
    if (this.#due.size === 0 && nextExpiry > now && !this.#receiptsDue) return false;
    const finished: SqliteChannel[] = [];
    const removals = new Map<SqliteChannel, Removal>();
    let room = STEP_ROWS;
    let receiptsDue = this.#receiptsDue;
    let newExpiry = nextExpiry;
    this.#state.index.complete();
    this.#database.transact(() => {
      for (const channel of this.#due) {
        if (room === 0 || finished.length === STEP_CHANNELS) break;
        const removed = this.#removeOldest(removals, channel, room, now);
        if (removed < room) finished.push(channel);
        room -= removed;
      }
      if (room > 0 && nextExpiry <= now) {
        room -= this.#removeExpired(removals, room, now);
        newExpiry = readNextExpiry(this.#database);
      }
      if (room > 0 && receiptsDue) {
        receiptsDue = Number(this.#statements.removeReceipts.run(now, room).changes) === room;
      }
      this.#note(removals);
    });
    for (const channel of finished) this.#due.delete(channel);
    this.#state.nextExpiry = newExpiry;
    this.#receiptsDue = receiptsDue;
    this.#apply(removals);
    return this.#due.size > 0 || newExpiry <= now || receiptsDue;
  }

  /**
   * Removes a channel's messages up to a sequence, in several steps.
   *
   * @returns how many there were
   * @throws errors of SQLite; earlier steps are not undone
   */
  async clear(channel: SqliteChannel, sequence: number): Promise<number> {
    let count = 0;
    while (true) {
      const now = this.#now();
      const removals = new Map<SqliteChannel, Removal>();
      this.#state.index.complete();
      const removed = this.#database.transact(() => {
        const rows = this.#readOldest(channel, sequence, STEP_ROWS + 1);
        this.#removePrefix(removals, channel, rows, Math.min(rows.length, STEP_ROWS), now);
        this.#note(removals);
        return rows.length;
      });
      this.#apply(removals);
      count += Math.min(removed, STEP_ROWS);
      if (removed <= STEP_ROWS) return count;
      await nextSlice();
    }
  }

  /**
   * Removes one message of a channel.
   *
   * @returns its offset; undefined if the channel does not have it, or it is due for removal anyway
   * @throws errors of SQLite; then nothing is removed
   */
  remove(channel: SqliteChannel, sequence: number): number | undefined {
    const row = this.#statements.one.get(sequence, channel.id) as unknown as RemovedRow | undefined;
    const now = this.#now();
    if (row === undefined || (row.expires !== null && row.expires <= now)) return undefined;
    if (row.since < now - this.#rules.for(channel.name).history.seconds * 1_000) return undefined;
    this.#database.transact(() => {
      this.#statements.remove.run(sequence);
      this.#state.index.remove(channel.id, sequence);
      this.#state.channels.noteTakenBack(channel, row.offset, sequence, row.time);
    });
    channel.count--;
    channel.takenBack = [...channel.takenBack.slice(1 - MAX_TAKEN_BACK), sequence];
    if (channel.count === 0) channel.oldest = Infinity;
    return row.offset;
  }

  /** Checks all channels, and removes everything that is due, immediately. */
  sweep(): void {
    const { all } = this.#state.channels;
    for (let seen = 0; seen === 0 || seen < all.length; seen += CHANNELS_PER_TICK) this.#tick();
    while (this.step() || this.#forget() || this.#shrink());
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearImmediate(this.#turn);
    clearTimeout(this.#rest);
  }

  #tick(): void {
    const now = this.#now();
    const channels = this.#state.channels.all;
    for (let i = Math.min(CHANNELS_PER_TICK, channels.length); i > 0; i--) {
      if (this.#nextChannel >= channels.length) this.#nextChannel = 0;
      const channel = channels[this.#nextChannel++]!;
      const { messages, seconds } = this.#rules.for(channel.name).history;
      const slack = Math.min(AGE_SLACK, seconds * 10);
      if (channel.count > messages || channel.oldest < now - seconds * 1_000 - slack) {
        this.#due.add(channel);
      }
      // The system's clock was ahead when it was touched.
      channel.touched = Math.min(channel.touched, now);
      if (this.#mayForget(channel, now)) this.#idle.add(channel);
    }
    this.#receiptsDue = true;
    this.#schedule();
  }

  #mayForget({ count, touched }: SqliteChannel, now: number): boolean {
    return count === 0 && now - touched >= this.#forgetAfter;
  }

  /**
   * Forgets channels that have had no message for long, in one transaction.
   *
   * @returns whether more are due
   * @throws errors of SQLite; then none is forgotten
   */
  #forget(): boolean {
    if (this.#idle.size === 0 || this.#database.isFailing) return false;
    const now = this.#now();
    const channels = [...this.#idle].slice(0, STEP_ROWS);
    const forgotten = channels.filter((channel) => this.#mayForget(channel, now));
    if (forgotten.length > 0) {
      const finish = this.#database.transact(() => this.#state.channels.forget(forgotten, this.#state.time));
      finish(++this.#state.removals);
    }
    for (const channel of channels) this.#idle.delete(channel);
    for (const channel of forgotten) this.#due.delete(channel);
    return this.#idle.size > 0;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#turn ??= setImmediate(() => this.#run());
  }

  #run(): void {
    clearImmediate(this.#turn);
    clearTimeout(this.#rest);
    this.#turn = undefined;
    const end = performance.now() + TURN_BUDGET;
    try {
      while (this.step() || this.#forget() || this.#shrink()) {
        if (performance.now() < end) continue;
        // A timer, so that sockets go first: see slices.ts.
        this.#rest = setTimeout(() => this.#run(), 0);
        return;
      }
    } catch (error) {
      // The next tick tries again.
      this.#database.reportFailure(error);
    }
  }

  /** A full disk has no room for the log of what is moved. */
  #shrink(): boolean {
    return !this.#database.isFailing && this.#database.shrink();
  }

  /** Removes the messages of a channel that exceed its rule in number or age. Returns how many. */
  #removeOldest(
    removals: Map<SqliteChannel, Removal>,
    channel: SqliteChannel,
    room: number,
    now: number,
  ): number {
    const { messages, seconds } = this.#rules.for(channel.name).history;
    const excess = channel.count - messages;
    const oldest = now - seconds * 1_000;
    const wanted = channel.oldest < oldest ? room : Math.min(room, Math.max(excess, 0));
    const rows = this.#readOldest(channel, channel.sequence, wanted + 1);
    const kept = rows.findIndex((row, i) => i >= wanted || (i >= excess && row.since >= oldest));
    return this.#removePrefix(removals, channel, rows, kept === -1 ? rows.length : kept, now);
  }

  #readOldest(channel: SqliteChannel, upTo: number, count: number): readonly RemovedRow[] {
    return this.#statements.oldest.all(channel.id, upTo, count) as unknown as RemovedRow[];
  }

  /** Removes the first of a channel's oldest rows. */
  #removePrefix(
    removals: Map<SqliteChannel, Removal>,
    channel: SqliteChannel,
    rows: readonly RemovedRow[],
    count: number,
    now: number,
  ): number {
    const last = rows[count - 1];
    const removal = openRemoval(removals, channel);
    removal.oldest = rows[count]?.since;
    if (last === undefined) return 0;
    this.#statements.removeUpTo.run(channel.id, last.sequence);
    this.#state.index.removeUpTo(channel.id, last.sequence);
    addRow(removal, last);
    removal.count += count;
    const oldest = now - this.#rules.for(channel.name).history.seconds * 1_000;
    for (const { sequence, since, expires } of rows.slice(0, count)) {
      if (since < oldest) {
        removal.agedSequence = sequence;
        removal.agedSince = since;
      } else if (expires === null || expires > now) removal.cutSequence = sequence;
    }
    return count;
  }

  #removeExpired(removals: Map<SqliteChannel, Removal>, room: number, now: number): number {
    const rows = this.#statements.expired.all(now, room) as unknown as (RemovedRow & { channel: number })[];
    for (const row of rows) {
      this.#statements.remove.run(row.sequence);
      this.#state.index.remove(row.channel, row.sequence);
      const removal = openRemoval(removals, this.#state.channels.getById(row.channel));
      addRow(removal, row);
      removal.count++;
    }
    return rows.length;
  }

  #note(removals: ReadonlyMap<SqliteChannel, Removal>): void {
    for (const { channel, count, offset, sequence, time } of removals.values()) {
      if (count > 0) this.#state.channels.noteRemoved(channel, offset, sequence, time);
    }
  }

  /** Applies removals to the in-memory state. */
  #apply(removals: ReadonlyMap<SqliteChannel, Removal>): void {
    for (const removal of removals.values()) {
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
}

function openRemoval(removals: Map<SqliteChannel, Removal>, channel: SqliteChannel): Removal {
  let removal = removals.get(channel);
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
    removals.set(channel, removal);
  }
  return removal;
}

function addRow(removal: Removal, { offset, sequence, time }: RemovedRow): void {
  removal.offset = Math.max(removal.offset, offset);
  removal.sequence = Math.max(removal.sequence, sequence);
  removal.time = Math.max(removal.time, time);
}
