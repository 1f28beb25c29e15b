/** Drafts, which publishers hand in, and messages, which the log makes of them; their ids and JSON encoding. */
import { jsonKind, toJsonLine } from "../base/json_text.ts";
import { utf8Length } from "../base/utf8.ts";

/** The content of a message: text, one JSON value as the publisher wrote it, or bytes. */
export type Payload =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "json"; readonly text: string }
  | { readonly kind: "bytes"; readonly bytes: Uint8Array<ArrayBuffer> };

/** The client a message came from, as others may see it. */
export interface Sender {
  /** The client's id. */
  readonly id: string;
  /** What it calls itself. */
  readonly name?: string | undefined;
  /** The user of its token. */
  readonly user?: string | undefined;
  /** The info of its token, as JSON text. */
  readonly info?: string | undefined;
}

/**
 * What a publisher says of a message beside its payload. It travels with the message; all but tags and key is MQTT's
 * alone, or the server's own.
 */
export interface MessageProperties {
  /** The key of the channel's map that the message sets or removes. */
  readonly key?: string;
  /** Whether the key is removed. */
  readonly removed?: true;
  /** Seconds after its time at which the key is removed, unless set anew. */
  readonly keyTtl?: number;
  /** The message becomes the retained one of its channel. */
  readonly retain?: true;
  /** Whose share a retained message, or one that sets a key, counts for, as `Shares.ownerOf` says. Nobody is told. */
  readonly owner?: string;
  /** The quality of service it was published with. */
  readonly qos?: 0 | 1 | 2;
  /** Seconds after its time at which it expires. */
  readonly ttl?: number;
  /** Whether the publisher declared the payload to be UTF-8. */
  readonly isText?: boolean;
  /** What the payload is, as the publisher says. */
  readonly contentType?: string;
  /** The topic that answers go to. */
  readonly responseTopic?: string;
  /** Correlation data, in base64. */
  readonly correlation?: string;
  /** Tags, which MQTT calls user properties, in order; with MQTT a name may repeat. */
  readonly user?: readonly (readonly [name: string, value: string])[];
}

/** A message as a publisher hands it in. The log turns it into a {@linkcode Message}. */
export interface Draft {
  /** Its name, without a slash at the start. */
  readonly channel: string;
  /** Its content. */
  readonly payload: Payload;
  /** The type of the message, for event streams and pages. */
  readonly event?: string;
  /** Who sent it, as subscribers see it. */
  readonly from?: Sender;
  /** The socket it was sent on: clients without echo do not get it back. */
  readonly socketId?: string;
  /** The id of the only client to deliver to. Makes the message transient. */
  readonly to?: string;
  /** Seconds until the stored message expires. */
  readonly ttl?: number;
  /** Makes the message transient: delivered, never stored. */
  readonly ephemeral?: boolean;
  /**
   * Drafts with the same key on the same channel within 5 minutes are stored once. It holds who publishes beside
   * the key that they sent, so that no publisher can use the key of another.
   */
  readonly idempotencyKey?: string;
  /**
   * Key of an entry of the log's state, `LogState`, that is written with the message in one transaction: a draft whose
   * entry is there is not stored again, and gets the receipt of the first. What the entry holds is the engine's. It is
   * valid until somebody deletes it. With an idempotency key too, a draft is stored unless either was seen; a draft
   * whose key was seen gets its entry all the same.
   */
  readonly marker?: string;
  /** What a keyed draft says beside its payload: its key is refused with another fingerprint or payload. */
  readonly fingerprint?: string;
  /** What MQTT says of the message. */
  readonly properties?: MessageProperties;
}

/**
 * A message as the log announces it. `offset` counts the channel's stored messages from 1 without holes, `sequence`
 * orders all stored messages of a log; both are 0 for a transient message.
 */
export interface Message {
  readonly channel: string;
  readonly payload: Payload;
  readonly epoch: string;
  readonly offset: number;
  readonly sequence: number;
  /** Milliseconds since 1970; never decreases from one message of a log to the next. */
  readonly time: number;
  readonly event: string | undefined;
  readonly from: Sender | undefined;
  readonly socketId: string | undefined;
  readonly to: string | undefined;
  readonly properties?: MessageProperties | undefined;
}

/** Names one stored message of a log. */
export interface MessageId {
  readonly epoch: string;
  readonly sequence: number;
}

/** What was removed from a channel on request: one message, or all of them up to and including one. */
export interface Removal extends MessageId {
  readonly kind: "message" | "all";
  readonly channel: string;
  readonly offset: number;
}

/** Whether a draft is for a transient message, which is delivered but not stored. */
export function isTransient(draft: Draft): boolean {
  return draft.ephemeral === true || draft.to !== undefined;
}

/**
 * The payload that a JSON value is: a string is text, all else stays JSON. So does a string that JavaScript would write
 * differently, which goes out as it was written.
 *
 * @param json checked JSON text without white space around it
 */
export function toJsonPayload(json: string): Payload {
  if (jsonKind(json) !== "string") return { kind: "json", text: json };
  const text = JSON.parse(json) as string;
  // Text that is not well-formed is text in any spelling, for `createDraft` to refuse.
  return JSON.stringify(text) === json || !text.isWellFormed()
    ? { kind: "text", text }
    : { kind: "json", text: json };
}

