/** `GET` on a channel as one JSON document, its presence likewise, and `DELETE`, which clears what is stored. */
import { Buffer } from "node:buffer";
import { formatSelector, parseChannelPath } from "../../core/channel.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";
import { nextSlice, SliceClock } from "../../base/slices.ts";
import { encodeMessageJson, type Message, parseMessageId } from "../../core/message.ts";
import { formatResumeId } from "../../core/resume_id.ts";
import { NO_SNIFFING, parseOr } from "../../http/problem.ts";
import type { Services } from "../protocol.ts";
import type { ReadOptions } from "./read_request.ts";
import { searchBackwards, searchForwards } from "./search.ts";

/** Messages a document holds, and holds unless asked for fewer. */
export const MAX_DOCUMENT_MESSAGES = 1_000;
const MAX_DOCUMENT_BYTES = 8 * 1024 * 1024;
/** Characters of a document that are encoded in one go. */
const PIECE_CHARACTERS = 64 * 1024;

const UTF8 = new TextEncoder();

/**
 * The stored messages after `since`, or the newest ones. `more` says that the limit cut the document short:
 * ask again since `next`.
 */
export async function handleHistory(hub: Hub, options: ReadOptions): Promise<Response> {
  const { selector, since, filter, before } = options;
  const limit = Math.min(options.limit ?? MAX_DOCUMENT_MESSAGES, MAX_DOCUMENT_MESSAGES);
  if (filter !== undefined || before !== undefined) return await handleSearch(hub, options, limit);
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
    next: formatResumeId(page.next),
    ...(page.more ? { more: true } : {}),
  };
  return await createDocument(head, page.messages);
}

/**
 * The stored messages that match a filter: after `since`, oldest first; or the newest of a channel, before an offset if one
 * is given. Of a list or pattern without `since`, from the earliest on.
 */
async function handleSearch(hub: Hub, options: ReadOptions, limit: number): Promise<Response> {
  const { selector, since, filter, before } = options;
  const search = { selector, filter, limit, maxBytes: MAX_DOCUMENT_BYTES };
  const found = since === undefined && selector.channel !== undefined
    ? await searchBackwards(hub, selector.channel, search, before)
    : await searchForwards(hub, search, since ?? { kind: "earliest" });
  const { position, gap, next, more } = found;
  const head = {
    channel: formatSelector(selector),
    epoch: position.epoch,
    ...(selector.channel === undefined ? {} : { offset: position.offset }),
    ...(gap === undefined ? {} : { gap: { earliest: gap } }),
    next,
    ...(more ? { more, ...(found.before === undefined ? {} : { before: found.before }) } : {}),
  };
  return await createDocument(head, found.messages);
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
  const content = { channel, ...hub.presence.count(channel), members: shown };
  return createJson(UTF8.encode(JSON.stringify(content) + "\n"));
}

/**
 * Clears a channel's stored messages, or with `?id=` removes one of them. Offsets go on, and subscribers that had not
 * received them are told of a gap.
 */
export async function handleClear(
  request: Request,
  { hub, gate }: Pick<Services, "hub" | "gate">,
): Promise<Response> {
  const { pathname, searchParams } = new URL(request.url);
  const channel = parseOr("bad_channel", () => parseChannelPath(pathname));
  // Whoever may write a channel may not for that erase what others wrote.
  (await gate.admit(request)).demand("clear", channel);
  const names = [...searchParams.keys()];
  if (names.some((name) => name !== "id") || names.length > 1) {
    // A misspelt parameter must not clear the channel.
    throw new MessagingError(
      "bad_option",
      "DELETE takes the id of one message as ?id=, or nothing to clear the channel",
    );
  }
  const id = searchParams.get("id");
  const removed = id === null ? await hub.clear(channel) : await removeOne(hub, channel, id);
  return createJson(UTF8.encode(JSON.stringify({ channel, removed }) + "\n"));
}

/** @returns 1; what is not there may be gone already, but whoever asks for it is to know */
async function removeOne(hub: Hub, channel: string, text: string): Promise<number> {
  const id = parseMessageId(text);
  if (id === undefined) {
    throw new MessagingError("bad_option", `id=${text.slice(0, 60)} is no id of a message, such as x1y2-42`);
  }
  if (await hub.remove(channel, id)) return 1;
  throw new MessagingError(
    "not_found",
    `"${channel}" has no message ${text}: it is removed or expired already`,
  );
}

/** A document of messages, which may be large: it is encoded in slices. */
async function createDocument(
  head: Readonly<Record<string, unknown>>,
  messages: readonly Message[],
): Promise<Response> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  const clock = new SliceClock(1);
  let text = `${JSON.stringify(head).slice(0, -1)},"messages":[`;
  let separator = "";
  for (const message of messages) {
    text += separator + encodeMessageJson(message);
    separator = ",";
    if (text.length < PIECE_CHARACTERS) continue;
    pieces.push(UTF8.encode(text));
    text = "";
    if (clock.isOver) await clock.next();
  }
  pieces.push(UTF8.encode(text + "]}\n"));
  if (pieces.length === 1) return createJson(pieces[0]!);
  // To put them together and send them takes some milliseconds more.
  await nextSlice();
  return createJson(Buffer.concat(pieces));
}

function createJson(body: Uint8Array<ArrayBuffer>): Response {
  // Said here, that HEAD says it too.
  const headers = { "content-length": String(body.byteLength), "content-type": "application/json" };
  return new Response(body, { headers: { ...headers, "cache-control": "no-store", ...NO_SNIFFING } });
}
