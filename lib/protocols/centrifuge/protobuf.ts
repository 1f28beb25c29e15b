/** The Centrifuge client protocol as Protobuf messages: what Dart, Swift and Java clients speak. */
import { parseJsonText } from "../../base/json_text.ts";
import { encodeInSlices } from "../../base/sliced.ts";
import { toJsonPayload } from "../../core/message.ts";
import { BinaryReader, BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { encodePayloadJson, type Payload } from "../../core/message.ts";
import {
  type Codec,
  type Command,
  type ConnectRequest,
  type DeltaData,
  type EmulationRequest,
  type Publication,
  type Reply,
  type UniPush,
} from "./codec.ts";
import { defaultOf, Overhead, PONG, toCommand, type Values } from "./decode.ts";
import {
  COMMAND,
  CONNECT_REQUEST,
  EMULATION_REQUEST,
  type Field,
  type FieldType,
  findLong,
  type Long,
  type LongType,
  PUSH,
  REPLY,
  type Shape,
} from "./schema.ts";

/**
 * Commands, replies and pushes, each with its length before it as a varint. What stands alone in a request, the
 * connect request of unidirectional transports and the emulation request, has no length.
 */
export const PROTOBUF_CODEC: Codec = {
  name: "protobuf",
  decode: decodeCommands,
  encode: (replies) => encodeAll(REPLY, replies.map(toReplyValues)),
  prepare,
  decodeUniRequest: (frame) =>
    decodeMessage(CONNECT_REQUEST, frame, new Overhead()) as unknown as ConnectRequest,
  encodeUni: (pushes) => encodeAll(PUSH, pushes.map(toPushValues)),
  decodeEmulation: (body) =>
    // It is commands as a whole, which are bounded when they are read.
    decodeMessage(EMULATION_REQUEST.protobuf, body, new Overhead(body.length)) as unknown as EmulationRequest,
};

const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Lists and maps that were encoded before the reply that holds them, with the tags of their fields. */
const PREPARED = new WeakMap<object, Uint8Array>();

/** The push of one publication with its length, for encoders that put several into one frame. */
export function encodePublicationPush(channel: string, publication: Publication): Uint8Array<ArrayBuffer> {
  return encodeAll(REPLY, [{ push: { channel, pub: publication } }]);
}

/** The same push for unidirectional transports. */
export function encodeUniPublication(channel: string, publication: Publication): Uint8Array<ArrayBuffer> {
  return encodeAll(PUSH, [{ channel, pub: publication }]);
}

function toReplyValues(reply: Reply): Values {
  switch (reply.kind) {
    case "server_ping":
      return {};
    case "push":
      return { push: toPushValues(reply.push) };
    case "error":
      return { id: reply.id, error: reply.error };
    default:
      return { id: reply.id, [reply.kind]: reply.result };
  }
}

function toPushValues(push: UniPush): Values {
  if (push.kind === "server_ping") return {};
  return { channel: "channel" in push ? push.channel : undefined, [push.kind]: push.content };
}

function encodeAll(shape: Shape, messages: readonly Values[]): Uint8Array<ArrayBuffer> {
  const writer = new BinaryWriter();
  for (const message of messages) {
    writer.fork();
    writeFields(writer, shape, message);
    writer.join();
  }
  return writer.finish();
}

function writeFields(writer: BinaryWriter, shape: Shape, message: object): void {
  const values = message as Values;
  for (const field of shape.fields) {
    const value = values[field.key];
    if (value !== undefined) writeValue(writer, field, value);
  }
}

/** Writes a field unless its value is 0, false or empty, which decoders assume for a missing field. */
function writeValue(writer: BinaryWriter, { number, type }: Field, value: unknown): void {
  switch (type.kind) {
    case "bool":
      if (value === true) writer.tag(number, WireType.Varint).bool(true);
      break;
    case "number":
      writeNumber(writer, number, value as number);
      break;
    case "string":
    case "json":
      if (value !== "") writer.tag(number, WireType.LengthDelimited).string(value as string);
      break;
    case "payload":
      writeData(writer, number, value as Payload | DeltaData);
      break;
    case "message":
      writeMessage(writer, number, type.shape, value as object);
      break;
    case "list":
    case "map": {
      const prepared = PREPARED.get(value as object);
      if (prepared !== undefined) {
        writer.raw(prepared);
        break;
      }
      for (const item of listItems(type as LongType, value as Long[2])) {
        writeMessage(writer, number, item.shape, item.value);
      }
      break;
    }
  }
}

/** What a list or map is written as: messages under the same number. */
function* listItems(
  type: LongType,
  value: Long[2],
): Iterable<{ readonly shape: Shape; readonly value: object }> {
  if (type.kind === "list") {
    for (const item of value as readonly object[]) yield { shape: type.shape, value: item };
  } else {
    for (const [key, item] of value as ReadonlyMap<string, unknown>) {
      yield { shape: type.entry, value: { key, value: item } };
    }
  }
}

async function prepare(kind: string, result: object): Promise<void> {
  for (const [number, type, value] of findLong(kind, result)) {
    const parts = await encodeInSlices(listItems(type, value), (item) => {
      const writer = new BinaryWriter();
      writeMessage(writer, number, item.shape, item.value);
      return writer.finish();
    });
    const whole = new Uint8Array(parts.reduce((bytes, { length }) => bytes + length, 0));
    let end = 0;
    for (const part of parts) {
      whole.set(part, end);
      end += part.length;
    }
    PREPARED.set(value, whole);
  }
}

function writeNumber(writer: BinaryWriter, number: number, value: number): void {
  if (value === 0) return;
  writer.tag(number, WireType.Varint);
  // The same bytes, but no big integers on the way.
  if (value <= 0xffff_ffff) writer.uint32(value);
  else writer.uint64(value);
}

function writeMessage(writer: BinaryWriter, number: number, shape: Shape, message: object): void {
  writer.tag(number, WireType.LengthDelimited).fork();
  writeFields(writer, shape, message);
  writer.join();
}

/** Text and JSON as the UTF-8 of the JSON value, bytes as they are. */
function writeData(writer: BinaryWriter, number: number, data: Payload | DeltaData): void {
  const payload = data.kind === "whole" ? data.payload : data;
  if (payload.kind === "json") {
    // Not by line: white space comes back as it was, line breaks too.
    writer.tag(number, WireType.LengthDelimited).string(payload.text);
  } else if (payload.kind === "text") {
    writer.tag(number, WireType.LengthDelimited).string(encodePayloadJson(payload));
  } else if (payload.bytes.length > 0) {
    writer.tag(number, WireType.LengthDelimited).bytes(payload.bytes);
  }
}

function decodeCommands(frame: string | Uint8Array): readonly Command[] {
  if (frame.length === 0) throw new SyntaxError("An empty frame");
  const overhead = new Overhead();
  return read(frame, (reader) => {
    const commands: Command[] = [];
    while (reader.pos < reader.len) {
      const start = reader.pos;
      const end = readEnd(reader);
      overhead.add(reader.pos - start);
      commands.push(reader.pos === end ? PONG : toCommand(readFields(reader, end, COMMAND, overhead)));
    }
    return commands;
  });
}

function decodeMessage(shape: Shape, frame: string | Uint8Array, overhead: Overhead): Values {
  return read(frame, (reader) => readFields(reader, reader.len, shape, overhead));
}

/** Reads a frame; whatever the reader throws means that it is not Protobuf. */
function read<T>(frame: string | Uint8Array, readAll: (reader: BinaryReader) => T): T {
  if (typeof frame === "string") throw new SyntaxError("Text where Protobuf is expected");
  try {
    return readAll(new BinaryReader(frame));
  } catch (error) {
    if (error instanceof SyntaxError) throw error;
    throw new SyntaxError("Not Protobuf", { cause: error });
  }
}

/** Reads a length: where what comes next ends, which may be beyond what there is. */
function readEnd(reader: BinaryReader): number {
  return reader.uint32() + reader.pos;
}

/** All fields of a message up to its end. Unknown ones are ignored. */
function readFields(reader: BinaryReader, end: number, shape: Shape, overhead: Overhead): Values {
  const values: Values = {};
  for (const { key, type } of shape.fields) values[key] = defaultOf(type);
  while (reader.pos < end) {
    const start = reader.pos;
    const [number, wireType] = reader.tag();
    const field = shape.byNumber.get(number);
    if (field === undefined) {
      reader.skip(wireType, number);
      overhead.add(reader.pos - start);
      continue;
    }
    if (wireType !== wireTypeOf(field.type)) {
      throw new SyntaxError(`The field "${field.name}" has a wrong type`);
    }
    overhead.add(reader.pos - start);
    values[field.key] = readValue(reader, field, values[field.key], overhead);
  }
  if (reader.pos > end) throw new SyntaxError("A field reaches beyond the end");
  return values;
}

function wireTypeOf(type: FieldType): WireType {
  return type.kind === "bool" || type.kind === "number" ? WireType.Varint : WireType.LengthDelimited;
}

function readValue(
  reader: BinaryReader,
  { name, type }: Field,
  before: unknown,
  overhead: Overhead,
): unknown {
  switch (type.kind) {
    case "bool":
      return reader.bool();
    case "number": {
      const value = Number(reader.int64());
      if (value >= type.min && value <= type.max) return value;
      throw new SyntaxError(`The field "${name}" is not a number that is allowed`);
    }
    case "string":
      return readString(reader, overhead);
    case "bytes":
      return reader.bytes();
    case "payload":
      return decodeData(reader.bytes());
    case "present":
      reader.bytes();
      return true;
    case "message":
      return readFields(reader, readEnd(reader), type.shape, overhead);
    case "list":
      (before as unknown[]).push(readFields(reader, readEnd(reader), type.shape, overhead));
      return before;
    case "texts":
      (before as string[]).push(readString(reader, overhead));
      return before;
    case "map": {
      const { key, value } = readFields(reader, readEnd(reader), type.entry, overhead);
      const values = before as Map<unknown, unknown>;
      // An entry without a value is one whose value has no fields.
      return values.set(key, value ?? defaultsOf(type.value));
    }
    default:
      throw new SyntaxError(`The field "${name}" is not for requests`);
  }
}

function defaultsOf(shape: Shape | undefined): unknown {
  return shape === undefined ? "" : readFields(new BinaryReader(new Uint8Array(0)), 0, shape, new Overhead());
}

function readString(reader: BinaryReader, overhead: Overhead): string {
  const start = reader.pos;
  const text = reader.string(true);
  overhead.add(reader.pos - start);
  return text;
}

/** UTF-8 that is JSON is read like JSON, all else is bytes. No bytes at all are no data. */
function decodeData(bytes: Uint8Array): Payload | undefined {
  if (bytes.length === 0) return undefined;
  try {
    const text = UTF8.decode(bytes);
    const payload = toJsonPayload(parseJsonText(text));
    return payload.kind === "json" ? { kind: "json", text } : payload;
  } catch {
    return { kind: "bytes", bytes: bytes.slice() };
  }
}
