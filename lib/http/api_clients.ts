/**
 * The methods of the HTTP API that act on the clients of a user: subscribe, unsubscribe, disconnect, refresh.
 *
 * Clients whose protocol has no words for it, such as plain sockets, are left alone by all but those methods that
 * end a connection: these reach everybody.
 */
import type { Client } from "../core/client.ts";
import { MessagingError } from "../core/errors.ts";
import { utf8Length } from "../core/message.ts";
import type { ApiContext } from "./api_context.ts";
import { ApiError } from "./api_error.ts";
import type { Fields } from "./api_fields.ts";

/** How a connection or subscription ends, in the codes of the Centrifuge protocol. */
interface End {
  readonly code: number;
  readonly reason: string;
}

const FORCED: End = { code: 3503, reason: "force disconnect" };
const EXPIRED: End = { code: 3005, reason: "connection expired" };
const UNSUBSCRIBED: End = { code: 2000, reason: "server unsubscribe" };

/** Longest reason a close frame has room for, in bytes (RFC 6455 section 5.5). */
const MAX_REASON_BYTES = 123;
/** Characters of a user that are logged. */
const MAX_LOGGED = 100;
const MAX_SECONDS = Number.MAX_SAFE_INTEGER;

export async function subscribe(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  for (const name of ["recover_since", "override"]) {
    if (fields.has(name)) {
      throw new ApiError("notAvailable", `${name} is not available: channel rules say what a channel has`);
    }
  }
  const options = {
    info: fields.info(),
    data: fields.payload(),
    expires: fields.integer("expire_at", 0, MAX_SECONDS),
  };
  return await act(
    context,
    { method: "subscribe", channel },
    fields,
    (client) => client.control?.subscribe(channel, options),
  );
}

export async function unsubscribe(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  const { code, reason } = UNSUBSCRIBED;
  return await act(
    context,
    { method: "unsubscribe", channel },
    fields,
    (client) => client.control?.unsubscribe(channel, code, reason),
  );
}

export async function disconnect(context: ApiContext, fields: Fields): Promise<string> {
  const end = parseEnd(fields.object("disconnect"));
  const spared = new Set(fields.strings("whitelist"));
  return await act(
    context,
    { method: "disconnect" },
    fields,
    (client) => spared.has(client.id) ? undefined : endClient(client, end),
  );
}

/** Moves the end of connections. `expired`, or a moment that is over, ends them: their clients come back. */
export async function refresh(context: ApiContext, fields: Fields): Promise<string> {
  const expired = fields.boolean("expired");
  const expires = fields.integer("expire_at", 0, MAX_SECONDS);
  if (fields.has("info")) {
    throw new ApiError("notAvailable", "info is not available: what others see of a client stays as it is");
  }
  const ends = expired || (expires > 0 && expires * 1_000 <= Date.now());
  return await act(
    context,
    { method: "refresh" },
    fields,
    (client) => ends ? endClient(client, EXPIRED) : client.control?.refresh(expires),
  );
}

/**
 * The clients of `user`, "" for those without one; of them only `client`, if it is named. A client named alone is
 * found whoever's it is.
 *
 * @throws {ApiError} 107 when the request names neither: nobody means everybody by leaving something out
 */
function selectClients({ hub }: ApiContext, fields: Fields): readonly Client[] {
  const user = fields.optionalString("user");
  const id = fields.string("client");
  if (user === undefined && id === "") {
    throw fields.refuse("user", 'is required: "" stands for clients without a user');
  }
  // They would narrow or widen the choice: to overlook one is to act on clients that were not meant.
  for (const name of ["session", "label_filter", "all_users"]) {
    if (fields.has(name)) {
      throw new ApiError("notAvailable", `${name} is not available: choose by user and client`);
    }
  }
  return [...hub.clients].filter((client) =>
    (user === undefined || (client.user ?? "") === user) && (id === "" || client.id === id)
  );
}

function parseEnd(fields: Fields | undefined): End {
  if (fields === undefined) return FORCED;
  const code = fields.integer("code", 3_000, 4_999) || FORCED.code;
  const reason = fields.optionalString("reason") ?? FORCED.reason;
  if (utf8Length(reason) > MAX_REASON_BYTES) {
    throw fields.refuse("reason", `must have at most ${MAX_REASON_BYTES} bytes`);
  }
  if (isJson(reason)) throw fields.refuse("reason", "must be plain text: clients take JSON for instructions");
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

/** Plain clients know no such codes: theirs says whether to come back. */
function endClient(client: Client, { code, reason }: End): void {
  if (client.control !== undefined) return client.control.disconnect(code, reason);
  const terminal = (code >= 3_500 && code < 4_000) || code >= 4_500;
  client.end(new MessagingError(terminal ? "forbidden" : "draining", reason));
}

/**
 * Does something to each client the request names, and answers it. One that fails stops none of the others; one that
 * has left meanwhile is no failure.
 */
async function act(
  context: ApiContext,
  { method, channel }: { readonly method: string; readonly channel?: string },
  fields: Fields,
  action: (client: Client) => unknown,
): Promise<string> {
  const { hub, logger } = context;
  const clients = selectClients(context, fields);
  const outcomes = await Promise.allSettled(clients.map(async (client) => await action(client)));
  const present = outcomes.some(({ status }) => status === "rejected") ? new Set(hub.clients) : undefined;
  let failed = 0;
  outcomes.forEach((outcome, i) => {
    const client = clients[i];
    if (outcome.status === "fulfilled" || client === undefined || !present?.has(client)) return;
    failed++;
    const reason = outcome.reason instanceof Error ? outcome.reason.stack : String(outcome.reason);
    logger.write("error", "api call failed for a client", { method, id: client.id, reason });
  });
  const user = fields.optionalString("user")?.slice(0, MAX_LOGGED);
  logger.write("info", "api call", { method, user, channel, clients: clients.length });
  if (failed === 0) return "{}";
  throw new ApiError(
    "internal",
    `${method} failed for ${failed} of ${clients.length} clients: the server's log says why`,
  );
}
