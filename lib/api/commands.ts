/**
 * Commands to the clients of a user, on all nodes. Methods of the HTTP API create them, and each node carries them out
 * for its local clients.
 */
import { SliceClock } from "../base/slices.ts";
import type { Client } from "../core/client.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import { MessagingError } from "../core/errors.ts";
import type { Position } from "../core/log.ts";
import type { Payload } from "../core/message.ts";
import { compileFilter, type FilterNode } from "../core/tag_filter.ts";
import type { Tags } from "../core/tags.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";

/** How a connection or subscription ends, in the codes of the Centrifuge protocol. */
export interface End {
  readonly code: number;
  readonly reason: string;
}

/** Selects clients by user, "" for those without one, by client id, or by both; all by neither. */
export interface Choice {
  readonly user: string | undefined;
  readonly client: string;
  /** Of those, the ones whose labels pass it. */
  readonly labels?: FilterNode | undefined;
}

/** One command. Plain JSON, except for the bytes of a payload. */
export type Command =
  & Choice
  & { readonly method: string }
  & (
    | {
      readonly kind: "subscribe";
      readonly channel: string;
      readonly info: string | undefined;
      readonly data: Payload | undefined;
      readonly expires: number;
      readonly since: Position | undefined;
    }
    | { readonly kind: "unsubscribe"; readonly channel: string; readonly end: End }
    | { readonly kind: "end"; readonly end: End; readonly spared: readonly string[] }
    | { readonly kind: "refresh"; readonly expires: number; readonly info: string | undefined }
  );

/** The number of clients that a command was for, and of those for which it failed. */
interface Tally {
  readonly clients: number;
  readonly failed: number;
}

/** The method by which nodes send each other commands. */
const CALL = "api.command";

const NO_LABELS: Tags = new Map();

/** Characters of a user name that are logged. */
const MAX_LOGGED = 100;

/** Handles the commands of other nodes. */
export function answerCommands(context: ApiContext, cluster: Cluster): void {
  cluster.handle(CALL, (body) => runLocally(context, decodeCommand(body)));
}

/**
 * Carries out a command on all nodes and returns the result of the request. A failure for one client does not stop the
 * others; a client that disconnects meanwhile does not count as a failure.
 *
 * @throws {ApiError} if it failed for a client, or a node did not confirm it
 */
export async function runOnAllNodes(context: ApiContext, command: Command): Promise<string> {
  const { cluster, logger } = context;
  const remote = cluster?.callAll(CALL, encodeCommand(command));
  // Carried out locally even if the call to the peers fails.
  const [local, fromPeers] = await Promise.allSettled([runLocally(context, command), remote]);
  if (local.status === "rejected") throw local.reason;
  if (fromPeers.status === "rejected") throw toCallError(fromPeers.reason);
  let { clients, failed } = local.value;
  const unsure: string[] = [];
  for (const [node, outcome] of fromPeers.value ?? []) {
    if (outcome.kind === "answered") {
      const tally = outcome.body as Tally;
      clients += tally.clients;
      failed += tally.failed;
    } else {
      unsure.push(node);
      const reason = outcome.kind === "failed" ? outcome.reason : "no answer";
      logger.write("error", "api call failed on a node", { method: command.method, node, reason });
    }
  }
  const user = command.user?.slice(0, MAX_LOGGED);
  const channel = "channel" in command ? command.channel : undefined;
  logger.write("info", "api call", { method: command.method, user, channel, clients });
  if (unsure.length > 0) {
    throw new ApiError(
      "internal",
      `${command.method} was not confirmed by the node ${
        unsure.join(", ")
      }: its clients may not have been reached`,
    );
  }
  if (failed === 0) return "{}";
  throw new ApiError(
    "internal",
    `${command.method} failed for ${failed} of ${clients} clients: the server's log says why`,
  );
}

async function runLocally({ hub, logger }: ApiContext, command: Command): Promise<Tally> {
  const { method, user, client: id, labels } = command;
  const passes = labels === undefined ? () => true : compileFilter(labels);
  const isChosen = (client: Client) =>
    (user === undefined || (client.user ?? "") === user) && (id === "" || client.id === id) &&
    passes(client.labels ?? NO_LABELS);
  const clock = new SliceClock();
  const acting: Promise<Failure | undefined>[] = [];
  // Those that are here now, in slices: it may be all there are.
  for (const client of [...hub.clients]) {
    if (clock.isOver) await clock.next();
    if (isChosen(client)) acting.push(attempt(client, command));
  }
  const failures = (await Promise.all(acting)).filter((failure) => failure !== undefined);
  const present = failures.length > 0 ? new Set(hub.clients) : undefined;
  let failed = 0;
  for (const { client, cause } of failures) {
    if (!present?.has(client)) continue;
    failed++;
    const reason = cause instanceof Error ? cause.stack : String(cause);
    logger.write("error", "api call failed for a client", { method, id: client.id, reason });
  }
  return { clients: acting.length, failed };
}

interface Failure {
  readonly client: Client;
  readonly cause: unknown;
}

/** Carries out a command for one client; never rejects. */
async function attempt(client: Client, command: Command): Promise<Failure | undefined> {
  try {
    await act(client, command);
    return undefined;
  } catch (cause) {
    return { client, cause };
  }
}

/** Carries out a command for one client. Skips clients whose protocol has no such command, except to end them. */
function act(client: Client, command: Command): unknown {
  const { control } = client;
  switch (command.kind) {
    case "subscribe": {
      const { channel, info, data, expires, since } = command;
      return control?.subscribe(channel, { info, data, expires, ...(since === undefined ? {} : { since }) });
    }
    case "unsubscribe":
      return control?.unsubscribe(command.channel, command.end.code, command.end.reason);
    case "end":
      return command.spared.includes(client.id) ? undefined : endClient(client, command.end);
    case "refresh":
      return command.info === undefined
        ? control?.refresh(command.expires)
        : control?.refresh(command.expires, command.info);
  }
}

/** Ends a client. Protocols without these codes get an error that says whether to reconnect. */
function endClient(client: Client, { code, reason }: End): void {
  if (client.control !== undefined) return client.control.disconnect(code, reason);
  const terminal = (code >= 3_500 && code < 4_000) || code >= 4_500;
  client.end(new MessagingError(terminal ? "forbidden" : "draining", reason));
}

function encodeCommand(command: Command): unknown {
  if (command.kind !== "subscribe" || command.data?.kind !== "bytes") return command;
  return { ...command, data: { kind: "bytes", base64: command.data.bytes.toBase64() } };
}

function decodeCommand(body: unknown): Command {
  const command = body as Command;
  if (command.kind !== "subscribe" || command.data?.kind !== "bytes") return command;
  const { base64 } = command.data as unknown as { base64: string };
  return { ...command, data: { kind: "bytes", bytes: Uint8Array.fromBase64(base64) } };
}

function toCallError(error: unknown): unknown {
  return error instanceof RangeError ? new ApiError("badRequest", error.message, { cause: error }) : error;
}
