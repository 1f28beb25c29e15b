/**
 * Reads pages for the JetStream engine. The in-memory state decides which messages a page holds; their contents come
 * from a cache of recent records, or from the server with one request per record.
 */
import type { Cursor, LogPage, LogQuery } from "../../core/log.ts";
import { formatId, type Message, payloadSize } from "../../core/message.ts";
import { SliceClock } from "../../base/slices.ts";
import type { JetStreamChannel, Place } from "./channel.ts";
import { isForeignCursor } from "../../core/cursor.ts";
import { isGapOf } from "../forgotten.ts";
import { type FetchRecord, RecordFetches } from "./fetches.ts";
import { Remnant } from "../../core/resume_id.ts";
import { findFirstPlaces, findLastPlaces } from "./places.ts";
import { type Content, recordOf, sequenceOf } from "./record.ts";
import type { JetStreamState } from "./state.ts";

/** Limits of the cache, in records and in bytes of payload. */
const CACHED_RECORDS = 16_384;
const CACHED_BYTES = 16 * 1024 * 1024;
/** Bytes that a message takes besides its payload. */
const MESSAGE_OVERHEAD = 256;
/** Messages of one read that are fetched concurrently. */
const CHUNK = 128;

export class JetStreamReader {
  readonly #fetch: FetchRecord;
  #fetches: RecordFetches;
  readonly #now: () => number;
  readonly #steadyNow: () => number;
  #cache = new Map<number, readonly Content[]>();
  #cachedBytes = 0;
  readonly #maxBytes: number;

  /** @param maxBytes the size of the cache, in bytes of payload */
  constructor(fetch: FetchRecord, now: () => number, steadyNow: () => number, maxBytes = CACHED_BYTES) {
    this.#fetch = fetch;
    this.#fetches = new RecordFetches(fetch);
    this.#now = now;
    this.#steadyNow = steadyNow;
    this.#maxBytes = maxBytes;
  }

