/** What all engines stamp alike: epochs, messages, and how long an idempotency key is remembered. */
import type { Draft, Message } from "../core/message.ts";

/** How long the same idempotency key on the same channel stores once. */
export const IDEMPOTENCY_MILLISECONDS = 5 * 60 * 1_000;

/** A fresh name for a log's life: random, of letters and digits only, as ids are split at "-". */
export function createEpoch(): string {
  return crypto.getRandomValues(new Uint8Array(5)).toHex();
}

/** The message that a draft becomes. Offset and sequence are 0 when it is not stored. */
export function stampMessage(
  draft: Draft,
  epoch: string,
  offset: number,
  sequence: number,
  time: number,
): Message {
  return {
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
}
