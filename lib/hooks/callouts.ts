/** The Callouts port over HTTP: asks the application, and decides in its place when it is away. The gate calls it. */
import type {
  AllowedPublish,
  AllowedSubscription,
  AskedAction,
  Asker,
  Caller,
  Callouts,
  Identified,
  Introduction,
} from "../auth/callouts.ts";
import type { ConnectionClaims } from "../auth/claims.ts";
import type { JsonMembers } from "../base/json_text.ts";
import { matchesPattern } from "../core/channel.ts";
import { ApplicationError, MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Gauge } from "../core/metrics/metrics.ts";
import type { Payload } from "../core/message.ts";
import { encodeTags } from "../core/tags.ts";
import { ApplicationAway, BadAnswer, Questions } from "./application.ts";
import type { CalloutKind, CalloutsDefinition } from "./callout_file.ts";
import { DecisionCache } from "./decision_cache.ts";
import { demandPermission } from "./fields.ts";
import {
  encodeQuestion,
  type Question,
  readClaims,
  readData,
  readExpiry,
  readInfo,
  readResult,
  readTagsOf,
} from "./proxy_format.ts";

/** How long a connection goes on whose application is away when it is to be asked. */
const EXTENSION_SECONDS = 60;

/** What the application said of a subscription. */
type SubscribeDecision = AllowedSubscription | ApplicationError;

/**
 * Makes ready to ask the application.
 *
 * @throws {SyntaxError} for a URL that Deno's permissions do not cover
 */
export function openCallouts(definition: CalloutsDefinition, logger: Logger): HttpCallouts {
  for (const { url } of definition.byKind.values()) demandPermission(url);
  return new HttpCallouts(definition, logger);
}

export class HttpCallouts implements Callouts, Disposable {
  readonly #definition: CalloutsDefinition;
  readonly #questions: ReadonlyMap<CalloutKind, Questions>;
  readonly #subscriptions: DecisionCache<SubscribeDecision>;
  readonly #client = Deno.createHttpClient({});
  readonly #stop = new AbortController();

  constructor(definition: CalloutsDefinition, logger: Logger) {
    this.#definition = definition;
    const shared = { secret: definition.secret, client: this.#client, logger, signal: this.#stop.signal };
    this.#questions = new Map(
      [...definition.byKind].map((
        [kind, callout],
      ) => [kind, new Questions({ ...shared, definition: callout })]),
    );
    this.#subscriptions = new DecisionCache((definition.byKind.get("subscribe")?.cache ?? 0) * 1_000);
  }

  get identifies(): boolean {
    return this.#questions.has("connect");
  }

  pickHeaders(headers: Headers): Readonly<Record<string, string>> {
    const picked: Record<string, string> = {};
    for (const name of this.#definition.headers) {
      const value = headers.get(name);
      if (value !== null) picked[name] = value;
    }
    return picked;
  }

  decides(action: AskedAction, channel: string): boolean {
    const segments = channel.split("/");
    return this.#patterns(action).some((pattern) => matchesPattern(pattern, segments));
  }

  decidesWithin(action: AskedAction, pattern: readonly string[]): boolean {
    return this.#patterns(action).some((own) => mayOverlap(own, pattern));
  }

  async connect(caller: Caller, { data, name, version }: Introduction): Promise<Identified | undefined> {
    const read = (result: JsonMembers): Identified | undefined => ({
      claims: readClaims(result),
      data: readData(result),
    });
    return await this.#ask("connect", caller, { name, version, data }, read, () => undefined);
  }

