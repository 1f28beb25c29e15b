/** Reads one channel's history by position, in either direction: for protocols that page through it. */
import { selectChannel } from "./channel.ts";
import type { Cursor, Log, Position } from "./log.ts";
import type { Message } from "./message.ts";

/** Messages one read gives at most. */
export const MAX_HISTORY_MESSAGES = 300;

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
  const [after, limit] = toQuery(request.since, reverse, wanted);
  const { messages, position } = await log.read({ selector: selectChannel(channel), after, limit });
  return { messages: reverse ? messages.toReversed() : messages, position };
}

/** Backwards, the last ones before a position are those after a position that lies so much further back. */
function toQuery(since: HistoryRequest["since"], reverse: boolean, limit: number): [Cursor, number] {
  if (since === undefined) return [{ kind: reverse || limit === 0 ? "latest" : "earliest" }, limit];
  if (!reverse) return [{ kind: "offset", offset: since.offset }, limit];
  const first = Math.max(1, since.offset - limit);
  return [{ kind: "offset", offset: first - 1 }, since.offset - first];
}
