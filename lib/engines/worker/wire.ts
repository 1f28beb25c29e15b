/**
 * What worker threads and the thread of the engine send each other over a MessagePort: each side collects what it has to
 * say in a turn of the event loop, and sends it as one array. `engine.ts` and `host.ts` speak it.
 */
import { type ErrorCode, MessagingError } from "../../core/errors.ts";
import type { LogPage, LogQuery, Receipt, StateItem } from "../../core/log.ts";
import type {
  Draft,
  Message,
  MessageId,
  MessageProperties,
  Payload,
  Removal,
  Sender,
} from "../../core/message.ts";

/** A query whose selector can cross threads: a function cannot. */
export interface WireQuery extends Omit<LogQuery, "selector"> {
  readonly selector: Omit<LogQuery["selector"], "hides">;
  /** Whether the channels are hidden that protocols keep private. */
  readonly hides: boolean;
}

/** A worker asks the engine. Whatever has an `id` is answered with it. */
export type Ask =
  | readonly ["append", drafts: WireDrafts]
  | readonly ["read", id: number, query: WireQuery]
  | readonly ["clear", id: number, channel: string, hasKeys: boolean]
  | readonly ["remove", id: number, channel: string, message: MessageId]
  | readonly ["stateRead", id: number, key: string]
  | readonly ["stateWrite", id: number, key: string, value: string, revision: number]
  | readonly ["stateDelete", id: number, key: string, revision: number]
  | readonly ["stateList", id: number, prefix: string]
  | readonly ["publish", topic: string, bytes: Uint8Array]
  | readonly ["subscribe", topic: string]
  | readonly ["unsubscribe", topic: string]
  /** So many batches of the host have been dealt with since the last time. */
  | readonly ["seen", batches: number];

/** The engine tells a worker. */
export type Tell =
  /** The first word. */
  | readonly ["opened", memory: WorkerMemory]
  | readonly ["stored", messages: WireMessages]
  | readonly ["removed", removal: Removal]
  | readonly ["cleared", removal: Removal]
  | readonly ["done", id: number, value: unknown]
  | readonly ["receipts", receipts: WireReceipts]
  | readonly ["page", id: number, page: WirePage]
  | readonly ["failed", id: number, error: WireError]
  /** Some entries of a list; `done` follows the last ones. */
  | readonly ["items", id: number, items: readonly StateItem[]]
  | readonly ["reset", reason: string]
  | readonly ["bus", topic: string, bytes: Uint8Array];

/** What a worker shares with the host: what it wants to be told of, and the newest sequence. */
export interface WorkerMemory {
  readonly interest: SharedArrayBuffer;
  readonly top: SharedArrayBuffer;
}

/** Everything the host says in one turn. */
export interface TellBatch {
  readonly tells: readonly Tell[];
  /** Whether the host waits to hear that the worker has dealt with it; else that can wait for the next ask. */
  readonly isAwaited: boolean;
  /** How the engine stands after it, if that is news. */
  readonly state?: EngineState;
}

/** What seldom changes. */
export interface EngineState {
  readonly epoch: string;
  /** How often the epoch has changed: the newest sequence is of this one. */
  readonly generation: number;
  readonly connected: boolean;
  readonly maxBytes: number;
  readonly isLocal: boolean;
}

/**
 * Rows as JSON, whose parser is several times faster than structured cloning, and beside it the payloads that are
 * bytes.
 */
interface WireRows {
  readonly text: string;
  readonly blobs: readonly Uint8Array<ArrayBuffer>[];
}

/** Messages, written once for all workers. */
export type WireMessages = WireRows;

/** The drafts that a worker appends in one turn, each with its id. */
export type WireDrafts = WireRows;

/** The receipts of a turn, one behind another: id, epoch, offset, sequence, time, and whether it is a duplicate. */
export type WireReceipts = (number | string | boolean)[];

const RECEIPT_LENGTH = 6;

export type WirePage = Omit<LogPage, "messages"> & { readonly messages: WireMessages };

export interface WireError {
  /** Undefined for an error that is not meant for clients. */
  readonly code: ErrorCode | undefined;
  readonly message: string;
  readonly retryAfter: number | undefined;
}

/**
 * What every message has, without names: half the size, and half the time to read. The rest follows if there is any.
 */
type MessageRow = readonly [
  channel: string,
  kind: Payload["kind"],
  /** The text, or the number of the blob. */
  content: string | number,
  epoch: string,
  offset: number,
  sequence: number,
  time: number,
  event?: string | null,
  from?: Sender | null,
  socketId?: string | null,
  to?: string | null,
  properties?: MessageProperties | null,
];

