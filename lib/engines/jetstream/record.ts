/**
 * What the JetStream engine puts on the wire. A record is one message of the stream: a head, which is a NATS header so
 * that it can be read without the body, and a body that holds any number of messages of one channel. What is not
 * stored travels as a body alone.
 */
import type { Draft, Message, Payload, Sender } from "../../core/message.ts";

/** The NATS header that holds the head. */
export const HEAD = "Raindrops";

/** Messages of one record at most: the factor between the stream's sequence and that of messages. */
export const MESSAGES_PER_RECORD = 1_024;

const VERSION = "1";

/** What a record is: messages; a claim of a key for one that is not stored; the end of what a channel had; or nothing,
 * to be the channel's newest record. */
export const RECORD_KINDS = ["messages", "claim", "clear", "anchor"] as const;

export type RecordKind = typeof RECORD_KINDS[number];

/** What the publisher of a record knew of its channel. */
export interface Known {
  /** The newest record. */
  readonly record: number;
  /** How many messages the channel had ever had with that. */
  readonly offset: number;
  /** When that was, in milliseconds since 1970. */
  readonly time: number;
}

export interface RecordHead {
  readonly kind: RecordKind;
  /** When it was handed in, in milliseconds since 1970. */
  readonly time: number;
  /** How many messages it holds. */
  readonly count: number;
  /** Milliseconds that they are kept, if not as long as the rule says. */
  readonly ttl: number | undefined;
  readonly known: Known;
  /** The idempotency key, encoded. */
  readonly key: string | undefined;
}

/** A record as it comes from the stream. */
export interface StreamRecord {
  /** The stream's sequence. */
  readonly sequence: number;
  readonly channel: string;
  /** Who published it as his how-manieth. */
  readonly id: string;
  /** Undefined for what somebody else put into the stream. */
  readonly head: RecordHead | undefined;
  readonly body: Uint8Array;
}

/** A message of a body, without what its place in the stream says of it. */
export type Content = Pick<Message, "payload" | "event" | "from" | "socketId" | "to"> & {
  readonly channel: string | undefined;
};

/** How a body names a message's parts: short, as there is one of these to each message. */
interface Entry {
  readonly k: Payload["kind"];
  /** Bytes of the payload. */
  readonly n: number;
  readonly e?: string | undefined;
  readonly f?: Sender | undefined;
  readonly s?: string | undefined;
  readonly c?: string | undefined;
  readonly t?: string | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const NEWLINE = 10;
/** The latest moment a Date can be, https://tc39.es/ecma262/#sec-time-values-and-time-range */
const LATEST_TIME = 8.64e15;

export function encodeKey(key: string): string {
  return encoder.encode(key).toBase64();
}

export function encodeHead({ kind, time, count, ttl, known, key }: RecordHead): string {
  return `${VERSION} ${kind} ${time} ${count} ${ttl ?? "-"} ${known.record} ${known.offset} ${known.time} ${
    key ?? "-"
  }`;
}

/** The head a header holds, or undefined when it holds none that is known here. */
export function decodeHead(text: string): RecordHead | undefined {
  const [version, word, time, count, ttl, record, offset, knownTime, key] = text.split(" ");
  const kind = RECORD_KINDS.find((known) => known === word);
  if (version !== VERSION || kind === undefined || key === undefined) return undefined;
  const known = { record: Number(record), offset: Number(offset), time: Number(knownTime) };
  const life = ttl === "-" ? undefined : Number(ttl);
  const numbers = [Number(time), Number(count), known.record, known.offset, known.time, life ?? 0];
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) return undefined;
  if (Number(time) > LATEST_TIME || known.time > LATEST_TIME) return undefined;
  return {
    kind,
    time: Number(time),
    count: Math.min(Number(count), MESSAGES_PER_RECORD),
    ttl: life,
    known,
    key: key === "-" ? undefined : key,
  };
}

/** Bytes that a draft takes in a body, or a few more. */
export function estimateSize({ channel, event, from, to }: Draft, payloadBytes: number): number {
  const sender = from === undefined ? 0 : 64 + 3 * ((from.info?.length ?? 0) + (from.name?.length ?? 0));
  return payloadBytes + 160 + channel.length + (to?.length ?? 0) + 6 * (event?.length ?? 0) + sender;
}

/** @param addressed whether each message names its channel, which of a record the subject does */
export function encodeBody(drafts: readonly Draft[], addressed: boolean): Uint8Array {
  const payloads = drafts.map(({ payload }) =>
    payload.kind === "bytes" ? payload.bytes : encoder.encode(payload.text)
  );
  const entries = drafts.map(({ payload, event, from, socketId, channel, to }, i): Entry => ({
    k: payload.kind,
    n: payloads[i]!.byteLength,
    e: event,
    f: from,
    s: socketId,
    c: addressed ? channel : undefined,
    t: to,
  }));
  const head = encoder.encode(JSON.stringify(entries) + "\n");
  const body = new Uint8Array(
    payloads.reduce((bytes, payload) => bytes + payload.byteLength, head.byteLength),
  );
  body.set(head);
  let position = head.byteLength;
  for (const payload of payloads) {
    body.set(payload, position);
    position += payload.byteLength;
  }
  return body;
}

/** @throws {SyntaxError} for what `encodeBody` did not write */
export function decodeBody(body: Uint8Array): Content[] {
  const end = body.indexOf(NEWLINE);
  const entries: unknown = JSON.parse(decoder.decode(body.subarray(0, Math.max(end, 0))));
  if (!Array.isArray(entries)) throw new SyntaxError("A body begins with a list");
  let position = end + 1;
  return entries.map((entry: Entry) => {
    checkEntry(entry);
    const { k, n, e, f, s, c, t } = entry;
    // Copied: what comes from the connection is a part of something larger, and not a plain Uint8Array.
    const bytes = new Uint8Array(body.subarray(position, position += n));
    if (bytes.byteLength !== n) throw new SyntaxError("A body is shorter than it says");
    if (k !== "text" && k !== "json" && k !== "bytes") {
      throw new SyntaxError("A body has a payload of no known kind");
    }
    return {
      payload: k === "bytes" ? { kind: k, bytes } : { kind: k, text: decoder.decode(bytes) },
      event: e,
      from: f,
      socketId: s,
      channel: c,
      to: t,
    };
  });
}

/** What is of another type than it should be would throw where it is delivered, and that ends the node. */
function checkEntry({ e, f, s, c, t }: Entry): void {
  const texts: unknown[] = [e, s, c, t];
  if (f !== undefined) {
    if (typeof f !== "object" || f === null || typeof f.id !== "string") {
      throw new SyntaxError("A sender has an id");
    }
    texts.push(f.name, f.user, f.info);
  }
  if (texts.some((text) => text !== undefined && typeof text !== "string")) {
    throw new SyntaxError("What names a message's parts is text");
  }
}

/** What a record's body says; empty texts, as many as the head counts, if it was damaged or is none of ours. */
export function decodeContents(body: Uint8Array, count: number): readonly Content[] {
  try {
    const contents = decodeBody(body);
    if (contents.length === count) return contents;
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
  }
  const blank: Content = {
    payload: { kind: "text", text: "" },
    event: undefined,
    from: undefined,
    socketId: undefined,
    channel: undefined,
    to: undefined,
  };
  return Array.from({ length: count }, () => blank);
}

/** The sequence of a record's message. */
export function sequenceOf(record: number, index: number): number {
  return record * MESSAGES_PER_RECORD + index;
}

/** The record that holds the message of a sequence. */
export function recordOf(sequence: number): number {
  return Math.floor(sequence / MESSAGES_PER_RECORD);
}
