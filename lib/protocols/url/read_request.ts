/** Parses what a subscriber asks for in a URL, its query and its headers, the same for every protocol. */
import { decodeFormText } from "../../base/form.ts";
import { parseSelectorPath } from "../../core/channel.ts";
import { parseClientId, parseClientName } from "../../core/client.ts";
import type { Cursor } from "../../core/log.ts";
import { parseId, parseSince } from "../../core/since.ts";
import { parseOr } from "../../http/problem.ts";
import type { Selector } from "../../core/channel.ts";
import type { ExportFormat } from "./export_format.ts";
import { type MessageFilter, parseFilter } from "./filter.ts";

/** What the URL and headers of a GET on a channel ask for. */
export interface ReadOptions {
  readonly selector: Selector;
  readonly id: string;
  readonly name: string | undefined;
  readonly since: Cursor | undefined;
  readonly limit: number | undefined;
  readonly follow: boolean;
  readonly presence: boolean;
  /** Which messages a document or export holds; undefined for all. */
  readonly filter: MessageFilter | undefined;
  /** The newest messages before this offset are asked for. */
  readonly before: number | undefined;
  readonly export: ExportFormat | undefined;
}

/** Query parameters that mean Last-Event-ID, in lower case: what clients send who cannot set headers. */
const LAST_EVENT_ID_NAMES: ReadonlySet<string> = new Set(["lasteventid", "last-event-id"]);
const MAX_LIMIT = 1_000_000;

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
    follow: isOn(query, "follow"),
    presence: isOn(query, "presence"),
    filter: parseFilter(query),
    before: parseBefore(query, selector),
    export: parseExport(query.get("export")),
  }));
}

function parseBefore(query: ReadonlyMap<string, string>, selector: Selector): number | undefined {
  const text = query.get("before");
  if (text === undefined) return undefined;
  if (selector.channel === undefined) throw new SyntaxError("before counts one channel: leave it out here");
  if (query.has("since")) throw new SyntaxError("since and before exclude each other: give one of them");
  if (!/^\d{1,15}$/.test(text)) throw new SyntaxError("before must be the offset of a message, such as 120");
  return Number(text);
}

function parseExport(text: string | undefined): ExportFormat | undefined {
  if (text === undefined || text === "ndjson" || text === "csv") return text;
  throw new SyntaxError("export must be ndjson or csv");
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

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!/^\d+$/.test(text) || limit < 1 || limit > MAX_LIMIT) {
    throw new SyntaxError(`limit must be a whole number from 1 to ${MAX_LIMIT}`);
  }
  return limit;
}

function isOn(query: ReadonlyMap<string, string>, name: "follow" | "presence"): boolean {
  const value = query.get(name);
  if (value === undefined || value === "false" || value === "0") return false;
  if (value === "" || value === "true" || value === "1") return true;
  throw new SyntaxError(`${name} takes no value, or true or false`);
}
