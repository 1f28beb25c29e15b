/**
 * Reads the JSON Web Tokens clients connect and subscribe with, as Centrifugo's users sign them. The Centrifuge
 * session and the HTTP routes ask here who a client is; what it may then do is decided in `grants.ts`.
 */
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import { parseChannel, parseRulePattern } from "../core/channel.ts";
import { ACTIONS } from "../core/rules.ts";
import type { Grant } from "./grants.ts";
import type { Keys } from "./keys.ts";
import { quote } from "../base/quote.ts";

/**
 * What came of a token. A reason is a clause about "the token", fit for the log: it holds no part of a key or
 * signature. Clients are told only the kind.
 */
export type TokenResult<Claims> =
  | { readonly kind: "valid"; readonly claims: Claims }
  /** It was good and no longer is, or is not yet: a new one will do. Centrifuge error 109. */
  | { readonly kind: "expired"; readonly reason: string }
  /** No key of ours signed it, or what it says makes no sense. Disconnect 3500, for a subscription error 103. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** It is genuine, and made for another channel, client or user. Disconnect 3500. */
  | { readonly kind: "mismatch"; readonly reason: string }
  /** Its key cannot be had at the moment: the client may come again unchanged. Error 100, temporary. */
  | { readonly kind: "unavailable"; readonly reason: string };

/** A subscription a token makes on its client's behalf. */
export interface TokenSubscription {
  /** JSON text shown to others on the channel. */
  readonly info: string | undefined;
  /** JSON text handed to the client with the subscription. */
  readonly data: string | undefined;
}

/** What a connection token says. */
export interface ConnectionClaims {
  /** "" is the anonymous user. */
  readonly user: string;
  /** When the connection ends without a new token, in seconds since 1970; 0 for never. */
  readonly expires: number;
  /** JSON text shown to others wherever the client is. */
  readonly info: string | undefined;
  /** JSON text for the server alone. */
  readonly meta: string | undefined;
  /** Every channel the client is subscribed to from the start, those of `subs` included, each once. */
  readonly channels: readonly string[];
  /** Settings of those that have any. */
  readonly subs: ReadonlyMap<string, TokenSubscription>;
  /** What else it may do, by pattern. */
  readonly grants: readonly Grant[];
}

/** What a subscription token says. */
export interface SubscriptionClaims extends TokenSubscription {
  readonly channel: string;
  readonly user: string;
  /** When the subscription ends without a new token, in seconds since 1970; 0 for never. */
  readonly expires: number;
}

/** The same, and what it has to be checked against besides channel and user. */
export interface SubscriptionTokenClaims extends SubscriptionClaims {
  /** "" for any. */
  readonly client: string;
}

export interface TokenOptions {
  readonly keys: Keys;
  /** A token must name it in `aud`. */
  readonly audience?: string | undefined;
  /** A token must name it in `iss`. */
  readonly issuer?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** As many as a Centrifuge frame has bytes. */
const MAX_TOKEN_LENGTH = 65_536;

/** Checks tokens. Its methods never reject, whatever the token. */
export class TokenVerifier {
  readonly #keys: Keys;
  readonly #audience: string | undefined;
  readonly #issuer: string | undefined;
  readonly #now: () => number;

  constructor(options: TokenOptions) {
    this.#keys = options.keys;
    this.#audience = options.audience;
    this.#issuer = options.issuer;
    this.#now = options.now ?? Date.now;
  }

  /**
   * Checks the token of a connect or refresh command.
   *
   * @param expected with a refresh the user of the connection, which a new token must not change
   */
  async verifyConnectionToken(
    token: string,
    expected: { readonly user?: string } = {},
  ): Promise<TokenResult<ConnectionClaims>> {
    const result = await this.#verify(token, parseConnectionClaims);
    if (result.kind === "valid" && expected.user !== undefined && result.claims.user !== expected.user) {
      return { kind: "mismatch", reason: `the token is for user ${quote(result.claims.user)}` };
    }
    return result;
  }

