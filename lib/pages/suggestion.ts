/**
 * Finds the channel that somebody may have meant: by a name that no channel can have, or by an address that was pasted.
 * Pages of errors suggest it, and the Open box of the home page goes there.
 */
import { LOBBY, normalizeChannel, parseChannel, parseSelectorPath, suggestName } from "../core/channel.ts";

/** A valid name that is close to a text: `my room` for `my room?`. Undefined when nothing of it can be kept. */
export function suggestChannel(text: string): string | undefined {
  return isChannel(text) ? normalizeChannel(text) : suggestName(text);
}

/** A channel's URL path as a browser sends it. */
export function toChannelPath(name: string): string {
  return name === LOBBY ? "/" : encodePath(name).replaceAll(",", "%2C");
}

function encodePath(name: string): string {
  return `/${encodeURI(name.toWellFormed()).replaceAll("#", "%23").replaceAll("?", "%3F")}`;
}

/**
 * The path that a text in the Open box leads to: that of an address, of a name, list or pattern, or of the name
 * suggested in its place. Undefined when nothing of it can be kept.
 *
 * @param host this server's own, with which an address may begin without a scheme
 */
export function findPath(text: string, host: string): string | undefined {
  const name = normalizeChannel(readAddress(text.trim(), host));
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

function isChannel(name: string): boolean {
  try {
    parseChannel(name);
    return true;
  } catch {
    return false;
  }
}
