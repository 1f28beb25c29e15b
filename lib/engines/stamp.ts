/** What all engines share: epochs, stamping messages, and how long idempotency keys are valid. */
import { MessagingError } from "../core/errors.ts";
import type { Receipt } from "../core/log.ts";
import type { Draft, Message } from "../core/message.ts";

/** How long an idempotency key prevents duplicates on its channel. */
export const IDEMPOTENCY_MILLISECONDS = 5 * 60 * 1_000;

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
