/** Reads one channel's history by position, in either direction: for protocols that page through it. */
import { selectChannel } from "./channel.ts";
import type { Cursor, Log, Position } from "./log.ts";
import type { Message } from "./message.ts";

/** Messages one read gives at most. */
export const MAX_HISTORY_MESSAGES = 300;
/** Bytes of payload after which it ends, with fewer messages. */
export const MAX_HISTORY_BYTES = 1024 * 1024;

export interface HistoryRequest {
  readonly channel: string;
  /** 0 asks for the position alone, a negative one for as many as one read gives. */
  readonly limit: number;
  /** Where to start, not included: by default before the first message, or behind the last in reverse. */
  readonly since: { readonly offset: number } | undefined;
  readonly reverse: boolean;
}

/** Reads messages and the channel's newest position. Messages are oldest first, or newest first in reverse. */
export async function readHistory(
  log: Pick<Log, "read">,
  request: HistoryRequest,
): Promise<{ readonly messages: readonly Message[]; readonly position: Position }> {
  const { channel, reverse } = request;
  const wanted = request.limit < 0 ? MAX_HISTORY_MESSAGES : Math.min(request.limit, MAX_HISTORY_MESSAGES);
  const selector = selectChannel(channel);
  if (reverse && request.since !== undefined) {
    return await readBefore(log, channel, request.since.offset, wanted);
  }
  const after = toCursor(request.since, reverse || wanted === 0);
  const page = await log.read({ selector, after, limit: wanted, maxBytes: MAX_HISTORY_BYTES });
  // An engine answers a position it cannot have given with all it has; history after such a position is empty.
  const isBeyond = request.since !== undefined && request.since.offset > page.position.offset;
  const messages = isBeyond ? [] : page.messages;
  return { messages: reverse ? messages.toReversed() : messages, position: page.position };
}

function toCursor(since: HistoryRequest["since"], fromTheEnd: boolean): Cursor {
  if (since !== undefined) return { kind: "offset", offset: since.offset };
  return { kind: fromTheEnd ? "latest" : "earliest" };
}

/**
 * Reads backwards from an offset. The last ones before it are those after an offset that lies so much further back;
 * where they have too many bytes, the nearest are read with half as many.
 */
async function readBefore(
  log: Pick<Log, "read">,
  channel: string,
  before: number,
  wanted: number,
): Promise<{ readonly messages: readonly Message[]; readonly position: Position }> {
  const selector = selectChannel(channel);
  const { position } = await log.read({ selector, after: { kind: "latest" }, limit: 0 });
  const end = Math.min(before, position.offset + 1);
  for (let count = wanted;; count = Math.floor(count / 2)) {
    const first = Math.max(1, end - count);
    const limit = Math.max(0, end - first);
    const after: Cursor = { kind: "offset", offset: first - 1 };
    const page = await log.read({ selector, after, limit, maxBytes: MAX_HISTORY_BYTES });
    const messages = page.messages.filter(({ offset }) => offset < end);
    // Whole when it reached the end, or ended for its number and not for its bytes.
    const isWhole = count <= 1 || !page.more || messages.length === limit;
    if (isWhole) return { messages: messages.toReversed(), position: page.position };
  }
}
