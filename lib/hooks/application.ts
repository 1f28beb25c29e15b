/**
 * Sends questions to the application and reads its answers: with a timeout, few at a time, a bounded answer, and a circuit
 * breaker. `callouts.ts` says what is asked.
 */
import { type JsonMembers, parseJsonObject } from "../base/json_text.ts";
import type { Logger } from "../core/logger.ts";
import { Breaker } from "./breaker.ts";
import type { CalloutDefinition } from "./callout_file.ts";
import { describeFailure } from "./fields.ts";
import { signWebhook, type WebhookSecret } from "./signature.ts";

/** Requests under way at a time, and those that may wait, for each kind of question. */
const MAX_RUNNING = 64;
const MAX_WAITING = 1_024;
/** Largest answer, in bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;

/** The application did not answer, or not so that it can be understood. */
export class ApplicationAway extends Error {}

/** The application did answer, but not so that it can be understood. The message says why, and quotes nothing of it. */
export class BadAnswer extends ApplicationAway {}

export interface QuestionsOptions {
  readonly definition: CalloutDefinition;
  readonly secret: WebhookSecret | undefined;
  readonly client: Deno.HttpClient;
  readonly logger: Logger;
  /** Aborted when the server stops. */
  readonly signal: AbortSignal;
}

/** Asks one kind of question. */
export class Questions {
  asked = 0;
  failures = 0;
  readonly definition: CalloutDefinition;
  readonly #options: QuestionsOptions;
  readonly #breaker = new Breaker();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: QuestionsOptions) {
    this.definition = options.definition;
    this.#options = options;
  }

  get isAway(): boolean {
    return this.#breaker.isOpen;
  }

  /**
   * @param body JSON text
   * @param headers passed on from the client's request
   * @returns the members of the answer; undefined if it is JSON, but no object
   * @throws {ApplicationAway} when there is none in time
   */
  async ask(body: string, headers: Readonly<Record<string, string>>): Promise<JsonMembers | undefined> {
    const deadline = performance.now() + this.definition.timeout * 1_000;
    await this.#enter(deadline);
    try {
      if (!this.#breaker.mayTry()) {
        throw new ApplicationAway("it failed before and is left alone for a moment");
      }
      return await this.#send(body, headers, deadline);
    } finally {
      this.#leave();
    }
  }

  async #send(
    body: string,
    passedOn: Readonly<Record<string, string>>,
    deadline: number,
  ): Promise<JsonMembers | undefined> {
    const { definition: { kind, url, timeout }, client, logger, signal } = this.#options;
    this.asked++;
    const timer = new AbortController();
    const timeoutId = setTimeout(() => timer.abort(), Math.max(0, deadline - performance.now()));
    try {
      const response = await fetch(url, {
        method: "POST",
        body,
        client,
        redirect: "manual",
        signal: AbortSignal.any([signal, timer.signal]),
        headers: { ...passedOn, ...this.#sign(body), "content-type": "application/json" },
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        throw new BadAnswer(`it answered ${response.status} instead of 200`);
      }
      const answer = parseJsonObject(await readText(response));
      if (this.#breaker.reportSuccess()) logger.write("info", "application answers again", { callout: kind });
      return answer;
    } catch (error) {
      this.failures++;
      const reason = timer.signal.aborted
        ? `no answer within ${timeout} seconds`
        : error instanceof SyntaxError
        ? "its answer is not JSON"
        : error instanceof Error
        ? describeFailure(error, url)
        : String(error);
      const isOpened = this.#breaker.reportFailure();
      logger.write("warn", "callout failed", { callout: kind, reason });
      if (isOpened) logger.write("error", "application is away", { callout: kind, reason });
      const hasAnswered = error instanceof SyntaxError || error instanceof BadAnswer;
      throw new (hasAnswered ? BadAnswer : ApplicationAway)(reason, { cause: error });
    } finally {
      clearTimeout(timeoutId);
    }
  }

  #sign(body: string): Record<string, string> {
    const { secret } = this.#options;
    if (secret === undefined) return {};
    const id = crypto.randomUUID();
    const timestamp = Math.floor(Date.now() / 1_000);
    return {
      "webhook-id": id,
      "webhook-timestamp": String(timestamp),
      "webhook-signature": signWebhook([secret], id, timestamp, body),
    };
  }

  /** Waits for a place among the requests under way. */
  async #enter(deadline: number): Promise<void> {
    if (this.#running < MAX_RUNNING) {
      this.#running++;
      return;
    }
    if (this.#waiting.length >= MAX_WAITING) throw new ApplicationAway("too many requests wait for it");
    await new Promise<void>((resolve, reject) => {
      const enter = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(new ApplicationAway("too many requests wait for it"));
      }, Math.max(0, deadline - performance.now()));
      this.#waiting.push(enter);
    });
  }

  /** Hands the place on. */
  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}

/** @throws {BadAnswer} for an answer that is too large */
async function readText(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  while (reader !== undefined) {
    const { value, done } = await reader.read();
    if (done) break;
    bytes += value.byteLength;
    if (bytes > MAX_ANSWER_BYTES) {
      await reader.cancel();
      throw new BadAnswer(`its answer has more than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(value);
  }
  return await new Blob(chunks).text();
}
