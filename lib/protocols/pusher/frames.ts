/**
 * The frames of the Pusher protocol, version 7
 * (https://pusher.com/docs/channels/library_auth_reference/pusher-websockets-protocol/): JSON objects
 * `{ event, data, channel? }`, whose data the server sends as a JSON string.
 */
import { parseJsonText } from "../../base/json_text.ts";
import {
  encodePayloadJson,
  formatId,
  type Message,
  type Payload,
  toJsonPayload,
} from "../../core/message.ts";
import { type Encoder, Frame } from "../../core/socket.ts";
import type { MountedApp } from "./apps.ts";
import { parseKind } from "./channel_name.ts";

/** What a client sends. */
export interface ClientFrame {
  readonly event: string;
  readonly channel: string | undefined;
  /** Parsed, also where it was sent as a JSON string. */
  readonly data: unknown;
  /** The data of a client event as it goes on to others. */
  readonly rawData: unknown;
}

/** Most bytes that a byte of data takes in a frame: a control character as `\u0001`. */
const BYTES_PER_ESCAPE = 6;

/** Room for what stands beside the data in a frame. */
const HEAD_BYTES = 16 * 1024;

/**
 * Largest frame of a client, in bytes: one event with the most data, however JSON writes it, and whatever else is no
 * larger than a message.
 */
export function findMaxFrameBytes(maxEventBytes: number, maxMessageBytes: number): number {
  return Math.max(BYTES_PER_ESCAPE * maxEventBytes + HEAD_BYTES, maxMessageBytes);
}

/** Encodes a frame of the server. `data` becomes a JSON string. */
export function encodeFrame(event: string, data: unknown, channel?: string): Frame {
  const text = typeof data === "string" ? data : JSON.stringify(data);
  return new Frame(JSON.stringify({ event, ...(channel === undefined ? {} : { channel }), data: text }));
}

/** The same of data that is text of a JSON string already, without its quotes: see `escapeText`. */
export function encodeEscapedFrame(event: string, data: string, channel: string): Frame {
  return new Frame(
    `{"event":${JSON.stringify(event)},"channel":${JSON.stringify(channel)},"data":"${data}"}`,
  );
}

/** A text as it stands in a JSON string, without quotes. */
export function escapeText(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** Encodes an error, whose data is an object and no string. */
export function encodeError(code: number, message: string): Frame {
  return new Frame(JSON.stringify({ event: "pusher:error", data: { code, message } }));
}

/**
 * Parses a frame of a client.
 *
 * @throws {SyntaxError} saying what a frame is
 */
export function parseFrame(text: string): ClientFrame {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError("A frame must be a JSON object with event and data", { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new SyntaxError("A frame must be a JSON object with event and data");
  }
  const { event, channel, data } = value as Record<string, unknown>;
  if (typeof event !== "string") throw new SyntaxError("A frame must have an event, which is a string");
  if (channel !== undefined && typeof channel !== "string") {
    throw new SyntaxError("A channel must be a string");
  }
  return { event, channel, data: parseData(data), rawData: data };
}

/** Clients send data as an object, or as its JSON text. */
function parseData(data: unknown): unknown {
  if (typeof data !== "string") return data;
  try {
    return JSON.parse(data);
  } catch {
    return data;
  }
}

/** The name of an event that was published without one, as by `curl -d`. */
const DEFAULT_EVENT = "message";

const encoders = new Map<string, Encoder>();
const positionedEncoders = new Map<string, Encoder>();

/** The encoder of an app's channels. Apps with the same prefix share one, and so their frames. */
export function openEncoder({ prefix }: MountedApp): Encoder {
  let encoder = encoders.get(prefix);
  if (encoder === undefined) {
    encoder = { kind: "single", encode: (message) => encodeMessage(message, prefix.length) };
    encoders.set(prefix, encoder);
  }
  return encoder;
}

/**
 * The encoder for those who subscribe with `since`: stored messages carry their `id`, from which a client resumes.
 * Frames are built once and shared.
 */
export function openPositionedEncoder({ prefix }: MountedApp): Encoder {
  let encoder = positionedEncoders.get(prefix);
  if (encoder === undefined) {
    const frames = new WeakMap<Message, Frame>();
    const encode = (message: Message) => {
      let frame = frames.get(message);
      if (frame === undefined) {
        const id = message.sequence === 0 ? "" : `,"id":"${formatId(message.epoch, message.sequence)}"`;
        frames.set(message, frame = encodeMessage(message, prefix.length, id));
      }
      return frame;
    };
    positionedEncoders.set(prefix, encoder = { kind: "single", encode });
  }
  return encoder;
}

function encodeMessage(message: Message, prefixLength: number, id = ""): Frame {
  const channel = message.channel.slice(prefixLength);
  const event = message.event ?? DEFAULT_EVENT;
  const data = encodePayloadJson(message.payload);
  const user = event.startsWith("client-") && parseKind(channel).isPresence ? message.from?.user : undefined;
  const userId = user === undefined ? "" : `,"user_id":${JSON.stringify(user)}`;
  return new Frame(
    `{"event":${JSON.stringify(event)},"channel":${JSON.stringify(channel)},"data":${
      JSON.stringify(data)
    }${userId}${id}}`,
  );
}

/** The payload of an event's data: JSON where it is JSON text, else text. */
export function toEventPayload(data: string): Payload {
  try {
    return toJsonPayload(parseJsonText(data));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { kind: "text", text: data };
  }
}
