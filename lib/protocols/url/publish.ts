/** `POST` and `PUT` on a channel or on `/@id`: one message from an HTTP request to the hub. */
import { decodeFormText } from "../../base/form.ts";
import { quote } from "../../base/quote.ts";
import type { Pass } from "../../auth/pass.ts";
import { decodePath, directChannel, parseChannelPath } from "../../core/channel.ts";
import { parseClientId, parseClientName } from "../../core/client.ts";
import { createDraft, type DraftOptions } from "../../core/draft.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Published } from "../../core/hub.ts";
import { type Draft, formatId, formatTime, type Sender } from "../../core/message.ts";
import type { Peer } from "../../core/socket.ts";
import { parseBody, readBytes } from "../../http/body.ts";
import { NO_SNIFFING, parseOr } from "../../http/problem.ts";
import type { Services } from "../protocol.ts";
import { createEcho, isEcho } from "./echo.ts";
import { checkIdentity } from "./identity.ts";

const OPTION_NAMES = ["event", "to", "ttl", "ephemeral", "retain"] as const;

const RECEIPT: ResponseInit = { headers: { "content-type": "application/json", ...NO_SNIFFING } };

/** URLs that the parser leaves as they are: no dots, no escapes, no query. */
const PLAIN_URL = /^https?:\/\/[^/?#]+(\/[\w\-/]*)$/;

/** The path of a direct message: as `encodeURIComponent` writes it, too. */
const DIRECT_PATH = /^\/(?:@|%40)/;

type Options = Pick<DraftOptions, Exclude<(typeof OPTION_NAMES)[number], "retain"> | "properties">;

/** Publishes the body of a request. The answer comes after the message is stored. */
export async function handlePublish(
  request: Request,
  { address }: Pick<Peer, "address">,
  { hub, gate, limits, settings }: Pick<Services, "hub" | "gate" | "limits" | "settings">,
): Promise<Response> {
  const { pathname, search } = splitUrl(request.url);
  const target = parseTarget(pathname);
  const echoes = isEcho(target.channel);
  const pass = echoes ? undefined : await gate.admit(request);
  const isAsked = target.to === undefined && pass?.asks("publish", target.channel) === true;
  if (!isAsked) pass?.demand(target.to === undefined ? "publish" : "whisper", target.channel);
  // Backends publish as fast as they like.
  if (!pass?.hasKey) limits.countPublish(address, pass?.user);
  const { id, name, raw, ...options } = parseQuery(search);
  if (pass !== undefined) checkIdentity({ id, name }, pass, hub, address);
  const from = pass && parseSender(pass, id, name);
  const idempotencyKey = request.headers.get("idempotency-key") ?? undefined;
  const bytes = await readBytes(request, settings);
  if (echoes) return createEcho(request, bytes);
  const isWhole = raw !== undefined && parseSwitch("raw", raw);
  const body = parseBody(bytes, request.headers, settings.maxMessageBytes, isWhole);
  const parsed = parseOptions({ ...body.options, ...options });
  if (target.to !== undefined && parsed.to !== undefined) {
    throw new MessagingError("bad_option", `The path says whom this is for: leave out "to"`);
  }
  const allowed = isAsked ? await pass?.admitPublish(target.channel, body.payload) : undefined;
  const draft = createDraft({
    ...parsed,
    ...target,
    payload: body.payload,
    ...allowed,
    from,
    idempotencyKey,
    publisher: pass?.publisher,
  });
  const published = await hub.publish(draft);
  if (pathname === "/" && !acceptsJson(request)) return new Response("Cool thanks");
  return createReceipt(draft, published);
}

/** Parsing a URL costs as much as storing a message: most need none. */
function splitUrl(url: string): { readonly pathname: string; readonly search: string } {
  const pathname = PLAIN_URL.exec(url)?.[1];
  return pathname === undefined ? new URL(url) : { pathname, search: "" };
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
  for (const [name, value] of Object.entries(values)) {
    // What programs write for an option that is not set.
    if (value === null && OPTION_NAMES.some((known) => known === name)) continue;
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
      default:
        throw new MessagingError(
          "bad_option",
          `Unknown option ${quote(name)}: beside the data there may be ${OPTION_NAMES.join(", ")}`,
        );
    }
  }
  return options;
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

function createReceipt(
  { channel }: Draft,
  { epoch, offset, sequence, time, subscribers }: Published,
): Response {
  const stored = sequence === 0
    ? ""
    : `"id":"${formatId(epoch, sequence)}","epoch":"${epoch}","offset":${offset},`;
  return new Response(
    `{"channel":${JSON.stringify(channel)},${stored}"time":"${
      formatTime(time)
    }","subscribers":${subscribers}}`,
    RECEIPT,
  );
}

function acceptsJson(request: Request): boolean {
  return /\bapplication\/(json|\*)/i.test(request.headers.get("accept") ?? "");
}
