/**
 * A pass: what one request or connection may do. The gate makes it from credentials; protocols, the API and the
 * inspector ask it for each action.
 */
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Action, Rules } from "../core/rules.ts";
import type { Payload } from "../core/message.ts";
import type {
  AllowedPublish,
  AllowedSubscription,
  AskedAction,
  Asker,
  Caller,
  Callouts,
} from "./callouts.ts";
import { UNKNOWN_KEY } from "./api_keys.ts";
import { encodeTags, type Tags } from "../core/tags.ts";
import { type Denial, mayReach, mayUse, type Requester, type Tie } from "./grants.ts";
import type { ConnectionClaims } from "./claims.ts";

/** What only operators do: clear a channel, send to one client (`whisper`), look into the server. */
export type OperatorAction = "clear" | "whisper" | "inspect";

const OPERATOR_PHRASES: Readonly<Record<OperatorAction, string>> = {
  clear: "Clearing a channel",
  whisper: "A message to one client",
  inspect: "The inspector",
};
/** What the gate knows of who asks. */
export interface PassOptions {
  readonly rules: Rules;
  readonly logger: Logger;
  readonly requester: Requester;
  readonly isProtected: (channel: string) => boolean;
  readonly claims?: ConnectionClaims | undefined;
  /** The id of its API key. */
  readonly keyId?: string;
  readonly callouts?: Callouts | undefined;
  readonly caller?: Caller | undefined;
  /** Whether the request has an API key that is none of the server's. */
  readonly bringsUnknownKey?: boolean | undefined;
  readonly isIdentified?: boolean;
  readonly data?: Payload | undefined;
}

/** Who sent a request and what it may do, its credentials already read. */
export class Pass {
  /** What its token says; undefined without one. */
  readonly claims: ConnectionClaims | undefined;
  /** Who it is for the application that decides; undefined where there is none. */
  readonly caller: Caller | undefined;
  /** Whether the application said who it is, rather than a token. It also says when that has expired. */
  readonly isIdentified: boolean;
  /** What the application gives the client with the connection. */
  readonly data: Payload | undefined;
  readonly #callouts: Callouts | undefined;
  /** Channels whose subscription the application has allowed. */
  #allowed: Set<string> | undefined;
  readonly #rules: Rules;
  readonly #logger: Logger;
  readonly #requester: Requester;
  readonly #isProtected: (channel: string) => boolean;
  readonly #keyId: string | undefined;
  readonly #bringsUnknownKey: boolean;

  constructor(options: PassOptions) {
    const {
      rules,
      logger,
      requester,
      isProtected,
      claims,
      keyId,
      callouts,
      caller,
      isIdentified = false,
      data,
      bringsUnknownKey = false,
    } = options;
    this.#bringsUnknownKey = bringsUnknownKey;
    this.#isProtected = isProtected;
    this.#keyId = keyId;
    this.claims = claims;
    this.caller = caller;
    this.isIdentified = isIdentified;
    this.data = data;
    this.#callouts = callouts;
    this.#rules = rules;
    this.#logger = logger;
    this.#requester = requester;
  }

  /** The server is open, or an operator asks: it may read and publish everything, and call itself anything. */
  get isTrusted(): boolean {
    return this.#requester.kind !== "keyed";
  }

  /** It may do what is done to others, too, such as clearing a channel. */
  get isOperator(): boolean {
    return this.#requester.kind === "operator";
  }

  /** It carries an API key. */
  get hasKey(): boolean {
    return this.#requester.kind === "operator" && this.#requester.hasKey;
  }

