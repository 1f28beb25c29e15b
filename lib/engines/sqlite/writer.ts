/** Stores the drafts of one turn in one transaction of the SQLite engine. */
import type { SQLInputValue, StatementSync } from "node:sqlite";
import type { Receipt } from "../../core/log.ts";
import { type Draft, isTransient, type Message } from "../../core/message.ts";
import type { SqliteChannel } from "./channel.ts";
import type { SqliteDatabase } from "./database.ts";
import type { MessagingError } from "../../core/errors.ts";
import { BARE_COLUMNS, bindText, COLUMNS, isBareRow, pushRow } from "./row.ts";
import type { SqliteServiceState } from "./service_state.ts";
import type { SqliteState } from "./state.ts";
import {
  createChannelLimitError,
  createReuseError,
  decodeMarker,
  encodeMarker,
  fingerprintOf,
  IDEMPOTENCY_MILLISECONDS,
  stampMessage,
} from "../stamp.ts";

/** The outcome of the drafts of a turn. */
export interface Stored {
  /** The messages to announce, in order. */
  readonly messages: readonly Message[];
  /** For each draft its receipt, or why it was refused. */
  readonly receipts: readonly (Receipt | MessagingError)[];
  /** The channels that have new messages. */
  readonly written: readonly SqliteChannel[];
}

/** The new state of a channel that is written to in this turn. */
interface ChannelUpdate {
  readonly channel: SqliteChannel;
  offset: number;
  sequence: number;
  count: number;
}

/** Rows per statement: a call costs more than a row. */
const ROWS_PER_INSERT = 16;

/** The key that a probe writes: longer than a page, so that it needs new ones. */
const PROBE_KEY = "x".repeat(16 * 1024);

/** Whether a draft cannot be accepted while the disk is not writable. */
export function needsDisk(draft: Draft): boolean {
  return !isTransient(draft) || draft.idempotencyKey !== undefined || draft.marker !== undefined;
}

export class SqliteWriter {
  readonly #database: SqliteDatabase;
  readonly #state: SqliteState;
  readonly #markers: SqliteServiceState;
  readonly #maxChannels: number;
  readonly #insert: RowInsert;
  readonly #insertBare: RowInsert;
  readonly #findReceipt;
  readonly #insertReceipt;
  readonly #deleteReceipt;

