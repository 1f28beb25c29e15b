/** Quotes foreign text in messages: names from requests, tokens and files, of which a message shows only so much. */

/** Characters of a text that are shown. */
const MAX_SHOWN_CHARACTERS = 60;

/** A text in double quotes, escaped as in JSON, and cut off after 60 characters. */
export function quote(text: string): string {
  const isShort = text.length <= MAX_SHOWN_CHARACTERS;
  return JSON.stringify(isShort ? text : text.slice(0, MAX_SHOWN_CHARACTERS) + "...");
}
