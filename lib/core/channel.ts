/**
 * The grammar of channel names, and of the selectors by which a subscription names several channels. Every URL path,
 * publish and subscription is parsed here.
 */
import { quote } from "../base/quote.ts";
import { isSegment, normalizeChannel, RESERVED_SEGMENTS, splitSegments } from "./channel_name.ts";

export {
  checkNameLimit,
  MAX_CHANNEL_LENGTH,
  normalizeChannel,
  RESERVED_SEGMENTS,
  suggestName,
} from "./channel_name.ts";

/** The channel behind the root path `/`. */
export const LOBBY = "lobby";

/** Whether a path is the server's own rather than a channel or a list of them. */
export function isReservedPath(pathname: string): boolean {
  const end = pathname.indexOf("/", 1);
  const first = pathname.slice(1, end === -1 ? undefined : end);
  return first.startsWith("_") || RESERVED_SEGMENTS.has(first);
}

/**
 * What a subscription is to: one channel, or several by list and pattern.
 *
 * `patterns` are split at `/` into segments, where `*` stands for one segment and a final `**` for one or more.
 * `key` is the canonical spelling: the name of a single channel, or a text that no channel can have as its name.
 */
export interface Selector {
  readonly key: string;
  /** The name when the selector is exactly one channel, else undefined. */
  readonly channel: string | undefined;
  readonly patterns: readonly (readonly string[])[];
  /** Channels that wildcards of this selector do not match; names of a list are matched all the same. */
  readonly hides?: (channel: string) => boolean;
}

/**
 * Parses a channel name: 1 to 255 bytes of UTF-8 in segments separated by `/`, none of them empty, `.` or `..`, the
 * first one not reserved for the server. Segments have letters, digits, marks and symbols of any script, and spaces
 * inside.
 *
 * @returns the name in normal form, which is the channel's; callers use it instead of what they were given
 * @throws {SyntaxError} saying what is wrong and how to fix it
 */
export function parseChannel(text: string): string {
  const name = normalizeChannel(text);
  splitSegments(name, () => false, "Channel name");
  return name;
}

/**
 * Parses the channel that a URL path publishes to. `/` is the lobby.
 *
 * @param path the path as it stands in the URL, percent-encoded, with its leading slash
 * @throws {SyntaxError} for an invalid name, and for lists and patterns, which one can only subscribe to
 */
export function parseChannelPath(path: string): string {
  let name = PARSED_PATHS.get(path);
  if (name === undefined) {
    name = parseNewPath(path);
    if (path.length > MAX_PARSED_LENGTH) return name;
    if (PARSED_PATHS.size === MAX_PARSED_PATHS) PARSED_PATHS.clear();
    PARSED_PATHS.set(path, name);
  }
  return name;
}

// Backends publish on the same channels again and again. All their messages share the text of the name.
const PARSED_PATHS = new Map<string, string>();
const MAX_PARSED_PATHS = 1_000;
/** Longer paths are mostly refused later, and would fill the memory. */
const MAX_PARSED_LENGTH = 256;

function parseNewPath(path: string): string {
  if (path === "/") return LOBBY;
  const raw = path.slice(1);
  if (raw.includes(",")) {
    throw new SyntaxError(
      `Cannot publish to the list ${
        quote(raw)
      }: post to each channel, or write a comma that is part of a name as %2C`,
    );
  }
  const name = decodePath(raw);
  if (name.includes("*")) {
    throw new SyntaxError(
      `Cannot publish to the pattern ${quote(name)}: patterns are for reading, name one channel`,
    );
  }
  return parseChannel(name);
}

/**
 * Parses the channels that a URL path subscribes to: a name, a pattern, or a comma-separated list of both. `/` is the
 * lobby.
 *
 * @param path the path as it stands in the URL, percent-encoded, with its leading slash
 * @throws {SyntaxError} for a name or pattern outside the grammar
 */
export function parseSelectorPath(path: string): Selector {
  if (path === "/") return selectChannel(LOBBY);
  return selectPatterns(path.slice(1).split(",").map(decodePath));
}

// Every connection keeps its selector: consecutive subscriptions to one channel share it, to save memory.
let lastSelector: Selector | undefined;

/** The selector of one channel, whose name has been checked. */
export function selectChannel(name: string): Selector {
  if (lastSelector?.channel !== name) {
    lastSelector = { key: name, channel: name, patterns: [name.split("/")] };
  }
  return lastSelector;
}

/**
 * The selector of every channel that matches one of the given names and patterns. Repeats are dropped.
 *
 * @throws {SyntaxError} for a name or pattern outside the grammar
 */