  /**
   * @param markers holds the entries that drafts' markers name
   * @param maxChannels messages that would create one more channel are refused
   */
  constructor(
    database: SqliteDatabase,
    state: SqliteState,
    markers: SqliteServiceState,
    maxChannels: number,
  ) {
    this.#database = database;
    this.#state = state;
    this.#markers = markers;
    this.#maxChannels = maxChannels;
    this.#insert = new RowInsert(database, COLUMNS);
    this.#insertBare = new RowInsert(database, BARE_COLUMNS);
    this.#findReceipt = database.prepare(
      "SELECT sequence, offset, time, fingerprint FROM receipts WHERE channel = ? AND key = ? AND expires > ?",
    );
    this.#insertReceipt = database.prepare("INSERT OR REPLACE INTO receipts VALUES (?, ?, ?, ?, ?, ?, ?)");
    this.#deleteReceipt = database.prepare("DELETE FROM receipts WHERE channel = ? AND key = ?");
  }

  /**
   * Stores drafts in order. Does not access the disk if no draft needs it.
   *
   * @param now the time to stamp, unless the newest message has a later one
   * @param steadyNow the time that deadlines count from
   *
   * @throws errors of SQLite; then nothing is stored and the state is unchanged
   */
  store(drafts: readonly Draft[], now: number, steadyNow: number): Stored {
    const turn = new WriterTurn(this.#state, now, steadyNow);
    if (drafts.some(needsDisk)) {
      const finishIndex = this.#database.transact(() => {
        for (const draft of drafts) this.#take(turn, draft);
        this.#insert.run(turn.rows);
        this.#insertBare.run(turn.bareRows);
        return this.#state.index.enterMany(turn.sequence);
      });
      turn.apply();
      finishIndex();
    } else {
      for (const draft of drafts) turn.deliver(draft);
    }
    return { messages: turn.messages, receipts: turn.receipts, written: turn.written };
  }

  /**
   * Checks whether the disk is writable, by a transaction that changes nothing in the end.
   *
   * @throws errors of SQLite
   */
  probe(): void {
    this.#database.transact(() => {
      // No channel has an empty name, so this cannot clash.
      this.#insertReceipt.run("", PROBE_KEY, 0, 0, 0, 0, null);
      this.#deleteReceipt.run("", PROBE_KEY);
    });
  }

  #take(turn: WriterTurn, draft: Draft): void {
    const { channel, idempotencyKey, marker } = draft;
    const marked = marker === undefined ? undefined : this.#markers.find(marker);
    if (marked !== undefined) {
      turn.receipts.push(decodeMarker(marked));
      return;
    }
    const key = idempotencyKey === undefined ? undefined : bindText(idempotencyKey);
    if (key !== undefined) {
      const first = this.#findReceipt.get(channel, key, turn.since);
      if (first !== undefined && first.fingerprint !== null && first.fingerprint !== fingerprintOf(draft)) {
        turn.receipts.push(createReuseError(channel));
        return;
      }
      if (first !== undefined) {
        const [offset, sequence, time] = [Number(first.offset), Number(first.sequence), Number(first.time)];
        const receipt = { epoch: this.#state.epoch, offset, sequence, time, duplicate: true };
        if (marker !== undefined) this.#markers.place(marker, encodeMarker(receipt));
        turn.receipts.push(receipt);
        return;
      }
    }
    if (!isTransient(draft) && !turn.knows(channel) && turn.channelCount >= this.#maxChannels) {
      turn.receipts.push(createChannelLimitError(channel, this.#maxChannels));
      return;
    }
    const { offset, sequence, time } = isTransient(draft)
      ? turn.deliver(draft)
      : turn.stamp(draft, (name) => this.#state.channels.create(name));
    if (marker !== undefined) {
      const receipt = { epoch: this.#state.epoch, offset, sequence, time, duplicate: false };
      this.#markers.place(marker, encodeMarker(receipt));
    }
    if (key !== undefined) {
      const expires = turn.since + IDEMPOTENCY_MILLISECONDS;
      this.#insertReceipt.run(channel, key, sequence, offset, time, expires, fingerprintOf(draft));
    }
  }
}

/** Inserts rows of some columns, several with a call. */
class RowInsert {
  readonly #width: number;
  readonly #one: StatementSync;
  readonly #many: StatementSync;

  constructor(database: SqliteDatabase, columns: readonly string[]) {
    const row = `(${columns.map(() => "?").join(",")})`;
    const insert = `INSERT INTO messages (${columns.join(",")}) VALUES `;
    this.#width = columns.length;
    this.#one = database.prepare(insert + row);
    this.#many = database.prepare(insert + Array(ROWS_PER_INSERT).fill(row).join(","));
  }

  /** @param values of all rows, one row behind another */
  run(values: readonly SQLInputValue[]): void {
    const width = this.#width;
    let start = 0;
    for (; start + ROWS_PER_INSERT * width <= values.length; start += ROWS_PER_INSERT * width) {
      this.#many.run(...values.slice(start, start + ROWS_PER_INSERT * width));
    }
    for (; start < values.length; start += width) this.#one.run(...values.slice(start, start + width));
  }
}

/** Stamps the drafts of one turn; changes the engine's state only in `apply`. */
class WriterTurn {
  readonly time: number;
  readonly since: number;
  readonly messages: Message[] = [];
  readonly receipts: (Receipt | MessagingError)[] = [];
  readonly rows: SQLInputValue[] = [];
  readonly bareRows: SQLInputValue[] = [];
  readonly #state: SqliteState;
  readonly #updates = new Map<string, ChannelUpdate>();
  #created = 0;
  #sequence: number;
  #nextExpiry = Infinity;

  constructor(state: SqliteState, now: number, steadyNow: number) {
    this.time = Math.max(now, state.time);
    this.since = steadyNow;
    this.#state = state;
    this.#sequence = state.sequence;
  }

  get written(): readonly SqliteChannel[] {
    return Array.from(this.#updates.values(), ({ channel }) => channel);
  }

  /** The newest one given out. */
  get sequence(): number {
    return this.#sequence;
  }

  /** The number of channels, including those created in this turn. */
  get channelCount(): number {
    return this.#state.channels.all.length + this.#created;
  }

  knows(name: string): boolean {
    return this.#updates.has(name) || this.#state.channels.get(name) !== undefined;
  }

  /** Stamps a transient message. */
  deliver(draft: Draft): Message {
    return this.#add(stampMessage(draft, this.#state.epoch, 0, 0, this.time));
  }

  stamp(draft: Draft, create: (name: string) => SqliteChannel): Message {
    let update = this.#updates.get(draft.channel);
    if (update === undefined) {
      const known = this.#state.channels.get(draft.channel);
      const channel = known ?? create(draft.channel);
      if (known === undefined) this.#created++;
      update = { channel, offset: channel.offset, sequence: 0, count: 0 };
      this.#updates.set(draft.channel, update);
    }
    update.sequence = ++this.#sequence;
    update.count++;
    const message = stampMessage(draft, this.#state.epoch, ++update.offset, this.#sequence, this.time);
    const expires = draft.ttl === undefined ? null : this.since + Math.ceil(draft.ttl * 1_000);
    if (expires !== null) this.#nextExpiry = Math.min(this.#nextExpiry, expires);
    const rows = isBareRow(message, expires) ? this.bareRows : this.rows;
    pushRow(rows, message, update.channel.id, this.since, expires);
    return this.#add(message);
  }

  /** Applies the turn to the engine's state, after the transaction. */
  apply(): void {
    const state = this.#state;
    state.sequence = this.#sequence;
    state.time = this.time;
    state.nextExpiry = Math.min(state.nextExpiry, this.#nextExpiry);
    for (const { channel, offset, sequence, count } of this.#updates.values()) {
      if (state.channels.get(channel.name) === undefined) state.channels.add(channel);
      if (channel.count === 0) channel.oldest = this.since;
      channel.offset = offset;
      channel.sequence = sequence;
      channel.touched = this.since;
      channel.count += count;
    }
  }

  #add(message: Message): Message {
    const { epoch, offset, sequence, time } = message;
    this.messages.push(message);
    this.receipts.push({ epoch, offset, sequence, time, duplicate: false });
    return message;
  }
}
