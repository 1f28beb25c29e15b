/**
 * The methods of the HTTP API about messages for later; Centrifugo has none like them. `publish` and `broadcast`
 * schedule them.
 */
import { describeMissing } from "../core/schedule/admission.ts";
import { formatTime } from "../core/message.ts";
import type { ApiContext } from "./context.ts";
import type { Fields } from "./fields.ts";

/** Messages that one answer lists, and lists unless asked for fewer. */
const MAX_LISTED = 1_000;

/** Lists what is scheduled, the next one due first; `channel` selects those of one channel. */
export function scheduled(context: ApiContext, fields: Fields): string {
  const { scheduler } = context;
  const channel = fields.has("channel") ? fields.channel() : undefined;
  const limit = fields.integer("limit", 1, MAX_LISTED) || MAX_LISTED;
  const wanted = scheduler.list().filter((item) =>
    channel === undefined ? isVisible(context, item.channel) : item.channel === channel
  );
  const messages = wanted.slice(0, limit).map(({ id, channel, due, bytes, failure }) => ({
    id,
    channel,
    at: formatTime(due),
    bytes,
    failure,
  }));
  return JSON.stringify({ count: wanted.length, messages });
}

/** Cancels the message with an id. */
export async function cancelScheduled(context: ApiContext, fields: Fields): Promise<string> {
  const { scheduler } = context;
  const id = fields.string("id");
  if (id === "") throw fields.refuse("id", "is required");
  const entry = await scheduler.find(id);
  if (entry === undefined || !isVisible(context, entry.draft.channel)) throw describeMissing();
  await scheduler.cancel(id);
  return "{}";
}

/** Channels that a protocol keeps private take a key, even where nobody is asked for one. */
function isVisible({ gate, publisher }: ApiContext, channel: string): boolean {
  return publisher !== "" || !gate.isProtected(channel);
}
