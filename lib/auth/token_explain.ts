/**
 * Explains how the server judges a token, check by check. `deno task token explain` prints it. The checks are
 * independent, so that all faults show at once; the verdict is that of the verifier.
 */
import { compactVerify, decodeJwt, decodeProtectedHeader, type JWTPayload } from "jose";
import type { Keys } from "./keys.ts";
import {
  type ConnectionClaims,
  parseConnectionClaims,
  parseSubscriptionClaims,
  type SubscriptionTokenClaims,
} from "./claims.ts";
import { type TokenResult, TokenVerifier } from "./tokens.ts";

/** One check and its result. The detail is a clause for people. */
export interface Check {
  readonly name: "form" | "signature" | "expiry" | "not before" | "audience" | "issuer" | "claims";
  readonly passed: boolean;
  readonly detail: string;
}

/** The kind of a token whose claims are valid. */
export type TokenPurpose =
  | { readonly kind: "connection"; readonly claims: ConnectionClaims }
  | { readonly kind: "subscription"; readonly claims: SubscriptionTokenClaims };

export interface Explanation {
  /** Header and payload, unverified; undefined if they cannot be decoded. */
  readonly header: Readonly<Record<string, unknown>> | undefined;
  readonly payload: Readonly<Record<string, unknown>> | undefined;
  readonly checks: readonly Check[];
  readonly purpose: TokenPurpose | undefined;
  /** Whether the server accepts the token. */
  readonly verdict: { readonly accepted: boolean; readonly reason: string };
}

