/** `POST` and `PUT` on a channel or on `/@id`: one message from an HTTP request to the hub. */
import { decodePath, directChannel, parseChannelPath } from "../../core/channel.ts";
import { parseClientId, parseClientName } from "../../core/client.ts";
import { MessagingError } from "../../core/errors.ts";
import type { Hub, Published } from "../../core/hub.ts";
import type { Limits } from "../../core/limits.ts";
import { type Draft, formatId, formatTime, type Sender } from "../../core/message.ts";
import { type Access, demandTrust, type Pass } from "../../auth/access.ts";
import { checkIdentity } from "../../http/identity.ts";
import { type BodyLimits, parseBody, readBytes } from "../../http/body.ts";
import { quote } from "../../base/quote.ts";
import { parseOr } from "../../http/problem.ts";

export interface PublishContext extends BodyLimits {
  readonly hub: Hub;
  readonly access: Access;
  readonly limits: Limits;
  /** IP address of who sent the request. */
  readonly address: string;
}

/** The channel on which everything comes back to its sender. */
const ECHO = "echo";

/** Event names that are the server's own in an event stream, or EventSource's own in a browser. */
const RESERVED_EVENTS: ReadonlySet<string> = new Set(["gap", "open", "error"]);
const MAX_EVENT_LENGTH = 100;
const MAX_KEY_LENGTH = 255;
const MAX_TTL_SECONDS = 10 * 365 * 24 * 60 * 60;
const OPTION_NAMES = ["event", "to", "ttl", "ephemeral"] as const;

const RECEIPT: ResponseInit = { headers: { "content-type": "application/json" } };

/** URLs that the parser leaves as they are: no dots, no escapes, no query. */
const PLAIN_URL = /^https?:\/\/[^/?#]+(\/[\w\-/]*)$/;

type Options = Pick<Draft, (typeof OPTION_NAMES)[number]>;

/** Publishes the body of a request. The answer comes after the message is stored. */
export async function handlePublish(request: Request, context: PublishContext): Promise<Response> {
  const { pathname, search } = splitUrl(request.url);
  const target = parseTarget(pathname);
  const { access, limits, hub, address } = context;
  const pass = target.channel === ECHO ? undefined : await access.admit(request);
  if (target.to !== undefined && pass !== undefined) demandTrust(pass, "A message to one client");
  else pass?.demand("publish", target.channel);
  // Backends publish as fast as they like.
  if (!pass?.hasKey) limits.countPublish(address, pass?.user);
  const { id, name, ...options } = parseQuery(search);
  if (pass !== undefined) checkIdentity({ id, name }, pass, hub, address);
  const from = pass && parseSender(pass, id, name);
  const idempotencyKey = parseIdempotencyKey(request.headers.get("idempotency-key"));
  const bytes = await readBytes(request, context);
  const body = parseBody(bytes, request.headers);
  if (target.channel === ECHO) return createEcho(request, bytes);
  const parsed = parseOptions({ ...body.options, ...options });
  const addressee = target.to ?? parsed.to;
  if (target.to !== undefined && parsed.to !== undefined) {
    throw new MessagingError("bad_option", `The path says whom this is for: leave out "to"`);
  }
  if (addressee !== undefined && parsed.ttl !== undefined) {
    throw new MessagingError("bad_option", `A message for one client is not kept: leave out "ttl"`);
  }
  const draft: Draft = {
    payload: body.payload,
    ...parsed,
    ...target,
    ...(from === undefined ? {} : { from }),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  };
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
  return search === "" ? {} : Object.fromEntries(new URLSearchParams(search));
}

/** A channel's path, or `/@id` for one client. */
function parseTarget(path: string): { channel: string; to?: string } {
  return parseOr("bad_channel", () => {
    if (!path.startsWith("/@")) return { channel: parseChannelPath(path) };
    const id = parseClientId(decodePath(path.slice(2)));
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
  if (
    // A line end would forge fields of an event stream.
    typeof value !== "string" || value.length > MAX_EVENT_LENGTH ||
    value === "" || /\p{Cc}/u.test(value)
  ) {
    throw new MessagingError(
      "bad_option",
      `event must be 1 to ${MAX_EVENT_LENGTH} characters without control characters`,
    );
  }
  if (RESERVED_EVENTS.has(value)) {
    throw new MessagingError("bad_option", `The event name "${value}" is taken: choose another`);
  }
  return value;
}

function parseTtl(value: unknown): number {
  const seconds = Number(value);
  if (!/^\d+$/.test(String(value)) || seconds < 1 || seconds > MAX_TTL_SECONDS) {
    throw new MessagingError(
      "bad_option",
      `ttl must be a whole number of seconds from 1 to ${MAX_TTL_SECONDS}`,
    );
  }
  return seconds;
}

function parseSwitch(name: string, value: unknown): boolean {
  if (["", "1", "true"].includes(String(value))) return true;
  if (["0", "false"].includes(String(value))) return false;
  throw new MessagingError("bad_option", `${name} must be true or false`);
}

function parseIdempotencyKey(value: string | null): string | undefined {
  if (value === null) return undefined;
  if (value.length === 0 || value.length > MAX_KEY_LENGTH) {
    throw new MessagingError("bad_option", `Idempotency-Key must have 1 to ${MAX_KEY_LENGTH} characters`);
  }
  return value;
}

function createEcho(request: Request, bytes: Uint8Array<ArrayBuffer>): Response {
  // The type is the client's own word: sniffing and scripts are off, so that no echo becomes a page of ours.
  return new Response(bytes, {
    headers: {
      "content-type": request.headers.get("content-type") ?? "text/plain; charset=utf-8",
      "content-security-policy": "sandbox",
      "x-content-type-options": "nosniff",
    },
  });
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
  return /\bapplication\/(json|\*)/.test(request.headers.get("accept") ?? "");
}
