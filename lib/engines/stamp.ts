/** What all engines share: epochs, stamping messages, and how long idempotency keys are valid. */
import { createHash } from "node:crypto";
import { MessagingError } from "../core/errors.ts";
import type { Receipt } from "../core/log.ts";
import { type Draft, isTransient, type Message } from "../core/message.ts";

/**
 * Messages that are stored and delivered at once, at most. A client can send tens of thousands of tiny ones in a moment:
 * delivered in one go to each subscriber, they would take a gigabyte before the first has left.
 */
export const MAX_BATCH = 256;

/** How long an idempotency key prevents duplicates on its channel. */
export const IDEMPOTENCY_MILLISECONDS = 5 * 60 * 1_000;

/**
 * A digest of what a keyed draft says, kept with its key. Rules make messages transient: what was delivered under one
 * rule is not the message that another rule would have stored.
 */
export function fingerprintOf(draft: Draft): string {
  const { payload, fingerprint = "" } = draft;
  const head = JSON.stringify([isTransient(draft), fingerprint, payload.kind]);
  const content = payload.kind === "bytes" ? payload.bytes : payload.text;
  return createHash("sha256").update(`${head}\n`).update(content).digest("base64url");
}

/**
 * The error for a key that comes again with another message (draft-ietf-httpapi-idempotency-key-header, section 2.7).
 */
export function createReuseError(channel: string): MessagingError {
  return new MessagingError(
    "key_reused",
    `Another message was published on ${
      JSON.stringify(channel)
    } with this idempotency key, less than 5 minutes ago: ` +
      "send a key of its own with each message, and repeat a message unchanged",
  );
}

/** The value of the state entry that a draft's marker names: the receipt of its message. */
export function encodeMarker({ epoch, offset, sequence, time }: Receipt): string {
  return JSON.stringify([epoch, offset, sequence, time]);
}

/** The receipt for another draft with a marker. */
export function decodeMarker(value: string): Receipt {
  const [epoch, offset, sequence, time] = JSON.parse(value) as [string, number, number, number];
  return { epoch, offset, sequence, time, duplicate: true };
}

/** Creates a random epoch, of letters and digits only, as ids are split at "-". */
export function createEpoch(): string {
  return crypto.getRandomValues(new Uint8Array(5)).toHex();
}

/** The error for a message that would create a channel beyond the limit. */
export function createChannelLimitError(channel: string, limit: number): MessagingError {
  return new MessagingError(
    "too_many_channels",
    `Cannot store the first message of ${
      JSON.stringify(channel)
    }: the engine keeps ${limit} channels already; ` +
      "use one of them, or raise --max-channels",
  );
}

/** Settles an append with its receipt, or with the reason it was refused. */
export function settle(
  { resolve, reject }: {
    readonly resolve: (receipt: Receipt) => void;
    readonly reject: (error: MessagingError) => void;
  },
  outcome: Receipt | MessagingError,
): void {
  if (outcome instanceof MessagingError) reject(outcome);
  else resolve(outcome);
}

/** Creates the message of a draft. Offset and sequence are 0 if it is transient. */
export function stampMessage(
  draft: Draft,
  epoch: string,
  offset: number,
  sequence: number,
  time: number,
): Message {
  const message: Message = {
    channel: draft.channel,
    payload: draft.payload,
    epoch,
    offset,
    sequence,
    time,
    event: draft.event,
    from: draft.from,
    socketId: draft.socketId,
    to: draft.to,
  };
  return draft.properties === undefined ? message : { ...message, properties: draft.properties };
}
