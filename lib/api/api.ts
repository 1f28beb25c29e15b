/** The HTTP API for backends, `POST /api/<method>`, compatible with Centrifugo's. `app.ts` routes to it. */
import { normalizeChannel } from "../core/channel.ts";
import { MessagingError, toMessagingError } from "../core/errors.ts";
import type { Pass } from "../auth/pass.ts";
import { channels } from "./channels.ts";
import { disconnect, refresh, subscribe, unsubscribe } from "./clients.ts";
import type { ApiContext, ApiMethod } from "./context.ts";
import { ApiError, toApiError } from "./error.ts";
import { BATCH_FIELDS, METHOD_FIELDS } from "./field_names.ts";
import { Fields } from "./fields.ts";
import { type JsonMembers, parseJsonObject } from "../base/json_text.ts";
import { quote } from "../base/quote.ts";
import { nextSlice, SliceClock } from "../base/slices.ts";
import { Slots } from "../base/slots.ts";
import { mapClear, mapPublish, mapReadState, mapRemove, mapStats } from "./maps.ts";
import { broadcast, MAX_BROADCAST_CHANNELS, publish } from "./publish.ts";
import { history, historyRemove, info, presence, presenceStats } from "./queries.ts";
import { cancelScheduled, scheduled } from "./scheduled.ts";
import { readBytes } from "../http/body.ts";
import { createProblem, NO_SNIFFING } from "../http/problem.ts";

export { answerCommands } from "./commands.ts";
export type { ApiContext } from "./context.ts";
export { Versions } from "./versions.ts";

/** Most commands in one batch. */
export const MAX_COMMANDS = 10_000;

/** Fields of a request that are read: no method has so many, and one that is unknown is refused. */
const MAX_FIELDS = 1_000;

/** Characters of an answer to a batch that is encoded at once. */
const MAX_WHOLE_ANSWER = 256 * 1024;
/** Characters of what a batch reads: once there are so many, it reads no more. */
const MAX_READ = 16 * 1024 * 1024;

/** Methods whose answers may be large, and how many of them a batch runs at a time. */
const READS: ReadonlySet<string> = new Set([
  "presence",
  "history",
  "channels",
  "map_read_state",
  "scheduled",
]);
const MAX_READS = 4;

const UTF8 = new TextDecoder("utf-8", { fatal: true });
const ENCODER = new TextEncoder();

/** The methods that tell who is where. */
const ABOUT_PRESENCE: ReadonlySet<string> = new Set(["presence", "presence_stats", "channels"]);

/** What a call works with. */
interface CallContext extends ApiContext {
  /** What the commands of a batch share until one of them may have changed who is where. */
  readonly asked: { untilCurrent: Promise<void> | undefined };
  /** For the commands of a batch that read: how many characters have been read, and their places. */
  readonly reads: { characters: number; readonly slots: Slots };
  /** What the caller may do on channels: without a key, nothing on those that are kept private. */
  readonly pass: Pass;
}

/** All methods except `batch`, which may contain any of them. */
const METHODS: ReadonlyMap<string, ApiMethod> = new Map<string, ApiMethod>([
  ["publish", (context, fields) => publish(context, fields)],
  [
    "broadcast",
    (context, fields) => broadcast(context, fields, (error) => report(context, "broadcast", error).toJson()),
  ],
  ["subscribe", subscribe],
  ["unsubscribe", unsubscribe],
  ["disconnect", disconnect],
  ["refresh", refresh],
  ["presence", presence],
  ["presence_stats", presenceStats],
  ["history", history],
  ["history_remove", historyRemove],
  ["channels", channels],
  ["info", info],
  ["map_publish", mapPublish],
  ["map_remove", mapRemove],
  ["map_read_state", mapReadState],
  ["map_stats", mapStats],
  ["map_clear", mapClear],
  ["scheduled", scheduled],
  ["cancel_scheduled", cancelScheduled],
]);

/**
 * Answers a call; never rejects. If a method fails, the response has status 200 and `{ "error": { code, message } }`
 * or, with `X-Centrifugo-Error-Mode: transport`, the status of the error. A request that is not a valid call gets an
 * HTTP problem: 400, 401, 405, 413.
 */
