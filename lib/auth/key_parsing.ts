/**
 * Reads verification keys: a secret, a public key in PEM, a key set (JWKS). `keys.ts` and `remote_keys.ts` call it.
 *
 * The algorithms of a key follow from what it is, never from what a token or its issuer says: a public key cannot pass
 * for a secret, and nothing is ever verified by `none` (RFC 8725 sections 2.1 and 3.1).
 */
import { createPublicKey, type KeyObject } from "node:crypto";
import type { JWK } from "jose";
import { isLoopback } from "./origin.ts";

/** The fields of a token's header that choose the key. */
export interface KeyQuery {
  readonly algorithm: string;
  /** The header's `kid`. */
  readonly id: string | undefined;
}

export interface VerificationKey {
  readonly id: string | undefined;
  readonly algorithms: readonly string[];
  readonly material: JWK | Uint8Array;
}

const SECRET_ALGORITHMS = ["HS256", "HS384", "HS512"];
const RSA_ALGORITHMS = ["RS256", "RS384", "RS512"];
const CURVE_ALGORITHMS: ReadonlyMap<string, readonly string[]> = new Map([
  ["P-256", ["ES256"]],
  ["P-384", ["ES384"]],
  ["P-521", ["ES512"]],
  ["Ed25519", ["EdDSA", "Ed25519"]],
]);

/**
 * Shortest secret for HS256 (RFC 7518 section 3.2), in bytes. A shorter one draws a warning only, as such are in use.
 */
const ADVISED_SECRET_BYTES = 32;
/** Smallest RSA modulus (RFC 7518 section 3.3), in bits. */
const MIN_RSA_BITS = 2048;
const MAX_SET_KEYS = 100;

/** The keys that may have signed a token with this header. */
export function selectKeys(keys: readonly VerificationKey[], query: KeyQuery): (JWK | Uint8Array)[] {
  return keys
    .filter(({ id, algorithms }) =>
      algorithms.includes(query.algorithm) &&
      (id === undefined || query.id === undefined || id === query.id)
    )
    .map(({ material }) => material);
}

/** @throws {SyntaxError} for an empty secret, and for a PEM or JSON key */
export function parseSecret(secret: string, warnings: string[]): VerificationKey {
  if (secret === "") throw new SyntaxError("The token secret must not be empty");
  // With a public key as the secret, everybody who knows it could sign tokens (RFC 8725 section 2.1).
  if (/-----BEGIN|^\s*\{/.test(secret)) {
    throw new SyntaxError("The token secret is a PEM or JSON key: configure it as a public key or key set");
  }
  const material = new TextEncoder().encode(secret);
  if (material.length < ADVISED_SECRET_BYTES) {
    warnings.push(
      `The token secret has fewer than ${ADVISED_SECRET_BYTES} bytes and can be guessed: use a longer, random one`,
    );
  }
  return { id: undefined, algorithms: SECRET_ALGORITHMS, material };
}

/** @throws {SyntaxError} for anything but a public key that can verify tokens, without quoting it */
export function parsePem(text: string): VerificationKey {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new SyntaxError(
      "The token key is a private key: keep it with whoever signs tokens, and configure its public key",
    );
  }
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    // Without the cause, which might quote the text.
    throw new SyntaxError('The token key is not a public key in PEM form ("-----BEGIN PUBLIC KEY-----")');
  }
  return describeKey(key, undefined);
}

/**
 * Reads a JWK set. Skips keys for other uses or algorithms, as RFC 7517 section 5 asks, and symmetric ones: a secret is
 * not published.
 *
 * @throws {SyntaxError} for anything but a key set with at least one key that can verify tokens
 */
export function parseKeySet(text: string): readonly VerificationKey[] {
  let set: unknown;
  try {
    set = JSON.parse(text);
  } catch {
    throw new SyntaxError("The key set is not JSON");
  }
  if (!isRecord(set) || !Array.isArray(set.keys)) {
    throw new SyntaxError('The key set is not an object with a "keys" array');
  }
  if (set.keys.length > MAX_SET_KEYS) throw new SyntaxError(`The key set has more than ${MAX_SET_KEYS} keys`);
  const keys = set.keys.flatMap(parseSetKey);
  if (keys.length === 0) throw new SyntaxError("The key set has no public key that can verify tokens");
  return keys;
}

function parseSetKey(value: unknown): readonly VerificationKey[] {
  if (!isRecord(value) || typeof value.kty !== "string" || value.kty === "oct") return [];
  const { use, key_ops: operations, kid, alg } = value;
  if (use !== undefined && use !== "sig") return [];
  if (operations !== undefined && !(Array.isArray(operations) && operations.includes("verify"))) return [];
  if (kid !== undefined && typeof kid !== "string") return [];
  try {
    const key = describeKey(createPublicKey({ key: value, format: "jwk" }), kid);
    if (alg === undefined) return [key];
    // The two names of one algorithm (RFC 9864 section 2.2).
    const named = alg === "EdDSA" || alg === "Ed25519" ? ["EdDSA", "Ed25519"] : [alg];
    const algorithms = key.algorithms.filter((algorithm) => named.includes(algorithm));
    return algorithms.length === 0 ? [] : [{ ...key, algorithms }];
  } catch {
    return [];
  }
}

function describeKey(key: KeyObject, id: string | undefined): VerificationKey {
  const { kty, crv = "", n, e, x, y } = exportKey(key);
  if (kty === "RSA" && n !== undefined && e !== undefined) {
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) {
      throw new SyntaxError(`The token key is too short: an RSA key needs ${MIN_RSA_BITS} bits`);
    }
    return { id, algorithms: RSA_ALGORITHMS, material: { kty, n, e } };
  }
  const algorithms = CURVE_ALGORITHMS.get(crv);
  if (algorithms === undefined || kty === undefined || x === undefined) {
    throw new SyntaxError("The token key is neither RSA nor on the curve P-256, P-384, P-521 or Ed25519");
  }
  return { id, algorithms, material: { kty, crv, x, ...(y === undefined ? {} : { y }) } };
}

function exportKey(key: KeyObject): JsonWebKey {
  try {
    return key.export({ format: "jwk" }) as JsonWebKey;
  } catch {
    // Such as DSA, for which there is no JWK form.
    return {};
  }
}

/** @throws {SyntaxError} for anything but an http(s) URL without a user name and password */
export function parseKeyUrl(text: string, warnings: string[]): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new SyntaxError("The key set's URL must start with https:// or http://");
  }
  if (url.username !== "" || url.password !== "") {
    throw new SyntaxError("The key set's URL must not contain a user name or password");
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    warnings.push(
      `The key set at ${url.origin} is read without TLS: whoever can alter the traffic can sign tokens`,
    );
  }
  return url;
}

/** Whether tokens signed with an algorithm are verified with a public key. */
export function isPublicAlgorithm(algorithm: string): boolean {
  return RSA_ALGORITHMS.includes(algorithm) ||
    [...CURVE_ALGORITHMS.values()].some((names) => names.includes(algorithm));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
