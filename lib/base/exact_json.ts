/** JSON that comes out again digit by digit: how everything that takes JSON from clients reads it. */

// ES2026's source text access, which TypeScript's library does not know yet.
const EXACT_JSON = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): { readonly rawJSON: string };
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
};

/** Where this finds nothing, every number of the text is written as JavaScript would write it again. */
const MAYBE_INEXACT = /\d{16}|\d[.eE]|-0/;

/** A parsed JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses JSON so that stringifying gives back the digits of every number: what a double cannot hold, or would be
 * written otherwise, becomes an opaque object.
 *
 * @throws {SyntaxError} saying where it is no JSON, or that it is nested too deeply
 */
export function parseExactJson(text: string): unknown {
  try {
    if (!MAYBE_INEXACT.test(text)) return JSON.parse(text);
    return EXACT_JSON.parse(text, (_key, value, { source }) => {
      const rounded = typeof value === "number" && source !== undefined && String(value) !== source;
      return rounded ? EXACT_JSON.rawJSON(source) : value;
    });
  } catch (cause) {
    throw toSyntaxError(cause);
  }
}

/** Whether a parsed value is an object. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !EXACT_JSON.isRawJSON(value);
}

/** A parsed whole number of 0 and more, however long; undefined for anything else. */
export function toBigInt(value: unknown): bigint | undefined {
  const digits = EXACT_JSON.isRawJSON(value) ? value.rawJSON : typeof value === "number" ? String(value) : "";
  return /^\d+$/.test(digits) ? BigInt(digits) : undefined;
}

/**
 * Writes a parsed value with the digits it was read with.
 *
 * @throws {SyntaxError} when it is nested too deeply
 */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw toSyntaxError(cause);
  }
}

/** A RangeError is the parser's stack: the text may well be JSON. */
function toSyntaxError(cause: unknown): SyntaxError {
  if (cause instanceof RangeError) return new SyntaxError("Nested too deeply", { cause });
  // The runtime's own words quote the text, which is none of ours to repeat.
  const [position = "the end"] = /position \d+/.exec(String(cause)) ?? [];
  return new SyntaxError(`Not JSON at ${position}`, { cause });
}
