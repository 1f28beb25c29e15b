/** What the two codecs of the Centrifuge client protocol check and read alike. */
import type { Payload } from "../core/message.ts";
import type { Command } from "./centrifuge_codec.ts";
import type { FieldType } from "./centrifuge_schema.ts";

/** The fields of one message as they were read, by their keys. */
export type Values = { [key: string]: unknown };

/** What a message without any fields says, known or unknown ones. */
export const PONG: Command = { id: 0, kind: "pong" };

/** What a field is when a client left it out. */
export function defaultOf(type: FieldType): unknown {
  switch (type.kind) {
    case "bool":
    case "present":
      return false;
    case "number":
      return 0;
    case "string":
      return "";
    case "map":
      return new Map();
    default:
      return undefined;
  }
}

/**
 * A command from the fields of its message.
 *
 * @throws {SyntaxError} when it is not one good command
 */
export function toCommand(values: Values): Command {
  const { id, ...requests } = values;
  const kinds = Object.keys(requests).filter((kind) => requests[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined) throw new SyntaxError("The command names no method that is known");
  if (kinds.length > 1) throw new SyntaxError("The command names several methods");
  if (id === 0 && kind !== "send") throw new SyntaxError(`The ${kind} command has no id`);
  const request = requests[kind] as Values;
  if (request.channel === "") throw new SyntaxError(`The ${kind} command names no channel`);
  // The shapes were checked against the types of the requests where they are described.
  return { id, kind, request } as Command;
}

// ES2026's source text access, which TypeScript's library does not know yet.
const EXACT_JSON = JSON as unknown as {
  parse(
    text: string,
    revive: (key: string, value: unknown, context: { source?: string }) => unknown,
  ): unknown;
  rawJSON(text: string): unknown;
  isRawJSON(value: unknown): boolean;
};

/** A few thousand brackets nest deeper than the stack that walks them. */
const TOO_DEEP = "JSON is nested too deeply";

/** Where this finds nothing, every number of the text is written as JavaScript would write it again. */
const MAYBE_INEXACT = /\d{16}|\d[.eE]|-0/;

/**
 * Parses JSON so that stringifying gives back the digits of every number: what a double cannot hold, or would be
 * written otherwise, becomes an opaque object.
 *
 * @throws {SyntaxError} when it is not JSON, or nested too deeply
 */
export function parseJson(text: string): unknown {
  try {
    if (!MAYBE_INEXACT.test(text)) return JSON.parse(text);
    return EXACT_JSON.parse(text, (_key, value, { source }) => {
      const rounded = typeof value === "number" && source !== undefined && String(value) !== source;
      return rounded ? EXACT_JSON.rawJSON(source) : value;
    });
  } catch (cause) {
    throw new SyntaxError(cause instanceof RangeError ? TOO_DEEP : "Not JSON", { cause });
  }
}

/** Whether a parsed JSON value is an object. */
export function isObject(value: unknown): value is { readonly [name: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !EXACT_JSON.isRawJSON(value);
}

/**
 * The payload that a parsed JSON value is: a string is text, all else stays JSON.
 *
 * @throws {SyntaxError} when it is nested too deeply
 */
export function toPayload(value: unknown): Payload {
  if (typeof value === "string") return { kind: "text", text: value };
  try {
    return { kind: "json", text: JSON.stringify(value) };
  } catch (cause) {
    throw new SyntaxError(TOO_DEEP, { cause });
  }
}
