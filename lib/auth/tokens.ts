/**
 * Verifies the JSON Web Tokens that clients connect and subscribe with, as Centrifugo's users sign them. The gate and
 * the Centrifuge session call it to learn who a client is; `grants.ts` decides what that client may do.
 */
import { decodeProtectedHeader, errors, type JWTPayload, jwtVerify } from "jose";
import {
  type ConnectionClaims,
  parseConnectionClaims,
  parseSubscriptionClaims,
  type SubscriptionClaims,
} from "./claims.ts";
import type { Keys } from "./keys.ts";
import { quote } from "../base/quote.ts";

/**
 * The result of verifying a token. A reason is a clause about "the token" for the log, without any part of a key or
 * signature. Clients learn only the kind.
 */
export type TokenResult<Claims> =
  | { readonly kind: "valid"; readonly claims: Claims }
  /** The token has expired or is not valid yet: the client should get a new one. Centrifuge error 109. */
  | { readonly kind: "expired"; readonly reason: string }
  /** No known key signed the token, or its claims are malformed. Disconnect 3500; error 103 for a subscription. */
  | { readonly kind: "invalid"; readonly reason: string }
  /** The token is genuine, but for another channel, client or user. Disconnect 3500. */
  | { readonly kind: "mismatch"; readonly reason: string }
  /** Its key cannot be fetched now: the client may try again with the same token. Error 100, temporary. */
  | { readonly kind: "unavailable"; readonly reason: string };

export interface TokenOptions {
  readonly keys: Keys;
  /** A token must name it in `aud`. */
  readonly audience?: string | undefined;
  /** A token must name it in `iss`. */
  readonly issuer?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Longest token: as many characters as a Centrifuge frame has bytes. */
const MAX_TOKEN_LENGTH = 65_536;

/** Verifies tokens. Its methods never reject, whatever the token. */
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
   * Verifies the token of a connect or refresh command.
   *
   * @param expected on refresh, the user of the connection: a new token must not change it
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

  /** Verifies the token of a subscribe or sub_refresh command, and that it is for this channel, user and client. */
  async verifySubscriptionToken(
    token: string,
    expected: { readonly channel: string; readonly user: string; readonly client: string },
  ): Promise<TokenResult<SubscriptionClaims>> {
    const result = await this.#verify(token, parseSubscriptionClaims);
    if (result.kind !== "valid") return result;
    const { client, ...claims } = result.claims;
    if (claims.channel === "") {
      return { kind: "mismatch", reason: "the token names no channel: it is not a subscription token" };
    }
    if (claims.channel !== expected.channel) {
      return { kind: "mismatch", reason: `the token is for channel ${quote(claims.channel)}` };
    }
    if (client !== "" && client !== expected.client) {
      return { kind: "mismatch", reason: `the token is for client ${quote(client)}` };
    }
    // Tokens of older backends are bound to a client instead of a user.
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
      // By expire_at only: jose has checked exp.
      if (claims.expires !== 0 && claims.expires * 1000 <= now) {
        return { kind: "expired", reason: "the token's expire_at has passed" };
      }
      return { kind: "valid", claims };
    } catch (error) {
      return explain(error);
    }
  }

  /** @throws {Refusal} or an error of jose for a token that is not valid at this time */
  async #verifySignature(token: string, now: number): Promise<{ readonly payload: JWTPayload }> {
    const query = parseHeader(token);
    const { keys, unavailable } = await this.#keys.find(query);
    for (const key of keys) {
      try {
        return await jwtVerify(token, key, {
          // The key was selected by its algorithms; this repeats the check.
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
        ? `the token is signed with ${quote(query.algorithm)}` +
          `${query.id === undefined ? "" : ` and key ${quote(query.id)}`}, for which there is no key`
        : "the token is signed with none of the keys",
    );
  }
}

/** Ends a verification with a result other than valid. */
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
    throw new Refusal("invalid", "the token is not a JSON Web Token");
  }
  const { alg, kid } = header;
  if (typeof alg !== "string") throw new Refusal("invalid", "the token names no algorithm");
  if (kid !== undefined && typeof kid !== "string") {
    throw new Refusal("invalid", 'the token\'s "kid" is not a string');
  }
  return { algorithm: alg, id: kid };
}

/** Turns an error into a result. Messages of jose may quote the token, so only the name of a claim is passed on. */
function explain(error: unknown): Exclude<TokenResult<never>, { readonly kind: "valid" }> {
  if (error instanceof Refusal) return { kind: error.kind, reason: error.message };
  if (error instanceof SyntaxError) return { kind: "invalid", reason: error.message };
  if (error instanceof errors.JWTExpired) return { kind: "expired", reason: "the token has expired" };
  if (error instanceof errors.JWTClaimValidationFailed) {
    // When the clock of this server is behind, clients must not be turned away for good.
    return error.claim === "nbf" && error.reason === "check_failed"
      ? { kind: "expired", reason: 'the token is not valid yet ("nbf")' }
      : { kind: "invalid", reason: `the token's ${quote(error.claim)} is not the expected one` };
  }
  if (error instanceof errors.JOSEError) {
    return { kind: "invalid", reason: `the token is malformed (${error.code})` };
  }
  throw error;
}