interface ExplainOptions {
  /** The keys that may have signed it; undefined if none was given and the signature cannot be checked. */
  readonly keys: Keys | undefined;
  readonly audience?: string | undefined;
  readonly issuer?: string | undefined;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

/** Explains a token. Never rejects, whatever the token. */
export async function explainToken(token: string, options: ExplainOptions): Promise<Explanation> {
  const now = (options.now ?? Date.now)();
  let header: Record<string, unknown>;
  let payload: JWTPayload;
  try {
    header = { ...decodeProtectedHeader(token) };
    payload = decodeJwt(token);
  } catch {
    const detail =
      "it is not a JSON Web Token: three parts in base64url with a dot between them, two of them JSON";
    return {
      header: undefined,
      payload: undefined,
      checks: [{ name: "form", passed: false, detail }],
      purpose: undefined,
      verdict: { accepted: false, reason: "the token is not a JSON Web Token" },
    };
  }
  const claims = readPurpose(payload);
  const checks: readonly Check[] = [
    { name: "form", passed: true, detail: "it is a JSON Web Token" },
    await checkSignature(token, header, options.keys),
    checkExpiry(payload, now),
    checkNotBefore(payload, now),
    checkName("audience", listAudiences(payload), options.audience),
    checkName("issuer", typeof payload.iss === "string" ? [payload.iss] : [], options.issuer),
    claims.check,
  ];
  return {
    header,
    payload,
    checks,
    purpose: claims.purpose,
    verdict: await judge(token, claims.purpose, options),
  };
}

async function judge(
  token: string,
  purpose: TokenPurpose | undefined,
  options: ExplainOptions,
): Promise<Explanation["verdict"]> {
  const { keys } = options;
  if (keys === undefined) return { accepted: false, reason: "there is no key to check its signature with" };
  const verifier = new TokenVerifier({ ...options, keys });
  const result: TokenResult<unknown> = purpose?.kind === "subscription"
    ? await verifier.verifySubscriptionToken(token, {
      channel: purpose.claims.channel,
      user: purpose.claims.user,
      client: purpose.claims.client,
    })
    : await verifier.verifyConnectionToken(token);
  return result.kind === "valid"
    ? { accepted: true, reason: "" }
    : { accepted: false, reason: result.reason };
}

async function checkSignature(
  token: string,
  { alg, kid }: Record<string, unknown>,
  keys: Keys | undefined,
): Promise<Check> {
  const name = "signature";
  if (keys === undefined) {
    return { name, passed: false, detail: "not checked, as there is no key to check it with" };
  }
  const algorithm = String(alg);
  const id = typeof kid === "string" ? kid : undefined;
  const found = await keys.find({ algorithm, id });
  for (const key of found.keys) {
    try {
      await compactVerify(token, key, { algorithms: [algorithm] });
      return { name, passed: true, detail: `by ${algorithm}, with a key of this server` };
    } catch {
      // Another key may have signed it.
    }
  }
  if (found.unavailable !== undefined) return { name, passed: false, detail: found.unavailable };
  const named = id === undefined ? "" : ` and the key ${JSON.stringify(id)}`;
  const detail = found.keys.length === 0
    ? `it claims the algorithm ${JSON.stringify(algorithm)}${named}, for which this server has no key`
    : "none of this server's keys signed it, or the token was changed";
  return { name, passed: false, detail };
}

/** `exp` is always checked; `expire_at`, if present, decides when the connection ends. */
function checkExpiry({ exp, expire_at }: JWTPayload, now: number): Check {
  const name = "expiry";
  const bad = [exp, expire_at].some((moment) => moment !== undefined && typeof moment !== "number");
  if (bad) return { name, passed: false, detail: "exp and expire_at must be seconds since 1970" };
  const moments = [Number(exp ?? 0), Number(expire_at ?? 0)].filter((moment) => moment !== 0);
  if (exp === 0) moments.push(0);
  if (moments.length === 0) {
    return { name, passed: true, detail: "it never expires: a stolen token stays valid forever" };
  }
  const first = Math.min(...moments);
  return first * 1_000 <= now
    ? {
      name,
      passed: false,
      detail: `it expired at ${formatMoment(first)}, ${formatSpan(now - first * 1_000)} ago`,
    }
    : {
      name,
      passed: true,
      detail: `it expires at ${formatMoment(first)}, in ${formatSpan(first * 1_000 - now)}`,
    };
}

function checkNotBefore({ nbf }: JWTPayload, now: number): Check {
  const name = "not before";
  if (nbf === undefined) return { name, passed: true, detail: "it has no nbf: it is valid at once" };
  if (typeof nbf !== "number") return { name, passed: false, detail: "nbf must be seconds since 1970" };
  const passed = nbf * 1_000 <= now;
  return { name, passed, detail: `it is ${passed ? "" : "not yet "}valid: from ${formatMoment(nbf)} on` };
}

function listAudiences({ aud }: JWTPayload): readonly string[] {
  if (typeof aud === "string") return [aud];
  return Array.isArray(aud) ? aud.filter((name) => typeof name === "string") : [];
}

function checkName(name: "audience" | "issuer", given: readonly string[], wanted: string | undefined): Check {
  const says = given.length === 0
    ? "it names none"
    : `it names ${given.map((text) => JSON.stringify(text)).join(", ")}`;
  if (wanted === undefined) return { name, passed: true, detail: `${says}, and this server requires none` };
  return {
    name,
    passed: given.includes(wanted),
    detail: `${says}, and this server requires ${JSON.stringify(wanted)}`,
  };
}

function readPurpose(
  payload: JWTPayload,
): { readonly check: Check; readonly purpose: TokenPurpose | undefined } {
  const name = "claims";
  try {
    const isSubscription = payload.channel !== undefined && payload.channel !== "";
    const purpose: TokenPurpose = isSubscription
      ? { kind: "subscription", claims: parseSubscriptionClaims(payload) }
      : { kind: "connection", claims: parseConnectionClaims(payload) };
    return { check: { name, passed: true, detail: `they make a ${purpose.kind} token` }, purpose };
  } catch (error) {
    return {
      check: { name, passed: false, detail: error instanceof Error ? error.message : String(error) },
      purpose: undefined,
    };
  }
}

function formatMoment(seconds: number): string {
  const moment = new Date(seconds * 1_000);
  return Number.isNaN(moment.getTime())
    ? `${seconds} s after 1970`
    : moment.toISOString().replace(".000Z", "Z");
}

function formatSpan(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1_000);
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 2 * 60 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 2 * 24 * 60 * 60) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}