export function encodeMessages(messages: readonly Message[]): WireMessages {
  const blobs: Uint8Array<ArrayBuffer>[] = [];
  const rows: unknown[] = [];
  for (const message of messages) {
    const { channel, payload, epoch, offset, sequence, time, event, from, socketId, to, properties } =
      message;
    const content = encodeContent(payload, blobs);
    const isBare = event === undefined && from === undefined && socketId === undefined && to === undefined &&
      properties === undefined;
    rows.push(
      isBare ? [channel, payload.kind, content, epoch, offset, sequence, time] : [
        channel,
        payload.kind,
        content,
        epoch,
        offset,
        sequence,
        time,
        event,
        from,
        socketId,
        to,
        properties,
      ],
    );
  }
  return { text: JSON.stringify(rows), blobs };
}

export function decodeMessages({ text, blobs }: WireMessages): Message[] {
  const rows: readonly MessageRow[] = JSON.parse(text);
  return rows.map((row): Message => {
    const message = {
      channel: row[0],
      payload: decodeContent(row[1], row[2], blobs),
      epoch: row[3],
      offset: row[4],
      sequence: row[5],
      time: row[6],
      event: row[7] ?? undefined,
      from: row[8] ?? undefined,
      socketId: row[9] ?? undefined,
      to: row[10] ?? undefined,
    };
    const properties = row[11] ?? undefined;
    return properties === undefined ? message : { ...message, properties };
  });
}

type DraftRow = readonly [
  id: number,
  channel: string,
  kind: Payload["kind"],
  content: string | number,
  others?: Omit<Draft, "channel" | "payload">,
];

export function encodeDrafts(drafts: readonly IdentifiedDraft[]): WireDrafts {
  const blobs: Uint8Array<ArrayBuffer>[] = [];
  const rows = drafts.map(({ id, draft: { channel, payload, ...others } }): DraftRow => {
    const content = encodeContent(payload, blobs);
    return Object.keys(others).length === 0
      ? [id, channel, payload.kind, content]
      : [id, channel, payload.kind, content, others];
  });
  return { text: JSON.stringify(rows), blobs };
}

export function decodeDrafts({ text, blobs }: WireDrafts): IdentifiedDraft[] {
  const rows: readonly DraftRow[] = JSON.parse(text);
  return rows.map(([id, channel, kind, content, others]) => {
    const payload = decodeContent(kind, content, blobs);
    return { id, draft: others === undefined ? { channel, payload } : { channel, payload, ...others } };
  });
}

/** A draft, and the id under which its receipt comes. */
export interface IdentifiedDraft {
  readonly id: number;
  readonly draft: Draft;
}

/** The length of a payload, for bounding what goes together. */
export function contentLength(payload: Payload): number {
  return payload.kind === "bytes" ? payload.bytes.byteLength : payload.text.length;
}

function encodeContent(payload: Payload, blobs: Uint8Array<ArrayBuffer>[]): string | number {
  return payload.kind === "bytes" ? blobs.push(payload.bytes) - 1 : payload.text;
}

function decodeContent(kind: Payload["kind"], content: string | number, blobs: WireRows["blobs"]): Payload {
  return kind === "bytes" ? { kind, bytes: blobs[content as number]! } : { kind, text: content as string };
}

/** Adds a receipt to those of the turn. */
export function addReceipt(receipts: WireReceipts, id: number, receipt: Receipt): void {
  const { epoch, offset, sequence, time, duplicate } = receipt;
  receipts.push(id, epoch, offset, sequence, time, duplicate);
}

export function* decodeReceipts(receipts: WireReceipts): Iterable<{ id: number; receipt: Receipt }> {
  for (let i = 0; i < receipts.length; i += RECEIPT_LENGTH) {
    const [id, epoch, offset, sequence, time, duplicate] = receipts.slice(i, i + RECEIPT_LENGTH) as [
      number,
      string,
      number,
      number,
      number,
      boolean,
    ];
    yield { id, receipt: { epoch, offset, sequence, time, duplicate } };
  }
}

/** The bytes that a batch of messages takes while it waits in a port, roughly. */
export function sizeOf({ text, blobs }: WireMessages): number {
  return blobs.reduce((size, { byteLength }) => size + byteLength, text.length);
}

export function encodeError(error: unknown): WireError {
  if (error instanceof MessagingError) {
    const { code, message, retryAfter } = error;
    return { code, message, retryAfter };
  }
  const message = error instanceof Error ? error.stack ?? error.message : String(error);
  return { code: undefined, message, retryAfter: undefined };
}

export function decodeError({ code, message, retryAfter }: WireError): Error {
  if (code === undefined) return new Error(message);
  return new MessagingError(code, message, retryAfter === undefined ? {} : { retryAfter });
}
