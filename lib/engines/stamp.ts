/** What all engines stamp alike: epochs, messages, and how long an idempotency key is remembered. */
import { MessagingError } from "../core/errors.ts";
import type { Receipt } from "../core/log.ts";
import type { Draft, Message } from "../core/message.ts";

/** How long the same idempotency key on the same channel stores once. */
export const IDEMPOTENCY_MILLISECONDS = 5 * 60 * 1_000;

/** A fresh name for a log's life: random, of letters and digits only, as ids are split at "-". */
export function createEpoch(): string {
  return crypto.getRandomValues(new Uint8Array(5)).toHex();
}

/** What the publisher of a message is told for which the log would have to remember one channel too many. */
export function describeChannelLimit(channel: string, limit: number): MessagingError {
  return new MessagingError(
    "too_many_channels",
    `Cannot store the first message of ${JSON.stringify(channel)}: the engine keeps ${limit} channels, ` +
      "use one of them, or raise --max-channels",
  );
}

/** Answers who appended a draft: with its receipt, or with why it was refused. */
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
