/** The hub's encoders for Centrifuge clients: a batch of messages as pushes in one frame, shared by all that get it. */
import { encodeRemovalJson, type Message, type Removal, type Sender } from "../../core/message.ts";
import type { Member, PresenceChange } from "../../core/presence.ts";
import { type Encoder, Frame } from "../../core/socket.ts";
import { listTagsWithEvent } from "../../core/tags.ts";
import type { ClientInfo, Codec, FrameData, Publication, Push, Reply, UniPush } from "./codec.ts";
import { encodePublicationPush, JSON_CODEC } from "./json.ts";
import { PROTOBUF_CODEC } from "./protobuf.ts";

/** How replies and messages are written for one kind of transport. */
export interface CentrifugeFormat {
  readonly codec: Codec;
  /** Unidirectional transports get bare pushes. */
  readonly unidirectional: boolean;
  readonly encoder: Encoder;
  encodeReplies(replies: readonly Reply[]): Frame;
  /** Makes one frame of several. */
  join(frames: readonly Frame[]): Frame;
}

const UTF8 = new TextEncoder();

/** JSON in text frames, one reply a line. */
export const JSON_FORMAT = createJsonFormat(false, joinLines, joinLines);
/** The same with bare pushes. */
export const UNI_JSON_FORMAT = createJsonFormat(true, joinLines, joinLines);
/** JSON in a response body, one reply a line. */
export const JSON_LINES_FORMAT = createJsonFormat(false, endLines, joinBytes);
export const UNI_JSON_LINES_FORMAT = createJsonFormat(true, endLines, joinBytes);
/** JSON as server-sent events, one reply an event. */
export const JSON_EVENTS_FORMAT = createJsonFormat(false, toEvents, joinBytes);
export const UNI_JSON_EVENTS_FORMAT = createJsonFormat(true, toEvents, joinBytes);
/** Protobuf in binary frames or in a response body, each reply behind its length. */
export const PROTOBUF_FORMAT = createFormat(
  PROTOBUF_CODEC,
  false,
  (replies) => PROTOBUF_CODEC.encode(replies),
  joinBytes,
);
export const UNI_PROTOBUF_FORMAT = createFormat(PROTOBUF_CODEC, true, encodeUniProtobuf, joinBytes);

/**
 * @param write makes a frame's data of lines, one a reply
 * @param join makes a frame's data of other frames'
 */
function createJsonFormat(
  unidirectional: boolean,
  write: (lines: readonly string[]) => FrameData,
  join: (frames: readonly FrameData[]) => FrameData,
): CentrifugeFormat {
  const encodeLine = (reply: Reply): string =>
    String(unidirectional ? JSON_CODEC.encodeUni([toUniPush(reply)]) : encodeJson(reply));
  return createFormat(JSON_CODEC, unidirectional, (replies) => write(replies.map(encodeLine)), join);
}

function createFormat(
  codec: Codec,
  unidirectional: boolean,
  write: (replies: readonly Reply[]) => FrameData,
  join: (frames: readonly FrameData[]) => FrameData,
): CentrifugeFormat {
  return {
    codec,
    unidirectional,
    encoder: {
      kind: "joined",
      encode: (messages) => new Frame(write(messages.map((message) => toPushReply(message)))),
      encodeRemoval: (removal) => new Frame(write([toRemovalReply(removal)])),
    },
    encodeReplies: (replies) => new Frame(write(replies)),
    join: (frames) => new Frame(join(frames.map(({ data }) => data))),
  };
}

/** Publications are most of what is ever encoded: they have a shorter way. */
function encodeJson(reply: Reply): FrameData {
  return reply.kind === "push" && reply.push.kind === "pub"
    ? encodePublicationPush(reply.push.channel, reply.push.content)
    : JSON_CODEC.encode([reply]);
}

function encodeUniProtobuf(replies: readonly Reply[]): FrameData {
  return PROTOBUF_CODEC.encodeUni(replies.map(toUniPush));
}

function toUniPush(reply: Reply): UniPush {
  if (reply.kind === "push") return reply.push;
  if (reply.kind === "server_ping") return reply;
  throw new TypeError(`A unidirectional transport cannot carry a ${reply.kind} reply`);
}

/**
 * A message as the publication Centrifuge clients know it by. The event name, for which they have no word, is a tag.
 */
export function toPublication(message: Message): Publication {
  const { payload, from, offset, event, properties } = message;
  return {
    data: payload,
    info: from === undefined ? undefined : toSenderInfo(from),
    offset,
    tags: event === undefined && properties === undefined ? undefined : listTagsWithEvent(message),
    key: properties?.key,
    removed: properties?.removed,
  };
}

/** A member of a channel as Centrifuge clients see it. */
export function toClientInfo({ id, name, user, info, channelInfo }: Member): ClientInfo {
  return { user: user ?? "", client: id, connInfo: info ?? nameInfo(name), chanInfo: channelInfo };
}

/** The frames of a join or leave, which all who watch a channel get. */
const presenceFrames = new WeakMap<PresenceChange, Map<CentrifugeFormat, Map<string, Frame>>>();

/**
 * The push of a join or leave, encoded once for all who write the channel's name alike: with thousands of them, to encode
 * it is most of what one that comes costs.
 */
export function sharePresenceFrame(
  format: CentrifugeFormat,
  change: PresenceChange,
  spelling: string,
): Frame {
  let formats = presenceFrames.get(change);
  if (formats === undefined) presenceFrames.set(change, formats = new Map());
  let frames = formats.get(format);
  if (frames === undefined) formats.set(format, frames = new Map());
  let frame = frames.get(spelling);
  if (frame === undefined) {
    const { kind, member } = change;
    const push: Push = { kind, channel: spelling, content: { info: toClientInfo(member) } };
    frames.set(spelling, frame = format.encodeReplies([{ kind: "push", push }]));
  }
  return frame;
}

function toSenderInfo({ id, name, user, info }: Sender): ClientInfo {
  return { user: user ?? "", client: id, connInfo: info ?? nameInfo(name) };
}

/** What plain clients have to say of themselves is their name. */
function nameInfo(name: string | undefined): string | undefined {
  return name === undefined ? undefined : JSON.stringify({ name });
}

/** A message as it is pushed, by default whole. */
export function toPushReply(message: Message, publication = toPublication(message)): Reply {
  const push: Push = message.to === undefined
    ? { kind: "pub", channel: message.channel, content: publication }
    : { kind: "message", content: { data: message.payload } };
  return { kind: "push", push };
}

/** Centrifuge has no word for what was removed: clients that asked for it get a message beside their channels. */
function toRemovalReply(removal: Removal): Reply {
  const data = { kind: "json" as const, text: `{"removal":${encodeRemovalJson(removal)}}` };
  return { kind: "push", push: { kind: "message", content: { data } } };
}

function joinLines(lines: readonly FrameData[]): string {
  return lines.join("\n");
}

function endLines(lines: readonly FrameData[]): Uint8Array<ArrayBuffer> {
  return UTF8.encode(lines.join("\n") + "\n");
}

function toEvents(lines: readonly FrameData[]): Uint8Array<ArrayBuffer> {
  return UTF8.encode(lines.map((line) => `data: ${line}\n\n`).join(""));
}

function joinBytes(parts: readonly FrameData[]): Uint8Array<ArrayBuffer> {
  const bytes = parts.filter((part) => typeof part !== "string");
  const joined = new Uint8Array(bytes.reduce((size, part) => size + part.byteLength, 0));
  let offset = 0;
  for (const part of bytes) {
    joined.set(part, offset);
    offset += part.byteLength;
  }
  return joined;
}
