/** What the server tells of messages that were removed, and which of the messages shown are gone. Feeds and lists use it. */
import type { ChannelMessage } from "./channel_message.ts";
import { fetchHistory, type HistoryPage, Refusal } from "./history.ts";

/** What the server tells of messages that were removed: one, or all up to and including one. */
export interface RemovalJson {
  readonly type: "removed" | "cleared";
  readonly channel: string;
  readonly id: string;
  readonly offset: number;
}

/** Whether a message is gone. */
export type IsGone = (message: ChannelMessage) => boolean;

/** What orders the messages of one channel, or those of several. */
export type Order = "offset" | "sequence";

/** A removal in what came beside the channels; undefined for anything else, which anybody may have sent. */
export function readRemoval(data: unknown): RemovalJson | undefined {
  const { type, channel, id, offset } = Object(Object(data).removal) as Partial<Record<string, unknown>>;
  if (type !== "removed" && type !== "cleared") return undefined;
  if (typeof channel !== "string" || typeof id !== "string" || typeof offset !== "number") return undefined;
  return { type, channel, id, offset };
}

/**
 * Whether the server no longer has what a removal names: on an open server anybody may send a page what looks like one.
 * Readers who may not read what is stored cannot ask, and have to believe it.
 */
export async function isRemoved(path: string, { type, id, offset }: RemovalJson): Promise<boolean> {
  const [epoch] = id.split("-");
  try {
    const since = type === "removed" ? Math.max(0, offset - 1) : "earliest";
    const { messages: [first] } = await fetchHistory(path, 1, since);
    if (first === undefined || first.epoch !== epoch) return true;
    return type === "removed" ? first.offset !== offset : first.offset > offset;
  } catch (error) {
    return error instanceof Refusal && error.isDenial;
  }
}

/** What a removal took away. */
export function goneBy({ type, channel, id, offset }: RemovalJson): IsGone {
  const [epoch] = id.split("-");
  return (message) =>
    message.offset > 0 && message.channel === channel && message.epoch === epoch &&
    (type === "removed" ? message.offset === offset : message.offset <= offset);
}

/**
 * What was removed while nobody told this page: of the messages up to a place in the order, a page of the newest has
 * all that are left. What is older stays, as rules may have removed it, unless nothing is left at all.
 */
export function goneFromNewest(newest: HistoryPage, order: Order): IsGone {
  const [first] = newest.messages;
  const upTo = order === "offset" ? newest.offset : Number(newest.next.split(/[-.]/)[1]);
  return isMissingIn(newest, order, first === undefined ? 1 : first[order], upTo);
}

/** Reads a page anew, and answers what has been removed of it since. */
export async function findGoneSince(path: string, page: HistoryPage, order: Order): Promise<IsGone> {
  const [first, last] = [page.messages[0], page.messages.at(-1)];
  if (first === undefined || last === undefined) return () => false;
  const since = `${first.epoch}-${first.sequence - 1}`;
  const now = await fetchHistory(path, page.messages.length, since);
  const end = now.more ? now.messages.at(-1) : undefined;
  return isMissingIn(now, order, first[order], Math.min(last[order], end?.[order] ?? Infinity));
}

/** Whether a message between two places in the order, both included, is not among those that are left. */
function isMissingIn({ epoch, messages }: HistoryPage, order: Order, from: number, upTo: number): IsGone {
  const left = new Set(messages.map((message) => message[order]));
  return (message) => {
    const place = message[order];
    return message.epoch === epoch && place >= from && place <= upTo && place > 0 && !left.has(place);
  };
}
