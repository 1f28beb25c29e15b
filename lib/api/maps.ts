/** The methods of the HTTP API on the maps of channels. Setting a key is a publish, with the key. */
import { encodeInSlices } from "../base/sliced.ts";
import { selectChannel } from "../core/channel.ts";
import { MAX_HISTORY_BYTES } from "../core/history.ts";
import { encodePayloadJson, type Message } from "../core/message.ts";
import { encodeTags, listTags } from "../core/tags.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import type { Fields } from "./fields.ts";
import { publish } from "./publish.ts";
import { historyRemove } from "./queries.ts";

/** Keys of one page: by default, and at most. */
const PAGE_KEYS = 100;
const MAX_PAGE_KEYS = 1_000;

/** What Centrifugo's method has and this one does not. */
const MISSING = ["key_mode", "score", "stream_data", "b64stream_data"];

/** Sets a key: `publish` with a key that is required. */
export async function mapPublish(context: ApiContext, fields: Fields): Promise<string> {
  readKey(fields);
  for (const name of MISSING) {
    if (fields.has(name)) throw new ApiError("notAvailable", `${name} is not available here: leave it out`);
  }
  if (fields.boolean("removed")) throw fields.refuse("removed", "is not for map_publish: call map_remove");
  return await publish(context, fields);
}

/** Removes a key. One that is not there is left alone, and the answer says so. */
export async function mapRemove(context: ApiContext, fields: Fields): Promise<string> {
  const channel = fields.channel();
  const key = readKey(fields);
  if (await context.hub.maps.has(channel, key)) return await publish(context, fields, { isRemoval: true });
  const { offset, epoch } = await readTop(context, channel);
  return JSON.stringify({ offset, epoch, suppressed: true, suppress_reason: "key_not_found" });
}

/** Answers with the values of a map, page by page in the order of their keys, or with that of one key. */
export async function mapReadState(context: ApiContext, fields: Fields): Promise<string> {
  const channel = readChannel(context, fields);
  const asked = fields.integer("limit", -1, 2 ** 31 - 1);
  const cursor = fields.string("cursor");
  const key = fields.string("key");
  const map = await context.hub.maps.find(channel);
  // Everything up to this position is in the map; what comes while it is read may be, too.
  const { offset, epoch } = await readTop(context, channel);
  const value = key === "" ? undefined : map.read(key)?.message;
  const limit = asked <= 0 ? PAGE_KEYS : Math.min(asked, MAX_PAGE_KEYS);
  const page = key !== ""
    ? { messages: value === undefined ? [] : [value], cursor: undefined }
    : map.page(cursor || undefined, limit, MAX_HISTORY_BYTES);
  const entries = await encodeInSlices(page.messages, encodeEntry);
  return `{"entries":[${entries.join(",")}],"offset":${offset},"epoch":${JSON.stringify(epoch)},"cursor":${
    JSON.stringify(page.cursor ?? "")
  }}`;
}

export async function mapStats(context: ApiContext, fields: Fields): Promise<string> {
  const map = await context.hub.maps.find(readChannel(context, fields));
  return JSON.stringify({ num_keys: map.countReadable() });
}

/** Removes all keys together with the channel's history: map subscribers begin anew. */
export async function mapClear(context: ApiContext, fields: Fields): Promise<string> {
  return await historyRemove(context, fields);
}

/** What a map holds is history, which somebody may have switched off. */
function readChannel({ gate }: ApiContext, fields: Fields): string {
  const channel = fields.channel();
  gate.operator.demand("history", channel);
  return channel;
}

function readKey(fields: Fields): string {
  const key = fields.string("key");
  if (key === "") throw fields.refuse("key", "is required");
  return key;
}

async function readTop({ hub }: ApiContext, channel: string) {
  const { position } = await hub.read({
    selector: selectChannel(channel),
    after: { kind: "latest" },
    limit: 0,
  });
  return position;
}

function encodeEntry(message: Message): string {
  const { payload, properties, offset, time } = message;
  const tags = listTags(message);
  return `{"key":${JSON.stringify(properties?.key)},"data":${encodePayloadJson(payload)}${
    tags === undefined ? "" : `,"tags":${encodeTags(tags)}`
  },"offset":${offset},"time":${time}}`;
}