  /** Caches the contents of a new record, evicting the oldest. */
  keep(record: number, contents: readonly Content[]): void {
    this.#cache.set(record, contents);
    this.#cachedBytes += measure(contents);
    for (const [oldest, old] of this.#cache) {
      if (this.#cache.size <= CACHED_RECORDS && this.#cachedBytes <= this.#maxBytes) break;
      this.#cache.delete(oldest);
      this.#cachedBytes -= measure(old);
    }
  }

  /** Empties the cache, because the stream has been replaced. */
  reset(): void {
    this.#cache = new Map();
    this.#cachedBytes = 0;
    // Those under way are of the stream before.
    this.#fetches = new RecordFetches(this.#fetch);
  }

  /**
   * Reads a page of the messages that are announced at the time of the call, of very many channels in slices.
   *
   * @returns undefined if one of them was purged by another node, which this node does not know yet
   */
  async read(state: JetStreamState, query: LogQuery): Promise<LogPage | undefined> {
    const { selector, limit, maxBytes = Infinity } = query;
    const selecting = selector.channel === undefined ? state.select(selector) : undefined;
    const selection = selecting instanceof Promise ? await selecting : selecting;
    const now = this.#now();
    const selected = selection?.channels ?? [];
    const named = selection === undefined
      ? [selector.channel ?? ""]
      : selection.isOpen
      ? []
      : selection.unknown;
    const known = named.map((name) => state.peek(name)).filter((channel) => channel !== undefined);
    const channels = known.length === 0 ? selected : [...selected, ...known];
    // Before anything is waited for: a channel that comes from here on is not among these, and its messages are later.
    const { sequence, epoch } = state;
    const stateTop = state.top;
    const steadyNow = this.#steadyNow();
    const clock = new SliceClock();
    for (const channel of channels) {
      state.expire(channel, steadyNow);
      if (clock.isOver) await clock.next();
    }
    const only = selector.channel === undefined ? undefined : channels[0];
    const position = { epoch: state.epoch, offset: only?.offset ?? 0 };
    const top = { ...stateTop, offset: position.offset, time: Math.max(now, state.time) };
    const isForeign = isForeignCursor(query.after, top);
    const after: Cursor = isForeign ? { kind: "earliest" } : query.after;
    const isLatest = after.kind === "latest";
    // What is removed from here on was not told: the next page tells it.
    const asOf = { removals: state.removals, time: now };
    const places = isLatest
      ? await findLastPlaces(channels, limit, sequence)
      : await findFirstPlaces(channels, (channel) => findStart(channel, after), limit + 1, sequence);
    const isGap = isForeign || findGap(channels, after, position.offset) ||
      (selection?.isOpen === true && isGapOf(state.ghost, after));
    const newest = selector.channel === undefined ? sequence : only?.removedSequence ?? 0;
    const earliest = formatId(state.epoch, places[0]?.sequence ?? newest);
    const start = (places[0]?.sequence ?? sequence + 1) - 1;
    const told = after.kind === "id" ? after.told : undefined;
    const plain = { kind: "id", epoch, sequence: start } as const;
    const isBehind = isGap && (findGap(channels, plain, position.offset) ||
      (selection?.isOpen === true && isGapOf(state.ghost, plain)));
    // Counted before the server is asked: what is removed meanwhile is not told. Told is all that this node has
    // announced: one that loads the stream knows only roughly which messages were purged.
    const remnant = isGap || told !== undefined
      ? countLeft(channels, start, isGap ? (isBehind ? sequence : 0) : told?.upTo ?? 0)
      : undefined;

    const messages = await this.#fill(isLatest ? places.reverse() : places, limit, maxBytes, state.epoch);
    if (messages === undefined) return undefined;
    if (isLatest) messages.reverse();
    const more = !isLatest && places.length > messages.length;
    const end = more ? messages.at(-1)?.sequence ?? start : sequence;
    const next = {
      kind: "id" as const,
      ...(remnant?.place(epoch, end, messages) ?? { epoch, sequence: end }),
      asOf,
    };
    const page = { messages, more, position, next };
    if (!isGap || remnant === undefined) return { kind: "complete", ...page };
    return { kind: "gap", earliest, resume: remnant.place(epoch, start, []), ...page };
  }

  /** The messages at the first places within both limits, but at least one if there is one. */
  async #fill(
    places: readonly Place[],
    limit: number,
    maxBytes: number,
    epoch: string,
  ): Promise<Message[] | undefined> {
    const messages: Message[] = [];
    const wanted = Math.min(limit, places.length);
    for (let start = 0, bytes = 0, chunk = maxBytes === Infinity ? CHUNK : 16; start < wanted;) {
      const part = places.slice(start, Math.min(start + chunk, wanted));
      const records = [...new Set(part.map(({ sequence }) => recordOf(sequence)))];
      const found = new Map<number, readonly Content[] | undefined>();
      const missing = records.filter((record) => {
        const cached = this.#cache.get(record);
        if (cached !== undefined) found.set(record, cached);
        return cached === undefined;
      });
      if (missing.length > 0) {
        const fetched = await Promise.all(missing.map((record) => this.#fetches.get(record)));
        missing.forEach((record, i) => found.set(record, fetched[i]));
      }
      for (const place of part) {
        if (bytes >= maxBytes) return messages;
        const record = recordOf(place.sequence);
        const content = found.get(record)?.[place.sequence - sequenceOf(record, 0)];
        if (content === undefined) return undefined;
        messages.push(createMessage(place, content, epoch));
        bytes += payloadSize(content.payload);
      }
      start += part.length;
      chunk = CHUNK;
    }
    return messages;
  }
}

/** Creates the message at a place. */
export function createMessage(place: Place, content: Content, epoch: string): Message {
  const { payload, event, from, socketId, to, properties } = content;
  const { channel, offset, sequence, time } = place;
  const message = { channel, payload, epoch, offset, sequence, time, event, from, socketId, to };
  return properties === undefined ? message : { ...message, properties };
}

function measure(contents: readonly Content[]): number {
  return contents.reduce((bytes, { payload }) => bytes + payloadSize(payload) + MESSAGE_OVERHEAD, 0);
}

function findStart(channel: JetStreamChannel, after: Cursor): number {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return 0;
    case "id":
      return channel.findFirst((i) => channel.sequenceAt(i) > after.sequence);
    case "offset":
      return channel.findFirst((i) => channel.offsetAt(i) > after.offset);
    case "time":
      return channel.findFirst((i) => channel.timeAt(i) >= after.time);
  }
}

function isGapAfterId(
  channels: readonly JetStreamChannel[],
  { sequence, asOf, told }: Cursor & { readonly kind: "id" },
): boolean {
  if (asOf !== undefined) {
    return channels.some(({ cutAt, cutSequence }) => cutAt > asOf.removals && cutSequence > sequence);
  }
  const known = Math.max(sequence, told?.upTo ?? 0);
  return channels.some(({ removedSequence }) => removedSequence > known) ||
    (told !== undefined && countLeft(channels, sequence, known).isLessThan(told));
}

/** What is left of the messages with `after < sequence <= upTo`. */
function countLeft(channels: readonly JetStreamChannel[], after: number, upTo: number): Remnant {
  let count = 0;
  const takenBack: number[] = [];
  for (const channel of channels) {
    count += channel.countBetween(after, upTo);
    for (const sequence of channel.listTakenBack(after, upTo)) takenBack.push(sequence);
  }
  return new Remnant(upTo, count, takenBack);
}

function findGap(channels: readonly JetStreamChannel[], after: Cursor, offset: number): boolean {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return false;
    case "id":
      return isGapAfterId(channels, after);
    case "offset":
      return channels.some((channel) =>
        channel.length - findStart(channel, after) + channel.countTakenBack(after.offset) <
          offset - after.offset
      );
    case "time":
      return channels.some(({ removedTime }) => removedTime >= after.time && removedTime > 0);
  }
}
