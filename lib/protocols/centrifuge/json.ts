/** The Centrifuge client protocol as lines of JSON: what JavaScript, Python and Go clients speak. */
import {
  jsonKind,
  type JsonMembers,
  parseJsonArray,
  parseJsonObject,
  parseJsonScalar,
} from "../../base/json_text.ts";
import { encodeInSlices } from "../../base/sliced.ts";
import { toJsonPayload } from "../../core/message.ts";
import { encodePayloadJson, type Payload } from "../../core/message.ts";
import {
  type Codec,
  type Command,
  type ConnectRequest,
  type DeltaData,
  type EmulationRequest,
  type Publication,
  type Push,
  type Reply,
  type UniPush,
} from "./codec.ts";
import { defaultOf, Overhead, PONG, toCommand, type Values } from "./decode.ts";
import { MAX_COMMAND_BYTES } from "./frame_size.ts";
import {
  COMMAND,
  CONNECT_REQUEST,
  EMULATION_REQUEST,
  type Field,
  findLong,
  PUBLICATION,
  PUSH,
  REPLY,
  type Shape,
} from "./schema.ts";

/** Commands and replies as JSON, one a line. */
export const JSON_CODEC: Codec = {
  name: "json",
  decode: decodeCommands,
  encode: (replies) => replies.map(encodeReply).join("\n"),
  prepare,
  decodeUniRequest: (frame) =>
    decodeMessage(CONNECT_REQUEST, decodeUtf8(frame), { length: 0 }) as unknown as ConnectRequest,
  encodeUni: (pushes) => pushes.map(encodeUniPush).join("\n"),
  decodeEmulation: (body) =>
    decodeMessage(EMULATION_REQUEST.json, decodeUtf8(body)) as unknown as EmulationRequest,
};

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const LENIENT_UTF8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Lists and maps that were encoded before the reply that holds them. */
const PREPARED = new WeakMap<object, string>();

/** The push of one publication as one line, without its end: for encoders that join them by `"\n"`. */
export function encodePublicationPush(channel: string, publication: Publication): string {
  return `{"push":${encodeUniPublication(channel, publication)}}`;
}

/** The same push for unidirectional transports. */
export function encodeUniPublication(channel: string, publication: Publication): string {
  return `{"channel":${JSON.stringify(channel)},"pub":${encodePublication(publication)}}`;
}

/** By hand, at half the cost of going by the shape: publications are most of what is ever encoded. */
function encodePublication(publication: Publication): string {
  const { info, offset, tags, time, channel, key } = publication;
  let json = `{"data":${encodeData(publication.data)}`;
  if (info !== undefined) {
    json += `,"info":{"user":${JSON.stringify(info.user)},"client":${JSON.stringify(info.client)}`;
    if (info.connInfo) json += `,"conn_info":${info.connInfo}`;
    if (info.chanInfo) json += `,"chan_info":${info.chanInfo}`;
    json += "}";
  }
  if (offset) json += `,"offset":${offset}`;
  if (tags !== undefined && tags.size > 0) json += `,"tags":${encodeMap(undefined, tags)}`;
  if (publication.delta) json += ',"delta":true';
  if (time) json += `,"time":${time}`;
  if (channel) json += `,"channel":${JSON.stringify(channel)}`;
  if (key) json += `,"key":${JSON.stringify(key)}`;
  if (publication.removed) json += ',"removed":true';
  return json + "}";
}

function encodeReply(reply: Reply): string {
  switch (reply.kind) {
    case "server_ping":
      return "{}";
    case "push":
      return `{"push":${encodePush(reply.push)}}`;
    case "error":
      return `{"id":${reply.id},"error":${encodeFields(shapeOf(REPLY, "error"), reply.error)}}`;
    default:
      return `{"id":${reply.id},"${reply.kind}":${encodeFields(shapeOf(REPLY, reply.kind), reply.result)}}`;
  }
}

