/** Reads the callouts of the `--hooks` file. `mod.ts` calls it. */
import { parseRulePattern } from "../core/channel.ts";
import { isRecord, parseTargetUrl, refuseUnknown } from "./fields.ts";
import { parseSecret, type WebhookSecret } from "./signature.ts";

export const CALLOUT_KINDS = ["connect", "subscribe", "publish", "refresh", "sub_refresh", "rpc"] as const;

export type CalloutKind = (typeof CALLOUT_KINDS)[number];

/** One question that the application answers. */
export interface CalloutDefinition {
  readonly kind: CalloutKind;
  readonly url: URL;
  /** Seconds that the application has to answer. */
  readonly timeout: number;
  /** What is decided when it does not. */
  readonly whenAway: "refuse" | "allow";
  /** The channels it decides about, split; for `subscribe` and `publish`. */
  readonly patterns: readonly (readonly string[])[];
  /** Seconds for which a decision holds for the same question; 0 for none. For `subscribe`. */
  readonly cache: number;
}

export interface CalloutsDefinition {
  /** Names of request headers that are passed on, in lower case. */
  readonly headers: readonly string[];
  /** Signs the requests, like those of webhooks. */
  readonly secret: WebhookSecret | undefined;
  readonly byKind: ReadonlyMap<CalloutKind, CalloutDefinition>;
}

const KEYS: Readonly<Record<CalloutKind, readonly string[]>> = {
  connect: ["url", "timeout", "whenAway"],
  subscribe: ["url", "timeout", "whenAway", "channels", "cache"],
  publish: ["url", "timeout", "whenAway", "channels"],
  refresh: ["url", "timeout", "whenAway"],
  sub_refresh: ["url", "timeout", "whenAway"],
  rpc: ["url", "timeout"],
};
const DEFAULT_TIMEOUT_SECONDS = 2;
const MAX_TIMEOUT_SECONDS = 60;
const MAX_CACHE_SECONDS = 3_600;
/** Headers that belong to one connection or that the request to the application has itself. */
const UNFIT_HEADERS =
  /^(host|connection|content-.*|transfer-encoding|upgrade|te|trailer|keep-alive|sec-.*|webhook-.*)$/;

/** @throws {SyntaxError} naming what is wrong and what to write instead */
export function parseCallouts(value: unknown): CalloutsDefinition {
  if (!isRecord(value)) throw new SyntaxError('"callouts" must be an object');
  refuseUnknown(value, ["headers", "secret", ...CALLOUT_KINDS], "callouts");
  const { headers = [], secret } = value;
  const byKind = new Map(
    CALLOUT_KINDS.filter((kind) => value[kind] !== undefined).map((
      kind,
    ) => [kind, parseCallout(kind, value[kind])]),
  );
  const names = parseHeaders(headers);
  if (byKind.has("connect") && names.length === 0) {
    throw new SyntaxError(
      'callouts: connect needs "headers" by which your application knows its users, such as ["cookie"]',
    );
  }
  return { headers: names, secret: parseCalloutSecret(secret), byKind };
}

function parseCallout(kind: CalloutKind, value: unknown): CalloutDefinition {
  const where = `callouts.${kind}`;
  if (!isRecord(value)) throw new SyntaxError(`${where} must be an object`);
  refuseUnknown(value, KEYS[kind], where);
  const { timeout = DEFAULT_TIMEOUT_SECONDS, whenAway = "refuse", cache = 0 } = value;
  if (typeof timeout !== "number" || !(timeout > 0 && timeout <= MAX_TIMEOUT_SECONDS)) {
    throw new SyntaxError(
      `${where}: timeout must be a number of seconds, such as 10, at most ${MAX_TIMEOUT_SECONDS}`,
    );
  }
  if (whenAway !== "refuse" && whenAway !== "allow") {
    throw new SyntaxError(`${where}: whenAway must be "refuse" or "allow"`);
  }
  if (typeof cache !== "number" || !(cache >= 0 && cache <= MAX_CACHE_SECONDS)) {
    throw new SyntaxError(
      `${where}: cache must be a number of seconds, such as 10, at most ${MAX_CACHE_SECONDS}`,
    );
  }
  const patterns = KEYS[kind].includes("channels") ? parsePatterns(value.channels, where) : [];
  return { kind, url: parseTargetUrl(value.url, where), timeout, whenAway, patterns, cache };
}

function parsePatterns(value: unknown, where: string): readonly (readonly string[])[] {
  const names: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (names.length === 0 || !names.every((name) => typeof name === "string")) {
    throw new SyntaxError(`${where} needs "channels", a pattern or an array of them, such as ["private/**"]`);
  }
  try {
    return names.map(parseRulePattern);
  } catch (cause) {
    throw new SyntaxError(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function parseHeaders(value: unknown): readonly string[] {
  if (!Array.isArray(value) || !value.every((name) => typeof name === "string" && /^[\w-]+$/.test(name))) {
    throw new SyntaxError('callouts: "headers" must be an array of names of headers');
  }
  const names = value.map((name: string) => name.toLowerCase());
  const unfit = names.find((name) => UNFIT_HEADERS.test(name));
  if (unfit !== undefined) throw new SyntaxError(`callouts: the header "${unfit}" cannot be passed on`);
  return names;
}

function parseCalloutSecret(value: unknown): WebhookSecret | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw new SyntaxError("callouts: secret must be a string");
  try {
    return parseSecret(value);
  } catch (cause) {
    throw new SyntaxError(`callouts: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