  async subscribe(
    caller: Caller,
    request: Question & Asker & { readonly channel: string; readonly token: string },
  ): Promise<AllowedSubscription> {
    // The same for every connection of a user, but not for what they are known by.
    const question = encodeQuestion({ ...caller, client: "" }, request) + JSON.stringify(caller.headers);
    const known = this.#subscriptions.find(question);
    if (known !== undefined) return allow(known);
    let isAnswered = true;
    const read = (result: JsonMembers): SubscribeDecision => ({
      info: readInfo(result),
      data: readData(result),
      expires: readExpiry(result),
    });
    const allowUnanswered = () => {
      isAnswered = false;
      return {};
    };
    const decision = await this.#ask("subscribe", caller, request, read, allowUnanswered).catch((error) => {
      if (error instanceof ApplicationError) return error;
      throw error;
    });
    if (isAnswered) this.#subscriptions.keep(question, decision);
    return allow(decision);
  }

  async publish(
    caller: Caller,
    { payload, ...request }: Asker & { readonly channel: string; readonly payload: Payload },
  ): Promise<AllowedPublish> {
    return await this.#ask("publish", caller, { ...request, data: payload }, (result) => ({
      payload: readData(result) ?? payload,
      ...(result.get("skip_history") === "true" ? { ephemeral: true } : {}),
      ...readTagsOf(result),
    }), () => ({ payload }));
  }

  async refresh(
    caller: Caller,
    claims: ConnectionClaims,
  ): Promise<Pick<ConnectionClaims, "expires" | "info"> | undefined> {
    if (!this.#questions.has("refresh")) return undefined;
    const { user, meta, labels, info } = claims;
    const question: Question = {
      user,
      ...(meta === undefined ? {} : { meta: { kind: "json", text: meta } }),
      ...(labels === undefined ? {} : { labels: { kind: "json", text: encodeTags(labels) } }),
    };
    const read = (result: JsonMembers) =>
      result.get("expired") === "true"
        ? undefined
        : { expires: readExpiry(result), info: readInfo(result) ?? info };
    const extend = () => ({ expires: Math.ceil(Date.now() / 1_000) + EXTENSION_SECONDS, info });
    return await this.#ask("refresh", caller, question, read, extend);
  }

  get renewsSubscriptions(): boolean {
    return this.#questions.has("sub_refresh");
  }

  async subRefresh(
    caller: Caller,
    request: Question & Asker & { readonly channel: string },
  ): Promise<number | undefined> {
    const read = (result: JsonMembers) => result.get("expired") === "true" ? undefined : readExpiry(result);
    const extend = () => Math.ceil(Date.now() / 1_000) + EXTENSION_SECONDS;
    return await this.#ask("sub_refresh", caller, request, read, extend);
  }

  async rpc(
    caller: Caller,
    request: Question & Asker & { readonly method: string },
  ): Promise<Payload | undefined> {
    if (!this.#questions.has("rpc")) {
      throw new MessagingError("not_available", `No method ${JSON.stringify(request.method)} here`);
    }
    return await this.#ask("rpc", caller, request, readData);
  }

  /** What `/metrics` tells of them. */
  get gauges(): readonly Gauge[] {
    const all = [...this.#questions.values()];
    const count = (name: string, help: string, read: (questions: Questions) => number): Gauge => ({
      name,
      help,
      kind: name.endsWith("_total") ? "counter" : "gauge",
      read: () => all.reduce((total, questions) => total + read(questions), 0),
    });
    return [
      count("raindrops_callouts_total", "Questions sent to the application", ({ asked }) => asked),
      count(
        "raindrops_callout_failures_total",
        "Questions that it did not answer",
        ({ failures }) => failures,
      ),
      count(
        "raindrops_callouts_away",
        "Kinds of questions it is not asked for now",
        ({ isAway }) => isAway ? 1 : 0,
      ),
    ];
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
    this.#client.close();
  }

  /** @param allowed what is decided when the application is away and that is to allow; left out, it is refused */
  async #ask<T>(
    kind: CalloutKind,
    caller: Caller,
    question: Question,
    read: (result: JsonMembers) => T,
    allowed?: (() => T) | undefined,
  ): Promise<T> {
    const questions = this.#questions.get(kind);
    if (questions === undefined) throw new TypeError(`There is no callout for ${kind}`);
    try {
      return read(readResult(await questions.ask(encodeQuestion(caller, question), caller.headers)));
    } catch (cause) {
      if (!(cause instanceof ApplicationAway)) throw cause;
      if (questions.definition.whenAway === "allow" && allowed !== undefined) return allowed();
      throw new MessagingError(
        "application_unavailable",
        cause instanceof BadAnswer
          ? `The application that decides here cannot be understood: ${cause.message}`
          : "The application that decides here does not answer: try again in a moment",
        { cause },
      );
    }
  }

  #patterns(action: AskedAction): readonly (readonly string[])[] {
    return this.#definition.byKind.get(action)?.patterns ?? [];
  }
}

function allow(decision: SubscribeDecision): AllowedSubscription {
  if (decision instanceof ApplicationError) throw decision;
  return decision;
}

/** Whether a channel may match both patterns. Says yes where it cannot tell. */
function mayOverlap(a: readonly string[], b: readonly string[]): boolean {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const [x, y] = [a[i], b[i]];
    if (x === undefined || y === undefined) return false;
    if (!x.includes("*") && !y.includes("*") && x !== y) return false;
    if (x.endsWith("**") || y.endsWith("**")) return true;
  }
  return true;
}
