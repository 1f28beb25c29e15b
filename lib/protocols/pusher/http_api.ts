/**
 * Pusher's HTTP API below `/apps/{id}`, which applications' servers call with signed requests
 * (https://pusher.com/docs/channels/library_auth_reference/rest-api/). Errors are plain text, as their libraries
 * expect.
 */
import { type Context, Hono } from "hono";
import { parseChannel } from "../../core/channel.ts";
import { createDraft } from "../../core/draft.ts";
import { type ErrorCode, MessagingError, toMessagingError } from "../../core/errors.ts";
import { readBytes } from "../../http/body.ts";
import { encodeInSlices } from "../../base/sliced.ts";
import { SliceClock } from "../../base/slices.ts";
import { utf8Length } from "../../base/utf8.ts";
import type { Env } from "../protocol.ts";
import type { MountedApp } from "./apps.ts";
import { isChannelName, isSocketId, parseKind } from "./channel_name.ts";
import type { PusherContext } from "./context.ts";
import { CLOSE } from "./errors.ts";
import { toEventPayload } from "./frames.ts";
import { listUsers } from "./rooms.ts";
import { findSignatureFault } from "./signature.ts";

const MAX_CHANNELS = 100;
const MAX_BATCH = 10;
const MAX_EVENT_NAME = 200;
const MAX_USERS_CHANNEL = 200;

/** What may be asked of a channel; the last event of a cache channel is not told here. */
const ATTRIBUTES: ReadonlySet<string> = new Set(["user_count", "subscription_count", "cache"]);

/** The call by which nodes end the connections of a user. */
const TERMINATE = "pusher.terminate";

/** What refusals are counted as. */
const HTTP_CODES: Readonly<Record<number, ErrorCode>> = {
  401: "unauthorized",
  403: "forbidden",
  404: "not_found",
  413: "too_large",
};

/** An answer that is not the good one. */
class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** An answer that is JSON already. */
class JsonText {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** A signed request, its body read. */
interface Call {
  readonly app: MountedApp;
  readonly body: Readonly<Record<string, unknown>>;
  readonly query: URLSearchParams;
  param(name: string): string;
}

interface Event {
  readonly name: string;
  readonly data: string;
  readonly channels: readonly string[];
  readonly socketId: string | undefined;
  readonly info: readonly string[];
}

/** The routes of the API, to be mounted at `/`. */
export function createApiRoutes(context: PusherContext): Hono<Env> {
  const routes = new Hono<Env>();
  context.cluster?.handle(TERMINATE, (body) => {
    const { app, user } = body as { app: string; user: string };
    return terminate(context, app, user);
  });
  const answer = (handle: (context: PusherContext, call: Call) => unknown) => async (c: Context<Env>) => {
    try {
      const call = await admit(context, c);
      await context.hub.untilCurrent();
      const result = await handle(context, call);
      const text = result instanceof JsonText ? result.text : JSON.stringify(result);
      return new Response(text, {
        headers: { "content-type": "application/json", "cache-control": "no-store" },
      });
    } catch (error) {
      return refuse(context, c, error);
    }
  };
  routes.post("/apps/:id/events", answer(trigger));
  routes.post("/apps/:id/batch_events", answer(triggerBatch));
  routes.get("/apps/:id/channels", answer(listChannels));
  routes.get("/apps/:id/channels/:channel", answer(describeChannel));
  routes.get("/apps/:id/channels/:channel/users", answer(listChannelUsers));
  routes.post("/apps/:id/users/:user/terminate_connections", answer(terminateConnections));
  routes.all(
    "/apps/*",
    (c) => refuse(context, c, new HttpError(404, "There is no such endpoint of the Pusher API")),
  );
  return routes;
}

/** Reads and checks a request: the app, the signature over what was sent, then the body. */
async function admit({ apps, settings }: PusherContext, c: Context<Env>): Promise<Call> {
  const app = apps.findById(c.req.param("id") ?? "");
  if (app === undefined) throw new HttpError(404, "There is no app with this id");
  const bytes = await readBytes(c.req.raw, settings);
  const { searchParams: query } = new URL(c.req.url);
  const now = Date.now();
  const fault = findSignatureFault(app, c.req.raw, bytes, now);
  if (fault !== undefined) {
    const other = apps.findByKey(query.get("auth_key") ?? "");
    if (
      other !== undefined && other !== app && findSignatureFault(other, c.req.raw, bytes, now) === undefined
    ) {
      throw new HttpError(403, "This is another app than the one whose key signed: check the app id");
    }
    throw new HttpError(401, `Not signed by the app: ${fault}`);
  }
  if (!app.enabled) throw new HttpError(403, "The app is disabled");
  return {
    app,
    body: bytes.byteLength === 0 ? {} : parseBody(bytes),
    query,
    param: (name) => c.req.param(name) ?? "",
  };
}

function parseBody(bytes: Uint8Array): Call["body"] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new HttpError(400, "The body is not JSON");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Call["body"];
  throw new HttpError(400, "The body must be a JSON object");
}

