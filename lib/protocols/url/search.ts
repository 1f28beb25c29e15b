/**
 * Reads stored messages other than by one read of the log: those that match a filter, and those before an offset. Both look
 * at a bounded number of messages and say where to go on.
 */
import { nextSlice } from "../../base/slices.ts";
import { selectChannel, type Selector } from "../../core/channel.ts";
import type { Hub } from "../../core/hub.ts";
import type { Cursor, LogPage, Position } from "../../core/log.ts";
import { formatId, type Message, payloadSize } from "../../core/message.ts";
import { formatResumeId, type ResumeId } from "../../core/resume_id.ts";
import { matchesFilter, type MessageFilter } from "./filter.ts";

/** Messages that one request looks at, at most, and the bytes of their payloads after which it stops. */
export const MAX_SEARCHED_MESSAGES = 10_000;
const MAX_SEARCHED_BYTES = 64 * 1024 * 1024;
/** Offsets that it passes, at most: where most messages have expired, few are left to look at. */
const MAX_PASSED_OFFSETS = 100_000;
/** What is in memory at a time. */
const PAGE_MESSAGES = 256;
const PAGE_BYTES = 1024 * 1024;

export interface Found {
  /** Oldest first. */
  readonly messages: readonly Message[];
  readonly position: Position;
  /** The first message left, where what was asked for is gone. */
  readonly gap: string | undefined;
  /** The id to go on from. */
  readonly next: string;
  /** Whether there may be more: after `next`, or before the offset `before`. */
  readonly more: boolean;
  readonly before?: number;
}

interface SearchOptions {
  readonly selector: Selector;
  readonly filter: MessageFilter | undefined;
  readonly limit: number;
  /** Most bytes of payload found. */
  readonly maxBytes: number;
}

/** The messages after a cursor that match, oldest first. */
export async function searchForwards(
  hub: Hub,
  { selector, filter = {}, limit, maxBytes }: SearchOptions,
  after: Cursor,
): Promise<Found> {
  const messages: Message[] = [];
  let [searched, searchedBytes, bytes] = [0, 0, 0];
  let gap: string | undefined;
  for (let cursor = after;;) {
    const page = await hub.read({ selector, after: cursor, limit: PAGE_MESSAGES, maxBytes: PAGE_BYTES });
    const { position } = page;
    if (page.kind === "gap") gap ??= page.earliest;
    for (const message of page.messages) {
      searched++;
      searchedBytes += payloadSize(message.payload);
      const isFound = matchesFilter(message, filter);
      if (isFound) messages.push(message);
      if (isFound) bytes += payloadSize(message.payload);
      if (isFound && (messages.length >= limit || bytes >= maxBytes)) {
        const isLast = message === page.messages.at(-1);
        const next = await findPlace(hub, { selector, cursor, page, message });
        return { messages, position, gap, next: formatResumeId(next), more: page.more || !isLast };
      }
    }
    const isOver = searched >= MAX_SEARCHED_MESSAGES || searchedBytes >= MAX_SEARCHED_BYTES;
    const next = formatResumeId(page.next);
    if (!page.more || isOver) return { messages, position, gap, next, more: page.more };
    cursor = page.next;
    await nextSlice();
  }
}

/** The position after a message of a page. After a gap the page is read again up to there, as engines say what was told. */
async function findPlace(
  hub: Hub,
  { selector, cursor, page, message }: {
    readonly selector: Selector;
    readonly cursor: Cursor;
    readonly page: LogPage;
    readonly message: Message;
  },
): Promise<ResumeId> {
  const { epoch, sequence } = message;
  if (page.kind === "complete" && page.next.told === undefined) return { epoch, sequence };
  if (message === page.messages.at(-1)) return page.next;
  const again = await hub.read({ selector, after: cursor, limit: page.messages.indexOf(message) + 1 });
  return again.next.sequence === sequence ? again.next : { epoch, sequence };
}

/** The newest messages of a channel that match, before an offset if one is given. */
export async function searchBackwards(
  hub: Hub,
  channel: string,
  { filter = {}, limit, maxBytes }: Omit<SearchOptions, "selector">,
  before = Infinity,
): Promise<Found> {
  const selector = selectChannel(channel);
  const newest = await hub.read({ selector, after: { kind: "latest" }, limit: 0 });
  const { position } = newest;
  const head = { position, gap: undefined, next: formatId(newest.next.epoch, newest.next.sequence) };
  const found: Message[] = [];
  let [searched, searchedBytes, bytes] = [0, 0, 0];
  const start = Math.min(before, position.offset + 1);
  let end = start;
  while (end > 1) {
    const window = await readWindow(hub, selector, end);
    for (const message of window.messages.toReversed()) {
      searched++;
      searchedBytes += payloadSize(message.payload);
      if (!matchesFilter(message, filter)) continue;
      found.push(message);
      bytes += payloadSize(message.payload);
      if (found.length < limit && bytes < maxBytes) continue;
      const more = message !== window.messages[0] || !window.isFirst;
      return { ...head, messages: found.reverse(), more, before: message.offset };
    }
    if (window.isFirst) break;
    end = window.start;
    const isFar = start - end >= MAX_PASSED_OFFSETS;
    if (isFar || searched >= MAX_SEARCHED_MESSAGES || searchedBytes >= MAX_SEARCHED_BYTES) {
      return { ...head, messages: found.reverse(), more: true, before: end };
    }
    await nextSlice();
  }
  return { ...head, messages: found.reverse(), more: false };
}

interface Window {
  readonly messages: readonly Message[];
  /** The first offset looked at. */
  readonly start: number;
  /** Whether nothing is stored before it. */
  readonly isFirst: boolean;
}

/** The messages directly before an offset: fewer where they are large, as the log reads forwards only. */
async function readWindow(hub: Hub, selector: Selector, end: number): Promise<Window> {
  for (let count = PAGE_MESSAGES;; count = Math.ceil(count / 4)) {
    const start = Math.max(1, end - count);
    const after: Cursor = { kind: "offset", offset: start - 1 };
    const page: LogPage = await hub.read({ selector, after, limit: end - start, maxBytes: PAGE_BYTES });
    const messages = page.messages.filter(({ offset }) => offset < end);
    const isWhole = messages.length === end - start || !page.more || messages.length < page.messages.length;
    if (!isWhole && count > 1) continue;
    // What is left may begin far ahead: then nobody need look further back.
    const isFirst = start === 1 || (page.kind === "gap" && await isFirstStored(hub, selector, start));
    return { messages, start, isFirst };
  }
}

/** Whether nothing is stored before an offset. */
async function isFirstStored(hub: Hub, selector: Selector, offset: number): Promise<boolean> {
  const { messages: [oldest] } = await hub.read({ selector, after: { kind: "earliest" }, limit: 1 });
  return oldest === undefined || oldest.offset >= offset;
}
