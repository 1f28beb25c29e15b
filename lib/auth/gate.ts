/**
 * The one place where permission is decided. Every protocol, the API and the inspector hand it credentials and get a
 * {@linkcode Pass}, which answers for each action whether the request may take it.
 */
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Action, Rules } from "../core/rules.ts";
import type { ApiKeys } from "./api_keys.ts";
import {
  type Denial,
  describeAnonymousRefusal,
  mayReach,
  mayUse,
  type Requester,
  type Tie,
  toRequester,
} from "./grants.ts";
import type { ConnectionClaims, SubscriptionClaims } from "./claims.ts";
import type { TokenResult, TokenVerifier } from "./tokens.ts";

export interface GateOptions {
  /** Whether everybody may read and publish without credentials. */
  readonly open: boolean;
  /** Checks tokens; undefined without a key that tokens are signed with. */
  readonly verifier: TokenVerifier | undefined;
  readonly rules: Rules;
  readonly logger: Logger;
  readonly apiKeys: ApiKeys;
}

/** What only operators do: clear a channel, send to one client (`whisper`), look into the server. */
export type OperatorAction = "clear" | "whisper" | "inspect";

const OPERATOR_PHRASES: Readonly<Record<OperatorAction, string>> = {
  clear: "Clearing a channel",
  whisper: "A message to one client",
  inspect: "The inspector",
};

/** Decides who may do what. */
export class Gate {
  /** Whether everybody may read and publish without credentials. */
  readonly isOpen: boolean;
  readonly rules: Rules;
  readonly #options: GateOptions;
  readonly #openPass: Pass;
  readonly #unaskedPass: Pass;
  readonly #operatorPass: Pass;

  constructor(options: GateOptions) {
    this.#options = options;
    this.isOpen = options.open;
    this.rules = options.rules;
    const { rules, logger } = options;
    this.#openPass = new Pass({ rules, logger, requester: { kind: "open" } });
    this.#unaskedPass = new Pass({ rules, logger, requester: { kind: "operator", hasKey: false } });
    this.#operatorPass = new Pass({ rules, logger, requester: { kind: "operator", hasKey: true } });
  }

  /** Whether tokens are checked here. */
  get hasTokenKeys(): boolean {
    return this.#options.verifier !== undefined;
  }

  /**
   * Reads the credentials of an HTTP request: an API key, or a token as `Authorization: Bearer`.
   *
   * @throws {MessagingError} `unauthorized` or `token_expired` for a token that is not good, `keys_unavailable` when
   * that cannot be told
   */
  async admit(request: Request): Promise<Pass> {
    const decision = this.#options.apiKeys.check(request.headers);
    if (decision.allowed) return decision.byKey ? this.#operatorPass : this.#unaskedPass;
    if (this.isOpen) return this.#openPass;
    const token = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    return token === undefined ? this.#createPass(undefined) : await this.#admitToken(token);
  }

  /**
   * Reads the credentials of a connection that brings a token, or an API key, inside its protocol.
   *
   * @param token empty when it brings none
   * @throws {MessagingError} `no_credentials` where nobody may connect without a token, and what `admit` throws
   */
  async admitConnection(token: string): Promise<Pass> {
    if (token !== "" && this.#options.apiKeys.knows(token)) return this.#operatorPass;
    if (this.isOpen) return this.#openPass;
    if (token !== "") return await this.#admitToken(token);
    if (this.rules.admitsAnonymous) return this.#createPass(undefined);
    const { message, clientMessage } = describeAnonymousRefusal();
    this.#options.logger.write("warn", "permission denied", { reason: message });
    throw new MessagingError("no_credentials", clientMessage);
  }

  /**
   * Checks the new token of a connection.
   *
   * @throws {MessagingError} `not_available` where no tokens are checked, and what `admit` throws
   */
  async renew(pass: Pass, token: string): Promise<Pass> {
    const { verifier } = this.#options;
    if (verifier === undefined) throw new MessagingError("not_available", "Connections do not expire here");
    const result = await verifier.verifyConnectionToken(token, { user: pass.user ?? "" });
    return this.#createPass(this.#accept(result));
  }

  /**
   * Checks the token of a subscription.
   *
   * @returns undefined where no tokens are checked
   * @throws {MessagingError} `forbidden`, `token_expired`, `keys_unavailable`, or `unauthorized` for a token that was
   * made for another channel, client or user
   */
  async admitSubscription(
    expected: { readonly channel: string; readonly user: string; readonly client: string },
    token: string,
  ): Promise<SubscriptionClaims | undefined> {
    const { verifier, logger } = this.#options;
    if (verifier === undefined) return undefined;
    const result = await verifier.verifySubscriptionToken(token, expected);
    if (result.kind !== "invalid") return this.#accept(result, expected);
    logger.write("warn", "token refused", {
      id: expected.client,
      channel: expected.channel,
      reason: result.reason,
    });
    throw new MessagingError("forbidden", "permission denied");
  }

  /** The pass of an operator, for what was admitted by {@linkcode demandOperator}. */
  get operator(): Pass {
    return this.#operatorPass;
  }

  /**
   * Refuses those who are no operators.
   *
   * @param what names what was asked for in the message
   * @throws {MessagingError} `unauthorized`, saying how to show a key
   */
  demandOperator({ headers }: Request, what: string): void {
    const decision = this.#options.apiKeys.check(headers, what);
    if (!decision.allowed) throw new MessagingError("unauthorized", decision.message);
  }

  async #admitToken(token: string): Promise<Pass> {
    const { verifier } = this.#options;
    if (verifier === undefined) {
      throw new MessagingError(
        "unauthorized",
        "Tokens are not checked here, as no key for them is set: leave it out, or send an API key as X-API-Key",
      );
    }
    return this.#createPass(this.#accept(await verifier.verifyConnectionToken(token)));
  }

