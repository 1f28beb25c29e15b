/** One message as an item of the list: who, when, and its content by kind. The message list makes them. */
import { createBytesView, readBytes } from "./bytes_view.ts";
import { type ChannelMessage, labelOf } from "./channel_message.ts";
import { hueOf } from "./identity.ts";
import { createJsonView } from "./json_view.ts";

/** From here on a text may not fit into its room on the narrowest screen. */
const LONG_LENGTH = 250;
const LONG_LINES = 10;

/** A message that follows another one so soon stands under the same name. */
const CONTINUED_MS = 5 * 60_000;

const LINK = /https?:\/\/[^\s<>"']*[^\s<>"'.,;:!?)\]}]/g;

export interface MessageViewOptions {
  readonly isMine: boolean;
  /** Whether to say which channel it is of. */
  readonly showsChannel: boolean;
}

export function createMessageView(message: ChannelMessage, options: MessageViewOptions): HTMLLIElement {
  const item = document.createElement("li");
  item.className = options.isMine ? "message mine" : "message";
  item.append(createHead(message, options), createContent(message));
  return item;
}

/** What the item of a message says without a head: for drops, announcements and notifications. */
export function summarize({ data }: Pick<ChannelMessage, "data">): string {
  if (typeof data === "string") return data;
  const bytes = readBytes(data);
  return bytes === undefined ? JSON.stringify(data) ?? "" : `${bytes.length} bytes`;
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

function createContent(message: ChannelMessage): HTMLElement {
  const { data, offset } = message;
  if (typeof data === "string") return createText(data);
  const bytes = readBytes(data);
  return bytes === undefined ? createJsonView(data) : createBytesView(bytes, `raindrop-${offset || "live"}`);
}

/** A text as it was written, its addresses as links. */
export function createText(text: string): HTMLElement {
  const body = document.createElement("p");
  body.dir = "auto";
  // One that may be too long to be seen at once scrolls, also by keyboard.
  if (text.length > LONG_LENGTH || text.split("\n", LONG_LINES).length === LONG_LINES) body.tabIndex = 0;
  let end = 0;
  for (const { 0: url, index } of text.matchAll(LINK)) {
    const link = document.createElement("a");
    link.href = url;
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    link.textContent = url;
    body.append(text.slice(end, index), link);
    end = index + url.length;
  }
  body.append(text.slice(end));
  return body;
}

function formatTime(time: Date): string {
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString(undefined, { timeStyle: "short", ...(today ? {} : { dateStyle: "medium" }) });
}
