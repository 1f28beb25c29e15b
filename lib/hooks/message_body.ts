/** The body of a request with stored messages, within the size that targets take. The message lane sends it. */
import { listNames, type Selector } from "../core/channel.ts";
import type { LogPage } from "../core/log.ts";
import { encodeMessageMembers, formatId } from "../core/message.ts";

/** Stored messages, ready to be sent. */
export interface Outgoing {
  /** Whether a gap comes before them. */
  readonly kind: LogPage["kind"];
  /** Valid until the next one is made. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Messages in it. */
  readonly count: number;
  /** Where the next ones begin. */
  readonly next: LogPage["next"];
  /** Whether there are more, as far as is known. */
  readonly more: boolean;
  /** The times of the first and the last of them, in milliseconds since 1970. */
  readonly oldest: number | undefined;
  readonly newest: number | undefined;
}

/** Several events are in a list. */
export const BODY_HEAD = '{"events":[';
export const BODY_TAIL = "]}";

interface Encoded {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
}

export interface MessageBodyOptions {
  /** What a gap is about. */
  readonly selector: Selector;
  /** The place that the page was read after. */
  readonly after: { readonly epoch: string; readonly sequence: number };
  /** How many bytes it may have; one event goes whatever its size. */
  readonly maxBytes: number;
}

const encoder = new TextEncoder();

/** Encodes the messages of a page, and its gap, as far as they fit: one event alone, several in a list `events`. */
export function encodePage(page: LogPage, options: MessageBodyOptions): Outgoing {
  const { kind, messages } = page;
  const { bytes: body, count } = encodeFitting(page, options);
  const last = messages[count - 1];
  const all = { kind, body, count, oldest: messages[0]?.time, newest: last?.time };
  return count === messages.length || last === undefined
    ? { ...all, next: page.next, more: page.more }
    : { ...all, next: { ...page.next, sequence: last.sequence }, more: true };
}

function encodeFitting(page: LogPage, options: MessageBodyOptions): Encoded {
  const { maxBytes } = options;
  const body = encodeUpTo(page, options, page.messages.length, maxBytes);
  if (body.bytes.byteLength <= maxBytes || body.count <= 1) return body;
  // What is not ASCII has more bytes than characters.
  const share = Math.floor(body.count * maxBytes / body.bytes.byteLength);
  return encodeFitting({ ...page, messages: page.messages.slice(0, Math.max(1, share)) }, options);
}

/** @param maxLength where it ends, in characters */
function encodeUpTo(
  { messages, ...page }: LogPage,
  { selector, after }: MessageBodyOptions,
  limit: number,
  maxLength: number,
): Encoded {
  let text = "";
  let events = 0;
  if (page.kind === "gap") {
    text = JSON.stringify({
      type: "gap",
      channels: listNames(selector),
      since: formatId(after.epoch, after.sequence),
      earliest: page.earliest,
      time: new Date().toISOString(),
    });
    events++;
  }
  let count = 0;
  for (; count < limit; count++) {
    const event = `${events === 0 ? "" : ","}{"type":"message",${encodeMessageMembers(messages[count]!)}}`;
    if (count > 0 && text.length + event.length > maxLength - BODY_HEAD.length - BODY_TAIL.length) break;
    text += event;
    events++;
  }
  return { bytes: encoder.encode(events === 1 ? text : BODY_HEAD + text + BODY_TAIL), count };
}
