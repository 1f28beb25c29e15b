/** Converts messages to rows of the SQLite engine, and back. */
import type { SQLInputValue } from "node:sqlite";
import { crc32 } from "node:zlib";
import type { Message, Payload, Sender } from "../../core/message.ts";

/** The columns of `messages` that every message has, in the order of the values that `pushRow` adds. */
export const BARE_COLUMNS = [
  "sequence",
  "channel",
  "offset",
  "time",
  "kind",
  "data",
  "since",
  "checksum",
] as const;

/** All columns of `messages`, in the order of the values that `pushRow` adds. */
export const COLUMNS = [
  ...BARE_COLUMNS,
  "expires",
  "event",
  "sender_id",
  "sender_name",
  "socket_id",
  "sender_user",
  "sender_info",
  "properties",
] as const;

/** Text as it is bound to a column of type ANY. */
type BoundText = string | Uint8Array<ArrayBuffer>;

/** A row of `messages`. */
export interface Row {
  readonly sequence: number;
  readonly channel: number;
  readonly offset: number;
  readonly time: number;
  readonly expires: number | null;
  readonly kind: number;
  readonly data: BoundText;
  readonly event: BoundText | null;
  readonly sender_id: BoundText | null;
  readonly sender_name: BoundText | null;
  readonly socket_id: BoundText | null;
  readonly sender_user: BoundText | null;
  readonly sender_info: BoundText | null;
  readonly since: number | null;
  readonly checksum: number | null;
  readonly properties: BoundText | null;
}

/** A payload's kind is stored as its index in this list: never reorder it. */
const KINDS: readonly Payload["kind"][] = ["text", "json", "bytes"];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();

/** Text for a column of type ANY: as bytes if it contains a NUL, at which `node:sqlite` truncates text. */
export function bindText(text: string): BoundText {
  return text.includes("\0") ? encoder.encode(text) : text;
}

/** Whether a message has nothing for the columns beyond `BARE_COLUMNS`; binding a null costs as much as a number. */
export function isBareRow(
  { event, from, socketId, properties }: Message,
  expires: number | null,
): boolean {
  return expires === null && event === undefined && from === undefined && socketId === undefined &&
    properties === undefined;
}

/** Appends the values of one row: those of all columns, or of `BARE_COLUMNS` alone. */
export function pushRow(
  values: SQLInputValue[],
  message: Message,
  channel: number,
  since: number,
  expires: number | null,
): void {
  const { payload, event, from, socketId } = message;
  values.push(
    message.sequence,
    channel,
    message.offset,
    message.time,
    KINDS.indexOf(payload.kind),
    payload.kind === "bytes" ? payload.bytes : bindText(payload.text),
    since,
    computeChecksum(message),
  );
  if (isBareRow(message, expires)) return;
  values.push(
    expires,
    bindOptional(event),
    bindOptional(from?.id),
    bindOptional(from?.name),
    bindOptional(socketId),
    bindOptional(from?.user),
    bindOptional(from?.info),
    message.properties === undefined ? null : bindText(JSON.stringify(message.properties)),
  );
}

function bindOptional(text: string | undefined): BoundText | null {
  return text === undefined ? null : bindText(text);
}

/** Creates the message of a row, or undefined if the row is damaged. */
export function readRow(row: Row, channel: string, epoch: string): Message | undefined {
  const message = createMessage(row, channel, epoch);
  if (message === undefined) return undefined;
  return row.checksum === null || row.checksum === computeChecksum(message) ? message : undefined;
}

/** Covers everything but the channel, which the row names by its id. */
function computeChecksum(message: Message): number {
  const { payload } = message;
  const head = describeFields(message);
  return payload.kind === "bytes" ? crc32(payload.bytes, crc32(head)) : crc32(head + payload.text);
}

/** What a message says beside its payload, as JSON, which keeps fields apart; an undefined one is null. */
function describeFields(
  { payload, offset, sequence, time, event, from, socketId, properties }: Message,
): string {
  if (event === undefined && from === undefined && socketId === undefined && properties === undefined) {
    // As below, several times faster.
    return `["${payload.kind}",${offset},${sequence},${time},null,null,null,null,null,null]`;
  }
  const fields = [
    payload.kind,
    offset,
    sequence,
    time,
    event,
    from?.id,
    from?.name,
    from?.user,
    from?.info,
    socketId,
    // Left out where there are none: rows of older versions have no such field.
    ...(properties === undefined ? [] : [JSON.stringify(properties)]),
  ];
  return JSON.stringify(fields.map((field) => typeof field === "string" ? field.toWellFormed() : field));
}

function createMessage(row: Row, channel: string, epoch: string): Message | undefined {
  const payload = readPayload(row);
  if (payload === undefined) return undefined;
  const { sequence, offset, time } = row;
  return {
    channel,
    payload,
    epoch,
    offset,
    sequence,
    time,
    event: readOptional(row.event),
    from: readSender(row),
    socketId: readOptional(row.socket_id),
    to: undefined,
    ...readProperties(row),
  };
}

function readSender({ sender_id, sender_name, sender_user, sender_info }: Row): Sender | undefined {
  if (sender_id === null) return undefined;
  return {
    id: readText(sender_id),
    ...(sender_name === null ? {} : { name: readText(sender_name) }),
    ...(sender_user === null ? {} : { user: readText(sender_user) }),
    ...(sender_info === null ? {} : { info: readText(sender_info) }),
  };
}

function readProperties({ properties }: Row): Pick<Message, "properties"> {
  if (properties === null) return {};
  try {
    return { properties: JSON.parse(readText(properties)) };
  } catch {
    // The checksum tells that the row is damaged.
    return {};
  }
}

function readOptional(value: BoundText | null): string | undefined {
  return value === null ? undefined : readText(value);
}

function readPayload({ kind, data }: Row): Payload | undefined {
  const name = KINDS[kind];
  switch (name) {
    case "text":
    case "json":
      return { kind: name, text: readText(data) };
    case "bytes":
      return { kind: name, bytes: typeof data === "string" ? encoder.encode(data) : data };
    default:
      return undefined;
  }
}

function readText(value: BoundText): string {
  return typeof value === "string" ? value : decoder.decode(value);
}
