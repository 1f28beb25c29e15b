/** `POST` and `PUT` on a channel or on `/@id`: one message from an HTTP request to the hub. */
import { decodeFormText } from "../../base/form.ts";
import { quote } from "../../base/quote.ts";
import type { Pass } from "../../auth/pass.ts";
import { parseJsonObject } from "../../base/json_text.ts";
import { decodePath, directChannel, isReservedPath, parseChannelPath } from "../../core/channel.ts";
import { parseClientId, parseClientName } from "../../core/client.ts";
import { createDraft, type DraftOptions } from "../../core/draft.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Published } from "../../core/hub.ts";
import { readTags, type Tags } from "../../core/tags.ts";
import { type Draft, formatId, formatTime, type Sender } from "../../core/message.ts";
import type { Scheduled } from "../../core/schedule/scheduler.ts";
import { parseWhen, type When } from "../../core/schedule/when.ts";
import type { Peer } from "../../core/socket.ts";
import { parseBody, readBytes } from "../../http/body.ts";
import { NO_SNIFFING, parseOr } from "../../http/problem.ts";
import type { Services } from "../protocol.ts";
import { createEcho, isEcho } from "./echo.ts";
import { checkIdentity } from "./identity.ts";

const OPTION_NAMES = [
  "event",
  "to",
  "ttl",
  "ephemeral",
  "retain",
  "tags",
  "key",
  "removed",
  "at",
  "delay",
] as const;

const NOBODY = { user: undefined, hasKey: false };

// Of one field alone, with which the runtime has a cheaper way to answer. What else browsers need is added for those that
// send an Origin, as all do with whatever is neither GET nor HEAD (Fetch standard, "append a request Origin header").
const RECEIPT = { "content-type": "application/json" };
const THANKS = { "content-type": "text/plain;charset=UTF-8" };

