/** Pages of the memory engine: finding messages by cursor, and counting what is left of them. */
import type { Cursor, StoredChannel } from "../../core/log.ts";
import { type Message, payloadSize } from "../../core/message.ts";
import { Remnant } from "../../core/resume_id.ts";
import type { Channel } from "./channels.ts";

/** A channel as the port tells of it. */
export function describeChannel({ name, offset, stored }: Channel): StoredChannel {
  return { channel: name, offset, stored: stored.length };
}

/** The first messages within both limits, but at least one if there is one. */
export function takeFitting(messages: readonly Message[], limit: number, maxBytes: number): Message[] {
  let count = 0;
  for (let bytes = 0; count < Math.min(limit, messages.length) && bytes < maxBytes; count++) {
    bytes += payloadSize(messages[count]!.payload);
  }
  return messages.slice(0, count);
}

/**
 * The index of the first element that passes the test; all later ones must pass it too. The very first is tested first:
 * mostly it passes, and a search would touch ten others, which are in no cache.
 */
export function findFirst<T>(list: readonly T[], test: (element: T) => boolean): number {
  if (list.length === 0 || test(list[0]!)) return 0;
  let low = 1;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (test(list[middle]!)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Whether a message comes after a cursor. */
export function isAfter(message: Message, after: Cursor): boolean {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return true;
    case "id":
      return message.sequence > after.sequence;
    case "offset":
      return message.offset > after.offset;
    case "time":
      return message.time >= after.time;
  }
}

/** What is left of the messages with `after < sequence <= upTo`. */
export function countLeft(channels: readonly Channel[], after: number, upTo: number): Remnant {
  let count = 0;
  const takenBack: number[] = [];
  for (const channel of channels) {
    const { stored } = channel;
    const first = findFirst(stored, ({ message }) => message.sequence > after);
    count += findFirst(stored, ({ message }) => message.sequence > Math.max(after, upTo)) - first;
    for (const sequence of channel.takenBack) {
      if (sequence > after && sequence <= upTo) takenBack.push(sequence);
    }
  }
  return new Remnant(upTo, count, takenBack);
}
