/**
 * The wire format of the JetStream engine. A record is one NATS message of the stream: its head is a NATS header, so
 * that it can be read without the body; its body holds the messages of one channel. Transient messages are sent as a
 * body without a head.
 */
import type { Draft, Message, MessageProperties, Payload, Sender } from "../../core/message.ts";

/** The name of the NATS header with the head. */
export const HEAD = "Raindrops";

/** The limit on messages in a record, and the factor from record sequences to message sequences. */
export const MESSAGES_PER_RECORD = 1_024;

const VERSION = "1";

/**
 * The kinds of records: messages; a claim of a transient message's key; clearing a channel; removing one message, whose
 * sequence stands in the place of the key; or an anchor, which holds nothing but the channel's offset. Nodes of
 * versions that do not know `remove` pass over it.
 */
export const RECORD_KINDS = ["messages", "claim", "clear", "anchor", "remove"] as const;

export type RecordKind = typeof RECORD_KINDS[number];

/** What the publisher of a record knew about its channel. */
export interface Known {
  /** The newest record. */
  readonly record: number;
  /** The channel's offset as of that record. */
  readonly offset: number;
  /** The time of that record, in milliseconds since 1970. */
  readonly time: number;
  /** The sequence of the channel's newest message as of that record; undefined in records of older versions. */
  readonly sequence?: number | undefined;
}

export interface RecordHead {
  readonly kind: RecordKind;
  /** When it was appended, in milliseconds since 1970. */
  readonly time: number;
  /** When its deadlines begin, as nodes agree: the time, but it goes on when clocks are set back. */
  readonly clock: number;
  /** How many messages it holds. */
  readonly count: number;
  /** The messages' time to live in milliseconds, if they have one. */
  readonly ttl: number | undefined;
  readonly known: Known;
  /** The idempotency key, encoded. */
  readonly key: string | undefined;
  /** What the message of the key says, without spaces; undefined without a key, and in records of older versions. */
  readonly fingerprint: string | undefined;
  /** The epoch of which its publisher knew `known`; undefined in records of older versions. */
  readonly epoch: string | undefined;
}

/** A record as received from the stream. */
export interface StreamRecord {
  /** Its sequence in the stream. */
  readonly sequence: number;
  readonly channel: string;
  /** When the server stored it, by its clock, in milliseconds since 1970: the same for all nodes. */
  readonly stored: number;
  /** The publishing node and its number there. */
  readonly id: string;
  /** Undefined for messages in the stream that are not ours. */
  readonly head: RecordHead | undefined;
  readonly body: Uint8Array;
}

/** A message as it is in a body; its position follows from its place in the stream. */
export type Content = Pick<Message, "payload" | "event" | "from" | "socketId" | "to" | "properties"> & {
  readonly channel: string | undefined;
};

/** The description of one message in a body. The names are short, as every message has them. */
interface Entry {
  readonly k: Payload["kind"];
  /** The size of the payload, in bytes. */
  readonly n: number;
  readonly e?: string | undefined;
  readonly f?: Sender | undefined;
  readonly s?: string | undefined;
  readonly c?: string | undefined;
  readonly t?: string | undefined;
  readonly p?: MessageProperties | undefined;
}

export const NOTHING_KNOWN: Known = { record: 0, offset: 0, time: 0 };

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const NEWLINE = 10;
/** The latest moment a Date can be, https://tc39.es/ecma262/#sec-time-values-and-time-range */
const LATEST_TIME = 8.64e15;

/** How far a publisher's clock may be ahead of the server's, in milliseconds. */
const MAX_LEAD_MILLISECONDS = 3_600_000;

/**
 * The head of a record with times that are not far ahead of when it was stored, whatever its publisher says: times
 * never decrease, so that one of the far future would be that of all later messages. Its clock stays what it is, as
 * only differences of clocks count, and nodes take what is ahead of them for now.
 */
export function clampTimes(head: RecordHead, stored: number): RecordHead {
  const latest = stored + MAX_LEAD_MILLISECONDS;
  const { time, known } = head;
  if (time <= latest && known.time <= latest) return head;
  return {
    ...head,
    time: Math.min(time, latest),
    known: { ...known, time: Math.min(known.time, latest) },
  };
}

export function encodeKey(key: string): string {
  return encoder.encode(key).toBase64();
}

/** The sequence of the message that a record removes, as it stands in the place of a key: no key begins with `#`. */
export function encodeRemoved(sequence: number): string {
  return `#${sequence}`;
}

/** Reads `encodeRemoved`; undefined for anything else. */
export function decodeRemoved(key: string | undefined): number | undefined {
  const [, digits] = /^#(\d{1,16})$/.exec(key ?? "") ?? [];
  return digits === undefined ? undefined : Number(digits);
}

