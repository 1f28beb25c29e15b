/**
 * The keys of a key set (JWKS) at a URL: fetched when a token first needs them, cached, and fetched again when they are
 * old or a token names an unknown one. `keys.ts` opens one for each URL.
 *
 * Why not `createRemoteJWKSet()` of jose: it has no cooldown after a failed request, drops cached keys as soon as they
 * are old, and does not say whether an unknown key was looked up just now or the issuer could not be asked.
 */
import type { JWK } from "jose";
import {
  isPublicAlgorithm,
  type KeyQuery,
  parseKeySet,
  selectKeys,
  type VerificationKey,
} from "./key_parsing.ts";

export interface KeyOptions {
  /** A clock in milliseconds that nobody sets: its differences count. */
  readonly now?: () => number;
  /** Least seconds between two requests to one URL, whatever tokens ask for. */
  readonly cooldown?: number;
  /** Seconds after which fetched keys are fetched again, so that a key its issuer withdrew is dropped. */
  readonly maxAge?: number;
  /** Seconds for which fetched keys remain in use while the URL cannot be read. */
  readonly maxStale?: number;
  /** Seconds after which a request to the URL is aborted. */
  readonly timeout?: number;
}

/** The keys that may have signed a token: none, one or several. */
export interface FoundKeys {
  readonly keys: readonly (JWK | Uint8Array)[];
  /** Why there may be further keys that could not be fetched; while set, the caller must not call a token invalid. */
  readonly unavailable: string | undefined;
}

/** Largest key set, in bytes. */
const MAX_SET_BYTES = 1024 * 1024;

export class RemoteKeySet implements Disposable {
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
    this.#now = options.now ?? (() => performance.now());
    this.#cooldown = (options.cooldown ?? 30) * 1000;
    this.#maxAge = (options.maxAge ?? 10 * 60) * 1000;
    this.#maxStale = (options.maxStale ?? 24 * 60 * 60) * 1000;
    this.#timeout = (options.timeout ?? 5) * 1000;
  }

  async find(query: KeyQuery): Promise<FoundKeys> {
    if (!isPublicAlgorithm(query.algorithm)) return { keys: [], unavailable: undefined };
    let fetched = false;
    const isOld = () => this.#now() - this.#fetchedAt >= this.#maxAge;
    if (isOld() || selectKeys(this.#keys, query).length === 0) fetched = await this.#refresh();
    if (this.#now() - this.#fetchedAt >= this.#maxStale) {
      return { keys: [], unavailable: this.#failure ?? this.#explain("it has not been read") };
    }
    const keys = selectKeys(this.#keys, query);
    if (keys.length > 0 || fetched) return { keys, unavailable: undefined };
    // The issuer may have added the key since the last fetch: calling the token invalid would turn its users away.
    return { keys, unavailable: this.#failure ?? this.#explain("it was read too recently to be read again") };
  }

  [Symbol.dispose](): void {
    this.#closing.abort();
  }

  /** Fetches the keys unless in cooldown; resolves to whether they are fresh. Concurrent calls share one request. */
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

  /** Errors of fetch quote the URL, whose path and query may contain a secret: only its origin is shown. */
  #explain(cause: string): string {
    const shown = cause.replaceAll(this.#url.href, this.#url.origin)
      .replaceAll(/\bhttps?:\/\/[^\s)]+/g, this.#url.origin);
    return `the key set at ${this.#url.origin} is not available: ${shown}`;
  }
}

/** What went wrong: fetch states it only in the cause of its error. */
function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}

async function fetchText(url: URL, signal: AbortSignal): Promise<string> {
  // A redirect could lead to a host that the operator does not trust.
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
