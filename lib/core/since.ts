/** Parses from where a subscriber reads a channel, in the spelling that every protocol accepts. */
import type { Selector } from "./channel.ts";
import type { Cursor } from "./log.ts";
import { parseResumeId } from "./resume_id.ts";

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a `since`: an id, an offset, a duration such as `10m`, an RFC 3339 time, or `earliest`.
 *
 * @throws {SyntaxError} listing the forms
 */
export function parseSince(text: string, selector: Selector, now: number): Cursor {
  if (text === "earliest") return { kind: "earliest" };
  const id = parseId(text);
  if (id !== undefined) return id;
  if (/^\d{1,15}$/.test(text)) {
    if (selector.channel === undefined) {
      throw new SyntaxError("An offset counts one channel: give an id, a duration or a time to read several");
    }
    return { kind: "offset", offset: Number(text) };
  }
  const [, count, unit] = /^(\d{1,9})(ms|s|m|h|d)$/.exec(text) ?? [];
  if (count !== undefined && unit !== undefined) {
    return { kind: "time", time: now - Number(count) * (UNITS[unit] ?? 0) };
  }
  // A plus sign of a time zone arrives as a space when the query does not escape it.
  const time = text.replace(" ", "+");
  if (
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/i.test(time) && !Number.isNaN(Date.parse(time))
  ) {
    return { kind: "time", time: Date.parse(time) };
  }
  throw new SyntaxError(
    `since=${text.slice(0, 60)} is not understood: give an id, an offset, a duration such as 10m, ` +
      "a time such as 2026-01-31T12:00:00Z, or earliest",
  );
}

/** Reads the id of a message, or one that was handed out with a gap, as a cursor; undefined for what is neither. */
export function parseId(text: string): Cursor | undefined {
  const id = parseResumeId(text);
  return id && { kind: "id", ...id };
}