  /** Checks the token of a subscribe or sub_refresh command against the channel and the client it came with. */
  async verifySubscriptionToken(
    token: string,
    expected: { readonly channel: string; readonly user: string; readonly client: string },
  ): Promise<TokenResult<SubscriptionClaims>> {
    const result = await this.#verify(token, parseSubscriptionClaims);
    if (result.kind !== "valid") return result;
    const { client, ...claims } = result.claims;
    if (claims.channel === "") {
      return { kind: "mismatch", reason: "the token names no channel: it is no subscription token" };
    }
    if (claims.channel !== expected.channel) {
      return { kind: "mismatch", reason: `the token is for channel ${quote(claims.channel)}` };
    }
    if (client !== "" && client !== expected.client) {
      return { kind: "mismatch", reason: `the token is for client ${quote(client)}` };
    }
    // Tokens made for old clients are bound to a client instead of a user.
    if (claims.user !== expected.user && !(claims.user === "" && client !== "")) {
      return { kind: "mismatch", reason: `the token is for user ${quote(claims.user)}` };
    }
    return { kind: "valid", claims };
  }

  async #verify<Claims extends { readonly expires: number }>(
    token: string,
    parse: (payload: JWTPayload) => Claims,
  ): Promise<TokenResult<Claims>> {
    try {
      const now = this.#now();
      const { payload } = await this.#verifySignature(token, now);
      const claims = parse(payload);
      // Only by expire_at, as exp has been checked with the signature.
      if (claims.expires !== 0 && claims.expires * 1000 <= now) {
        return { kind: "expired", reason: "the token's expire_at has passed" };
      }
      return { kind: "valid", claims };
    } catch (error) {
      return explain(error);
    }
  }

  /** @throws {Refusal} or an error of jose for a token that is not good at this time */
  async #verifySignature(token: string, now: number): Promise<{ readonly payload: JWTPayload }> {
    const query = parseHeader(token);
    const { keys, unavailable } = await this.#keys.find(query);
    for (const key of keys) {
      try {
        return await jwtVerify(token, key, {
          // The key was chosen by its own algorithms; this only says so once more.
          algorithms: [query.algorithm],
          currentDate: new Date(now),
          ...(this.#audience === undefined ? {} : { audience: this.#audience }),
          ...(this.#issuer === undefined ? {} : { issuer: this.#issuer }),
        });
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      }
    }
    if (unavailable !== undefined) throw new Refusal("unavailable", unavailable);
    throw new Refusal(
      "invalid",
      keys.length === 0
        ? `the token is signed by ${quote(query.algorithm)}` +
          `${query.id === undefined ? "" : ` and key ${quote(query.id)}`}, for which there is no key`
        : "the token is signed by none of the keys",
    );
  }
}

/** Ends a verification early. */
class Refusal extends Error {
  readonly kind: "invalid" | "unavailable";

  constructor(kind: "invalid" | "unavailable", reason: string) {
    super(reason);
    this.kind = kind;
  }
}

function parseHeader(token: string): { readonly algorithm: string; readonly id: string | undefined } {
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new Refusal("invalid", `the token has more than ${MAX_TOKEN_LENGTH} characters`);
  }
  let header;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    throw new Refusal("invalid", "the token is no JSON Web Token");
  }
  const { alg, kid } = header;
  if (typeof alg !== "string") throw new Refusal("invalid", "the token names no algorithm");
  if (kid !== undefined && typeof kid !== "string") {
    throw new Refusal("invalid", 'the token\'s "kid" is no text');
  }
  return { algorithm: alg, id: kid };
}

/** Messages of jose may quote the token: only what it says of claims is passed on. */
function explain(error: unknown): Exclude<TokenResult<never>, { readonly kind: "valid" }> {
  if (error instanceof Refusal) return { kind: error.kind, reason: error.message };
  if (error instanceof SyntaxError) return { kind: "invalid", reason: error.message };
  if (error instanceof errors.JWTExpired) return { kind: "expired", reason: "the token has expired" };
  if (error instanceof errors.JWTClaimValidationFailed) {
    // A server whose clock is behind must not turn clients away for good.
    return error.claim === "nbf" && error.reason === "check_failed"
      ? { kind: "expired", reason: 'the token is not valid yet ("nbf")' }
      : { kind: "invalid", reason: `the token's ${quote(error.claim)} is not what is wanted` };
  }
  if (error instanceof errors.JOSEError) {
    return { kind: "invalid", reason: `the token is malformed (${error.code})` };
  }
  throw error;
}

