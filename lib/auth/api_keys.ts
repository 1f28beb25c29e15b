/** The keys of the HTTP API: `app.ts` reads them from the configuration, `http/api.ts` asks before each call. */
import { createHash, timingSafeEqual } from "node:crypto";

/** Where keys are configured, as messages name it. */
const SETTING = "RAINDROPS_API_KEYS";

/** Fewer characters than this can be guessed. */
const ADVISED_LENGTH = 16;

/** Whether a call may go on. Messages are made for clients and hold no key. */
type KeyDecision =
  | {
    readonly allowed: true;
    /** Whether it carries a key; else nobody is asked for one. */
    readonly byKey: boolean;
  }
  | { readonly allowed: false; readonly message: string };

/** A key as it is kept: its text is forgotten as soon as it is read. */
export interface HashedKey {
  readonly digest: Uint8Array;
  /** Whether it is so short that it can be guessed. */
  readonly isShort: boolean;
}

interface ApiKeyOptions {
  /** Whether everybody may call while no key is configured: the server listens on loopback. */
  readonly open: boolean;
}

/** The keys in force, any number at once, so that an old one can be replaced without a pause. */
export class ApiKeys {
  /** What an operator should know about the keys at start, without any of their contents. */
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
   * Whether a request with these headers may use what is for operators.
   *
   * @param what it is, as it is named in messages
   */
  check(headers: Headers, what = "The API"): KeyDecision {
    if (this.#digests.length === 0) {
      // Any site can frame a page that has no origin, in a sandbox: it may chat, as pages from disk do, and no more.
      if (this.#open && headers.get("origin") === "null") {
        return deny(
          `${what} is not for pages from disk: serve the page from http://localhost, or set ${SETTING}`,
        );
      }
      if (this.#open) return { allowed: true, byKey: false };
      return deny(`${what} is closed, as the server has no key for it: set ${SETTING}`);
    }
    const key = findKey(headers);
    if (key === undefined) {
      return deny(`${what} needs a key: send it as X-API-Key: <key>, or as Authorization: apikey <key>`);
    }
    if (this.#isKnown(key)) return { allowed: true, byKey: true };
    return deny(`The API key is not known here: use one of those in ${SETTING}`);
  }

  /** Hashes have one length, and each is compared to the end: the time tells nothing of any key. */
  #isKnown(key: string): boolean {
    const candidate = hash(key);
    let known = false;
    for (const expected of this.#digests) {
      if (timingSafeEqual(expected, candidate)) known = true;
    }
    return known;
  }
}

/**
 * Reads a comma list of keys, and keeps their hashes; nothing at all is no key.
 *
 * @throws {SyntaxError} which counts the keys and never quotes one
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
 * `X-API-Key: K`, else `Authorization: apikey K` or `Bearer K`, the one scheme that every monitor can send. Never a key
 * in the URL, which gets logged.
 */
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
