/**
 * JSON as text: checked in one pass and cut into the source texts of its members, never rebuilt. All JSON from clients
 * is read here, so that what a publisher wrote goes out as it was written.
 */

/** Deepest nesting that is accepted. */
export const MAX_JSON_DEPTH = 1_000;

/** Says where a text is not JSON, without the text, which may be a secret. */
export class NotJsonError extends SyntaxError {
  readonly position: number;

  constructor(position: number, isEnd: boolean) {
    super(`Not JSON at ${isEnd ? "the end" : `position ${position}`}`);
    this.position = position;
  }
}

/** Members of a JSON object by name, each as its JSON text. */
export type JsonMembers = ReadonlyMap<string, string>;

/** The kind of a JSON value, told by its first character. */
export type JsonKind = "object" | "array" | "string" | "number" | "boolean" | "null";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

const LITERALS: ReadonlyMap<number, string> = new Map(
  ["true", "false", "null"].map((word) => [word.charCodeAt(0), word]),
);

/**
 * Checks that a text is one JSON value.
 *
 * @returns the value's text, without white space around it
 * @throws {SyntaxError} saying where it is not JSON, or that it is nested too deeply
 */
export function parseJsonText(text: string): string {
  const start = skipSpace(text, 0);
  const end = skipValue(text, start);
  demandEnd(text, end);
  return copySlice(text, start, end);
}

/**
 * Checks that a text is one JSON value and cuts it into members.
 *
 * @param keeps whether to keep a member, given how many are kept; others are checked and left out
 * @returns undefined when the value is not an object
 * @throws {SyntaxError} as `parseJsonText`
 */
export function parseJsonObject(
  text: string,
  keeps: (name: string, kept: number) => boolean = () => true,
): JsonMembers | undefined {
  const members = new Map<string, string>();
  let at = skipSpace(text, 0);
  if (text.charCodeAt(at) !== OPEN_BRACE) {
    demandEnd(text, skipValue(text, at));
    return undefined;
  }
  at = skipSpace(text, at + 1);
  if (text.charCodeAt(at) === CLOSE_BRACE) {
    demandEnd(text, at + 1);
    return members;
  }
  for (;;) {
    const keyEnd = skipString(text, at);
    const key = text.slice(at, keyEnd);
    const start = skipSpace(text, demand(text, skipSpace(text, keyEnd), COLON));
    const end = skipValue(text, start, 1);
    const name = key.includes("\\") ? JSON.parse(key) as string : key.slice(1, -1);
    if (keeps(name, members.size)) members.set(name, copySlice(text, start, end));
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === CLOSE_BRACE) break;
    at = skipSpace(text, demand(text, at, COMMA));
  }
  demandEnd(text, at + 1);
  return members;
}

/**
 * Checks that a text is one JSON value and cuts it into elements.
 *
 * @param max further elements are checked and left out
 * @returns undefined when the value is not an array
 * @throws {SyntaxError} as `parseJsonText`
 */
export function parseJsonArray(text: string, max: number): readonly string[] | undefined {
  const elements: string[] = [];
  let at = skipSpace(text, 0);
  if (text.charCodeAt(at) !== OPEN_BRACKET) {
    demandEnd(text, skipValue(text, at));
    return undefined;
  }
  at = skipSpace(text, at + 1);
  if (text.charCodeAt(at) === CLOSE_BRACKET) {
    demandEnd(text, at + 1);
    return elements;
  }
  for (;;) {
    const end = skipValue(text, at, 1);
    if (elements.length < max) elements.push(copySlice(text, at, end));
    at = skipSpace(text, end);
    if (text.charCodeAt(at) === CLOSE_BRACKET) break;
    at = skipSpace(text, demand(text, at, COMMA));
  }
  demandEnd(text, at + 1);
  return elements;
}

/** The kind of a value, whose text has been checked and has no white space before it. */
export function jsonKind(text: string): JsonKind {
  switch (text.charCodeAt(0)) {
    case OPEN_BRACE:
      return "object";
    case OPEN_BRACKET:
      return "array";
    case QUOTE:
      return "string";
    case 0x74:
    case 0x66:
      return "boolean";
    case 0x6e:
      return "null";
    default:
      return "number";
  }
}

/**
 * The value of a checked text that is no object or array. A number that a double cannot hold, or that JavaScript would
 * write differently, is undefined.
 */
