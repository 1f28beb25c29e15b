/** What a push message says: the JSON that the service worker of the pages, `static/push_worker.ts`, shows. */

/** A stored message, as the message lane encodes it. */
export interface PushedMessage {
  readonly channel: string;
  readonly id: string;
  /** RFC 3339. */
  readonly time: string;
  readonly data: unknown;
  readonly from?: { readonly name?: string; readonly user?: string };
}

export interface PushNotification {
  readonly channel: string;
  /** The id of the message. */
  readonly id: string;
  readonly title: string;
  readonly body: string;
}

/**
 * Push services take 4,096 bytes, of which encryption needs 103 (RFC 8291 section 4). A character of text takes up to 6
 * bytes of JSON.
 */
const MAX_BODY_LENGTH = 400;
const MAX_NAME_LENGTH = 60;
const MAX_TITLE_LENGTH = 80;

/**
 * Describes the newest of some messages.
 *
 * @param earlier how many came just before it
 */
export function describeMessage(
  { channel, id, data, from }: PushedMessage,
  earlier: number,
): PushNotification {
  const text = cut(summarize(data), MAX_BODY_LENGTH);
  const said = from?.name === undefined ? text : `${cut(from.name, MAX_NAME_LENGTH)}: ${text}`;
  const body = earlier === 0 ? said : `${earlier + 1} new messages. ${said}`;
  return { channel, id, title: cut(channel, MAX_TITLE_LENGTH), body };
}

/** As pages summarize messages: text as it is, a file by its name, anything else as JSON. */
function summarize(data: unknown): string {
  if (typeof data === "string") return data;
  if (typeof data === "object" && data !== null && "base64" in data) {
    return "name" in data && typeof data.name === "string" ? data.name : "A file";
  }
  return JSON.stringify(data);
}

/** Cut between characters, not within one. */
function cut(text: string, length: number): string {
  if (text.length <= length) return text;
  return `${text.slice(0, length - 1).toWellFormed().replace(/\uFFFD$/, "")}…`;
}
