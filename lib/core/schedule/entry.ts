/** A scheduled message as the engine keeps it in its state. The scheduler writes and reads it. */
import type { Draft, MessageProperties, Payload, Sender } from "../message.ts";

/** Keys of the engine's state that hold scheduled messages begin with it; the id follows. */
export const KEY_PREFIX = "scheduled-";
/** Those of markers, which say that a scheduled message was published, begin with it; id and creation follow. */
export const MARKER_PREFIX = "sent-";

/** The key of the marker of one scheduled message: another one under the same id, scheduled later, has another. */
export function markerOf(id: string, { created }: Pick<Entry, "created">): string {
  return `${MARKER_PREFIX}${id}-${Math.round(created)}`;
}

/** The id in the key of a marker. */
export function idOfMarker(key: string): string {
  return key.slice(MARKER_PREFIX.length, key.lastIndexOf("-"));
}

/** A node has claimed the message, and may have published it. */
export interface Attempt {
  /** Milliseconds since 1970. */
  readonly time: number;
}

export interface Entry {
  readonly draft: Draft;
  /** Milliseconds since 1970. */
  readonly due: number;
  /** Whether it was given as a duration: then a clock that is set does not move it. */
  readonly isRelative: boolean;
  /** When it was scheduled, in milliseconds since 1970. Those due at the same time are sent in this order. */
  readonly created: number;
  /** Who scheduled it, as `Pass.publisher` says. */
  readonly publisher: string;
  /** Whose share it counts for, as `Shares.ownerOf` says. */
  readonly owner?: string | undefined;
  /** A digest of what the message says. */
  readonly digest: string;
  /** Set once it may have been published. */
  readonly attempt?: Attempt | undefined;
}

/** A payload in JSON. */
type Packed = { readonly text: string } | { readonly json: string } | { readonly base64: string };

export function encodeEntry({ draft, ...rest }: Entry): string {
  const { payload, ...options } = draft;
  return JSON.stringify({ ...rest, draft: { ...options, payload: pack(payload) } });
}

/** @throws {SyntaxError} for a text that is not ours */
export function parseEntry(text: string): Entry {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || !isRecord(value.draft)) throw notOurs();
  const { due, created, isRelative, publisher, owner, digest, attempt, draft } = value;
  if (
    typeof due !== "number" || typeof created !== "number" || typeof isRelative !== "boolean" ||
    typeof publisher !== "string" || typeof digest !== "string" || typeof draft.channel !== "string"
  ) {
    throw notOurs();
  }
  return {
    due,
    created,
    isRelative,
    publisher,
    digest,
    ...(typeof owner === "string" ? { owner } : {}),
    draft: { ...readOptions(draft), channel: draft.channel, payload: unpack(draft.payload) },
    ...(isRecord(attempt) ? { attempt: { time: Number(attempt.time) } } : {}),
  };
}

function pack(payload: Payload): Packed {
  switch (payload.kind) {
    case "text":
      return { text: payload.text };
    case "json":
      return { json: payload.text };
    case "bytes":
      return { base64: payload.bytes.toBase64() };
  }
}

function unpack(value: unknown): Payload {
  if (isRecord(value)) {
    if (typeof value.text === "string") return { kind: "text", text: value.text };
    if (typeof value.json === "string") return { kind: "json", text: value.json };
    if (typeof value.base64 === "string") {
      return { kind: "bytes", bytes: Uint8Array.fromBase64(value.base64) };
    }
  }
  throw notOurs();
}

function readOptions(draft: Record<string, unknown>): Omit<Draft, "channel" | "payload"> {
  const { event, from, to, ttl, ephemeral, properties } = draft;
  return {
    ...(typeof event === "string" ? { event } : {}),
    ...(isRecord(from) ? { from: from as unknown as Sender } : {}),
    ...(typeof to === "string" ? { to } : {}),
    ...(typeof ttl === "number" ? { ttl } : {}),
    ...(typeof ephemeral === "boolean" ? { ephemeral } : {}),
    ...(isRecord(properties) ? { properties: properties as MessageProperties } : {}),
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function notOurs(): SyntaxError {
  return new SyntaxError("A scheduled message in the engine is not understood");
}
