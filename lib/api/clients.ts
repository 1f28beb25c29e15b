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
import { END_FIELDS, POSITION_FIELDS } from "./field_names.ts";
import type { Fields } from "./fields.ts";
import type { Position } from "../core/log.ts";
import { compileFilter } from "../core/tag_filter.ts";

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
  if (fields.has("override")) {
    throw new ApiError("notAvailable", "override is not available: channel rules say what a channel has");
  }
  const since = readPosition(fields.object("recover_since", POSITION_FIELDS));
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
    since,
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
  const end = parseEnd(fields.object("disconnect", END_FIELDS));
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
  const info = fields.info();
  const ends = expired || (expires > 0 && expires * 1_000 <= Date.now());
  const command = { ...parseChoice(fields), method: "refresh" };
  return await runOnAllNodes(
    context,
    ends
      ? { ...command, kind: "end", end: EXPIRED, spared: [] }
      : { ...command, kind: "refresh", expires, info },
  );
}

/**
 * A position to go on from; undefined when it is left out. One of another epoch recovers nothing, as clients expect.
 */
function readPosition(fields: Fields | undefined): Position | undefined {
  if (fields === undefined) return undefined;
  const [offset, epoch] = [fields.integer("offset", 0, Number.MAX_SAFE_INTEGER), fields.string("epoch")];
  return offset === 0 && epoch === "" ? undefined : { offset, epoch };
}

/**
 * Selects the clients of `user`, "" for those without one, and of them only `client` if given. Without `user`, `client`
 * selects by id alone. `all_users` without a user, or with an empty one, selects those of all users and those without
 * one. Of them all `label_filter` leaves those whose labels pass it.
 *
 * @throws {ApiError} 107 if the request has neither: leaving both out must not mean all clients
 */
function parseChoice(fields: Fields): Choice {
  let user = fields.optionalString("user");
  const client = fields.string("client");
  const isForAll = fields.boolean("all_users") && (user ?? "") === "";
  if (isForAll) user = undefined;
  else if (user === undefined && client === "") {
    throw fields.refuse("user", 'is required: "" stands for clients without a user');
  }
  // Ignoring a field that changes the choice would act on the wrong clients.
  if (fields.has("session")) {
    throw new ApiError("notAvailable", "session is not available: choose by user and client");
  }
  const labels = fields.has("label_filter") ? fields.filter("label_filter") : undefined;
  // What is wrong with it is said before any node acts.
  if (labels !== undefined) compileFilter(labels);
  return { user, client, labels };
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
