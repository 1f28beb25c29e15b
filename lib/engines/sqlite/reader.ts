/**
 * Reads pages for the SQLite engine. Every cursor is first resolved to a sequence, from which rows are read by key, so
 * that older rows cost nothing.
 */
import type { StatementSync } from "node:sqlite";
import type { AsOf, Cursor, LogPage, LogQuery } from "../../core/log.ts";
import { nextSlice } from "../../base/slices.ts";
import { formatId, type Message, payloadSize } from "../../core/message.ts";
import type { Rules } from "../../core/rules.ts";
import { isForeignCursor } from "../../core/cursor.ts";
import { historyOf, learnHistories, type SqliteChannel } from "./channel.ts";
import type { ChannelQuery } from "./channel_index.ts";
import type { SqliteDatabase } from "./database.ts";
import { type Ghost, isGapOf } from "../forgotten.ts";
import type { Selection } from "../../core/selections.ts";
import { SqliteRemnants } from "./remnant.ts";
import { COLUMNS, readRow, type Row } from "./row.ts";
import { describeSelection, type SqliteSelection } from "./selection.ts";
import type { SqliteState } from "./state.ts";

/** The limit on rows per query: a read without a limit must not load all messages at once. */
const ROWS_PER_QUERY = 1_024;
/** Rows of the first query of a read with a limit in bytes, as their size is not known yet. */
const FIRST_ROWS = 16;
/** Sequences that a read of several channels scans before it yields to other tasks. */
const SLICE = 16_384;

/** Fetches rows of a selection with `after < sequence <= upTo`. */
type Fetch = (after: number, upTo: number, count: number) => Row[];

/** The progress of a read. */
interface Scan {
  selection: SqliteSelection;
  readonly limit: number;
  readonly maxBytes: number;
  readonly now: number;
  readonly messages: Message[];
  bytes: number;
  /** Whether there are messages beyond the limits. */
  more: boolean;
  position: number;
  /** The newest damaged message that was left out; 0 if none was. */
  damaged: number;
}

export class SqliteReader {
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #rules: Rules;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  readonly #remnants: SqliteRemnants;
  readonly #statements;