function encodeUniPush(push: UniPush): string {
  return push.kind === "server_ping" ? "{}" : encodePush(push);
}

function encodePush(push: Push): string {
  const channel = "channel" in push ? `"channel":${JSON.stringify(push.channel)},` : "";
  return `{${channel}"${push.kind}":${encodeFields(shapeOf(PUSH, push.kind), push.content)}}`;
}

function shapeOf(parent: Shape, key: string): Shape {
  const type = parent.byKey.get(key)?.type;
  if (type?.kind !== "message") throw new TypeError(`Not a message: ${key}`);
  return type.shape;
}

/** A message as a JSON object of those fields that are not left out. */
function encodeFields(shape: Shape, message: object): string {
  if (shape === PUBLICATION) return encodePublication(message as Publication);
  const values = message as Values;
  let json = "";
  for (const field of shape.fields) {
    const text = encodeValue(field, values[field.key]);
    if (text !== "") json += `${json === "" ? "" : ","}"${field.name}":${text}`;
  }
  return `{${json}}`;
}

/** A field's value as JSON text; nothing where the field is left out. */
function encodeValue({ type, always }: Field, value: unknown): string {
  switch (type.kind) {
    case "bool":
      return value === true ? "true" : "";
    case "number":
      return value ? String(value) : always ? "0" : "";
    case "string":
      return value ? JSON.stringify(value) : always ? '""' : "";
    case "json":
      return value as string | undefined ?? "";
    case "payload":
      return value === undefined ? "" : encodeData(value as Payload | DeltaData);
    case "message":
      return value === undefined ? "" : encodeFields(type.shape, value as object);
    case "list": {
      const items = value as readonly object[] | undefined ?? [];
      if (items.length === 0) return always ? "[]" : "";
      return PREPARED.get(items) ?? `[${items.map((item) => encodeFields(type.shape, item)).join(",")}]`;
    }
    case "map": {
      const entries = value as ReadonlyMap<string, object | string> | undefined;
      if (entries === undefined || entries.size === 0) return always ? "{}" : "";
      return PREPARED.get(entries) ?? encodeMap(type.value, entries);
    }
    default:
      return "";
  }
}

function encodeMap(shape: Shape | undefined, entries: ReadonlyMap<string, object | string>): string {
  return `{${[...entries].map((entry) => encodeEntry(shape, entry)).join(",")}}`;
}

function encodeEntry(shape: Shape | undefined, [key, value]: readonly [string, object | string]): string {
  const text = shape === undefined ? JSON.stringify(value) : encodeFields(shape, value as object);
  return `${JSON.stringify(key)}:${text}`;
}

async function prepare(kind: string, result: object): Promise<void> {
  for (const [, type, value] of findLong(kind, result)) {
    if (type.kind === "list") {
      const items = value as readonly object[];
      const texts = await encodeInSlices(items, (item) => encodeFields(type.shape, item));
      PREPARED.set(value, `[${texts.join(",")}]`);
    } else {
      const entries = value as ReadonlyMap<string, object>;
      const texts = await encodeInSlices(entries, (entry) => encodeEntry(type.value, entry));
      PREPARED.set(value, `{${texts.join(",")}}`);
    }
  }
}

/** Those who agreed on deltas get a string in every case: the text of the JSON value, or of the difference. */
function encodeData(data: Payload | DeltaData): string {
  switch (data.kind) {
    case "whole":
      return JSON.stringify(encodePayloadJson(data.payload));
    case "delta":
      return JSON.stringify(LENIENT_UTF8.decode(data.bytes));
    default:
      return encodePayloadJson(data);
  }
}

function decodeCommands(frame: string | Uint8Array): readonly Command[] {
  const lines = decodeUtf8(frame).split("\n");
  if (lines.length > 1 && lines.at(-1) === "") lines.pop();
  const overhead = new Overhead();
  return lines.map((line) => {
    const size: DataSize = { length: 0 };
    const object = parseObject(line, COMMAND);
    const command = object.size === 0 ? PONG : toCommand(decodeFields(COMMAND, object, size));
    overhead.add(line.length + 1 - size.length);
    return command;
  });
}

