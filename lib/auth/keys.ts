/**
 * The keys a token may be signed with: a shared secret, public keys in PEM, key sets (JWKS) from a file or a URL.
 * `app.ts` opens them, `tokens.ts` asks which of them may have signed a token.
 *
 * A key knows its algorithms by what it is, never by what a token or its issuer says: so no public key can pass
 * for a secret, and nothing is ever verified by `none` (RFC 8725 sections 2.1 and 3.1).
 */
import { createPublicKey, type JsonWebKey, type KeyObject } from "node:crypto";
import type { JWK } from "jose";
import { isLoopback } from "./origin.ts";

/** Where keys come from. Texts are contents, not paths. */
export type KeySource =
  | { readonly kind: "secret"; readonly secret: string }
  | { readonly kind: "pem"; readonly text: string }
  | { readonly kind: "jwks"; readonly text: string }
  | { readonly kind: "jwks_url"; readonly url: string };

export interface KeyOptions {
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Seconds between two requests to one URL at least, whatever tokens ask for. */
  readonly cooldown?: number;
  /** Seconds for which fetched keys are taken as they are; a key withdrawn by its issuer lives no longer. */
  readonly maxAge?: number;
  /** Seconds for which fetched keys serve while the URL cannot be read. */
  readonly maxStale?: number;
  /** Seconds a URL has to answer. */
  readonly timeout?: number;
}

/** What of a token's header chooses the key. */
export interface KeyQuery {
  readonly algorithm: string;
  /** The header's `kid`. */
  readonly id: string | undefined;
}

/** The keys that may have signed a token, none or several. */
export interface FoundKeys {
  readonly keys: readonly (JWK | Uint8Array)[];
  /** Why further keys are not known at the moment; without any, the caller must not call a token invalid. */
  readonly unavailable: string | undefined;
}

/** Verification keys. Disposing ends what is being fetched. */
export interface Keys extends Disposable {
  /** What an operator should know about the keys at start, without any of their contents. */
  readonly warnings: readonly string[];
  /** Never rejects: keys that cannot be had are `unavailable`. */
  find(query: KeyQuery): Promise<FoundKeys>;
}

interface VerificationKey {
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

/** Least secret for HS256 (RFC 7518 section 3.2), in bytes. Shorter ones are in use, so they only draw a warning. */
const ADVISED_SECRET_BYTES = 32;
/** Least RSA modulus (RFC 7518 section 3.3), in bits. */
const LEAST_RSA_BITS = 2048;
const MAX_SET_BYTES = 1024 * 1024;
const MAX_SET_KEYS = 100;

/**
 * Opens the keys of every source. A URL is first read when a token needs it.
 *
 * @throws {SyntaxError} for a source that cannot be one, without quoting it
 */
export function openKeys(sources: readonly KeySource[], options: KeyOptions = {}): Keys {
  const fixed: VerificationKey[] = [];
  const remote: RemoteKeySet[] = [];
  const warnings: string[] = [];
  for (const source of sources) {
    if (source.kind === "secret") fixed.push(parseSecret(source.secret, warnings));
    else if (source.kind === "pem") fixed.push(parsePem(source.text));
    else if (source.kind === "jwks") fixed.push(...parseKeySet(source.text));
    else remote.push(new RemoteKeySet(parseKeyUrl(source.url, warnings), options));
  }
  return {
    warnings,
    async find(query) {
      const found = await Promise.all(remote.map((set) => set.find(query)));
      return {
        keys: [...select(fixed, query), ...found.flatMap(({ keys }) => keys)],
        unavailable: found.find(({ unavailable }) => unavailable !== undefined)?.unavailable,
      };
    },
    [Symbol.dispose]() {
      for (const set of remote) set[Symbol.dispose]();
    },
  };
}

function select(keys: readonly VerificationKey[], query: KeyQuery): (JWK | Uint8Array)[] {
  return keys
    .filter(({ id, algorithms }) =>
      algorithms.includes(query.algorithm) &&
      (id === undefined || query.id === undefined || id === query.id)
    )
    .map(({ material }) => material);
}

/** The keys at a URL: fetched when needed, kept, fetched anew when old or when a token names an unknown one. */
class RemoteKeySet implements Disposable {
  readonly #url: URL;
  readonly #now: () => number;
  readonly #cooldown: number;
  readonly #maxAge: number;
  readonly #maxStale: number;
  readonly #timeout: number;
  readonly #closing = new AbortController();
  #keys: readonly VerificationKey[] = [];
  #fetchedAt = -Infinity;
  #triedAt = -Infinity;
  #failure: string | undefined;
  #pending: Promise<void> | undefined;

  constructor(url: URL, options: KeyOptions) {
    this.#url = url;
    this.#now = options.now ?? Date.now;
    this.#cooldown = (options.cooldown ?? 30) * 1000;
    this.#maxAge = (options.maxAge ?? 10 * 60) * 1000;
    this.#maxStale = (options.maxStale ?? 24 * 60 * 60) * 1000;
    this.#timeout = (options.timeout ?? 5) * 1000;
  }