async function trigger(context: PusherContext, { app, body }: Call): Promise<unknown> {
  const event = parseEvent(app, body);
  await publish(context, app, event);
  return await describeChannels(context, app, event);
}

async function triggerBatch(context: PusherContext, { app, body }: Call): Promise<unknown> {
  const { batch } = body;
  if (!Array.isArray(batch)) throw new HttpError(400, "batch must be an array of events");
  if (batch.length > MAX_BATCH) throw new HttpError(400, `Batch too large (> ${MAX_BATCH})`);
  // All are checked before one is published.
  const events = batch.map((value) => parseEvent(app, value ?? {}));
  await Promise.all(events.map((event) => publish(context, app, event)));
  if (events.every(({ info }) => info.length === 0)) return {};
  const described: unknown[] = [];
  for (const { channels: [channel = ""], info } of events) {
    described.push(info.length === 0 ? {} : await describe(context, app, channel, info));
  }
  return { batch: described };
}

/** @throws {HttpError} 400 or 413 */
function parseEvent(app: MountedApp, value: Readonly<Record<string, unknown>>): Event {
  const { name, data, channel, channels, socket_id: socketId, info } = value;
  if (typeof name !== "string" || name === "") {
    throw new HttpError(400, "name is required, the name of the event");
  }
  if (name.length > MAX_EVENT_NAME) {
    throw new HttpError(400, `The event's name has more than ${MAX_EVENT_NAME} characters`);
  }
  if (data === undefined) throw new HttpError(400, "data is required, as a string");
  const text = typeof data === "string" ? data : JSON.stringify(data);
  const size = utf8Length(text);
  if (size > app.maxEventBytes) {
    throw new HttpError(
      413,
      `The data content of this event exceeds the allowed maximum (${app.maxEventBytes} bytes)`,
    );
  }
  const names = channels ?? (channel === undefined ? [] : [channel]);
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === "string")) {
    throw new HttpError(400, "channel or channels is required, with the names of the channels");
  }
  if (names.length > MAX_CHANNELS) throw new HttpError(400, `At most ${MAX_CHANNELS} channels at once`);
  if (new Set(names).size > 1 && names.some((name) => parseKind(name).isEncrypted)) {
    throw new HttpError(400, "An encrypted event goes to one channel, whose key encrypts it");
  }
  for (const name of names) checkChannel(app, name);
  if (
    socketId !== undefined && socketId !== null && (typeof socketId !== "string" || !isSocketId(socketId))
  ) {
    throw new HttpError(400, "Invalid socket id: it has the form 123.456");
  }
  return {
    name,
    data: text,
    channels: [...new Set(names)],
    socketId: typeof socketId === "string" ? socketId : undefined,
    info: parseInfo(typeof info === "string" ? info : ""),
  };
}

/** @throws {HttpError} 400 */
function checkChannel(app: MountedApp, name: string): void {
  try {
    if (!isChannelName(name)) {
      throw new SyntaxError(`Invalid channel name ${JSON.stringify(name.slice(0, 60))}`);
    }
    parseChannel(app.prefix + name);
  } catch (error) {
    throw new HttpError(400, error instanceof Error ? error.message : String(error));
  }
}

/** @throws {HttpError} 400 for what is known of no channel */
function parseInfo(text: string): readonly string[] {
  const names = text.split(",").map((name) => name.trim()).filter((name) => name !== "");
  const unknown = names.find((name) => !ATTRIBUTES.has(name));
  if (unknown === undefined) return names;
  throw new HttpError(400, `There is no attribute ${JSON.stringify(unknown.slice(0, 60))}`);
}

async function publish({ hub }: PusherContext, app: MountedApp, event: Event): Promise<void> {
  const payload = toEventPayload(event.data);
  const { name, socketId } = event;
  await Promise.all(event.channels.map((channel) =>
    hub.publish(createDraft({
      channel: app.prefix + channel,
      payload,
      event: name,
      socketId,
      // An event to a user is for connections that are there, as everywhere in Pusher.
      ephemeral: parseKind(channel).user !== undefined,
    }))
  ));
}

async function describeChannels(
  context: PusherContext,
  app: MountedApp,
  { channels, info }: Event,
): Promise<unknown> {
  if (info.length === 0) return {};
  const described: [string, unknown][] = [];
  for (const name of channels) described.push([name, await describe(context, app, name, info)]);
  return { channels: Object.fromEntries(described) };
}

