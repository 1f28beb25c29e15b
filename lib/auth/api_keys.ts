/** API keys, which admit operators. The configuration parses them, the gate and the API check requests against them. */
import { createHash, timingSafeEqual } from "node:crypto";

/** The setting with the keys, for messages. */
const SETTING = "RAINDROPS_API_KEYS";

/** What whoever brings a key that is none of them is told, at every door. */
export const UNKNOWN_KEY = `The API key is unknown: use one of those in ${SETTING}`;

/** Shortest key that cannot be guessed, in characters. */
const ADVISED_LENGTH = 16;

/** Whether a request is allowed. Messages are for clients and contain no key. */
type KeyDecision =
  | {
    readonly allowed: true;
    /** Identifies the request's key without telling it; undefined if none is required. */
    readonly keyId: string | undefined;
  }
  | { readonly allowed: false; readonly message: string };

/** The hash of a key. The key itself is not kept. */
export interface HashedKey {
  readonly digest: Uint8Array;
  /** Whether the key is so short that it can be guessed. */
  readonly isShort: boolean;
}

interface ApiKeyOptions {
  /** Whether all requests are allowed while no key is configured, as on loopback. */
  readonly open: boolean;
}

/** The configured keys. Several may be valid at once, so that a key can be rotated. */
export class ApiKeys {
  /** What an operator should know about the keys at start. Contains nothing of the keys. */
  readonly warnings: readonly string[];
  readonly #digests: readonly Uint8Array[];
  readonly #open: boolean;

  constructor(keys: readonly HashedKey[], options: ApiKeyOptions) {
    this.#digests = keys.map(({ digest }) => digest);
    this.#open = options.open;
    this.warnings = keys.some(({ isShort }) => isShort)
      ? [
        `An API key has fewer than ${ADVISED_LENGTH} characters and can be guessed: use a longer, random one`,
      ]
      : [];
  }

  /**
   * Checks whether a request with these headers is allowed to use an operator's resource.
   *
   * @param what the resource, as messages name it
   */
  check(headers: Headers, what = "The API"): KeyDecision {
    if (this.#digests.length === 0) {
      // Any site can frame a page with the origin "null" in a sandbox: like pages from disk, it may not use the API.
      if (this.#open && headers.get("origin") === "null") {
        return deny(
          `${what} is not for pages from disk: serve the page from http://localhost, or set ${SETTING}`,
        );
      }
      if (this.#open) return { allowed: true, keyId: undefined };
      return deny(`${what} is closed, as the server has no key for it: set ${SETTING}`);
    }
    const key = findKey(headers);
    if (key === undefined) {
      return deny(`${what} needs a key: send it as X-API-Key: <key>, or as Authorization: apikey <key>`);
    }
    const keyId = this.identify(key);
    if (keyId !== undefined) return { allowed: true, keyId };
    return deny(UNKNOWN_KEY);
  }

  /**
   * Which of the keys a text is: the key's hash, or undefined for none of them. Compares hashes of equal length, all of
   * them, so that timing reveals nothing about a key.
   */
  identify(key: string): string | undefined {
    const candidate = hash(key);
    let known = false;
    for (const expected of this.#digests) {
      if (timingSafeEqual(expected, candidate)) known = true;
    }
    return known ? new Uint8Array(candidate).toHex() : undefined;
  }
}

/**
 * Parses a comma-separated list of keys into their hashes; an empty text into none.
 *
 * @throws {SyntaxError} which names a key by its number and never quotes it
 */
export function parseApiKeys(text: string): readonly HashedKey[] {
  if (text.trim() === "") return [];
  return text.split(",").map((part, index) => {
    const key = part.trim();
    if (key === "") {
      throw new SyntaxError(`API key ${index + 1} is empty: remove the comma, or write the key`);
    }
    if (!/^[\x21-\x7e]+$/.test(key)) {
      throw new SyntaxError(`API key ${index + 1} has a space or a character that is not ASCII`);
    }
    return { digest: hash(key), isShort: key.length < ADVISED_LENGTH };
  });
}

/**
 * The key in `X-API-Key: K`, else in `Authorization: apikey K` or `Bearer K`, the one scheme that every monitoring
 * system can send. Not in the URL, which gets logged.
 */
/** Whether a request has what can only be an API key, known or not; a bearer token may be another. */
export function bringsKey(headers: Headers): boolean {
  return Boolean(headers.get("x-api-key")) || /^apikey +\S+$/i.test(headers.get("authorization") ?? "");
}

function findKey(headers: Headers): string | undefined {
  return headers.get("x-api-key") ||
    /^(?:apikey|bearer) +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
}

function hash(key: string): Uint8Array {
  return createHash("sha256").update(key).digest();
}

function deny(message: string): KeyDecision {
  return { allowed: false, message };
}
