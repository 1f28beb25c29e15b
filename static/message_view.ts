/** One message as an item of the list: who, when, and its content by kind. The message list makes them. */
import { createBytesView, readAttachment } from "./bytes_view.ts";
import { type ChannelMessage, labelOf } from "./channel_message.ts";
import { hueOf } from "./identity.ts";
import { createJsonView } from "./json_view.ts";
import { createText } from "./text_view.ts";

/** A message that follows another one so soon stands under the same name. */
const CONTINUED_MS = 5 * 60_000;

export interface MessageViewOptions {
  readonly isMine: boolean;
  /** Whether to say which channel it is of. */
  readonly showsChannel: boolean;
}

export function createMessageView(message: ChannelMessage, options: MessageViewOptions): HTMLLIElement {
  const item = document.createElement("li");
  item.className = options.isMine ? "message mine" : "message";
  item.append(createHead(message, options), createContent(message));
  // A message that follows another one has no clock of its own.
  item.title = formatExactTime(message.time);
  return item;
}

/** What the item of a message says without a head: for drops, announcements and notifications. */
export function summarize({ data }: Pick<ChannelMessage, "data">): string {
  if (typeof data === "string") return data;
  const attachment = readAttachment(data);
  if (attachment === undefined) return JSON.stringify(data) ?? "";
  return attachment.name ?? `${attachment.bytes.length} bytes`;
}

/** Whether a message directly under another of the same author needs no name of its own. */
export function continues(message: ChannelMessage, previous: ChannelMessage): boolean {
  if (message.author === undefined || previous.author === undefined) return false;
  return labelOf(message.author) !== undefined && labelOf(message.author) === labelOf(previous.author) &&
    message.channel === previous.channel && message.event === undefined &&
    message.time.getTime() - previous.time.getTime() < CONTINUED_MS;
}

function createHead(message: ChannelMessage, { isMine, showsChannel }: MessageViewOptions): HTMLElement {
  const { author, channel, event, time } = message;
  const head = document.createElement("div");
  head.className = "head";
  const name = author && labelOf(author);
  if (name !== undefined || isMine) {
    const who = document.createElement("bdi");
    who.className = "who";
    who.textContent = isMine ? "you" : name!;
    who.style.setProperty("--hue", String(hueOf(name ?? author?.id ?? "")));
    head.append(who);
  }
  if (showsChannel) {
    const link = document.createElement("a");
    link.className = "where";
    link.href = `/${encodeURI(channel).replaceAll("#", "%23").replaceAll("?", "%3F").replaceAll(",", "%2C")}`;
    link.textContent = `/${channel}`;
    head.append(link);
  }
  if (event !== undefined) {
    const tag = document.createElement("bdi");
    tag.className = "event";
    tag.textContent = event;
    head.append(tag);
  }
  const clock = document.createElement("time");
  clock.dateTime = time.toISOString();
  clock.textContent = formatTime(time);
  head.append(clock);
  return head;
}

/** What a message holds, by its kind. */
export function createContent(message: ChannelMessage): HTMLElement {
  const { data, offset } = message;
  if (typeof data === "string") {
    const json = readJson(data);
    return json === undefined ? createText(data) : createJsonView(json);
  }
  const attachment = readAttachment(data);
  return attachment === undefined
    ? createJsonView(data)
    : createBytesView(attachment, `raindrop-${offset || "live"}`);
}

/** The object or list that a text is: what `curl -d` and people at a box send is text, whatever it says. */
function readJson(text: string): object | undefined {
  if (!/^\s*[{[]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A moment to the second, with its day. */
export function formatExactTime(time: Date): string {
  return time.toLocaleString(undefined, { dateStyle: "full", timeStyle: "medium" });
}

/** A day as a line between messages says it. */
export function formatDay(time: Date): string {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (time.toDateString() === today.toDateString()) return "Today";
  if (time.toDateString() === yesterday.toDateString()) return "Yesterday";
  return time.toLocaleDateString(undefined, { dateStyle: "full" });
}

function formatTime(time: Date): string {
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString(undefined, { timeStyle: "short", ...(today ? {} : { dateStyle: "medium" }) });
}
