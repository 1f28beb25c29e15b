/**
 * Sends the bodies of one webhook to its target: signed, in order, again and again until the target takes them. The lanes
 * of the webhook call it.
 */
import type { Logger } from "../core/logger.ts";
import { sleep } from "../base/sleep.ts";
import { Deadlines } from "./deadlines.ts";
import { describeFailure } from "./fields.ts";

/** One request to the target. Repeats have the same id, by which the target recognises them. */
export interface Delivery {
  readonly id: string;
  /** JSON in UTF-8. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** The number of events in it. */
  readonly count: number;
}

/** Milliseconds before the first repeat, and the longest pause between two. */
const FIRST_PAUSE_MILLISECONDS = 250;
const LONGEST_PAUSE_MILLISECONDS = 30_000;
/** Largest answer that is read to keep the connection; of a larger one only the status counts. */
const MAX_ANSWER_BYTES = 16 * 1024;

export interface TargetOptions {
  /** Names the webhook in logs. */
  readonly name: string;
  readonly url: URL;
  /** Seconds that the target has to answer. */
  readonly timeout: number;
  /** The headers that sign a request which is sent now. */
  readonly sign: (delivery: Delivery) => Readonly<Record<string, string>>;
  readonly logger: Logger;
  readonly client: Deno.HttpClient;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

export class Target {
  /** Events that the target took, and requests that failed. */
  delivered = 0;
  failures = 0;
  /** Failures since the last request that was taken. */
  #failedInRow = 0;
  /** Why the last request failed; undefined when it was taken. */
  #reason: string | undefined;
  readonly #options: TargetOptions;
  readonly #deadlines: Deadlines;

  constructor(options: TargetOptions) {
    this.#options = options;
    this.#deadlines = new Deadlines(options.timeout * 1_000, options.signal);
  }

  get name(): string {
    return this.#options.name;
  }

  /** Whether the last request failed. */
  get isFailing(): boolean {
    return this.#failedInRow > 0;
  }

  /** Why the last request failed; undefined when it was taken. */
  get failure(): string | undefined {
    return this.#reason;
  }

  /**
   * Sends until the target takes it.
   *
   * @param mayGoOn asked before each repeat
   * @returns whether it was taken; false when the server stops, or `mayGoOn` says no
   */
  async deliver(delivery: Delivery, mayGoOn: () => boolean): Promise<boolean> {
    const { logger, signal } = this.#options;
    for (let attempt = 1; !signal.aborted; attempt++) {
      const outcome = await this.#send(delivery);
      if (outcome.kind === "taken") {
        this.delivered += delivery.count;
        if (this.#failedInRow > 0) {
          logger.write("info", "webhook is taken again", { hook: this.name, failures: this.#failedInRow });
        }
        this.#failedInRow = 0;
        this.#reason = undefined;
        return true;
      }
      if (signal.aborted) return false;
      this.failures++;
      this.#failedInRow++;
      this.#reason = outcome.reason;
      const pause = Math.max(choosePause(attempt), outcome.retryAfter);
      logger.write("warn", "webhook failed", {
        hook: this.name,
        delivery: delivery.id,
        attempt,
        reason: outcome.reason,
        retryIn: `${(pause / 1_000).toFixed(1)}s`,
      });
      await sleep(pause, signal);
      if (!mayGoOn()) return false;
    }
    return false;
  }

  async #send(
    delivery: Delivery,
  ): Promise<{ kind: "taken" } | { kind: "failed"; reason: string; retryAfter: number }> {
    const { url, timeout, sign, client } = this.#options;
    const attempt = this.#deadlines.begin();
    try {
      const response = await fetch(url, {
        method: "POST",
        body: delivery.body,
        client,
        redirect: "manual",
        signal: attempt.signal,
        headers: { "content-type": "application/json", "user-agent": "Raindrops", ...sign(delivery) },
      });
      if (response.ok) {
        await discardBody(response).catch(() => {});
        return { kind: "taken" };
      }
      await response.body?.cancel();
      const hint = response.status >= 300 && response.status < 400 ? ", and redirects are not followed" : "";
      return {
        kind: "failed",
        reason: `answered ${response.status}${hint}`,
        retryAfter: readRetryAfter(response.headers),
      };
    } catch (error) {
      const reason = attempt.isLate
        ? `no answer within ${timeout} seconds`
        : error instanceof Error
        ? describeFailure(error, url)
        : String(error);
      return { kind: "failed", reason, retryAfter: 0 };
    } finally {
      this.#deadlines.finish(attempt);
    }
  }
}

/** Half of the pause is chance, so that many senders do not come back at once. */
function choosePause(attempt: number): number {
  const longest = Math.min(
    LONGEST_PAUSE_MILLISECONDS,
    FIRST_PAUSE_MILLISECONDS * 2 ** Math.min(attempt - 1, 20),
  );
  return longest * (0.5 + Math.random() / 2);
}

/** `Retry-After` in seconds (RFC 9110 section 10.2.3), bounded; dates are not read. */
function readRetryAfter(headers: Headers): number {
  const seconds = Number(headers.get("retry-after") ?? 0);
  return Number.isFinite(seconds) ? Math.min(Math.max(0, seconds) * 1_000, LONGEST_PAUSE_MILLISECONDS) : 0;
}

async function discardBody(response: Response): Promise<void> {
  const length = Number(response.headers.get("content-length") ?? Infinity);
  if (length <= MAX_ANSWER_BYTES) await response.arrayBuffer();
  else await response.body?.cancel();
}
