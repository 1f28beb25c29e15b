/**
 * The methods of the HTTP API that act on the clients of a user, on all nodes: subscribe, unsubscribe, disconnect,
 * refresh.
 *
 * Clients whose protocol has no such commands, such as plain WebSockets, are skipped, except by methods that end a
 * connection.
 */
import { utf8Length } from "../base/utf8.ts";
import { type Choice, type End, runOnAllNodes } from "./commands.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import type { Fields } from "./fields.ts";

const FORCED: End = { code: 3503, reason: "force disconnect" };
const EXPIRED: End = { code: 3005, reason: "connection expired" };
const UNSUBSCRIBED: End = { code: 2000, reason: "server unsubscribe" };

/** Longest reason of a close frame, in bytes (RFC 6455 section 5.5). */
const MAX_REASON_BYTES = 123;
/** Most clients that one call spares. */
const MAX_SPARED = 1_000;
const MAX_SECONDS = Number.MAX_SAFE_INTEGER;

export async function subscribe(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  for (const name of ["recover_since", "override"]) {
    if (fields.has(name)) {
      throw new ApiError("notAvailable", `${name} is not available: channel rules say what a channel has`);
    }
  }
  const info = fields.info();
  const data = fields.payload();
  const expires = fields.integer("expire_at", 0, MAX_SECONDS);
  const choice = parseChoice(fields);
  return await runOnAllNodes(context, {
    ...choice,
    method: "subscribe",
    kind: "subscribe",
    channel,
    info,
    data,
    expires,
  });
}

export async function unsubscribe(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  const choice = parseChoice(fields);
  return await runOnAllNodes(context, {
    ...choice,
    method: "unsubscribe",
    kind: "unsubscribe",
    channel,
    end: UNSUBSCRIBED,
  });
}

export async function disconnect(context: ApiContext, fields: Fields): Promise<string> {
  const end = parseEnd(fields.object("disconnect"));
  const spared = fields.strings("whitelist", MAX_SPARED, "clients: name fewer");
  return await runOnAllNodes(context, {
    ...parseChoice(fields),
    method: "disconnect",
    kind: "end",
    end,
    spared,
  });
}

/** Sets when connections expire. `expired`, or a time in the past, ends them; their clients reconnect. */
export async function refresh(context: ApiContext, fields: Fields): Promise<string> {
  const expired = fields.boolean("expired");
  const expires = fields.integer("expire_at", 0, MAX_SECONDS);
  if (fields.has("info")) {
    throw new ApiError("notAvailable", "info is not available: the info of a connection cannot be changed");
  }
  const ends = expired || (expires > 0 && expires * 1_000 <= Date.now());
  const command = { ...parseChoice(fields), method: "refresh" };
  return await runOnAllNodes(
    context,
    ends ? { ...command, kind: "end", end: EXPIRED, spared: [] } : { ...command, kind: "refresh", expires },
  );
}

/**
 * Selects the clients of `user`, "" for those without one, and of them only `client` if given. Without `user`, `client`
 * selects by id alone.
 *
 * @throws {ApiError} 107 if the request has neither: leaving both out must not mean all clients
 */
function parseChoice(fields: Fields): Choice {
  const user = fields.optionalString("user");
  const client = fields.string("client");
  if (user === undefined && client === "") {
    throw fields.refuse("user", 'is required: "" stands for clients without a user');
  }
  // Ignoring a field that changes the choice would act on the wrong clients.
  for (const name of ["session", "label_filter", "all_users"]) {
    if (fields.has(name)) {
      throw new ApiError("notAvailable", `${name} is not available: choose by user and client`);
    }
  }
  return { user, client };
}

function parseEnd(fields: Fields | undefined): End {
  if (fields === undefined) return FORCED;
  const code = fields.integer("code", 3_000, 4_999) || FORCED.code;
  const reason = fields.optionalString("reason") ?? FORCED.reason;
  if (utf8Length(reason) > MAX_REASON_BYTES) {
    throw fields.refuse("reason", `must have at most ${MAX_REASON_BYTES} bytes`);
  }
  if (isJson(reason)) {
    throw fields.refuse("reason", "must be plain text: clients would parse JSON as instructions");
  }
  return { code, reason };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
