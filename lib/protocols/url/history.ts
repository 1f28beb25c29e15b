/** `GET` on a channel as one JSON document, its presence likewise, and `DELETE`, which clears what is stored. */
import { formatSelector, parseChannelPath } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";
import { encodeMessageJson, formatId } from "../../core/message.ts";
import { NO_SNIFFING, parseOr } from "../../http/problem.ts";
import type { Services } from "../protocol.ts";
import type { ReadOptions } from "./read_request.ts";

/** Messages a document holds, and holds unless asked for fewer. */
export const MAX_DOCUMENT_MESSAGES = 1_000;
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;

const UTF8 = new TextEncoder();

/**
 * The stored messages after `since`, or the newest ones. `more` says that the limit cut the document short:
 * ask again since `next`.
 */
export async function handleHistory(hub: Hub, options: ReadOptions): Promise<Response> {
  const { selector, since } = options;
  const limit = Math.min(options.limit ?? MAX_DOCUMENT_MESSAGES, MAX_DOCUMENT_MESSAGES);
  const page = await hub.read({
    selector,
    after: since ?? { kind: "latest" },
    limit,
    maxBytes: MAX_DOCUMENT_BYTES,
  });
  const head = {
    channel: formatSelector(selector),
    epoch: page.position.epoch,
    ...(selector.channel === undefined ? {} : { offset: page.position.offset }),
    ...(page.kind === "gap" ? { gap: { earliest: page.earliest } } : {}),
    next: formatId(page.next.epoch, page.next.sequence),
    ...(page.more ? { more: true } : {}),
  };
  const messages = page.messages.map(encodeMessageJson).join(",");
  return createJson(`${JSON.stringify(head).slice(0, -1)},"messages":[${messages}]}\n`);
}

/** Who is on a channel: counts and members. */
export function handlePresence(hub: Hub, options: ReadOptions): Response {
  const { channel } = options.selector;
  if (channel === undefined) {
    throw new MessagingError("bad_channel", "Presence is of one channel: ask for each by its name");
  }
  const members = hub.presence.list(channel).slice(0, options.limit ?? MAX_DOCUMENT_MESSAGES);
  const shown = members.map(({ id, name, protocol, since }) => ({
    id,
    name,
    protocol,
    since: new Date(since).toISOString(),
  }));
  return createJson(JSON.stringify({ channel, ...hub.presence.count(channel), members: shown }) + "\n");
}

/** Clears a channel's stored messages. Its offsets go on, and subscribers that had not received them are told of a gap. */
export async function handleClear(
  request: Request,
  { hub, gate }: Pick<Services, "hub" | "gate">,
): Promise<Response> {
  const channel = parseOr("bad_channel", () => parseChannelPath(new URL(request.url).pathname));
  // Whoever may write a channel may not for that erase what others wrote.
  (await gate.admit(request)).demand("clear", channel);
  const removed = await hub.clear(channel);
  return createJson(JSON.stringify({ channel, removed }) + "\n");
}

function createJson(text: string): Response {
  const body = UTF8.encode(text);
  // Said here, that HEAD says it too.
  const headers = { "content-length": String(body.byteLength), "content-type": "application/json" };
  return new Response(body, { headers: { ...headers, "cache-control": "no-store", ...NO_SNIFFING } });
}
