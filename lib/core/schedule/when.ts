/**
 * Reads when a message is to be published: `at`, a time, or `delay`, a duration. Whoever lets publishers schedule calls
 * it.
 */
import { quote } from "../../base/quote.ts";
import { MessagingError } from "../errors.ts";

/** A time on the clock, or a duration from now. */
export type When =
  /** Milliseconds since 1970. */
  | { readonly kind: "at"; readonly time: number }
  | { readonly kind: "delay"; readonly milliseconds: number };

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads the two options, of which one may be given.
 *
 * @param at RFC 3339 with a time zone (https://www.rfc-editor.org/rfc/rfc3339#section-5.6), or seconds since 1970
 * @param delay seconds, or a number with the unit `s`, `m`, `h` or `d`
 * @returns undefined when neither is given
 * @throws {MessagingError} `bad_option`, saying which forms there are
 */
export function parseWhen(at: unknown, delay: unknown): When | undefined {
  if (at === undefined && delay === undefined) return undefined;
  if (at !== undefined && delay !== undefined) {
    throw new MessagingError("bad_option", 'Give "at", a time, or "delay", a duration, and not both');
  }
  return at === undefined ? parseDelay(String(delay)) : parseAt(String(at));
}

function parseDelay(text: string): When {
  const [, count, unit = "s"] = /^(\d{1,12}(?:\.\d{1,3})?)([smhd])?$/.exec(text) ?? [];
  if (count === undefined) {
    throw new MessagingError(
      "bad_option",
      `delay ${
        quote(text)
      } is not understood: give seconds, or a number with a unit such as 30s, 5m, 2h or 1d`,
    );
  }
  return { kind: "delay", milliseconds: Math.round(Number(count) * (UNITS[unit] ?? 0)) };
}

function parseAt(text: string): When {
  if (/^\d{9,11}(\.\d{1,3})?$/.test(text)) return { kind: "at", time: Math.round(Number(text) * 1_000) };
  // A plus sign of a time zone arrives as a space when the query does not escape it.
  const spelled = text.replace(" ", "+");
  const [, day] = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)$/i.exec(spelled) ?? [];
  const time = day === undefined ? NaN : Date.parse(spelled);
  if (!Number.isNaN(time) && day !== undefined && isDay(day)) return { kind: "at", time };
  throw new MessagingError(
    "bad_option",
    `at ${quote(text)} is not understood: give a time with its zone such as 2026-01-31T12:00:00Z, ` +
      "or seconds since 1970",
  );
}

/** Whether the calendar has a day, such as `2026-02-28`; a Date takes the 31st of any month for one of the next. */
function isDay(day: string): boolean {
  const time = Date.parse(`${day}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(day);
}
