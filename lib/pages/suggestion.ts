/**
 * Finds the channel that somebody may have meant: by a name that no channel can have, or by an address that was pasted.
 * Pages of errors suggest it, and the Open box of the home page goes there.
 */
import { LOBBY, MAX_CHANNEL_LENGTH, parseChannel, parseSelectorPath } from "../core/channel.ts";

/** A valid name that is close to a text: `my-room` for `my room`. Undefined when nothing of it can be kept. */
export function suggestChannel(text: string): string | undefined {
  if (isChannel(text)) return text;
  const segments = text.trim().split(/[/\\]+/).map(tidySegment).filter((segment) => !/^\.*$/.test(segment));
  const [first = "", ...others] = segments;
  const start = first.replace(/^[_@.-]+/, "");
  for (const name of [start, `${start || "my"}-channel`]) {
    const candidate = [name, ...others].join("/").slice(0, MAX_CHANNEL_LENGTH).replace(/\/$/, "");
    if (segments.length > 0 && isChannel(candidate)) return candidate;
  }
  return undefined;
}

/** A channel's URL path as a browser sends it. */
export function toChannelPath(name: string): string {
  return name === LOBBY ? "/" : encodePath(name).replaceAll(",", "%2C");
}

function encodePath(name: string): string {
  return `/${encodeURI(name.toWellFormed()).replaceAll("#", "%23").replaceAll("?", "%3F")}`;
}

/**
 * The path that a text in the Open box leads to: that of an address, of a name, list or pattern, or of the name suggested
 * in its place. Undefined when nothing of it can be kept.
 *
 * @param host this server's own, with which an address may begin without a scheme
 */
export function findPath(text: string, host: string): string | undefined {
  const name = readAddress(text.trim(), host);
  if (name === "") return "/";
  const path = name === LOBBY ? "/" : encodePath(name);
  try {
    parseSelectorPath(path);
    return path;
  } catch {
    const suggestion = suggestChannel(name);
    return suggestion === undefined ? undefined : toChannelPath(suggestion);
  }
}

/** The name in an address, or a text that is none as it is, without slashes around it. */
function readAddress(text: string, host: string): string {
  const address = text.startsWith(`${host}/`) || /^localhost:\d+\//.test(text) ? `http://${text}` : text;
  if (!/^(?:https?|wss?):\/\//i.test(address) || !URL.canParse(address)) {
    return text.replaceAll(/^\/+|\/+$/g, "");
  }
  const path = new URL(address).pathname.slice(1);
  try {
    return decodeURIComponent(path).replaceAll(/^\/+|\/+$/g, "");
  } catch {
    return path;
  }
}

function tidySegment(segment: string): string {
  const words = segment.normalize("NFC").trim().replaceAll(/\s+/g, "-");
  const plain = words.normalize("NFKD").replaceAll(/\p{M}/gu, "");
  if (/^[\x20-\x7e]*$/.test(plain)) return tidyAscii(plain);
  // Letters of other scripts become what they are in the names of hosts (RFC 3492): one name for each text.
  const letters = words.replaceAll(/[^\p{L}\p{M}\p{N}]+/gu, "-").replaceAll(/^-+|-+$/g, "");
  return letters === "" || !URL.canParse(`http://${letters}`)
    ? tidyAscii(plain.replaceAll(/[^\x20-\x7e]/g, " "))
    : new URL(`http://${letters}`).hostname;
}

function tidyAscii(text: string): string {
  return text.replaceAll(/[^\w\-=@,.;:#$~!'()+]+/g, "-").replaceAll(/^-+|-+$/g, "");
}

function isChannel(name: string): boolean {
  try {
    parseChannel(name);
    return true;
  } catch {
    return false;
  }
}
