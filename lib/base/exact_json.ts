/** JSON that keeps the digits of every number. All JSON from clients is parsed here. */

// ES2026's source text access, which TypeScript's library does not know yet.
const EXACT_JSON = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): { readonly rawJSON: string };
  isRawJSON(value: unknown): value is { readonly rawJSON: string };
};

/** Matches every text with a number that JavaScript might write differently; others take the fast path. */
const MAYBE_INEXACT = /\d{16}|\d[.eE]|-0/;

/** A parsed JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Parses JSON so that stringifying restores the digits of every number: a number that a double cannot represent, or that
 * would be written differently, becomes an opaque object.
 *
 * @throws {SyntaxError} saying where the text is not JSON, or that it is nested too deeply
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

/** A parsed whole number of at least 0, however long; undefined for anything else. */
export function toBigInt(value: unknown): bigint | undefined {
  const digits = EXACT_JSON.isRawJSON(value) ? value.rawJSON : typeof value === "number" ? String(value) : "";
  return /^\d+$/.test(digits) ? BigInt(digits) : undefined;
}

/**
 * Stringifies a parsed value, with the digits of every number as they were.
 *
 * @throws {SyntaxError} if it is nested too deeply
 */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value);
  } catch (cause) {
    throw toSyntaxError(cause);
  }
}

/** A RangeError means that the parser's stack overflowed. */
function toSyntaxError(cause: unknown): SyntaxError {
  if (cause instanceof RangeError) return new SyntaxError("Nested too deeply", { cause });
  // Without the message of the runtime, which quotes the text.
  const [position = "the end"] = /position \d+/.exec(String(cause)) ?? [];
  return new SyntaxError(`Not JSON at ${position}`, { cause });
}