/** The payload as those see it who get bare text: text as it is, JSON as its text, a JSON string as what it says. */
export function showPayload(payload: Exclude<Payload, { readonly kind: "bytes" }>): string {
  const { kind, text } = payload;
  return kind === "json" && jsonKind(text) === "string" ? JSON.parse(text) as string : text;
}

/**
 * Reads an id as `formatId` writes it.
 *
 * @returns undefined for a text that is none
 */
export function parseMessageId(text: string): MessageId | undefined {
  const [, epoch, sequence] = /^([0-9a-z]+)-(\d{1,15})$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { epoch, sequence: Number(sequence) };
}

/** The id of a stored message, unique in its log: `<epoch>-<sequence>`. */
export function formatId(epoch: string, sequence: number): string {
  return `${epoch}-${sequence}`;
}

/** The payload's size in bytes, of UTF-8 or raw: what limits count. */
export function payloadSize(payload: Payload): number {
  return payload.kind === "bytes" ? payload.bytes.byteLength : utf8Length(payload.text);
}

/** The payload as the server log shows it: text or JSON as it is, bytes by their number. */
export function describePayload(payload: Payload): string {
  return payload.kind === "bytes" ? `(${payload.bytes.byteLength} bytes)` : payload.text;
}

/**
 * Encodes a message as the object of all JSON formats: `{ channel, id, offset, time, data, event?, key?, removed?,
 * tags?, from? }`. Bytes become `{ "base64": "..." }`; a transient message has no id and no offset.
 *
 * @returns JSON text without newlines
 */
export function encodeMessageJson(message: Message): string {
  return `{${encodeMessageMembers(message)}}`;
}

/** The members of that object, without the braces around them: for an object that has more. */
export function encodeMessageMembers(message: Message): string {
  let json = `"channel":${encodeChannel(message.channel)}`;
  if (message.sequence > 0) {
    json += `,"id":"${formatId(message.epoch, message.sequence)}","offset":${message.offset}`;
  }
  json += `,"time":"${formatTime(message.time)}","data":${encodePayloadJson(message.payload)}`;
  if (message.event !== undefined) json += `,"event":${JSON.stringify(message.event)}`;
  if (message.properties !== undefined) json += encodeProperties(message.properties);
  if (message.from !== undefined) json += `,"from":${encodeSender(message.from)}`;
  return json;
}

function encodeProperties({ key, removed, user }: MessageProperties): string {
  let json = key === undefined ? "" : `,"key":${JSON.stringify(key)}`;
  if (removed === true) json += `,"removed":true`;
  return user === undefined ? json : `${json},"tags":${JSON.stringify(Object.fromEntries(user))}`;
}

// Messages mostly are of few channels, and consecutive ones of one millisecond: to remember what these are in JSON halves
// the cost of a message.
const MAX_REMEMBERED = 1_000;
const channelJson = new Map<string, string>();
let lastTime = NaN;
let lastTimeText = "";
/** The last second, in milliseconds, and its text up to the point. */
let lastSecond = NaN;
let lastSecondText = "";

function encodeChannel(channel: string): string {
  let json = channelJson.get(channel);
  if (json === undefined) {
    if (channelJson.size >= MAX_REMEMBERED) channelJson.clear();
    channelJson.set(channel, json = JSON.stringify(channel));
  }
  return json;
}

/** A time in whole milliseconds since 1970 as RFC 3339 text in UTC. */
export function formatTime(time: number): string {
  if (time === lastTime) return lastTimeText;
  const milliseconds = (time % 1_000 + 1_000) % 1_000;
  const second = time - milliseconds;
  if (second !== lastSecond) {
    // Ten times as expensive as all the rest.
    lastSecondText = new Date(second).toISOString().slice(0, -"000Z".length);
    lastSecond = second;
  }
  lastTime = time;
  return lastTimeText = `${lastSecondText}${String(milliseconds).padStart(3, "0")}Z`;
}

function encodeSender({ id, name, user, info }: Sender): string {
  const head = JSON.stringify({ id, name, user });
  return info === undefined ? head : `${head.slice(0, -1)},"info":${info}}`;
}

/**
 * Encodes a removal as all JSON formats tell of it: `{ type, channel, id, offset }`. Of type `removed` is one message,
 * of type `cleared` everything up to and including that id and offset.
 *
 * @returns JSON text without newlines
 */
export function encodeRemovalJson({ kind, channel, epoch, sequence, offset }: Removal): string {
  const type = kind === "message" ? "removed" : "cleared";
  return JSON.stringify({ type, channel, id: formatId(epoch, sequence), offset });
}

/** The payload as one JSON value on one line: text as a string, JSON as itself, bytes as `{ "base64": "..." }`. */
export function encodePayloadJson(payload: Payload): string {
  switch (payload.kind) {
    case "text":
      return encodeText(payload.text);
    case "json":
      return toJsonLine(payload.text);
    case "bytes":
      return `{"base64":"${payload.bytes.toBase64()}"}`;
  }
}

const NEEDS_ESCAPES = /[^ !#-[\]-~]/;
/** From so many characters on, `JSON.stringify` is the quicker one. */
const LONG_TEXT = 100;

/** Text as a JSON string. */
function encodeText(text: string): string {
  return text.length >= LONG_TEXT || NEEDS_ESCAPES.test(text) ? JSON.stringify(text) : `"${text}"`;
}