  #accept<Claims>(result: TokenResult<Claims>, about: { client?: string; channel?: string } = {}): Claims {
    if (result.kind === "valid") return result.claims;
    const { client: id, channel } = about;
    this.#options.logger.write("warn", "token refused", { id, channel, reason: result.reason });
    switch (result.kind) {
      case "unavailable":
        throw new MessagingError(
          "keys_unavailable",
          "The keys that tokens are checked with cannot be had: try again",
        );
      case "expired":
        throw new MessagingError("token_expired", "The token has expired: get a new one");
      default:
        throw new MessagingError("unauthorized", "The token is not valid here");
    }
  }

  #createPass(claims: ConnectionClaims | undefined): Pass {
    const { rules, logger } = this.#options;
    return new Pass({ rules, logger, requester: toRequester(claims), claims });
  }
}

interface PassOptions {
  readonly rules: Rules;
  readonly logger: Logger;
  readonly requester: Requester;
  readonly claims?: ConnectionClaims | undefined;
}

/** Who sent a request and what it may do, its credentials already read. */
export class Pass {
  /** What its token says; undefined without one. */
  readonly claims: ConnectionClaims | undefined;
  readonly #rules: Rules;
  readonly #logger: Logger;
  readonly #requester: Requester;

  constructor({ rules, logger, requester, claims }: PassOptions) {
    this.claims = claims;
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

  /** Whom the token names; undefined for nobody. */
  get user(): string | undefined {
    return this.claims?.user === "" ? undefined : this.claims?.user;
  }

  /** What the token says of its user, as JSON text. */
  get info(): string | undefined {
    return this.claims?.info;
  }

  /** When the token expires, in seconds since 1970; 0 for never. */
  get expires(): number {
    return this.claims?.expires ?? 0;
  }

  /** Whether its token names a channel to be subscribed to. */
  names(channel: string): boolean {
    return this.#requester.kind === "keyed" && this.#requester.channels.has(channel);
  }

  /** Whether it may do something on a channel. Nothing is logged. */
  may(action: Action, channel: string, tie: Tie = "none"): boolean {
    return this.#decide(action, channel, tie) === undefined &&
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
    if (isOperatorAction(action)) return this.#denyOperation(action);
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

  #decide(action: Action, channel: string, tie: Tie): Denial | undefined {
    if (this.#requester.kind !== "keyed") return undefined;
    const decision = mayUse(action, channel, this.#requester, this.#rules.for(channel), tie);
    return decision.allowed ? undefined : decision;
  }

  #denyOperation(action: OperatorAction): MessagingError | undefined {
    // Everybody may whisper on an open server.
    if (action === "whisper" ? this.isTrusted : this.isOperator) return undefined;
    return new MessagingError(
      "forbidden",
      `${OPERATOR_PHRASES[action]} needs an API key here: send one of RAINDROPS_API_KEYS as X-API-Key`,
    );
  }

  #denyPatterns(action: Action, { patterns }: Selector): MessagingError | undefined {
    const requester = this.#requester;
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