export async function handleApi(
  request: Request,
  services: Omit<ApiContext, "publisher">,
): Promise<Response> {
  if (request.method !== "POST") {
    const message = `The API is called with POST, not with ${request.method}`;
    return createProblem(new MessagingError("method_not_allowed", message), "POST");
  }
  let context: CallContext;
  try {
    const { publisher } = services.gate.demandOperator(request, "The API");
    const pass = await services.gate.admit(request);
    const reads = { characters: 0, slots: new Slots(MAX_READS) };
    context = { ...services, publisher, pass, reads, asked: { untilCurrent: undefined } };
  } catch (error) {
    return refuseCaller(request, services, toMessagingError(error));
  }
  const method = new URL(request.url).pathname.replace(/^\/api\/?/, "");
  let values: JsonMembers;
  try {
    values = parseObject(await readBytes(request, context));
  } catch (error) {
    report(context, method, error);
    return createProblem(error);
  }
  try {
    const fields = new Fields(values);
    if (method === "batch") return answerBatch(await runBatch(context, fields));
    return createAnswer(`{"result":${await runMethod(context, method, fields)}}`);
  } catch (cause) {
    const error = report(context, method, cause);
    const transport = request.headers.get("x-centrifugo-error-mode")?.toLowerCase() === "transport";
    return transport
      ? createAnswer(error.toJson(), error.status)
      : createAnswer(`{"error":${error.toJson()}}`);
  }
}

async function runMethod(context: CallContext, name: string, fields: Fields): Promise<string> {
  const method = METHODS.get(name);
  if (method === undefined) throw unknownMethod(name, "batch");
  fields.demandKnown(METHOD_FIELDS[name] ?? [], name);
  demandVisible(context, fields);
  const current = findCurrent(context, name);
  if (current !== undefined) await current;
  return await method(context, fields);
}

/** What resolves once other threads have told what a method tells; undefined for a method that tells nothing of them. */
function findCurrent({ asked, hub }: CallContext, name: string): Promise<void> | undefined {
  if (!ABOUT_PRESENCE.has(name)) return asked.untilCurrent = undefined;
  return asked.untilCurrent ??= hub.untilCurrent();
}

/** Channels that a protocol keeps private take a key, even where nobody is asked for one. */
function demandVisible({ pass }: CallContext, fields: Fields): void {
  if (pass.hasKey) return;
  if (fields.has("channel")) pass.demand("subscribe", normalizeChannel(fields.string("channel")));
  if (!fields.has("channels")) return;
  for (const name of fields.strings("channels", MAX_BROADCAST_CHANNELS, "names: send several broadcasts")) {
    pass.demand("subscribe", normalizeChannel(name));
  }
}

function unknownMethod(name: string, ...others: readonly string[]): ApiError {
  const known = [...METHODS.keys(), ...others].join(", ");
  return new ApiError("methodNotFound", `There is no method ${quote(name)}: use one of ${known}`);
}

/**
 * Runs commands one after another or, with `parallel`, all at once, and others' between them. A failed command does not
 * stop the others.
 */
async function runBatch(context: CallContext, fields: Fields): Promise<readonly string[]> {
  fields.demandKnown(BATCH_FIELDS, "batch");
  const commands = fields.list("commands", MAX_COMMANDS, "commands: send several batches");
  const isParallel = fields.boolean("parallel");
  const clock = new SliceClock(1);
  const replies: (string | Promise<string>)[] = [];
  for (const [index, command] of commands.entries()) {
    if (clock.isOver) await clock.next();
    const reply = runCommand(context, command, index);
    replies.push(isParallel ? reply : await reply);
  }
  return await Promise.all(replies);
}