  async find(query: KeyQuery): Promise<FoundKeys> {
    if (!isPublicAlgorithm(query.algorithm)) return { keys: [], unavailable: undefined };
    let fetched = false;
    const old = () => this.#now() - this.#fetchedAt >= this.#maxAge;
    if (old() || select(this.#keys, query).length === 0) fetched = await this.#refresh();
    if (this.#now() - this.#fetchedAt >= this.#maxStale) {
      return { keys: [], unavailable: this.#failure ?? this.#explain("it has not been read") };
    }
    const keys = select(this.#keys, query);
    if (keys.length > 0 || fetched) return { keys, unavailable: undefined };
    // An issuer may have brought in the key since the last fetch: who refused for good would turn its users away.
    return { keys, unavailable: this.#failure ?? this.#explain("it was read too recently to be read again") };
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
  }

  /** Whether the keys were read just now. Calls at the same time share one request. */
  async #refresh(): Promise<boolean> {
    if (this.#pending === undefined) {
      const now = this.#now();
      if (now - this.#triedAt < this.#cooldown) return false;
      this.#triedAt = now;
      this.#pending = this.#load().finally(() => this.#pending = undefined);
    }
    await this.#pending;
    return this.#failure === undefined;
  }

  async #load(): Promise<void> {
    const timer = new AbortController();
    const timeout = setTimeout(() => timer.abort(), this.#timeout);
    try {
      this.#keys = parseKeySet(
        await fetchText(this.#url, AbortSignal.any([timer.signal, this.#closing.signal])),
      );
      this.#fetchedAt = this.#now();
      this.#failure = undefined;
    } catch (error) {
      this.#failure = this.#explain(
        this.#closing.signal.aborted
          ? "the server is stopping"
          : timer.signal.aborted
          ? `no answer within ${this.#timeout / 1000} s`
          : describe(error),
      );
    } finally {
      clearTimeout(timeout);
    }
  }

  /** Errors of fetch quote the URL, whose path and query may hold a secret: only its origin is shown. */
  #explain(cause: string): string {
    const shown = cause.replaceAll(this.#url.href, this.#url.origin)
      .replaceAll(/\bhttps?:\/\/[^\s)]+/g, this.#url.origin);
    return `the key set at ${this.#url.origin} is not available: ${shown}`;
  }
}

/** What went wrong: fetch says it only in the cause of its error. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function fetchText(url: URL, signal: AbortSignal): Promise<string> {
  // A redirect could lead to where the operator never meant to ask.
  const headers = { accept: "application/jwk-set+json, application/json" };
  const response = await fetch(url, { headers, redirect: "error", signal });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`it answers with status ${response.status}`);
  }
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_SET_BYTES) throw new Error(`it has more than ${MAX_SET_BYTES} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

function parseSecret(secret: string, warnings: string[]): VerificationKey {
  if (secret === "") throw new SyntaxError("The token secret must not be empty");
  // A public key as a secret would let everybody who knows the public key sign tokens (RFC 8725 section 2.1).
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

function parsePem(text: string): VerificationKey {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new SyntaxError("The token key is a private key: it stays with who signs, give its public key");
  }
  let key: KeyObject;
  try {
    key = createPublicKey(text);
  } catch {
    // The cause is left out, as it might quote the text.
    throw new SyntaxError('The token key is no public key in PEM form ("-----BEGIN PUBLIC KEY-----")');
  }
  return describeKey(key, undefined);
}

/**
 * Reads a JWK set. Keys for other uses or algorithms are skipped, as RFC 7517 section 5 wants, and so are
 * symmetric ones: a secret is not published.
 *
 * @throws {SyntaxError} for what is no key set, or has no key that fits
 */
function parseKeySet(text: string): readonly VerificationKey[] {
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
    if ((key.asymmetricKeyDetails?.modulusLength ?? 0) < LEAST_RSA_BITS) {
      throw new SyntaxError(`The token key is too short: an RSA key needs ${LEAST_RSA_BITS} bits`);
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
    return key.export({ format: "jwk" });
  } catch {
    // Such as DSA, for which there is no JWK form.
    return {};
  }
}

function parseKeyUrl(text: string, warnings: string[]): URL {
  const url = URL.parse(text);
  if (url === null || (url.protocol !== "https:" && url.protocol !== "http:")) {
    throw new SyntaxError("The key set's URL must start with https:// or http://");
  }
  if (url.username !== "" || url.password !== "") {
    throw new SyntaxError("The key set's URL must not hold a user name or password");
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    warnings.push(
      `The key set at ${url.origin} is read without TLS: who can alter traffic on the way can sign tokens`,
    );
  }
  return url;
}

function isPublicAlgorithm(algorithm: string): boolean {
  return RSA_ALGORITHMS.includes(algorithm) ||
    [...CURVE_ALGORITHMS.values()].some((names) => names.includes(algorithm));
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
