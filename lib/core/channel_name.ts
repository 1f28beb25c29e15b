/**
 * The grammar of channel names: which characters they have, in which normal form they are compared, how long they may
 * be, and which valid name is close to one that is not. `channel.ts` parses by it; everybody else goes through there.
 */
import { quote } from "../base/quote.ts";
import { utf8Length } from "../base/utf8.ts";
import { MessagingError } from "./errors.ts";

/** Longest channel name, in bytes of UTF-8: so many characters of ASCII. */
export const MAX_CHANNEL_LENGTH = 255;

/** First path segments reserved for the server: no channel's name begins with one. */
export const RESERVED_SEGMENTS: ReadonlySet<string> = new Set([
  "api",
  "app",
  "apps",
  "connection",
  "emulation",
  "metrics",
  "mqtt",
  "healthz",
  "readyz",
  "favicon.ico",
  "robots.txt",
]);

/** One segment of a name in ASCII, as most are; spaces at its ends are refused separately. */
const ASCII_SEGMENT = /^[A-Za-z0-9_\-=@,.;:#$~!'()+ ]+$/;

/**
 * Characters of names: of ASCII those above, of all others what can be seen. What is ignorable by default looks like
 * nothing (UAX 31, section 2.3), except that variation selectors belong to the symbol before them. U+FFFD is what
 * decoders leave of bytes that were no text.
 */
const CHARACTER =
  /[A-Za-z0-9_\-=@,.;:#$~!'\(\)+ [[\p{L}\p{M}\p{N}\p{P}\p{S}]--[\p{ASCII}\p{Default_Ignorable_Code_Point}\u{FFFD}]]\p{Variation_Selector}]/v;
const SEGMENT = new RegExp(`^${CHARACTER.source}+$`, "v");
const REFUSED = new RegExp(`(?!${CHARACTER.source})[^]`, "v");
const REFUSED_RUN = new RegExp(`(?:(?!${CHARACTER.source})[^])+`, "gv");

const INVISIBLE = /[[\p{Cf}\p{Default_Ignorable_Code_Point}]--\p{Variation_Selector}]/gv;

/** All below have one form only, as long as no mark follows; the first mark is U+0300. */
const MAY_CHANGE = /[^\0-\u02ff]/;

const ALLOWED = "names have letters, digits, marks and symbols of any script, spaces within, and " +
  "_ - = @ , . ; : # $ ~ ! ' ( ) +";

/**
 * A name in the form that all compare by (Unicode Normalization Form C). Texts that differ only in normal form name one
 * channel, whatever their keyboards and file systems made of them. Nothing else is checked.
 */
export function normalizeChannel(text: string): string {
  // Normalizing can make a text longer or shorter, four times at most: one so long is refused as it is.
  return text.length <= MAX_CHANNEL_LENGTH * 4 && MAY_CHANGE.test(text) ? text.normalize("NFC") : text;
}

/** Whether a text, in normal form, may stand between two slashes of a name. */
export function isSegment(text: string): boolean {
  if (text.startsWith(" ") || text.endsWith(" ")) return false;
  return ASCII_SEGMENT.test(text) || SEGMENT.test(text);
}

/**
 * Splits a name or pattern into its segments.
 *
 * @param name in normal form
 * @param isWildcard whether a segment is a wildcard, which is not checked further
 * @throws {SyntaxError} saying what is wrong and, for names, which name is close and valid
 */
export function splitSegments(
  name: string,
  isWildcard: (segment: string) => boolean,
  kind: "Channel name" | "Pattern",
): readonly string[] {
  if (name.length === 0) throw new SyntaxError("A channel name must not be empty");
  checkLength(name);
  const segments = name.split("/");
  for (const segment of segments) {
    if (segment === "") {
      throw new SyntaxError(
        `${kind} ${quote(name)} has an empty segment: remove the doubled, leading or trailing slash`,
      );
    }
    if (segment === "." || segment === "..") {
      throw new SyntaxError(`${kind} ${quote(name)} has the segment "${segment}", which a URL cannot carry`);
    }
    if (isWildcard(segment) || isSegment(segment)) continue;
    const similar = kind === "Pattern" ? undefined : suggestName(name);
    const advice = similar === undefined ? "" : `. Try ${quote(similar)}`;
    throw new SyntaxError(`${kind} ${quote(name)} ${describeFault(segment)}${advice}`);
  }
  const first = segments[0] ?? "";
  if (isServersOwn(first)) {
    throw new SyntaxError(
      `${kind} ${quote(name)} is the server's own: begin the name with something other than ${quote(first)}`,
    );
  }
  return segments;
}

function isServersOwn(first: string): boolean {
  return /^[_@.]/.test(first) || RESERVED_SEGMENTS.has(first);
}

function checkLength(name: string): void {
  if (isWithin(name, MAX_CHANNEL_LENGTH)) return;
  throw new SyntaxError(
    `${quote(name.slice(0, 40))}... has ${describeLength(name)}: ` +
      `a channel name has at most ${MAX_CHANNEL_LENGTH}`,
  );
}

/** Whether a name has at most so many bytes of UTF-8. */
function isWithin(name: string, bytes: number): boolean {
  // Counted where it matters alone: a unit of UTF-16 takes one byte at least and three at most.
  return name.length * 3 <= bytes || (name.length <= bytes && utf8Length(name) <= bytes);
}

/** The length of a name as its limit counts it. */
function describeLength(name: string): string {
  const bytes = utf8Length(name);
  return bytes === name.length ? `${bytes} characters` : `${bytes} bytes in UTF-8`;
}

/** What is wrong with a segment that `isSegment` refuses. */
function describeFault(segment: string): string {
  const [character] = REFUSED.exec(segment) ?? [];
  if (character === undefined) return "has a space at the beginning or end of a segment: leave it out";
  const code = `U+${character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, "0")}`;
  if (/^[\ud800-\udfff]$/.test(character)) return `has half a surrogate pair (${code}), which is no text`;
  if (character === "\ufffd") {
    return `has the character ${code}, which stands for bytes that were no UTF-8: send the name as UTF-8`;
  }
  if (/^[!-~]$/.test(character)) return `has the character ${JSON.stringify(character)}: ${ALLOWED}`;
  if (/^\p{Zs}$/u.test(character)) return `has the space ${code}: write spaces as U+0020`;
  return `has the character ${code}, which cannot be seen or is not assigned: leave it out`;
}

/** A valid name that is close to a text: `my room` for `my room?`. Undefined when nothing of it can be kept. */
export function suggestName(text: string): string | undefined {
  // No more than a name could be made of: whoever sends more gets less.
  const whole = normalizeChannel(text.slice(0, MAX_CHANNEL_LENGTH * 4));
  const segments = whole.split(/[/\\]+/).map(tidySegment).filter((segment) => !/^\.*$/.test(segment));
  const [first = "", ...others] = segments;
  if (segments.length === 0) return undefined;
  const start = first.replace(/^[_@.\- ]+/, "");
  for (const name of [start, `${start || "my"}-channel`]) {
    const candidate = cutName([name, ...others].join("/"));
    if (isName(candidate)) return candidate;
  }
  return undefined;
}

function isName(name: string): boolean {
  const segments = name.split("/");
  return normalizeChannel(name) === name && utf8Length(name) <= MAX_CHANNEL_LENGTH &&
    segments.every((segment) => isSegment(segment) && segment !== "." && segment !== "..") &&
    !isServersOwn(segments[0] ?? "");
}

function tidySegment(segment: string): string {
  return segment.replaceAll(/\s+/g, " ").replaceAll(INVISIBLE, "").toWellFormed()
    .replaceAll(REFUSED_RUN, "-").replaceAll(/^[- ]+|[- ]+$/g, "").normalize("NFC");
}

/** As many whole characters as a name may have. */
function cutName(name: string): string {
  let kept = "";
  let bytes = 0;
  for (const character of name) {
    bytes += utf8Length(character);
    if (bytes > MAX_CHANNEL_LENGTH) break;
    kept += character;
  }
  return kept.replace(/[/ ]+$/, "");
}

/**
 * Checks a name against the limit of a server, which may be lower than that of the grammar.
 *
 * @throws {MessagingError} `name_too_long`
 */
export function checkNameLimit(name: string, limit: number): void {
  if (isWithin(name, limit)) return;
  throw new MessagingError(
    "name_too_long",
    `The channel name has ${describeLength(name)} and the limit is ${limit}: ` +
      "choose a shorter one, or raise --max-channel-length",
  );
}