export function encodeHead(head: RecordHead): string {
  const { kind, time, clock, count, ttl, known, key, fingerprint, epoch } = head;
  // What is optional ends the line, so that older versions can read it.
  const rest = [
    ...(clock !== time || fingerprint !== undefined || epoch !== undefined ? [clock] : []),
    ...(fingerprint !== undefined || epoch !== undefined ? [fingerprint ?? "-"] : []),
    ...(epoch !== undefined ? [epoch] : []),
    ...(epoch !== undefined && known.sequence !== undefined ? [known.sequence] : []),
  ];
  return `${VERSION} ${kind} ${time} ${count} ${ttl ?? "-"} ${known.record} ${known.offset} ${known.time} ${
    [key ?? "-", ...rest].join(" ")
  }`;
}

/** Decodes the head in a header; undefined if its version or format is unknown. */
export function decodeHead(text: string): RecordHead | undefined {
  const [version, word, time, count, ttl, record, offset, knownTime, key, ...rest] = text.split(" ");
  const [clock = time, fingerprint, epoch, newest] = rest;
  const kind = RECORD_KINDS.find((known) => known === word);
  if (version !== VERSION || kind === undefined || key === undefined) return undefined;
  const known = {
    record: Number(record),
    offset: Number(offset),
    time: Number(knownTime),
    ...(newest === undefined ? {} : { sequence: Number(newest) }),
  };
  const life = ttl === "-" ? undefined : Number(ttl);
  const numbers = [
    Number(time),
    Number(clock),
    Number(count),
    known.record,
    known.offset,
    known.time,
    known.sequence ?? 0,
    life ?? 0,
  ];
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= 0)) return undefined;
  if (Math.max(Number(time), Number(clock), known.time) > LATEST_TIME) return undefined;
  return {
    kind,
    time: Number(time),
    clock: Number(clock),
    count: Math.min(Number(count), MESSAGES_PER_RECORD),
    ttl: life,
    known,
    key: key === "-" ? undefined : key,
    fingerprint: fingerprint === "-" ? undefined : fingerprint,
    epoch,
  };
}

/** An upper estimate of the bytes that a draft takes in a body. */
export function estimateSize({ channel, event, from, to, properties }: Draft, payloadBytes: number): number {
  const sender = from === undefined ? 0 : 64 + 3 * ((from.info?.length ?? 0) + (from.name?.length ?? 0));
  return payloadBytes + 160 + channel.length + (to?.length ?? 0) + 6 * (event?.length ?? 0) + sender +
    (properties === undefined ? 0 : 16 + 3 * JSON.stringify(properties).length);
}

/** @param addressed whether each message names its channel; for a record, the subject does */
export function encodeBody(drafts: readonly Draft[], addressed: boolean): Uint8Array {
  const payloads = drafts.map(({ payload }) =>
    payload.kind === "bytes" ? payload.bytes : encoder.encode(payload.text)
  );
  const entries = drafts.map(({ payload, event, from, socketId, channel, to, properties }, i): Entry => ({
    k: payload.kind,
    n: payloads[i]!.byteLength,
    e: event,
    f: from,
    s: socketId,
    c: addressed ? channel : undefined,
    t: to,
    p: properties,
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

/** @throws {SyntaxError} if `encodeBody` cannot have written it */
export function decodeBody(body: Uint8Array): Content[] {
  const end = body.indexOf(NEWLINE);
  const entries: unknown = JSON.parse(decoder.decode(body.subarray(0, Math.max(end, 0))));
  if (!Array.isArray(entries)) throw new SyntaxError("A body must begin with a list");
  let position = end + 1;
  return entries.map((entry: Entry) => {
    checkEntry(entry);
    const { k, n, e, f, s, c, t, p } = entry;
    // Copied, because it is a view of the connection's larger buffer.
    const bytes = new Uint8Array(body.subarray(position, position += n));
    if (bytes.byteLength !== n) throw new SyntaxError("A body is shorter than its payloads' sizes say");
    if (k !== "text" && k !== "json" && k !== "bytes") {
      throw new SyntaxError("A body has a payload of an unknown kind");
    }
    return {
      payload: k === "bytes" ? { kind: k, bytes } : { kind: k, text: decoder.decode(bytes) },
      event: e,
      from: f,
      socketId: s,
      channel: c,
      to: t,
      ...(p === undefined ? {} : { properties: p }),
    };
  });
}

/** Rejects wrong types here: on delivery they would throw, and end the process. */
function checkEntry({ e, f, s, c, t, p }: Entry): void {
  if (p !== undefined && (typeof p !== "object" || p === null)) {
    throw new SyntaxError("The properties of a message must be an object");
  }
  const texts: unknown[] = [e, s, c, t];
  if (f !== undefined) {
    if (typeof f !== "object" || f === null || typeof f.id !== "string") {
      throw new SyntaxError("A sender must have an id");
    }
    texts.push(f.name, f.user, f.info);
  }
  if (texts.some((text) => text !== undefined && typeof text !== "string")) {
    throw new SyntaxError("The fields of a message and its sender must be strings");
  }
}

/** The contents of a record's body; if it is damaged or not ours, as many empty texts as the head says. */
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

/** The record that holds the message with a sequence. */
export function recordOf(sequence: number): number {
  return Math.floor(sequence / MESSAGES_PER_RECORD);
}
