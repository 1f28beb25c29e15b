/**
 * Recognizes the requests that most bytes and connections are: a POST or PUT to a channel with a length, and the
 * handshake of a WebSocket, both without anything that changes how HTTP reads them. The node listener answers those
 * below `node:http`.
 */
import type { Buffer } from "node:buffer";
import { isReservedPath } from "../../core/channel.ts";

/** Largest head and body of such a request, in bytes. */
const MAX_HEAD_BYTES = 4 * 1024;
const MAX_BODY_BYTES = 64 * 1024;

/** Most bytes of it that are kept while it is incomplete. */
export const MAX_PLAIN_BYTES = MAX_HEAD_BYTES + MAX_BODY_BYTES;

/** The head of a request. */
export interface PlainHead {
  readonly method: string;
  readonly target: string;
  readonly host: string;
  /** Names in lower case. */
  readonly headers: [string, string][];
  /** Whether it is the handshake of a WebSocket. */
  readonly isHandshake: boolean;
  /** Where the body begins, and where the next request does. */
  readonly start: number;
  readonly end: number;
}

const REQUEST_LINE = /^(POST|PUT|GET) (\/[\w\-/.~%]*)(\?[\w\-/.~%?=&+:,@]*)? HTTP\/1\.1$/;
/** Anything else, such as no value or spaces behind it, is left to `node:http`. */
const FIELD = /^([A-Za-z][A-Za-z0-9-]*): ?([!-~](?:[ -~]*[!-~])?)$/;
const HOST = /^[\w.\-:[\]]+$/;
const LENGTH = /^\d{1,5}$/;
const UPGRADE = /^(?:keep-alive, ?)?upgrade$/i;

/** Fields that change how a message is read, or what becomes of the connection (RFC 9110 section 7.6, RFC 9112). */
const UNUSUAL: ReadonlySet<string> = new Set([
  "transfer-encoding",
  "expect",
  "http2-settings",
  "te",
  "trailer",
  "keep-alive",
  "proxy-connection",
]);

/** Fields that come once. */
const SINGLE: ReadonlySet<string> = new Set(["host", "content-length", "connection", "upgrade"]);

/** What the lines of a head behind the first one say. */
interface Fields {
  readonly host: string;
  readonly headers: [string, string][];
  readonly isHandshake: boolean;
  /** Of the body; undefined where it is not said, or something changes what becomes of the connection. */
  readonly length: number | undefined;
}

// Requests of one client mostly differ in their first line alone: the others are parsed once.
let lastLines = "\r\n\r\n";
let lastFields: Fields | undefined;

/**
 * Reads the head of a request at the start of `bytes`. Accepts a small part of the grammar of RFC 9112, in which no two
 * readers differ.
 *
 * @returns undefined for any other request, and for a head that is incomplete
 */
export function parsePlainHead(bytes: Buffer): PlainHead | undefined {
  // P or G: any other method is recognized by its first byte.
  if (bytes[0] !== 0x50 && bytes[0] !== 0x47) return undefined;
  // All but ASCII is refused below, so that characters are bytes. Other encodings take five times as long here.
  const text = bytes.toString("utf8", 0, Math.min(bytes.length, MAX_HEAD_BYTES));
  const lineEnd = text.indexOf("\r\n");
  const isKnown = text.startsWith(lastLines, lineEnd);
  const start = isKnown ? lineEnd + lastLines.length : text.indexOf("\r\n\r\n", lineEnd) + 4;
  if (lineEnd < 0 || start < 4) return undefined;
  const [, method, path, query = ""] = REQUEST_LINE.exec(text.slice(0, lineEnd)) ?? [];
  if (method === undefined || path === undefined) return undefined;
  if (!isKnown) {
    lastLines = text.slice(lineEnd, start);
    lastFields = parseFields(lastLines);
  }
  if (lastFields === undefined) return undefined;
  const { host, headers, length, isHandshake } = lastFields;
  const target = path + query;
  if (method === "GET") {
    return isHandshake ? { method, target, host, headers, isHandshake, start, end: start } : undefined;
  }
  if (length === undefined || isReservedPath(path)) return undefined;
  return { method, target, host, headers, isHandshake: false, start, end: start + length };
}

function parseFields(lines: string): Fields | undefined {
  const single = new Map<string, string>();
  const headers: [string, string][] = [];
  for (const line of lines.slice(2, -4).split("\r\n")) {
    const [, name = "", value = ""] = FIELD.exec(line) ?? [];
    const key = name.toLowerCase();
    if (name === "" || UNUSUAL.has(key)) return undefined;
    if (SINGLE.has(key)) {
      if (single.has(key)) return undefined;
      single.set(key, value);
    }
    headers.push([key, value]);
  }
  const host = single.get("host");
  if (host === undefined || !HOST.test(host)) return undefined;
  return { host, headers, isHandshake: isHandshake(single), length: findLength(single) };
}

function isHandshake(fields: ReadonlyMap<string, string>): boolean {
  return fields.get("upgrade")?.toLowerCase() === "websocket" &&
    UPGRADE.test(fields.get("connection") ?? "") &&
    !fields.has("content-length");
}

/** The length of the body of a request that changes nothing about the connection. */
function findLength(fields: ReadonlyMap<string, string>): number | undefined {
  const length = fields.get("content-length") ?? "";
  const connection = fields.get("connection") ?? "keep-alive";
  if (fields.has("upgrade") || connection.toLowerCase() !== "keep-alive" || !LENGTH.test(length)) {
    return undefined;
  }
  return Number(length) <= MAX_BODY_BYTES ? Number(length) : undefined;
}