/** Runs one command: an object with the name of a method as its key, and the request as the value. */
async function runCommand(context: CallContext, command: string, index: number): Promise<string> {
  const place = `commands[${index}]`;
  let name = "batch";
  try {
    const members = parseJsonObject(command);
    if (members === undefined) throw new ApiError("badRequest", `${place} must be an object`);
    const named = [...members].filter(([key, json]) => METHODS.has(key) && json !== "null");
    const [first] = named;
    if (first === undefined) throw unknownMethod([...members.keys()][0] ?? "");
    if (named.length > 1) {
      throw new ApiError("badRequest", `${place} must name one method, but names several`);
    }
    const [key, json] = first;
    name = key;
    // Commands of older Centrifugo clients have an id, which the order of the answers makes needless.
    const unknown = [...members].find(([key, json]) => !METHODS.has(key) && key !== "id" && json !== "null");
    if (unknown !== undefined) {
      throw new ApiError(
        "badRequest",
        `${place} has ${quote(unknown[0])} beside ${name}: one method, and nothing else`,
      );
    }
    const request = parseJsonObject(json);
    if (request === undefined) throw new ApiError("badRequest", `${place}.${name} must be an object`);
    const fields = new Fields(request);
    const result = READS.has(name)
      ? await context.reads.slots.run(() => read(context, name, fields))
      : await runMethod(context, name, fields);
    return `{"${name}":${result}}`;
  } catch (error) {
    return `{"error":${report(context, name, error).toJson()}}`;
  }
}

/** Runs a method that may answer much. @throws {ApiError} when the batch has read as much as it may */
async function read(context: CallContext, name: string, fields: Fields): Promise<string> {
  const { reads } = context;
  if (reads.characters >= MAX_READ) {
    throw new ApiError(
      "limitExceeded",
      `This batch has read ${MAX_READ} characters and more: read the rest with another one`,
    );
  }
  const result = await runMethod(context, name, fields);
  reads.characters += result.length;
  return result;
}

/** Logs and counts a failure. An unexpected one is logged with its stack; a refusal is not, though Centrifugo has no code for it. */
function report({ hub, logger }: ApiContext, method: string, cause: unknown): ApiError {
  const error = toApiError(cause);
  const shown = METHODS.has(method) || method === "batch" ? method : quote(method);
  const code = cause instanceof MessagingError ? cause.code : error.counter;
  hub.metrics.refused(code, { what: `POST /api/${shown}`, message: error.message });
  const isRefusal = cause instanceof MessagingError && cause.cause === undefined;
  if (error.kind === "internal" && error !== cause && !isRefusal) {
    const reason = error.cause instanceof Error ? error.cause.stack : String(error.cause);
    logger.write("error", "api call failed", { method: shown, reason });
  } else logger.write("warn", "api call refused", { method: shown, code: error.code, reason: error.message });
  return error;
}

function parseObject(bytes: Uint8Array): JsonMembers {
  let members: JsonMembers | undefined;
  try {
    members = parseJsonObject(UTF8.decode(bytes), (_name, kept) => kept < MAX_FIELDS);
  } catch (cause) {
    const detail = cause instanceof SyntaxError ? cause.message : "it is not UTF-8";
    throw new MessagingError("bad_body", `The body is not JSON (${detail}): send an object`, { cause });
  }
  if (members !== undefined) return members;
  throw new MessagingError("bad_body", "The body is JSON but not an object: send at least {}");
}

/** Answers a batch: at once, or what is large as fast as it is taken, as to encode it takes long. */
function answerBatch(replies: readonly string[]): Response {
  if (replies.reduce((sum, { length }) => sum + length, 0) <= MAX_WHOLE_ANSWER) {
    return createAnswer(`{"replies":[${replies.join(",")}]}`);
  }
  let next = 0;
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      await nextSlice();
      let text = next === 0 ? '{"replies":[' : "";
      do text += (next === 0 ? "" : ",") + replies[next++]; while (
        next < replies.length && text.length < MAX_WHOLE_ANSWER
      );
      const isLast = next === replies.length;
      controller.enqueue(ENCODER.encode(isLast ? `${text}]}\n` : text));
      if (isLast) controller.close();
    },
  }, { highWaterMark: 0 });
  return createAnswer(body);
}

function createAnswer(content: string | ReadableStream<Uint8Array<ArrayBuffer>>, status = 200): Response {
  return new Response(typeof content === "string" ? content + "\n" : content, {
    status,
    headers: { "content-type": "application/json", "cache-control": "no-store", ...NO_SNIFFING },
  });
}

function refuseCaller(
  request: Request,
  { hub, logger }: Pick<ApiContext, "hub" | "logger">,
  error: MessagingError,
): Response {
  const { code, message } = error;
  logger.write("warn", "api call refused", { reason: message });
  hub.metrics.refused(code, { what: `POST ${new URL(request.url).pathname}`, message });
  const response = createProblem(error);
  response.headers.set("www-authenticate", "apikey");
  return response;
}
