/** The registry of engines: which URL opens which. The configuration checks URLs here, and the app opens its engine. */
import type { Log } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import type { Rules } from "../core/rules.ts";
import type { NatsCredentials } from "./jetstream/link.ts";
import { JETSTREAM_SETTINGS } from "./jetstream/settings.ts";
import { JETSTREAM_SCHEMES, type JetStreamUrl, parseJetStreamUrl } from "./jetstream/url.ts";
import { MemoryEngine } from "./memory/engine.ts";
import { openSqliteEngine } from "./sqlite/engine.ts";

export interface OpenEngineOptions {
  readonly rules: Rules;
  /** The limit on channels; a message that would create one more is refused. No limit by default. */
  readonly maxChannels?: number;
  /** How long after its newest message an empty channel is forgotten, in milliseconds; a day by default. */
  readonly forgetAfter?: number;
  readonly logger: Logger;
  readonly metrics?: Metrics;
  /** How to authenticate at a NATS server. */
  readonly nats?: NatsCredentials;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
}

/** A parsed engine URL. */
export type EngineUrl =
  | { readonly kind: "memory" }
  | { readonly kind: "sqlite"; readonly path: string; readonly synchronous: "normal" | "full" }
  | { readonly kind: "jetstream" } & JetStreamUrl;

const KNOWN =
  'use "memory:", "sqlite:PATH", "sqlite:PATH?synchronous=full" or "nats://HOST:PORT?stream=NAME&replicas=3"';

export type { NatsCredentials };
export { EngineHost } from "./worker/host.ts";
export { openWorkerEngine } from "./worker/engine.ts";

/** The settings of all engines, for the table of settings. */
export const ENGINE_SETTINGS = { ...JETSTREAM_SETTINGS };

/**
 * Parses an engine URL, such as `sqlite:./data/raindrops.db`.
 *
 * @throws {SyntaxError} with the reason, and the URLs that are supported
 */
export function parseEngineUrl(url: string): EngineUrl {
  const [, scheme, rest = ""] = /^([a-z]+(?:\+[a-z]+)?):(.*)$/s.exec(url) ?? [];
  if (scheme !== undefined && JETSTREAM_SCHEMES.has(scheme)) {
    return { kind: "jetstream", ...parseJetStreamUrl(scheme, rest) };
  }
  switch (scheme) {
    case "memory":
      if (rest !== "") throw new SyntaxError(`Engine "${url}": nothing may follow "memory:"`);
      return { kind: "memory" };
    case "sqlite":
      return parseSqliteUrl(url, rest);
    default:
      throw new SyntaxError(`Engine "${url}" has an unknown scheme: ${KNOWN}`);
  }
}

/**
 * Opens the engine of a URL.
 *
 * @throws {SyntaxError} as `parseEngineUrl` does
 * @throws {MessagingError} `log_unavailable` or `log_full`
 */
export async function openEngine(url: string, options: OpenEngineOptions): Promise<Log> {
  const parsed = parseEngineUrl(url);
  switch (parsed.kind) {
    case "memory":
      return new MemoryEngine(options);
    case "sqlite":
      return openSqliteEngine({ ...options, path: parsed.path, synchronous: parsed.synchronous });
    case "jetstream": {
      // Its packages take a tenth of the time to start, which the other engines need not spend.
      const { openJetStreamEngine } = await import("./jetstream/engine.ts");
      return await openJetStreamEngine({ ...options, ...parsed, credentials: options.nats ?? {} });
    }
  }
}

function parseSqliteUrl(url: string, rest: string): EngineUrl {
  const [encoded = "", query = ""] = splitOnce(rest, "?");
  let path;
  try {
    path = decodeURIComponent(encoded);
  } catch (cause) {
    throw new SyntaxError(`Engine "${url}": its path is not percent-encoded UTF-8; write % as %25`, {
      cause,
    });
  }
  if (path === "" || path.endsWith("/")) {
    throw new SyntaxError(`Engine "${url}" does not name a file: ${KNOWN}`);
  }
  if (path.startsWith("//")) {
    throw new SyntaxError(
      `Engine "${url}": the path must follow the colon, as in "sqlite:./data/raindrops.db" or "sqlite:/var/lib/raindrops.db"`,
    );
  }
  // SQLite would not take these as paths.
  if (path.startsWith(":") || path.startsWith("file:") || path.includes("\0")) {
    throw new SyntaxError(`Engine "${url}": "${path}" is not a path; ${KNOWN}`);
  }
  let synchronous: "normal" | "full" = "normal";
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== "synchronous") {
      throw new SyntaxError(
        `Engine "${url}" has the unknown parameter "${name}": the only one is synchronous`,
      );
    }
    if (value !== "normal" && value !== "full") {
      throw new SyntaxError(`Engine "${url}": synchronous must be "normal" or "full", not "${value}"`);
    }
    synchronous = value;
  }
  return { kind: "sqlite", path, synchronous };
}

function splitOnce(text: string, separator: string): string[] {
  const at = text.indexOf(separator);
  return at === -1 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}
