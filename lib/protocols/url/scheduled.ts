/** `GET /_scheduled`, what is scheduled, for operators, and `DELETE /_scheduled/ID`, which cancels one message. */
import type { Pass } from "../../auth/pass.ts";
import { describeMissing } from "../../core/schedule/admission.ts";
import type { Entry } from "../../core/schedule/entry.ts";
import { formatTime } from "../../core/message.ts";
import type { Peer } from "../../core/socket.ts";
import { NO_SNIFFING } from "../../http/problem.ts";
import type { Services } from "../protocol.ts";

/** Messages that a document lists, the next ones due. */
const MAX_LISTED = 1_000;

/** Lists what is scheduled, the next one due first, without what the messages say. */
export function handleScheduled(
  request: Request,
  { gate, scheduler }: Pick<Services, "gate" | "scheduler">,
): Response {
  const pass = gate.demandOperator(request, "The list of scheduled messages");
  const all = scheduler.list().filter(({ channel }) => pass.may("subscribe", channel));
  const scheduled = all.slice(0, MAX_LISTED).map(({ id, channel, due, bytes, failure }) => ({
    id,
    channel,
    at: formatTime(due),
    bytes,
    failure,
  }));
  return createJson({ count: all.length, scheduled });
}

/**
 * Cancels a message. Whoever may publish on its channel now, and knows the id, may; whoever scheduled it may, too.
 *
 * @throws {MessagingError} `not_found`, or why it may not be cancelled
 */
export async function handleCancel(
  request: Request,
  id: string,
  { address }: Pick<Peer, "address">,
  { gate, limits, scheduler }: Pick<Services, "gate" | "limits" | "scheduler">,
): Promise<Response> {
  const pass = await gate.admit(request);
  if (!pass.hasKey) limits.countPublish(address, pass.user);
  const entry = await scheduler.find(id);
  if (entry === undefined) throw describeMissing();
  if (!isOwner(pass, entry)) {
    const { draft } = entry;
    pass.demand(draft.channel.startsWith("@") ? "whisper" : "publish", draft.channel);
  }
  await scheduler.cancel(id);
  return createJson({ channel: entry.draft.channel, cancelled: id });
}

/** Whether credentials say that the same publisher scheduled it. */
function isOwner(pass: Pass, { publisher }: Entry): boolean {
  return publisher !== "" && pass.publisher === publisher;
}

function createJson(value: unknown): Response {
  return new Response(`${JSON.stringify(value)}\n`, {
    headers: { "content-type": "application/json", "cache-control": "no-store", ...NO_SNIFFING },
  });
}