/** What is known of a channel, of what is asked for: users are counted on presence channels alone. */
async function describe(
  { hub }: PusherContext,
  app: MountedApp,
  name: string,
  info: readonly string[],
): Promise<Readonly<Record<string, unknown>>> {
  const channel = app.prefix + name;
  const { isPresence } = parseKind(name);
  const described: Record<string, unknown> = {};
  for (const attribute of info) {
    if (attribute === "user_count") {
      if (isPresence) described.user_count = (await listUsers(hub, channel)).size;
    } else if (attribute === "subscription_count") {
      described.subscription_count = hub.presence.count(channel).connections;
    }
  }
  return described;
}

async function listChannels(context: PusherContext, { app, query }: Call): Promise<JsonText> {
  const prefix = query.get("filter_by_prefix") ?? "";
  const info = parseInfo(query.get("info") ?? "");
  if (info.includes("user_count") && !prefix.startsWith("presence-")) {
    throw new HttpError(
      400,
      "user_count may only be requested for presence channels: add filter_by_prefix=presence-",
    );
  }
  // What was left and subscribed to meanwhile comes a second time.
  const channels = new Map<string, string>();
  const clock = new SliceClock();
  for (const { channel } of context.hub.listChannels()) {
    if (clock.isOver) await clock.next();
    if (!channel.startsWith(app.prefix + prefix)) continue;
    const name = channel.slice(app.prefix.length);
    if (!isChannelName(name)) continue;
    const described = info.length === 0 ? {} : await describe(context, app, name, info);
    channels.set(name, `${JSON.stringify(name)}:${JSON.stringify(described)}`);
  }
  return new JsonText(`{"channels":{${[...channels.values()].join(",")}}}`);
}

async function describeChannel(
  context: PusherContext,
  { app, query, param }: Call,
): Promise<unknown> {
  const name = param("channel");
  checkChannel(app, name);
  const info = parseInfo(query.get("info") ?? "");
  if (info.includes("user_count") && !parseKind(name).isPresence) {
    throw new HttpError(400, "user_count may only be requested for presence channels");
  }
  const occupied = context.hub.presence.count(app.prefix + name).connections > 0;
  return { occupied, ...await describe(context, app, name, info) };
}

async function listChannelUsers({ hub }: PusherContext, { app, param }: Call): Promise<JsonText> {
  const name = param("channel");
  if (name.length > MAX_USERS_CHANNEL || !parseKind(name).isPresence) {
    throw new HttpError(400, "Users can only be retrieved for presence channels");
  }
  const users = await encodeInSlices(
    await listUsers(hub, app.prefix + name),
    (id) => `{"id":${JSON.stringify(id)}}`,
  );
  return new JsonText(`{"users":[${users.join(",")}]}`);
}

async function terminateConnections(context: PusherContext, { app, param }: Call): Promise<unknown> {
  const user = param("user");
  terminate(context, app.id, user);
  const outcomes = await context.cluster?.callAll(TERMINATE, { app: app.id, user });
  for (const [node, outcome] of outcomes ?? []) {
    if (outcome.kind === "answered") continue;
    context.logger.write("error", "terminating connections failed on a node", { node });
    throw new HttpError(500, `The node ${node} did not confirm: its connections may go on`);
  }
  return {};
}

/** Ends the connections of a user on this node; answers how many. */
function terminate({ sessions }: PusherContext, app: string, user: string): number {
  const ended = [...sessions].filter((session) => session.app.id === app && session.user === user);
  for (const session of ended) session.hangUp(CLOSE.unauthorized, "You got disconnected by the app");
  return ended.length;
}

/** Errors as text with a status. */
function refuse({ hub, logger }: PusherContext, c: Context<Env>, cause: unknown): Response {
  const what = `${c.req.method} ${new URL(c.req.url).pathname}`;
  if (cause instanceof HttpError) {
    const code = HTTP_CODES[cause.status] ?? "bad_request";
    hub.metrics.refused(code, { what, message: cause.message, address: c.env.peer.address });
    logger.write("warn", "pusher request refused", { code, reason: cause.message });
    return new Response(`${cause.message}\n`, { status: cause.status });
  }
  const error: MessagingError = toMessagingError(cause);
  hub.metrics.refused(error.code, { what, message: error.message, address: c.env.peer.address });
  if (error.code === "internal") {
    const reason = error.cause instanceof Error ? error.cause.stack : String(error.cause);
    logger.write("error", "pusher request failed", { reason });
  }
  return new Response(`${error.message}\n`, { status: error.status });
}