/** URLs that the parser leaves as they are: no dots, no escapes, no query. Parsing one costs as much as storing a message. */
const PLAIN_URL = /^https?:\/\/[^/?#]+(\/[\w\-/]*)$/;

/** The path of a direct message: as `encodeURIComponent` writes it, too. */
const DIRECT_PATH = /^\/(?:@|%40)/;

type Options =
  & Pick<
    DraftOptions,
    "event" | "to" | "ttl" | "ephemeral" | "properties" | "tags" | "key" | "removed"
  >
  & {
    /** When it is published; at once if left out. */
    readonly when?: When | undefined;
  };

/** The path of a request that publishes and needs no decoding: it is answered without being routed. */
export function findPlainPath({ method, url }: Request): string | undefined {
  if (method !== "POST" && method !== "PUT") return undefined;
  const pathname = PLAIN_URL.exec(url)?.[1];
  return pathname === undefined || isReservedPath(pathname) ? undefined : pathname;
}

/**
 * Publishes the body of a request, or schedules it. The answer comes after the engine has stored that.
 *
 * @param url its path and query, if they were found already
 */
export async function handlePublish(
  request: Request,
  peer: Pick<Peer, "address" | "createResponse">,
  { hub, gate, limits, scheduler, settings }: Pick<
    Services,
    "hub" | "gate" | "limits" | "scheduler" | "settings"
  >,
  { pathname, search }: Pick<URL, "pathname" | "search"> = new URL(request.url),
): Promise<Response> {
  const { address } = peer;
  const target = parseTarget(pathname);
  const echoes = isEcho(target.channel);
  const admission = echoes ? undefined : gate.admit(request);
  const pass = admission instanceof Promise ? await admission : admission;
  const isAsked = target.to === undefined && pass?.asks("publish", target.channel) === true;
  if (!isAsked) pass?.demand(target.to === undefined ? "publish" : "whisper", target.channel);
  // Backends publish as fast as they like.
  if (!pass?.hasKey) limits.countPublish(address, pass?.user);
  const { id, name, raw, ...options } = parseQuery(search);
  if (pass !== undefined) checkIdentity({ id, name }, pass, hub, address);
  const from = pass && parseSender(pass, id, name);
  const idempotencyKey = request.headers.get("idempotency-key") ?? undefined;
  const reading = readBytes(request, settings);
  const bytes = reading instanceof Promise ? await reading : reading;
  if (echoes) return createEcho(request, bytes);
  const isWhole = raw !== undefined && parseSwitch("raw", raw);
  const body = parseBody(bytes, request.headers, settings.maxMessageBytes, isWhole);
  const { when, to, ...parsed } = parseOptions({ ...body.options, ...options });
  if (target.to !== undefined && to !== undefined) {
    throw new MessagingError("bad_option", `The path says whom this is for: leave out "to"`);
  }
  const allowed = isAsked ? await pass?.admitPublish(target.channel, body.payload) : undefined;
  const owner = isKept(parsed, when) ? limits.shares.ownerOf(address, pass ?? NOBODY) : undefined;
  const draft = createDraft({
    ...parsed,
    ...allowed,
    channel: target.channel,
    to: target.to ?? to,
    payload: allowed?.payload ?? body.payload,
    owner,
    from,
    idempotencyKey,
    publisher: pass?.publisher,
  });
  if (when !== undefined) {
    return createScheduled(draft, await scheduler.schedule(draft, when, pass?.publisher ?? "", owner));
  }
  const published = await hub.publish(draft);
  return pathname === "/" && !acceptsJson(request)
    ? createShort("Cool thanks", THANKS, peer)
    : createShort(formatReceipt(draft, published), RECEIPT, peer);
}

/** Whether a message takes a place that all share: finding out whose it is costs something. */
function isKept({ properties, key }: Options, when: When | undefined): boolean {
  return when !== undefined || properties?.retain === true || key !== undefined;
}

function parseQuery(search: string): Record<string, string | undefined> {
  if (search === "") return {};
  parseOr("bad_option", () => decodeFormText(search));
  return Object.fromEntries(new URLSearchParams(search));
}

/** A channel's path, or `/@id` for one client. */
function parseTarget(path: string): { channel: string; to?: string } {
  return parseOr("bad_channel", () => {
    if (!DIRECT_PATH.test(path)) return { channel: parseChannelPath(path) };
    const id = parseClientId(decodePath(path.slice(1)).slice(1));
    return { channel: directChannel(id), to: id };
  });
}

/** Who a message is from: whom the token names, or who an open server's publisher says it is; undefined if nobody. */
function parseSender(
  { user, info }: Pass,
  id: string | undefined,
  name: string | undefined,
): Sender | undefined {
  if (id === undefined && name === undefined && user === undefined) return undefined;
  return parseOr("bad_option", () => ({
    id: id === undefined ? user ?? crypto.randomUUID() : parseClientId(id),
    name: name === undefined ? undefined : parseClientName(name),
    user,
    info,
  }));
}

/** The options of a publish, from query parameters or JSON keys. */
export function parseOptions(values: Readonly<Record<string, unknown>>): Options {
  const options: { -readonly [K in keyof Options]: Options[K] } = {};
  let at: unknown;
  let delay: unknown;
  for (const [name, value] of Object.entries(values)) {
    // What programs write for an option that is not set.
    if (value === null && OPTION_NAMES.some((known) => known === name)) continue;
    if (name === "tags") {
      options.tags = parseTags(value);
      continue;
    }
    if (!["string", "number", "boolean"].includes(typeof value)) {
      throw new MessagingError("bad_option", `${quote(name)} must be a plain value`);
    }
    switch (name) {
      case "event":
        options.event = parseEvent(value);
        break;
      case "to":
        options.to = parseOr("bad_option", () => parseClientId(String(value)));
        break;
      case "ttl":
        options.ttl = parseTtl(value);
        break;
      case "ephemeral":
        options.ephemeral = parseSwitch(name, value);
        break;
      case "retain":
        if (parseSwitch(name, value)) options.properties = { retain: true };
        break;
      case "key":
        options.key = String(value);
        break;
      case "removed":
        options.removed = parseSwitch(name, value);
        break;
      case "at":
        at = value;
        break;
      case "delay":
        delay = value;
        break;
      default:
        throw new MessagingError(
          "bad_option",
          `Unknown option ${quote(name)}: there may be ${
            OPTION_NAMES.join(", ")
          }; in a query name, id, raw too`,
        );
    }
  }
  const when = parseWhen(at, delay);
  return when === undefined ? options : { ...options, when };
}

/** An object whose values are strings, or its JSON text. */
function parseTags(value: unknown): Tags {
  const members = typeof value === "string" ? tryParseObject(value) : value;
  if (members instanceof Map) return readTags(members);
  throw new MessagingError("bad_option", 'tags must be a JSON object such as {"city": "Bern"}');
}

/** Undefined for what is no JSON, as for JSON that is no object. */
function tryParseObject(text: string): unknown {
  try {
    return parseJsonObject(text);
  } catch {
    return undefined;
  }
}

function parseEvent(value: unknown): string {
  if (typeof value === "string") return value;
  throw new MessagingError("bad_option", "event must be text");
}

function parseTtl(value: unknown): number {
  // What is no number at all is refused where the number is checked.
  return /^\d+$/.test(String(value)) ? Number(value) : NaN;
}

function parseSwitch(name: string, value: unknown): boolean {
  if (["", "1", "true"].includes(String(value))) return true;
  if (["0", "false"].includes(String(value))) return false;
  throw new MessagingError("bad_option", `${name} must be true or false`);
}

function createShort(
  text: string,
  headers: Readonly<Record<string, string>>,
  { createResponse }: Pick<Peer, "createResponse">,
): Response {
  return createResponse?.(text, headers) ?? new Response(text, { headers });
}

function formatReceipt(
  { channel }: Draft,
  { epoch, offset, sequence, time, subscribers }: Published,
): string {
  const stored = sequence === 0
    ? ""
    : `"id":"${formatId(epoch, sequence)}","epoch":"${epoch}","offset":${offset},`;
  return `{"channel":${JSON.stringify(channel)},${stored}"time":"${
    formatTime(time)
  }","subscribers":${subscribers}}\n`;
}

function createScheduled({ channel }: Draft, { id, due }: Scheduled): Response {
  return new Response(JSON.stringify({ channel, scheduled: id, at: formatTime(due) }) + "\n", {
    status: 202,
    headers: { ...RECEIPT, ...NO_SNIFFING, location: `/_scheduled/${id}` },
  });
}

function acceptsJson(request: Request): boolean {
  return /\bapplication\/(json|\*)/i.test(request.headers.get("accept") ?? "");
}
