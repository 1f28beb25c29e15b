/** Parses what a subscriber asks for in a URL, its query and its headers, the same for every protocol. */
import { decodeFormText } from "../../base/form.ts";
import { parseSelectorPath } from "../../core/channel.ts";
import { parseClientId, parseClientName } from "../../core/client.ts";
import type { Cursor } from "../../core/log.ts";
import { parseOr } from "../../http/problem.ts";
import type { Selector } from "../../core/channel.ts";

/** What the URL and headers of a GET on a channel ask for. */
export interface ReadOptions {
  readonly selector: Selector;
  readonly id: string;
  readonly name: string | undefined;
  readonly since: Cursor | undefined;
  readonly limit: number | undefined;
  readonly follow: boolean;
  readonly presence: boolean;
}

/** Query parameters that mean Last-Event-ID, in lower case: what clients send who cannot set headers. */
const LAST_EVENT_ID_NAMES: ReadonlySet<string> = new Set(["lasteventid", "last-event-id"]);
const MAX_LIMIT = 1_000_000;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a GET on a channel. Query parameters of other names are ignored: clients, proxies and links add their own.
 *
 * @throws {MessagingError} `bad_channel` or `bad_option`, saying what is allowed
 */
export function parseReadRequest(request: Request, now: number): ReadOptions {
  const url = new URL(request.url);
  parseOr("bad_option", () => decodeFormText(url.search));
  const query = new Map(url.searchParams);
  const selector = parseOr("bad_channel", () => parseSelectorPath(url.pathname));
  const [id, name, since, limit] = (["id", "name", "since", "limit"] as const).map((key) => query.get(key));
  return parseOr("bad_option", () => ({
    selector,
    id: id === undefined ? crypto.randomUUID() : parseClientId(id),
    name: name === undefined ? undefined : parseClientName(name),
    since: resumeCursor(request, query) ??
      (since === undefined ? undefined : parseSince(since, selector, now)),
    limit: limit === undefined ? undefined : parseLimit(limit),
    follow: isOn(query.get("follow")),
    presence: isOn(query.get("presence")),
  }));
}

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

/**
 * `Last-Event-ID` is where a reconnecting EventSource goes on; polyfills send it as a query parameter. One that is not
 * ours is of a log that is gone.
 */
function resumeCursor({ headers }: Request, query: ReadonlyMap<string, string>): Cursor | undefined {
  const id = headers.get("last-event-id") || findLastEventId(query);
  if (id === undefined || id === "") return undefined;
  return parseId(id) ?? { kind: "id", epoch: "", sequence: 0 };
}

function findLastEventId(query: ReadonlyMap<string, string>): string | undefined {
  for (const [name, value] of query) {
    if (LAST_EVENT_ID_NAMES.has(name.toLowerCase())) return value;
  }
  return undefined;
}

function parseId(text: string): Cursor | undefined {
  const [, epoch, sequence] = /^([0-9a-z]+)-(\d{1,15})$/.exec(text) ?? [];
  return epoch === undefined ? undefined : { kind: "id", epoch, sequence: Number(sequence) };
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d+$/.test(text) || limit < 1 || limit > MAX_LIMIT) {
    throw new SyntaxError(`limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

function isOn(value: string | undefined): boolean {
  if (value === undefined || value === "false" || value === "0") return false;
  if (value === "" || value === "true" || value === "1") return true;
  throw new SyntaxError("follow and presence take no value, or true or false");
}