  /** Identifies who publishes, so that idempotency keys are nobody else's; empty for everybody without credentials. */
  get publisher(): string {
    if (this.#keyId !== undefined) return `key ${this.#keyId}`;
    return this.user === undefined ? "" : `user ${this.user}`;
  }

  /** Whom the token names; undefined for nobody. */
  get user(): string | undefined {
    return this.claims?.user === "" ? undefined : this.claims?.user;
  }

  /** What the token says of its user, as JSON text. */
  get info(): string | undefined {
    return this.claims?.info;
  }

  /** What the API selects its connection by. */
  get labels(): Tags | undefined {
    return this.claims?.labels;
  }

  /** Who it is for the application that is asked. */
  get asker(): Asker {
    const { meta, labels } = this;
    return {
      user: this.user ?? "",
      ...(meta === undefined ? {} : { meta: { kind: "json", text: meta } }),
      ...(labels === undefined ? {} : { labels: { kind: "json", text: encodeTags(labels) } }),
    };
  }

  /** What only the server knows of its user, as JSON text. */
  get meta(): string | undefined {
    return this.claims?.meta;
  }

  /** When the token expires, in seconds since 1970; 0 for never. */
  get expires(): number {
    return this.claims?.expires ?? 0;
  }

  /** Whether its token names a channel to be subscribed to. */
  names(channel: string): boolean {
    return this.#requester.kind === "keyed" && this.#requester.channels.has(channel);
  }

  /** Whether the application decides about anything, so that {@linkcode asks} may be true. */
  get mayAsk(): boolean {
    return this.#callouts !== undefined && this.#requester.kind !== "operator";
  }

  /**
   * Whether the application decides, and not rules and tokens: {@linkcode admitSubscription} and
   * {@linkcode admitPublish} ask it. For reading history and presence, whether it has to allow a subscription first.
   */
  asks(action: Action, channel: string, tie: Tie = "none"): boolean {
    const callouts = this.#callouts;
    if (callouts === undefined || this.#requester.kind === "operator") return false;
    if (action === "publish") return callouts.decides("publish", channel);
    if (tie === "token" || this.names(channel) || this.#allowed?.has(channel)) return false;
    return callouts.decides("subscribe", channel) && !this.#isGranted(action, channel.split("/"));
  }

  /**
   * Decides whether it may subscribe, asking the application where it decides.
   *
   * @returns what the application says of the subscription to one channel; undefined where it was not asked
   * @throws {MessagingError} what `demand` throws, or what the application says
   */
  async admitSubscription(
    selector: Selector,
    { token = "", data }: { readonly token?: string; readonly data?: Payload | undefined } = {},
  ): Promise<AllowedSubscription | undefined> {
    let allowed: AllowedSubscription | undefined;
    for (const pattern of selector.patterns) {
      const channel = pattern.join("/");
      if (channel.includes("*") || !this.asks("subscribe", channel)) continue;
      const { callouts, caller } = this.#demandCaller(channel);
      allowed = await callouts.subscribe(caller, { ...this.asker, channel, token, data });
      (this.#allowed ??= new Set()).add(channel);
    }
    this.demand("subscribe", selector);
    return selector.channel === undefined ? undefined : allowed;
  }

  /**
   * Decides whether it may publish, asking the application where it decides.
   *
   * @returns the message as it may be published
   * @throws {MessagingError} what `demand` throws, or what the application says
   */
  async admitPublish(channel: string, payload: Payload, tie: Tie = "none"): Promise<AllowedPublish> {
    if (!this.asks("publish", channel, tie)) {
      this.demand("publish", channel, tie);
      return { payload };
    }
    const { callouts, caller } = this.#demandCaller(channel);
    return await callouts.publish(caller, { ...this.asker, channel, payload });
  }

  /** Whether the application is asked again when a subscription that it allowed has expired. */
  get renewsSubscriptions(): boolean {
    return this.#callouts?.renewsSubscriptions === true;
  }

  /**
   * Asks the application whether a subscription that it allowed may go on.
   *
   * @returns when it expires next, in seconds since 1970, 0 for never; undefined when it is to end
   * @throws {MessagingError} what the application says
   */
  async renewSubscription(channel: string): Promise<number | undefined> {
    const { callouts, caller } = this.#demandCaller(channel);
    return await callouts.subRefresh(caller, { ...this.asker, channel });
  }

  /** Forgets that the application allowed a subscription: the next one is asked for anew. */
  forgetSubscription(channel: string): void {
    this.#allowed?.delete(channel);
  }

  /** Whether it may do something on a channel. Nothing is logged. */
  may(action: Action, channel: string, tie: Tie = "none"): boolean {
    return !this.asks(action, channel, tie) && this.#decide(action, channel, tie) === undefined &&
      describeOff(action, channel, this.#rules) === undefined;
  }

  /**
   * Why it may not do something on one channel, or on all channels of a selector; undefined when it may. Denials are
   * logged with the rule that denied and what would allow it.
   *
   * @param tie whether a token for this very channel is in force
   * @returns `unauthorized`, `forbidden`, `presence_off` or `history_off`
   */
  deny(
    action: Action | OperatorAction,
    target: string | Selector,
    tie: Tie = "none",
  ): MessagingError | undefined {
    const denial = this.#findDenial(action, target, tie);
    const needsMore = denial?.code === "forbidden" || denial?.code === "unauthorized";
    return needsMore && this.#bringsUnknownKey ? new MessagingError("unauthorized", UNKNOWN_KEY) : denial;
  }

  #findDenial(
    action: Action | OperatorAction,
    target: string | Selector,
    tie: Tie,
  ): MessagingError | undefined {
    if (isOperatorAction(action)) return this.#denyOperation(action, target);
    const unasked = this.#denyUnasked(action, target, tie);
    if (unasked !== undefined) return unasked;
    if (typeof target !== "string" && target.channel === undefined) return this.#denyPatterns(action, target);
    const channel = typeof target === "string" ? target : target.channel ?? "";
    const denial = this.#decide(action, channel, tie);
    if (denial === undefined) return describeOff(action, channel, this.#rules);
    this.#logger.write("warn", "permission denied", { reason: denial.message });
    return this.claims === undefined && this.#requester.kind === "keyed"
      ? new MessagingError("unauthorized", "This needs a token: send it as Authorization: Bearer TOKEN")
      : new MessagingError("forbidden", denial.clientMessage);
  }

  /** @throws {MessagingError} what `deny` returns */
  demand(action: Action | OperatorAction, target: string | Selector, tie: Tie = "none"): void {
    const denial = this.deny(action, target, tie);
    if (denial !== undefined) throw denial;
  }

  /** What the application decides is denied until it was asked, by doors that cannot ask it, too. */
  #denyUnasked(action: Action, target: string | Selector, tie: Tie): MessagingError | undefined {
    const callouts = this.#callouts;
    if (callouts === undefined || this.#requester.kind === "operator") return undefined;
    const asked: AskedAction = action === "publish" ? "publish" : "subscribe";
    const patterns = typeof target === "string" ? [target.split("/")] : target.patterns;
    const isUnasked = patterns.some((pattern) => {
      const name = pattern.join("/");
      if (!name.includes("*")) return this.asks(action, name, tie);
      return callouts.decidesWithin(asked, pattern) && !this.#isGranted(action, pattern);
    });
    if (!isUnasked) return undefined;
    const shown = typeof target === "string" ? target : target.key;
    const reason = `The application decides who may ${action} ${JSON.stringify(shown)}, and was not asked`;
    this.#logger.write("warn", "permission denied", { reason });
    const isOne = typeof target === "string" || target.channel !== undefined;
    return new MessagingError(
      "forbidden",
      isOne
        ? "permission denied"
        : "permission denied: an application decides about each channel here, so ask for one channel by its name",
    );
  }

  #demandCaller(channel: string): { readonly callouts: Callouts; readonly caller: Caller } {
    const [callouts, caller] = [this.#callouts, this.caller];
    if (callouts !== undefined && caller !== undefined) return { callouts, caller };
    const reason = `The application decides about ${
      JSON.stringify(channel)
    }, and this protocol cannot ask it`;
    this.#logger.write("warn", "permission denied", { reason });
    throw new MessagingError("forbidden", "permission denied");
  }

  #isGranted(action: Action, pattern: readonly string[]): boolean {
    return this.#requester.kind === "keyed" && mayReach(action, pattern, this.#requester.grants);
  }

  #decide(action: Action, channel: string, tie: Tie): Pick<Denial, "message" | "clientMessage"> | undefined {
    if (this.#isHidden(channel, tie)) return describePrivacy(channel);
    if (this.#requester.kind !== "keyed") return undefined;
    // What the application has allowed counts like a token for the channel.
    if (this.#allowed?.has(channel)) tie = "token";
    const decision = mayUse(action, channel, this.#requester, this.#rules.for(channel), tie);
    return decision.allowed ? undefined : decision;
  }

  /** Whether a channel is private, and nothing opens it to this request. */
  #isHidden(channel: string, tie: Tie): boolean {
    return tie !== "token" && !this.hasKey && this.#isProtected(channel) && !this.names(channel);
  }

  #denyOperation(action: OperatorAction, target: string | Selector): MessagingError | undefined {
    const isHidden = typeof target === "string" && this.#isHidden(target, "none");
    // Everybody may whisper on an open server.
    if (!isHidden && (action === "whisper" ? this.isTrusted : this.isOperator)) return undefined;
    return new MessagingError(
      "forbidden",
      `${OPERATOR_PHRASES[action]} needs an API key here: send one of RAINDROPS_API_KEYS as X-API-Key`,
    );
  }

  #denyPatterns(action: Action, { patterns }: Selector): MessagingError | undefined {
    const requester = this.#requester;
    // Wildcards do not match private channels: only those that a list names are asked for.
    const hidden = patterns.map((pattern) => pattern.join("/"))
      .find((name) => !name.includes("*") && this.#isHidden(name, "none"));
    if (hidden !== undefined) return new MessagingError("forbidden", describePrivacy(hidden).clientMessage);
    if (requester.kind !== "keyed") return undefined;
    const mayRead = (pattern: readonly string[]) => {
      if (mayReach(action, pattern, requester.grants)) return true;
      // Rules answer only for names.
      const name = pattern.join("/");
      return !name.includes("*") && this.#decide(action, name, "none") === undefined;
    };
    if (patterns.every(mayRead)) return undefined;
    return new MessagingError(
      "forbidden",
      "Lists and patterns are read with an API key here, or as far as a token grants them: name one channel",
    );
  }
}

function isOperatorAction(action: Action | OperatorAction): action is OperatorAction {
  return Object.hasOwn(OPERATOR_PHRASES, action);
}

function describePrivacy(channel: string): Pick<Denial, "message" | "clientMessage"> {
  const message =
    `${
      JSON.stringify(channel)
    } is a private channel of an app or a user: it is open to those whom that app, or ` +
    "the server, lets in, and to API keys (X-API-Key)";
  return { message, clientMessage: message };
}

/** Whether a rule switched off what is asked for, whoever asks. */
function describeOff(action: Action, channel: string, rules: Rules): MessagingError | undefined {
  if (action !== "presence" && action !== "history") return undefined;
  const { presence, ephemeral } = rules.for(channel);
  if (action === "presence" && !presence) {
    return new MessagingError(
      "presence_off",
      `Presence is off for "${channel}" by the rule "presence": false`,
    );
  }
  if (action === "history" && ephemeral) {
    return new MessagingError("history_off", `History is off for "${channel}" by the rule "ephemeral": true`);
  }
  return undefined;
}
