/** The lines between messages: where a day begins, and where messages are missing. The message list puts them. */
import type { ChannelMessage } from "./channel_message.ts";

/** A message on the page, and the lines that belong to it. */
export interface Row {
  message: ChannelMessage;
  element: HTMLElement;
  /** The line above it that says what is missing. */
  gap?: HTMLElement | undefined;
  /** The line above both that says which day begins. */
  day?: HTMLElement | undefined;
}

/**
 * What is missing between two messages, in words; undefined for nothing.
 *
 * @param isTakenBack whether this page knows that somebody removed the message with an offset: nobody misses it
 */
export function describeGap(
  previous: ChannelMessage,
  next: ChannelMessage,
  isTakenBack: (offset: number) => boolean,
): string | undefined {
  if (previous.epoch !== next.epoch) return "The server lost what was here: its history begins anew";
  let missing = next.offset - previous.offset - 1;
  // Further apart, one more or less makes no difference.
  for (let i = previous.offset + 1; missing > 0 && missing < 1_000 && i < next.offset; i++) {
    if (isTakenBack(i)) missing--;
  }
  if (missing <= 0) return undefined;
  return missing === 1
    ? "One message is missing here: it is no longer kept"
    : `${missing.toLocaleString()} messages are missing here: they are no longer kept`;
}

export function createDay(text: string): HTMLElement {
  const line = document.createElement("li");
  line.className = "day";
  line.textContent = text;
  return line;
}

export function createGap(text: string): HTMLElement {
  const line = document.createElement("li");
  line.className = "gap";
  const words = document.createElement("span");
  words.textContent = text;
  line.append(words);
  return line;
}
