/** The methods of the HTTP API that query: presence, history, info. `history_remove` is here too. */
import { encodeInSlices } from "../base/sliced.ts";
import { readHistory } from "../core/history.ts";
import type { Position } from "../core/log.ts";
import { encodePayloadJson, type Message, type Sender } from "../core/message.ts";
import type { Member } from "../core/presence.ts";
import { encodeTags, listTagsWithEvent } from "../core/tags.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import { POSITION_FIELDS } from "./field_names.ts";
import type { Fields } from "./fields.ts";

/** Answers with the members of a channel by client id; those that share an id are numbered. */
export async function presence(context: ApiContext, fields: Fields): Promise<string> {
  const channel = readChannel(context, "presence", fields);
  const members = await encodeInSlices(
    context.hub.presence.byId(channel),
    ([id, member]) => `${JSON.stringify(id)}:${encodeClientInfo(member)}`,
  );
  return `{"presence":{${members.join(",")}}}`;
}

export function presenceStats(context: ApiContext, fields: Fields): string {
  const channel = readChannel(context, "presence", fields);
  const { connections, users } = context.hub.presence.count(channel);
  return JSON.stringify({ num_clients: connections, num_users: users });
}

/**
 * Answers with stored publications, after a position or in reverse before it. Without a limit it answers with the
 * position alone; a negative limit stands for as many as one answer holds.
 */
export async function history(context: ApiContext, fields: Fields): Promise<string> {
  const channel = readChannel(context, "history", fields);
  const asked = fields.integer("limit", -(2 ** 31), 2 ** 31 - 1);
  const reverse = fields.boolean("reverse");
  const since = readSince(context, fields.object("since", POSITION_FIELDS));
  if (reverse && since?.offset === 0) {
    throw fields.refuse("since.offset", "is 0, and no message comes before that");
  }
  const { messages, position } = await readHistory(context.hub, { channel, limit: asked, since, reverse });
  const publications = await encodeInSlices(messages, encodePublication);
  const { epoch, offset } = position;
  return `{"publications":[${publications.join(",")}],"epoch":${JSON.stringify(epoch)},"offset":${offset}}`;
}

export async function historyRemove(context: ApiContext, fields: Fields): Promise<string> {
  const channel = readChannel(context, "history", fields);
  const removed = await context.hub.clear(channel);
  context.logger.write("info", "api call", { method: "history_remove", channel, removed });
  return "{}";
}

/** Answers with all nodes, this one first. */
export function info({ hub }: ApiContext): string {
  const nodes = hub.nodes().map((node) => ({
    uid: node.node,
    name: node.name,
    version: node.version,
    num_clients: node.clients,
    num_users: node.users,
    num_subs: node.subscriptions,
    num_channels: node.channels,
    uptime: Math.max(0, Math.floor((Date.now() - node.startedAt) / 1_000)),
  }));
  return JSON.stringify({ nodes });
}

function readChannel({ gate }: ApiContext, action: "presence" | "history", fields: Fields): string {
  const channel = fields.channel();
  gate.operator.demand(action, channel);
  return channel;
}

function readSince({ hub }: ApiContext, fields: Fields | undefined): Position | undefined {
  if (fields === undefined) return undefined;
  const offset = fields.integer("offset", 0, Number.MAX_SAFE_INTEGER);
  const epoch = fields.string("epoch");
  if (epoch === "" || epoch === hub.top.epoch) return { offset, epoch };
  throw new ApiError(
    "unrecoverablePosition",
    `since.epoch is not that of the engine, ${hub.top.epoch}: the position is lost, read without since`,
  );
}

function encodePublication(message: Message): string {
  const { payload, offset, from, properties } = message;
  const tags = listTagsWithEvent(message);
  const info = from === undefined ? "" : `"info":${encodeClientInfo(from)},`;
  const { key, removed } = properties ?? {};
  return `{"data":${encodePayloadJson(payload)},${info}"offset":${offset}${
    tags === undefined ? "" : `,"tags":${encodeTags(tags)}`
  }${key === undefined ? "" : `,"key":${JSON.stringify(key)}`}${removed ? `,"removed":true` : ""}}`;
}

/** Encodes a client as Centrifugo does. For clients without info, their name becomes the info. */
function encodeClientInfo(client: Sender & Partial<Pick<Member, "channelInfo">>): string {
  const { id, name, user = "", info, channelInfo } = client;
  const shown = info ?? (name === undefined ? undefined : JSON.stringify({ name }));
  let json = `{"user":${JSON.stringify(user)},"client":${JSON.stringify(id)}`;
  if (shown !== undefined) json += `,"conn_info":${shown}`;
  if (channelInfo !== undefined) json += `,"chan_info":${channelInfo}`;
  return json + "}";
}