export function selectPatterns(names: readonly string[]): Selector {
  const unique = [...new Set(names.map(normalizeChannel))].sort();
  const [only] = unique;
  if (unique.length === 1 && only !== undefined && !only.includes("*")) {
    return selectChannel(parseChannel(only));
  }
  const patterns = unique.map(parsePattern);
  return { key: joinKey(unique), channel: undefined, patterns };
}

/** The key of a selector of several names and patterns: no name has a line end. */
export function joinKey(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : names.join("\n");
}

/** The names and patterns of a selector, each as one text. */
export function listNames({ patterns }: Selector): readonly string[] {
  return patterns.map((pattern) => pattern.join("/"));
}

/**
 * A selector as one text for people: a name as it is; several with a space between, and `%20` for spaces of their own.
 */
export function formatSelector(selector: Selector): string {
  return selector.channel ?? encodeSelector(selector);
}

/** A selector as one text for other nodes, which `decodeSelector` reads back. No name has a percent sign of its own. */
export function encodeSelector(selector: Selector): string {
  return listNames(selector).map((name) => name.replaceAll(" ", "%20")).join(" ");
}

/** @throws {SyntaxError} for names and patterns outside the grammar */
export function decodeSelector(text: string): Selector {
  return selectPatterns(text.split(" ").map((name) => name.replaceAll("%20", " ")));
}

/** Whether a selector selects a channel. */
export function matchesSelector(selector: Selector, channel: string): boolean {
  if (selector.channel !== undefined) return selector.channel === channel;
  if (selector.hides?.(channel)) return false;
  const segments = channel.split("/");
  return selector.patterns.some((pattern) => matchesPattern(pattern, segments));
}

/** The channel of direct messages to one client: `@id1` for client `id1`. */
export function directChannel(clientId: string): string {
  return `@${clientId}`;
}

/**
 * Splits a pattern such as `orders/*` into its segments.
 *
 * @throws {SyntaxError} for a pattern outside the grammar
 */
export function parsePattern(pattern: string): readonly string[] {
  return splitPattern(pattern, (segment) => segment === "*" || segment === "**");
}

/**
 * Splits a pattern of a rule or a grant into its segments. Here text may precede the wildcard: `chat:*` matches one
 * segment that begins with `chat:`, `chat:**` every channel whose name does. Selectors may not contain such patterns,
 * as they could not be indexed: the cost of a message would grow with their number.
 *
 * @throws {SyntaxError} for a pattern outside the grammar
 */
export function parseRulePattern(pattern: string): readonly string[] {
  return splitPattern(pattern, (segment) => {
    const text = segment.replace(/\*\*?$/, "");
    // Something follows it in every name: it may end in a space.
    return text.length < segment.length && isSegment(`${text}x`);
  });
}

function splitPattern(pattern: string, isWildcard: (segment: string) => boolean): readonly string[] {
  const segments = splitSegments(normalizeChannel(pattern), isWildcard, "Pattern");
  const tail = segments.findIndex((segment) => segment.endsWith("**"));
  if (tail !== -1 && tail !== segments.length - 1) {
    throw new SyntaxError(`Pattern ${quote(pattern)}: "**" may only be the last segment`);
  }
  return segments;
}

/** Whether a channel, split into segments, matches one pattern. */
export function matchesPattern(pattern: readonly string[], segments: readonly string[]): boolean {
  if (pattern.at(-1)?.endsWith("**")) {
    if (segments.length < pattern.length) return false;
  } else if (segments.length !== pattern.length) {
    return false;
  }
  return pattern.every((segment, i) => matchesSegment(segment, segments[i] ?? ""));
}

/** Whether every channel that matches one pattern matches another, as `orders/*` does `orders/**`. */
export function coversPattern(pattern: readonly string[], narrower: readonly string[]): boolean {
  const last = pattern.length - 1;
  const isTail = pattern[last]?.endsWith("**") ?? false;
  if (isTail ? narrower.length < pattern.length : narrower.length !== pattern.length) return false;
  return pattern.every((segment, i) => {
    const other = narrower[i] ?? "";
    // A final ** is covered only by a final **.
    return (segment.endsWith("**") || !other.endsWith("**")) && matchesSegment(segment, other);
  });
}

/** @param segment of a channel's name, or of the narrower pattern */
function matchesSegment(pattern: string, segment: string): boolean {
  if (pattern === segment || pattern === "*" || pattern === "**") return true;
  if (!pattern.endsWith("*")) return false;
  const start = pattern.slice(0, pattern.indexOf("*"));
  return segment.length > start.length && segment.startsWith(start);
}

/** @throws {SyntaxError} for a path that is not percent-encoded UTF-8 */
export function decodePath(raw: string): string {
  if (!raw.includes("%")) return raw;
  try {
    return decodeURIComponent(raw);
  } catch (cause) {
    throw new SyntaxError(`Path ${quote(raw)} is not percent-encoded UTF-8`, { cause });
  }
}
