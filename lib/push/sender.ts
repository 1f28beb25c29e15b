/**
 * Sends one notification to push services, encrypted for each browser (RFC 8030, RFC 8291). `pushes.ts` calls it.
 */
import { buildPushPayload } from "@block65/webcrypto-web-push";
import { sleep } from "../base/sleep.ts";
import type { Logger } from "../core/logger.ts";
import { Breaker } from "../hooks/breaker.ts";
import type { PushNotification } from "./notification.ts";
import { isOfService, type PushService } from "./services.ts";
import type { Subscription } from "./subscription.ts";
import type { VapidKey } from "./vapid.ts";

export interface SenderOptions {
  readonly key: VapidKey;
  /** Whom push services may write to. */
  readonly contact: string;
  readonly services: readonly PushService[];
  readonly client: Deno.HttpClient;
  readonly logger: Logger;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

/** Requests at a time, to all services together. */
const CONCURRENCY = 32;
const ATTEMPTS = 3;
const TIMEOUT_MILLISECONDS = 10_000;
const FIRST_PAUSE_MILLISECONDS = 1_000;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** How long a service keeps a message for a browser that is not reachable, in seconds. */
const TTL_SECONDS = 24 * 60 * 60;
/** Hosts whose failures are remembered: with `*.example.org` there may be many. */
const MAX_BREAKERS = 200;

type Outcome =
  | { readonly kind: "taken" }
  /** The browser has unsubscribed. */
  | { readonly kind: "gone" }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string; readonly retryAfter: number };

export class Sender {
  /** Messages that services took, and those that they did not. */
  sent = 0;
  failures = 0;
  readonly #options: SenderOptions;
  readonly #breakers = new Map<string, Breaker>();
  readonly #refusing = new Set<string>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  /**
   * Sends to all of them. Never rejects.
   *
   * @param topic of several messages of one topic that wait for a browser, services keep the newest (RFC 8030 section
   * 5.4)
   * @returns the endpoints that are gone
   */
  async send(
    subscriptions: readonly Subscription[],
    notification: PushNotification,
    topic: string,
  ): Promise<ReadonlySet<string>> {
    const gone = new Set<string>();
    await Promise.all(subscriptions.map(async (subscription) => {
      if (await this.#deliver(subscription, notification, topic)) gone.add(subscription.endpoint);
    }));
    return gone;
  }

  /** @returns whether the endpoint is gone */
  async #deliver(
    subscription: Subscription,
    notification: PushNotification,
    topic: string,
  ): Promise<boolean> {
    const { services, signal } = this.#options;
    const url = new URL(subscription.endpoint);
    // Written by an earlier configuration.
    if (!isOfService(url, services)) return false;
    for (let attempt = 1; !signal.aborted; attempt++) {
      const breaker = this.#findBreaker(url.host);
      if (!breaker.mayTry()) break;
      const outcome = await this.#queue(() => this.#attempt(subscription, url, notification, topic));
      if (signal.aborted) return false;
      if (outcome.kind === "failed") {
        if (breaker.reportFailure()) this.#tell(url, `${outcome.reason}: left alone for a while`);
        if (attempt === ATTEMPTS) break;
        await sleep(Math.max(outcome.retryAfter, FIRST_PAUSE_MILLISECONDS * 4 ** (attempt - 1)), signal);
        continue;
      }
      if (breaker.reportSuccess()) this.#tell(url, "takes messages again");
      if (outcome.kind === "gone") return true;
      if (outcome.kind === "taken") {
        this.#refusing.delete(url.host);
        this.sent++;
        return false;
      }
      if (!this.#refusing.has(url.host)) this.#tell(url, outcome.reason);
      this.#refusing.add(url.host);
      break;
    }
    if (!signal.aborted) this.failures++;
    return false;
  }

  async #attempt(
    { endpoint, p256dh, auth }: Subscription,
    url: URL,
    notification: PushNotification,
    topic: string,
  ): Promise<Outcome> {
    const { key: { publicKey, privateKey }, contact, client, signal } = this.#options;
    const payload = await buildPushPayload(
      { data: JSON.stringify(notification), options: { ttl: TTL_SECONDS, topic, urgency: "normal" } },
      { endpoint, expirationTime: null, keys: { p256dh, auth } },
      { subject: contact, publicKey, privateKey },
    ).catch(() => undefined);
    // Nothing can be encrypted for these keys, and the service is not to blame.
    if (payload === undefined) return { kind: "gone" };
    try {
      const response = await fetch(url, {
        method: "POST",
        headers: payload.headers,
        body: payload.body,
        client,
        redirect: "manual",
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MILLISECONDS)]),
      });
      await response.body?.cancel();
      return classify(response);
    } catch (error) {
      const name = error instanceof Error ? error.name : "";
      // What fetch says may hold the endpoint, which is a secret.
      const reason = name === "TimeoutError"
        ? `no answer within ${TIMEOUT_MILLISECONDS / 1_000} seconds`
        : "cannot be reached";
      return { kind: "failed", reason, retryAfter: 0 };
    }
  }

  #findBreaker(host: string): Breaker {
    let breaker = this.#breakers.get(host);
    if (breaker === undefined) {
      if (this.#breakers.size >= MAX_BREAKERS) this.#breakers.clear();
      this.#breakers.set(host, breaker = new Breaker());
    }
    return breaker;
  }

  async #queue<T>(action: () => Promise<T>): Promise<T> {
    if (this.#running >= CONCURRENCY) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      return await action();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  #tell({ host }: URL, reason: string): void {
    this.#options.logger.write("warn", "push service", { host, reason });
  }
}

function classify({ status, ok, headers }: Response): Outcome {
  if (ok) return { kind: "taken" };
  if (status === 404 || status === 410) return { kind: "gone" };
  const reason = `answered ${status}${
    status >= 300 && status < 400 ? ", and redirects are not followed" : ""
  }`;
  if (status !== 429 && status < 500) return { kind: "refused", reason };
  const seconds = Number(headers.get("retry-after") ?? 0);
  const retryAfter = Number.isFinite(seconds) ? Math.max(0, seconds) * 1_000 : 0;
  return { kind: "failed", reason, retryAfter: Math.min(retryAfter, LONGEST_PAUSE_MILLISECONDS) };
}
