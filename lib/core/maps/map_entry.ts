/** The value of a key of a map as the engine keeps it in its state: the message that set it. */
import type { Message, Payload } from "../message.ts";
import { digestOf } from "../schedule/admission.ts";

/** Keys of the engine's state that hold values of maps begin with it; a digest follows. */
export const KEY_PREFIX = "map-";

/** Where a message stands among those of its channel. */
export type Place = Pick<Message, "time" | "epoch" | "sequence">;

/** Whether a message was stored later than another one of its channel, on whatever node. */
export function isLater(a: Place, b: Place): boolean {
  return a.epoch === b.epoch ? a.sequence > b.sequence : a.time > b.time;
}

/**
 * The key in the engine's state for a key of a channel's map: a digest, as both have other characters than those keys.
 */
export async function stateKeyOf(channel: string, key: string): Promise<string> {
  // No name of a channel has a line end.
  return KEY_PREFIX + await digestOf(`${channel}\n${key}`);
}

/** What a value takes in memory, roughly, in bytes. */
export function sizeOf(
  key: string,
  { payload, properties }: Pick<Message, "payload" | "properties">,
): number {
  const size = payload.kind === "bytes" ? payload.bytes.byteLength : payload.text.length;
  return size + key.length + JSON.stringify(properties?.user ?? "").length;
}

export function encodeEntry(message: Message): string {
  const { payload, ...rest } = message;
  const data = payload.kind === "bytes" ? payload.bytes.toBase64() : payload.text;
  return JSON.stringify({ ...rest, payload: { kind: payload.kind, data } });
}

/** @throws {SyntaxError} for a text that is not ours */
export function parseEntry(text: string): Message {
  const value = JSON.parse(text) as Partial<Message> & { payload?: { kind?: unknown; data?: unknown } };
  const { channel, epoch, offset, sequence, time, event, from, properties } = value;
  if (
    typeof channel !== "string" || typeof epoch !== "string" || typeof offset !== "number" ||
    typeof sequence !== "number" || typeof time !== "number" || typeof properties?.key !== "string"
  ) {
    throw new SyntaxError("A value of a map in the engine is not understood");
  }
  const place = { channel, epoch, offset, sequence, time };
  return {
    ...place,
    event,
    from,
    properties,
    socketId: undefined,
    to: undefined,
    payload: readPayload(value.payload),
  };
}

function readPayload(value: { kind?: unknown; data?: unknown } | undefined): Payload {
  const { kind, data } = value ?? {};
  if (typeof data === "string") {
    if (kind === "bytes") return { kind, bytes: Uint8Array.fromBase64(data) };
    if (kind === "text" || kind === "json") return { kind, text: data };
  }
  throw new SyntaxError("A value of a map in the engine has no data that is understood");
}
