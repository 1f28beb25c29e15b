/** The registry of log engines: which URL opens which. Configuration checks URLs here, the app opens logs here. */
import type { Log } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import type { Rules } from "../core/rules.ts";
import { openJetStreamLog } from "./jetstream/log.ts";
import type { NatsCredentials } from "./jetstream/link.ts";
import { JETSTREAM_SETTINGS } from "./jetstream/settings.ts";
import { JETSTREAM_SCHEMES, type JetStreamUrl, parseJetStreamUrl } from "./jetstream/url.ts";
import { MemoryLog } from "./memory.ts";
import { openSqliteLog } from "./sqlite/log.ts";

export interface OpenLogOptions {
  readonly rules: Rules;
  /** Channels it remembers; a message that would need one more is refused. No limit when left out. */
  readonly maxChannels?: number;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** How a NATS server is to know us. */
  readonly nats?: NatsCredentials;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
}

/** A log URL, checked: which engine keeps the log, and how. */
export type LogUrl =
  | { readonly kind: "memory" }
  | { readonly kind: "sqlite"; readonly path: string; readonly synchronous: "normal" | "full" }
  | { readonly kind: "jetstream" } & JetStreamUrl;

const KNOWN =
  'use "memory:", "sqlite:PATH", "sqlite:PATH?synchronous=full" or "nats://HOST:PORT?stream=NAME&replicas=3"';

export type { NatsCredentials };

/** The settings of all engines, for the table of settings. */
export const ENGINE_SETTINGS = { ...JETSTREAM_SETTINGS };

/**
 * Reads the URL of a log, such as `sqlite:./data/raindrops.db`, and opens nothing.
 *
 * @throws {SyntaxError} naming what is wrong and what is known
 */
export function parseLogUrl(url: string): LogUrl {
  const [, scheme, rest = ""] = /^([a-z]+(?:\+[a-z]+)?):(.*)$/s.exec(url) ?? [];
  if (scheme !== undefined && JETSTREAM_SCHEMES.has(scheme)) {
    return { kind: "jetstream", ...parseJetStreamUrl(scheme, rest) };
  }
  switch (scheme) {
    case "memory":
      if (rest !== "") throw new SyntaxError(`Engine "${url}": "memory:" takes nothing after the colon`);
      return { kind: "memory" };
    case "sqlite":
      return parseSqliteUrl(url, rest);
    default:
      throw new SyntaxError(`Engine "${url}" is of no known kind: ${KNOWN}`);
  }
}

/**
 * Opens the log a URL names.
 *
 * @throws {SyntaxError} as `parseLogUrl` does
 * @throws {MessagingError} what opening the engine throws
 */
export async function openLog(url: string, options: OpenLogOptions): Promise<Log> {
  const parsed = parseLogUrl(url);
  switch (parsed.kind) {
    case "memory":
      return new MemoryLog(options);
    case "sqlite":
      return openSqliteLog({ ...options, path: parsed.path, synchronous: parsed.synchronous });
    case "jetstream":
      return await openJetStreamLog({ ...options, ...parsed, credentials: options.nats ?? {} });
  }
}

function parseSqliteUrl(url: string, rest: string): LogUrl {
  const [encoded = "", query = ""] = splitOnce(rest, "?");
  let path;
  try {
    path = decodeURIComponent(encoded);
  } catch (cause) {
    throw new SyntaxError(`Engine "${url}": its path is not percent-encoded UTF-8; write % as %25`, {
      cause,
    });
  }
  if (path === "" || path.endsWith("/")) throw new SyntaxError(`Engine "${url}" names no file: ${KNOWN}`);
  if (path.startsWith("//")) {
    throw new SyntaxError(
      `Engine "${url}": a path follows the colon at once, as in "sqlite:./data/raindrops.db" or "sqlite:/var/lib/raindrops.db"`,
    );
  }
  // SQLite reads these as something else than a path.
  if (path.startsWith(":") || path.startsWith("file:") || path.includes("\0")) {
    throw new SyntaxError(`Engine "${url}": "${path}" is no path; ${KNOWN}`);
  }
  let synchronous: "normal" | "full" = "normal";
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "synchronous") {
      throw new SyntaxError(`Engine "${url}" has the unknown parameter "${name}": there is only synchronous`);
    }
    if (value !== "normal" && value !== "full") {
      throw new SyntaxError(`Engine "${url}": synchronous is "normal" or "full", not "${value}"`);
    }
    synchronous = value;
  }
  return { kind: "sqlite", path, synchronous };
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