  constructor(
    database: SqliteDatabase,
    state: SqliteState,
    rules: Rules,
    now: () => number,
    steadyNow: () => number,
  ) {
    this.#database = database;
    this.#state = state;
    this.#rules = rules;
    this.#now = now;
    this.#steadyNow = steadyNow;
    this.#remnants = new SqliteRemnants(
      database,
      state.index,
      (channel, now) => this.#oldestKept(channel, now),
    );
    const { index } = state;
    const columns = COLUMNS.join(", ");
    const ofOne = (messages: string) =>
      `SELECT ${columns} FROM ${messages} WHERE channel = ? AND sequence > ? AND sequence <= ?`;
    const ofSeveral = `SELECT ${columns} FROM messages WHERE sequence > ? AND sequence <= ?
      AND channel IN (SELECT value FROM json_each(?))`;
    const ofEvery = `SELECT ${columns} FROM messages WHERE sequence > ? AND sequence <= ?`;
    this.#statements = {
      one: index.prepare(({ messages }) => `${ofOne(messages)} ORDER BY sequence LIMIT ?`),
      oneBack: index.prepare(({ messages }) => `${ofOne(messages)} ORDER BY sequence DESC LIMIT ?`),
      several: database.prepare(`${ofSeveral} ORDER BY sequence LIMIT ?`),
      every: database.prepare(`${ofEvery} ORDER BY sequence LIMIT ?`),
      everyBack: database.prepare(`${ofEvery} ORDER BY sequence DESC LIMIT ?`),
      severalBack: database.prepare(`${ofSeveral} ORDER BY sequence DESC LIMIT ?`),
      firstOfChannel: index.prepare(({ messages }) =>
        `SELECT sequence, offset, coalesce(since, time) AS since FROM ${messages}
          WHERE channel = ? AND sequence > ? ORDER BY sequence LIMIT 1`
      ),
      firstSince: index.prepare(({ messages }) =>
        `SELECT coalesce(since, time) AS since FROM ${messages}
          WHERE channel = ? AND sequence > ? AND coalesce(since, time) >= ? ORDER BY sequence LIMIT 1`
      ),
      first: database.prepare(
        "SELECT sequence, time FROM messages WHERE sequence > ? ORDER BY sequence LIMIT 1",
      ),
      due: database.prepare("SELECT DISTINCT channel FROM messages WHERE expires <= ? AND sequence > ?"),
    };
  }

  /**
   * Reads a page; see the Log port. It yields between slices. The last slice reaches the newest message, and there is no
   * await between that and the answer, except to count what is left after a gap.
   */
  async read(query: LogQuery): Promise<LogPage> {
    const { selector, limit, maxBytes = Infinity } = query;
    const state = this.#state;
    // The newest are those of the moment when they were asked for.
    const asked = state.sequence;
    const selecting = selector.channel === undefined ? state.channels.select(selector) : undefined;
    const several = selecting instanceof Promise ? await selecting : selecting;
    if (several !== undefined) await learnHistories(several.channels, this.#rules);
    // Called again after each await, as channels may have come.
    const select = () =>
      describeSelection(
        several?.channels ??
          [state.channels.get(selector.channel ?? "")].filter((channel) => channel !== undefined),
        state.channels.all.length,
      );
    const now = this.#steadyNow();
    const selection = select();
    const unknown = selector.channel !== undefined && selection.channels.length === 0
      ? state.channels.tombstones.ghostOf(selector.channel)
      : undefined;
    const only = selector.channel === undefined ? undefined : selection.channels[0];
    const top = {
      epoch: state.epoch,
      sequence: state.sequence,
      offset: only?.offset ?? unknown?.offset ?? 0,
      time: Math.max(this.#now(), state.time),
    };
    const isForeign = isForeignCursor(query.after, top);
    const after: Cursor = isForeign ? { kind: "earliest" } : query.after;
    const isLatest = after.kind === "latest";
    const start = isLatest ? asked : this.#findStart(after, selection);
    const known = after.kind === "id" ? after.told : undefined;
    const counted = known && await this.#remnants.count(selection, start, known.upTo, now);
    const countedAt = { removals: state.removals, time: now };
    const scan: Scan = {
      selection: known === undefined ? selection : select(),
      limit,
      maxBytes,
      now,
      messages: [],
      bytes: 0,
      more: false,
      position: start,
      damaged: 0,
    };
    while (!(isLatest ? this.#scanBackwards(scan) : this.#scanForwards(scan))) {
      await nextSlice();
      if (several !== undefined) scan.selection = select();
    }

    const { epoch, sequence, removals } = state;
    const { messages } = scan;
    const more = scan.more && !isLatest;
    // What came while the newest were searched for is not among them.
    const end = more ? messages.at(-1)?.sequence ?? start : isLatest ? start : sequence;
    const asOf = { removals, time: now };
    const place = counted?.place(epoch, end, messages) ?? { epoch, sequence: end };
    const page = {
      messages,
      more,
      position: { epoch, offset: only?.offset ?? unknown?.offset ?? 0 },
      next: { kind: "id" as const, ...place, asOf },
    };
    const ghosts = unknown !== undefined ? [unknown] : several === undefined ? [] : this.#listGhosts(several);
    const isGoneAfter = (cursor: Cursor, start: number) =>
      this.#isGap(scan.selection, cursor, start, now) || ghosts.some((ghost) => isGapOf(ghost, cursor));
    const damaged = isLatest ? 0 : scan.damaged;
    // Of those that were left when a gap was told, some may have been removed, be it since the count.
    const isLess = counted !== undefined && known !== undefined && after.kind === "id" &&
      after.asOf === undefined &&
      (counted.isLessThan(known) || this.#isAnyCut(scan, start, countedAt));
    const isComplete = damaged <= (known?.upTo ?? 0) && !isLess &&
      !isGoneAfter(after, start);
    if (!isForeign && isComplete) return { kind: "complete", ...page };
    const newest = selector.channel === undefined
      ? sequence
      : only?.sequence ?? unknown?.removedSequence ?? 0;
    const earliest = formatId(epoch, messages[0]?.sequence ?? newest);
    const before = messages[0] === undefined ? end : messages[0].sequence - 1;
    const plain = { kind: "id" as const, epoch, sequence: before };
    const isBehind = damaged > before || isGoneAfter(plain, before);
    const left = isBehind ? await this.#remnants.count(scan.selection, before, sequence, now) : undefined;
    // What was removed since the page was read was not told: the next read does.
    const told = this.#isAnyCut(scan, before, asOf) ? undefined : left;
    return {
      kind: "gap",
      earliest,
      ...page,
      resume: told?.place(epoch, before, []) ?? { epoch, sequence: before },
      next: { kind: "id", ...told?.place(epoch, end, messages) ?? { epoch, sequence: end }, asOf },
    };
  }

  #isAnyCut({ selection, now }: Scan, start: number, asOf: AsOf): boolean {
    return selection.channels.some((channel) => this.#isCut(channel, start, asOf, now));
  }

  /** What is left of forgotten channels that a list or pattern selects, or of all of them where names do not tell. */
  #listGhosts({ isOpen, unknown }: Selection<SqliteChannel>): readonly Ghost[] {
    const { tombstones } = this.#state.channels;
    return isOpen ? [tombstones.ghostOfAll] : unknown.map((name) => tombstones.ghostOf(name));
  }

  /** Reads one slice forwards. Returns whether it was the last. */
  #scanForwards(scan: Scan): boolean {
    const { one, several, every } = this.#statements;
    const [fetch, slice] = this.#prepareFetch(scan.selection, one, several, every);
    const end = Math.min(scan.position + slice, this.#state.sequence);
    while (!scan.more && scan.position < end) {
      const count = countRows(scan);
      const rows = fetch(scan.position, end, count);
      this.#collect(rows, scan);
      scan.position = rows.length === count ? rows.at(-1)!.sequence : end;
    }
    return scan.more || scan.position >= this.#state.sequence;
  }

  /** Reads one slice backwards. Returns whether it was the last, and then puts the messages in order. */
  #scanBackwards(scan: Scan): boolean {
    const { oneBack, severalBack, everyBack } = this.#statements;
    const [fetch, slice] = this.#prepareFetch(scan.selection, oneBack, severalBack, everyBack);
    const bottom = this.#findFirst();
    const end = Math.max(scan.position - slice, bottom);
    while (!isFull(scan) && scan.position > end) {
      const count = countRows(scan);
      const rows = fetch(end, scan.position, count);
      this.#collect(rows, scan);
      scan.position = rows.length === count ? rows.at(-1)!.sequence - 1 : end;
    }
    const isLast = isFull(scan) || scan.position <= bottom;
    if (isLast) scan.messages.reverse();
    return isLast;
  }

  #prepareFetch(
    { channels, ids, isDense }: SqliteSelection,
    one: ChannelQuery,
    several: StatementSync,
    every: StatementSync,
  ): readonly [Fetch, number] {
    const [first] = channels;
    if (first === undefined) return [() => [], Infinity];
    if (isDense) {
      return [(after, upTo, count) => every.all(after, upTo, count) as unknown as Row[], SLICE];
    }
    // Without its index one is read as several are, in slices.
    return channels.length === 1 && this.#state.index.complete()
      ? [(after, upTo, count) => one.all(first.id, after, upTo, count) as unknown as Row[], Infinity]
      : [(after, upTo, count) => several.all(after, upTo, ids, count) as unknown as Row[], SLICE];
  }

  /** Adds rows to the page until it is full, except those that are due for removal. */
  #collect(rows: readonly Row[], scan: Scan): void {
    const { byId, isDense } = scan.selection;
    for (const row of rows) {
      if (isDense && !byId.has(row.channel)) continue;
      const channel = this.#state.channels.getById(row.channel);
      if ((row.since ?? row.time) < this.#oldestKept(channel, scan.now)) continue;
      if (row.expires !== null && row.expires <= scan.now) continue;
      if (isFull(scan)) {
        scan.more = true;
        return;
      }
      const message = readRow(row, channel.name, this.#state.epoch);
      if (message === undefined) {
        scan.damaged = row.sequence;
        this.#database.reportDamage(channel.name, row.offset, row.sequence);
        continue;
      }
      scan.messages.push(message);
      if (scan.maxBytes < Infinity) scan.bytes += payloadSize(message.payload);
    }
  }

  /** Resolves a cursor to a sequence: exactly the messages above it are after the cursor. */
  #findStart(after: Cursor, { channels }: SqliteSelection): number {
    const { sequence } = this.#state;
    switch (after.kind) {
      case "earliest":
        return this.#findFirst();
      case "latest":
        return sequence;
      case "id":
        return after.sequence;
      case "offset": {
        const [channel] = channels;
        if (channel === undefined || channels.length > 1) return 0;
        return this.#findOffset(channel, after.offset);
      }
      case "time":
        return searchSequence(0, sequence, (middle) => {
          const row = this.#statements.first.get(middle);
          return row !== undefined && Number(row.time) < after.time ? Number(row.sequence) : undefined;
        });
    }
  }

  /** The sequence before the first stored message, so that removed ones are not scanned. */
  #findFirst(): number {
    const row = this.#statements.first.get(0);
    return row === undefined ? this.#state.sequence : Number(row.sequence) - 1;
  }

  #findOffset(channel: SqliteChannel, offset: number): number {
    const ahead = channel.offset - offset;
    if (ahead <= 0) return channel.sequence;
    // Each offset takes at least one sequence, which bounds the search on both sides.
    return searchSequence(Math.max(offset, 0), channel.sequence - ahead, (middle) => {
      const row = this.#statements.firstOfChannel.get(channel.id, middle);
      return row !== undefined && Number(row.offset) <= offset ? Number(row.sequence) : undefined;
    });
  }

  #isGap({ channels }: SqliteSelection, after: Cursor, start: number, now: number): boolean {
    switch (after.kind) {
      case "earliest":
      case "latest":
        return false;
      case "id": {
        const { asOf } = after;
        if (asOf !== undefined) return channels.some((channel) => this.#isCut(channel, start, asOf, now));
        const known = Math.max(start, after.told?.upTo ?? 0);
        return channels.some(({ removedSequence }) => removedSequence > known) ||
          this.#isAnyDue(channels, known, now);
      }
      case "offset":
        return channels.some(({ removedOffset }) => removedOffset > after.offset) ||
          this.#isAnyDue(channels, start, now);
      case "time":
        return channels.some(({ removedTime }) => removedTime > 0 && removedTime >= after.time) ||
          this.#isAnyDue(channels, start, now);
    }
  }

  /** Whether any message after a sequence is due for removal, and so is left out of pages. */
  #isAnyDue(channels: readonly SqliteChannel[], start: number, now: number): boolean {
    for (const channel of channels) {
      const oldest = this.#oldestKept(channel, now);
      if (channel.oldest >= oldest) continue;
      const row = this.#statements.firstOfChannel.get(channel.id, start);
      if (row !== undefined && Number(row.since) < oldest) return true;
    }
    if (this.#state.nextExpiry > now) return false;
    const due = new Set(this.#statements.due.all(now, start).map((row) => Number(row.channel)));
    return due.size > 0 && channels.some(({ id }) => due.has(id));
  }

  /** Whether a message after a sequence was removed, or became too old, since a page was read. */
  #isCut(channel: SqliteChannel, start: number, asOf: AsOf, now: number): boolean {
    if (channel.cutAt > asOf.removals && channel.cutSequence > start) return true;
    const oldestThen = this.#oldestKept(channel, asOf.time);
    if (channel.agedSequence > start && channel.agedSince >= oldestThen) return true;
    const oldest = this.#oldestKept(channel, now);
    if (channel.oldest >= oldest) return false;
    const row = this.#statements.firstSince.get(channel.id, start, oldestThen);
    return row !== undefined && Number(row.since) < oldest;
  }

  #oldestKept(channel: SqliteChannel, now: number): number {
    return now - historyOf(channel, this.#rules).seconds * 1_000;
  }
}

function isFull({ messages, bytes, limit, maxBytes }: Scan): boolean {
  return messages.length >= limit || bytes >= maxBytes;
}

/** How many rows to fetch: an estimate of what fits, and one more to see whether there are more. */
function countRows({ messages, bytes, limit, maxBytes }: Scan): number {
  const left = Math.min(limit + 1 - messages.length, ROWS_PER_QUERY);
  if (maxBytes === Infinity) return left;
  if (bytes === 0) return Math.min(left, FIRST_ROWS);
  const fitting = Math.ceil((maxBytes - bytes) / (bytes / messages.length));
  return Math.min(left, Math.max(fitting, 0) + 1);
}

/**
 * Finds the lowest sequence in `low ... high` above which all messages are after the cursor, by binary search.
 *
 * @param probe returns the sequence of the first message above `middle` if it is before the cursor, else undefined
 */
function searchSequence(low: number, high: number, probe: (middle: number) => number | undefined): number {
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const before = probe(middle);
    if (before === undefined) high = middle;
    else low = before;
  }
  return low;
}