/** How long the data of a command is, as JSON. */
interface DataSize {
  length: number;
}

function decodeMessage(shape: Shape, text: string, size?: DataSize): Values {
  return decodeFields(shape, parseObject(text, shape), size);
}

function decodeUtf8(frame: string | Uint8Array): string {
  if (typeof frame === "string") return frame;
  try {
    return UTF8.decode(frame);
  } catch (cause) {
    throw new SyntaxError("Not UTF-8", { cause });
  }
}

function parseObject(text: string, shape: Shape): JsonMembers {
  if (text.trim() === "") throw new SyntaxError("A blank line");
  const members = parseMembers(text, shape);
  if (members === undefined) throw new SyntaxError("Not a JSON object");
  return members;
}

/** The members that a message may have. One that is unknown shows that an object is not empty. */
function parseMembers(text: string, { byName }: Shape): JsonMembers | undefined {
  return parseJsonObject(text, (name, kept) => kept === 0 || byName.has(name));
}

/**
 * All fields of a message. Unknown ones are ignored, null is as good as left out.
 *
 * @param size counts the data; where it is left out, nothing but the caller bounds what is no data
 */
function decodeFields(shape: Shape, members: JsonMembers, size?: DataSize): Values {
  const values: Values = {};
  for (const field of shape.fields) values[field.key] = decodeValue(field, members.get(field.name), size);
  return values;
}

/** @param json checked JSON text; undefined when the field was left out */
function decodeValue({ name, type }: Field, json: string | undefined, size?: DataSize): unknown {
  // Null as data is data: what a client published.
  if (json === undefined || (json === "null" && type.kind !== "payload")) return defaultOf(type);
  const isCostly = type.kind !== "payload" && type.kind !== "message";
  if (size !== undefined && isCostly && json.length > MAX_COMMAND_BYTES) {
    throw new SyntaxError(`The field "${name}" has more than ${MAX_COMMAND_BYTES} bytes`);
  }
  switch (type.kind) {
    case "bool":
      if (jsonKind(json) === "boolean") return json === "true";
      break;
    case "number": {
      const value = parseJsonScalar(json);
      if (typeof value === "number" && Number.isInteger(value) && value >= type.min && value <= type.max) {
        return value;
      }
      break;
    }
    case "string":
      if (jsonKind(json) === "string") return JSON.parse(json);
      break;
    case "payload":
      if (size !== undefined) size.length += json.length;
      return toJsonPayload(json);
    case "present":
      return true;
    case "message": {
      const members = parseMembers(json, type.shape);
      if (members !== undefined) return decodeFields(type.shape, members, size);
      break;
    }
    case "list": {
      // The bytes beside data bound how many there are.
      const elements = parseJsonArray(json, Infinity)?.map((element) => parseMembers(element, type.shape));
      if (elements?.every((members) => members !== undefined)) {
        return elements.map((members) => decodeFields(type.shape, members));
      }
      break;
    }
    case "texts": {
      const elements = parseJsonArray(json, Infinity);
      if (elements?.every((element) => jsonKind(element) === "string")) {
        return elements.map((element) => JSON.parse(element));
      }
      break;
    }
    case "map": {
      const members = parseJsonObject(json);
      if (members !== undefined) return decodeMap(type.entry, members);
      break;
    }
  }
  throw new SyntaxError(`The field "${name}" is not a ${type.kind} that is allowed`);
}

function decodeMap(entry: Shape, members: JsonMembers): ReadonlyMap<string, unknown> {
  const value = entry.byKey.get("value");
  if (value === undefined) throw new TypeError("An entry of a map has a value");
  const values = new Map<string, unknown>();
  for (const [key, json] of members) {
    if (json === "null") throw new SyntaxError("A map has a value that is null");
    values.set(key, decodeValue(value, json));
  }
  return values;
}