export function parseJsonScalar(text: string): string | number | boolean | null | undefined {
  const kind = jsonKind(text);
  if (kind === "object" || kind === "array") return undefined;
  const value = JSON.parse(text) as string | number | boolean | null;
  return kind === "number" && String(value) !== text ? undefined : value;
}

/** JSON text on one line: line breaks, which it may have between tokens only, become spaces. */
export function toJsonLine(text: string): string {
  return text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n]/g, " ") : text;
}

/** A slice shares the memory of the whole text: one that is to live longer than that is copied. */
function copySlice(text: string, start: number, end: number): string {
  const slice = text.slice(start, end);
  // Joining and cutting makes a text of its own, which keeps one character more than it needs.
  return slice.length * 2 < text.length ? `_${slice}`.slice(1) : slice;
}

/** @returns where the value that begins at `at` ends */
function skipValue(text: string, at: number, outerDepth = 0): number {
  // The closing characters of the arrays and objects around the current place.
  const closers: number[] = [];
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) at = skipString(text, at);
    else if (unit === OPEN_BRACE || unit === OPEN_BRACKET) {
      const closer = unit + 2;
      at = skipSpace(text, at + 1);
      if (text.charCodeAt(at) !== closer) {
        if (closers.push(closer) + outerDepth > MAX_JSON_DEPTH) {
          throw new SyntaxError(`Nested too deeply: more than ${MAX_JSON_DEPTH} levels`);
        }
        if (unit === OPEN_BRACE) at = skipKey(text, at);
        continue;
      }
      at++;
    } else at = skipWord(text, at, unit);
    // A value has ended: so may what is around it.
    for (;;) {
      const closer = closers.at(-1);
      if (closer === undefined) return at;
      at = skipSpace(text, at);
      if (text.charCodeAt(at) !== closer) {
        at = skipSpace(text, demand(text, at, COMMA));
        if (closer === CLOSE_BRACE) at = skipKey(text, at);
        break;
      }
      closers.pop();
      at++;
    }
  }
}

function skipKey(text: string, at: number): number {
  return skipSpace(text, demand(text, skipSpace(text, skipString(text, at)), COLON));
}

function skipString(text: string, start: number): number {
  let at = demand(text, start, QUOTE);
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) return at + 1;
    // Not so at the end, where the unit is NaN.
    if (!(unit >= 0x20)) throw notJson(text, at);
    at = unit === BACKSLASH ? skipEscape(text, at + 1) : at + 1;
  }
}

function skipEscape(text: string, at: number): number {
  const letter = text[at] ?? "";
  if (letter === "u" && /^[0-9A-Fa-f]{4}$/.test(text.slice(at + 1, at + 5))) return at + 5;
  if (letter === "" || !'"\\/bfnrt'.includes(letter)) throw notJson(text, at);
  return at + 1;
}

/** Skips a number, `true`, `false` or `null`. */
function skipWord(text: string, start: number, first: number): number {
  const literal = LITERALS.get(first);
  if (literal !== undefined) {
    if (text.startsWith(literal, start)) return start + literal.length;
    throw notJson(text, start);
  }
  let at = first === 0x2d ? start + 1 : start;
  const end = text.charCodeAt(at) === 0x30 ? at + 1 : skipDigits(text, at);
  at = end;
  if (text.charCodeAt(at) === 0x2e) at = skipDigits(text, at + 1);
  if ((text.charCodeAt(at) | 0x20) === 0x65) {
    const sign = text.charCodeAt(at + 1);
    at = skipDigits(text, sign === 0x2b || sign === 0x2d ? at + 2 : at + 1);
  }
  return at;
}

/** Skips digits, of which there must be one. */
function skipDigits(text: string, start: number): number {
  let at = start;
  for (;;) {
    const unit = text.charCodeAt(at);
    if (!(unit >= 0x30 && unit <= 0x39)) break;
    at++;
  }
  if (at === start) throw notJson(text, at);
  return at;
}

function skipSpace(text: string, at: number): number {
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return at;
    at++;
  }
}

function demand(text: string, at: number, unit: number): number {
  if (text.charCodeAt(at) !== unit) throw notJson(text, at);
  return at + 1;
}

function demandEnd(text: string, end: number): void {
  const at = skipSpace(text, end);
  if (at < text.length) throw notJson(text, at);
}

function notJson(text: string, at: number): NotJsonError {
  return new NotJsonError(at, at >= text.length);
}
