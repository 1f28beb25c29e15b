/**
 * Reads the claims of JSON Web Tokens: who the client is, and what it may subscribe to, as Centrifugo's users write
 * them. `tokens.ts` reads a verified token here, `token_explain.ts` any token.
 */
import type { JWTPayload } from "jose";
import { normalizeChannel, parseChannel, parseRulePattern } from "../core/channel.ts";
import { ACTIONS } from "../core/rules.ts";
import { checkTags, type Tags } from "../core/tags.ts";
import type { Grant } from "./grants.ts";

/** A subscription that a token makes for its client. */
export interface TokenSubscription {
  /** JSON text that others on the channel see. */
  readonly info: string | undefined;
  /** JSON text that the client gets with the subscription. */
  readonly data: string | undefined;
}

/** What a connection token says. */
export interface ConnectionClaims {
  /** "" is the anonymous user. */
  readonly user: string;
  /** When the connection ends without a new token, in seconds since 1970; 0 for never. */
  readonly expires: number;
  /** JSON text that others on every channel of the client see. */
  readonly info: string | undefined;
  /** JSON text that only the server sees. */
  readonly meta: string | undefined;
  /** Texts by name, by which the API selects connections. */
  readonly labels?: Tags;
  /** The channels the client is subscribed to from the start, including those of `subs`, without repeats. */
  readonly channels: readonly string[];
  /** The settings of subscriptions that have any, by channel. */
  readonly subs: ReadonlyMap<string, TokenSubscription>;
  /** What else the client may do, by pattern. */
  readonly grants: readonly Grant[];
}

/** What a subscription token says. */
export interface SubscriptionClaims extends TokenSubscription {
  readonly channel: string;
  readonly user: string;
  /** When the subscription ends without a new token, in seconds since 1970; 0 for never. */
  readonly expires: number;
}

/** The claims of a subscription token with the client it is bound to. */
export interface SubscriptionTokenClaims extends SubscriptionClaims {
  /** The client's id; "" for any client. */
  readonly client: string;
}

/**
 * Reads the claims of a connection token. Does not verify them.
 *
 * @throws {SyntaxError} naming the claim that has the wrong type
 */
export function parseConnectionClaims(payload: JWTPayload): ConnectionClaims {
  // A subscription token admits to one channel; a connection may admit to more.
  if (parseText(payload, "channel") !== "") {
    throw new SyntaxError('the token names a "channel": it is a subscription token');
  }
  const subs = parseSubs(payload.subs);
  return {
    user: parseText(payload, "sub"),
    expires: parseExpiry(payload),
    info: formatJson(payload.info),
    meta: formatJson(payload.meta),
    ...parseLabels(payload.labels),
    channels: [...new Set([...parseChannels(payload.channels), ...subs.keys()])],
    subs,
    grants: parseGrants(payload.grants),
  };
}

/**
 * Reads the claims of a subscription token. Does not verify them.
 *
 * @throws {SyntaxError} naming the claim that has the wrong type
 */
export function parseSubscriptionClaims(payload: JWTPayload): SubscriptionTokenClaims {
  return {
    channel: normalizeChannel(parseText(payload, "channel")),
    user: parseText(payload, "sub"),
    client: parseText(payload, "client"),
    expires: parseExpiry(payload),
    info: formatJson(payload.info),
    data: formatJson(payload.data),
  };
}

/** An optional text claim; "" when left out. */
function parseText(payload: JWTPayload, claim: string): string {
  const value = payload[claim] ?? "";
  if (typeof value !== "string") throw new SyntaxError(`the token's "${claim}" is not a string`);
  if (!value.isWellFormed()) throw new SyntaxError(`the token's "${claim}" has half a surrogate pair`);
  return value;
}

/** When the connection ends: `expire_at` if present, else `exp`. An `expire_at` of 0 lets it outlive the token. */
function parseExpiry(payload: JWTPayload): number {
  const [claim, value] = payload.expire_at === undefined
    ? ["exp", payload.exp ?? 0]
    : ["expire_at", payload.expire_at];
  if (typeof value !== "number" || !Number.isSafeInteger(Math.floor(value))) {
    throw new SyntaxError(`the token's "${claim}" is not a number of seconds`);
  }
  return Math.max(0, Math.floor(value));
}

function parseLabels(value: unknown): { readonly labels?: Tags } {
  if (value === undefined || value === null) return {};
  if (!isRecord(value)) throw new SyntaxError('the token\'s "labels" is not an object');
  const labels = new Map<string, string>();
  for (const [name, label] of Object.entries(value)) {
    if (typeof label !== "string") {
      throw new SyntaxError('the token\'s "labels" has a value that is not a string');
    }
    labels.set(name, label);
  }
  try {
    checkTags(labels);
  } catch (cause) {
    throw new SyntaxError('the token\'s "labels" are too many or too long', { cause });
  }
  return labels.size === 0 ? {} : { labels };
}

function parseChannels(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new SyntaxError('the token\'s "channels" is not an array');
  return value.map((name: unknown) => {
    if (typeof name !== "string") {
      throw new SyntaxError('the token\'s "channels" has an item that is not a string');
    }
    return parseChannelClaim(name, "channels");
  });
}

function parseSubs(value: unknown): ReadonlyMap<string, TokenSubscription> {
  if (value === undefined || value === null) return new Map();
  if (!isRecord(value)) throw new SyntaxError('the token\'s "subs" is not an object');
  return new Map(
    Object.entries(value).map(([name, sub]) => {
      if (!isRecord(sub)) throw new SyntaxError(`the token's "subs" has a value that is not an object`);
      return [
        parseChannelClaim(name, "subs"),
        { info: formatJson(sub.info), data: formatJson(sub.data) },
      ];
    }),
  );
}

/**
 * Reads `{ "chat/*": ["subscribe", "publish"] }`. An unknown action makes the token invalid rather than being ignored.
 */
function parseGrants(value: unknown): readonly Grant[] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw new SyntaxError('the token\'s "grants" is not an object');
  return Object.entries(value).map(([pattern, actions]) => {
    if (!Array.isArray(actions) || !actions.every((action) => ACTIONS.includes(action))) {
      throw new SyntaxError(`the token's "grants" has a value that is not an array of ${ACTIONS.join(", ")}`);
    }
    try {
      return { pattern, segments: parseRulePattern(pattern), actions };
    } catch (cause) {
      const detail = cause instanceof Error ? cause.message : String(cause);
      throw new SyntaxError(`the token's "grants" has a bad pattern. ${detail}`, { cause });
    }
  });
}

function parseChannelClaim(name: string, claim: string): string {
  try {
    return parseChannel(name);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`the token's "${claim}" has a bad name. ${detail}`, { cause });
  }
}

/** A claim of any type as JSON text; undefined when it is null or left out. */
function formatJson(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : JSON.stringify(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
