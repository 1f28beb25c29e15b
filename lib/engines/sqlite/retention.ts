/**
 * Removes messages by rules and ttls from the SQLite engine's file. It works in small transactions, each in its own turn
 * of the event loop, so that other tasks wait for one of them at most.
 */
import { nextSlice } from "../../base/slices.ts";
import type { Rules } from "../../core/rules.ts";
import { FORGET_MILLISECONDS } from "../forgotten.ts";
import { historyOf, type SqliteChannel } from "./channel.ts";
import type { SqliteDatabase } from "./database.ts";
import { SqliteRemover, type StoredRow } from "./removals.ts";
import { readNextExpiry, type SqliteState } from "./state.ts";

/** The limit on rows that one transaction removes. */
const STEP_ROWS = 500;
/** The limit on channels that one transaction checks. */
const STEP_CHANNELS = 100;
/** The time for steps in one turn of the event loop, in milliseconds. */
const TURN_BUDGET = 5;
/** The interval of checks for old messages, in milliseconds. */
const TICK = 1_000;
/** Channels checked in one tick, and how many of them between two looks at the clock: the first time takes longer. */
const CHANNELS_PER_TICK = 10_000;
const CHANNELS_PER_LOOK = 64;
/** How long messages may stay in the file beyond their maximum age, in milliseconds. */
const AGE_SLACK = 60_000;

/** Messages taken back that are remembered, of each channel. */
const MAX_TAKEN_BACK = 1_000;

export class SqliteRetention {
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #rules: Rules;
  readonly #now: () => number;
  readonly #remover: SqliteRemover;
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
    this.#remover = new SqliteRemover(database, state, rules);
    this.#statements = {
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
      const { messages } = historyOf(channel, this.#rules);
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
    const removals = this.#remover.begin(now);
    let room = STEP_ROWS;
    let receiptsDue = this.#receiptsDue;
    let newExpiry = nextExpiry;
    this.#state.index.complete();
    this.#database.transact(() => {
      for (const channel of this.#due) {
        if (room === 0 || finished.length === STEP_CHANNELS) break;
        const removed = removals.removeOldest(channel, room);
        if (removed < room) finished.push(channel);
        room -= removed;
      }
      if (room > 0 && nextExpiry <= now) {
        room -= removals.removeExpired(room);
        newExpiry = readNextExpiry(this.#database);
      }
      if (room > 0 && receiptsDue) {
        receiptsDue = Number(this.#statements.removeReceipts.run(now, room).changes) === room;
      }
      removals.note();
    });
    for (const channel of finished) this.#due.delete(channel);
    this.#state.nextExpiry = newExpiry;
    this.#receiptsDue = receiptsDue;
    removals.apply();
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
      const removals = this.#remover.begin(this.#now());
      this.#state.index.complete();
      const removed = this.#database.transact(() => {
        const removed = removals.removeUpTo(channel, sequence, STEP_ROWS);
        removals.note();
        return removed;
      });
      removals.apply();
      count += removed;
      if (removed < STEP_ROWS) return count;
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
    const row = this.#statements.one.get(sequence, channel.id) as unknown as StoredRow | undefined;
    const now = this.#now();
    if (row === undefined || (row.expires !== null && row.expires <= now)) return undefined;
    if (row.since < now - historyOf(channel, this.#rules).seconds * 1_000) return undefined;
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
    for (let seen = 0; seen === 0 || seen < all.length; seen += CHANNELS_PER_TICK) this.#tick(Infinity);
    while (this.step() || this.#forget() || this.#shrink());
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    clearImmediate(this.#turn);
    clearTimeout(this.#rest);
  }

  /** @param budget milliseconds after which the rest waits for the next tick */
  #tick(budget = TURN_BUDGET): void {
    const now = this.#now();
    const channels = this.#state.channels.all;
    const end = performance.now() + budget;
    for (let i = Math.min(CHANNELS_PER_TICK, channels.length); i > 0; i--) {
      if (i % CHANNELS_PER_LOOK === 0 && performance.now() >= end) break;
      if (this.#nextChannel >= channels.length) this.#nextChannel = 0;
      const channel = channels[this.#nextChannel++]!;
      const { messages, seconds } = historyOf(channel, this.#rules);
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
}