/**
 * Reads what a connection token says, whoever signed it.
 *
 * @throws {SyntaxError} naming the claim that has the wrong type
 */
export function parseConnectionClaims(payload: JWTPayload): ConnectionClaims {
  // Who holds a subscription token was let into one channel; a connection may be worth more.
  if (parseText(payload, "channel") !== "") {
    throw new SyntaxError('the token names a "channel": it is a subscription token');
  }
  const subs = parseSubs(payload.subs);
  return {
    user: parseText(payload, "sub"),
    expires: parseExpiry(payload),
    info: formatJson(payload.info),
    meta: formatJson(payload.meta),
    channels: [...new Set([...parseChannels(payload.channels), ...subs.keys()])],
    subs,
    grants: parseGrants(payload.grants),
  };
}

/**
 * Reads what a subscription token says, whoever signed it.
 *
 * @throws {SyntaxError} naming the claim that has the wrong type
 */
export function parseSubscriptionClaims(payload: JWTPayload): SubscriptionTokenClaims {
  return {
    channel: parseText(payload, "channel"),
    user: parseText(payload, "sub"),
    client: parseText(payload, "client"),
    expires: parseExpiry(payload),
    info: formatJson(payload.info),
    data: formatJson(payload.data),
  };
}

/** A claim that is a text or left out. */
function parseText(payload: JWTPayload, claim: string): string {
  const value = payload[claim] ?? "";
  if (typeof value !== "string") throw new SyntaxError(`the token's "${claim}" is no text`);
  return value;
}

/** `expire_at`, where there is one, says when the connection ends instead of `exp`: 0 lets it outlive the token. */
function parseExpiry(payload: JWTPayload): number {
  const [claim, value] = payload.expire_at === undefined
    ? ["exp", payload.exp ?? 0]
    : ["expire_at", payload.expire_at];
  if (typeof value !== "number" || !Number.isSafeInteger(Math.floor(value))) {
    throw new SyntaxError(`the token's "${claim}" is no number of seconds`);
  }
  return Math.max(0, Math.floor(value));
}

function parseChannels(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new SyntaxError('the token\'s "channels" is no list');
  return value.map((name: unknown) => {
    if (typeof name !== "string") {
      throw new SyntaxError('the token\'s "channels" has something else than text');
    }
    return parseChannelClaim(name, "channels");
  });
}

function parseSubs(value: unknown): ReadonlyMap<string, TokenSubscription> {
  if (value === undefined || value === null) return new Map();
  if (!isRecord(value)) throw new SyntaxError('the token\'s "subs" is no object');
  return new Map(
    Object.entries(value).map(([name, sub]) => {
      if (!isRecord(sub)) throw new SyntaxError(`the token's "subs" has something else than an object`);
      return [
        parseChannelClaim(name, "subs"),
        { info: formatJson(sub.info), data: formatJson(sub.data) },
      ];
    }),
  );
}

/** `{ "chat/*": ["subscribe", "publish"] }`. A word that is none of ours is no grant of ours: better refused than guessed at. */
function parseGrants(value: unknown): readonly Grant[] {
  if (value === undefined || value === null) return [];
  if (!isRecord(value)) throw new SyntaxError('the token\'s "grants" is no object of patterns');
  return Object.entries(value).map(([pattern, actions]) => {
    if (!Array.isArray(actions) || !actions.every((action) => ACTIONS.includes(action))) {
      throw new SyntaxError(`the token's "grants" has something else than lists of ${ACTIONS.join(", ")}`);
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

/** JSON text of a claim that may be anything; null counts as left out. */
function formatJson(value: unknown): string | undefined {
  return value === undefined || value === null ? undefined : JSON.stringify(value);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
