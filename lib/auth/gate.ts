/**
 * The one place where permission is decided. Every protocol, the API and the inspector hand it credentials and get a
 * {@linkcode Pass}, which answers for each action whether the request may take it.
 */
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Rules } from "../core/rules.ts";
import type { Payload } from "../core/message.ts";
import { formatTask } from "../base/task.ts";
import { type ApiKeys, bringsKey } from "./api_keys.ts";
import type { Caller, Callouts, Introduction } from "./callouts.ts";
import { describeAnonymousRefusal, toRequester } from "./grants.ts";
import type { ConnectionClaims, SubscriptionClaims } from "./claims.ts";
import type { TokenResult, TokenVerifier } from "./tokens.ts";
import { Pass, type PassOptions } from "./pass.ts";

export interface GateOptions {
  /** Whether everybody may read and publish without credentials. */
  readonly open: boolean;
  /** Checks tokens; undefined without a key that tokens are signed with. */
  readonly verifier: TokenVerifier | undefined;
  readonly rules: Rules;
  readonly logger: Logger;
  readonly apiKeys: ApiKeys;
  /** The application that decides where the configuration leaves it to it. */
  readonly callouts?: Callouts | undefined;
}
/** Decides who may do what. */
export class Gate {
  /** Whether everybody may read and publish without credentials. */
  readonly isOpen: boolean;
  readonly rules: Rules;
  readonly #options: GateOptions;
  readonly #openPass: Pass;
  readonly #unaskedPass: Pass;
  readonly #protections: ((channel: string) => boolean)[] = [];
  /** By the id of the API key. */
  readonly #operatorPasses = new Map<string, Pass>();

  constructor(options: GateOptions) {
    this.#options = options;
    this.isOpen = options.open;
    this.rules = options.rules;
    const { rules, logger } = options;
    const shared = { rules, logger, isProtected: this.isProtected };
    this.#openPass = new Pass({ ...shared, requester: { kind: "open" } });
    this.#unaskedPass = new Pass({ ...shared, requester: { kind: "operator", hasKey: false } });
  }

  /**
   * Keeps channels private at every door: they are open to API keys, to tokens that name them, and to the protocol that
   * protects them. Wildcards of others do not match them.
   */
  protect(isPrivate: (channel: string) => boolean): void {
    this.#protections.push(isPrivate);
  }

  /** Whether a channel is kept private by a protocol. */
  readonly isProtected = (channel: string): boolean =>
    this.#protections.some((isPrivate) => isPrivate(channel));

  /** The selector without the private channels that its wildcards match, for whoever may not read those. */
  restrict(selector: Selector, pass: Pass): Selector {
    if (selector.channel !== undefined || pass.hasKey || this.#protections.length === 0) return selector;
    return { ...selector, key: `${selector.key} -private`, hides: this.isProtected };
  }

  /** The pass of a client that an app vouches for by its key: all it has where tokens are not asked for. */
  admitApp(): Pass {
    const { callouts } = this.#options;
    // Without a caller: what an application decides is denied, as it cannot be asked.
    if (this.hasTokenKeys || callouts?.identifies) return this.#createPass(undefined, undefined);
    return this.#admitOpenly(undefined);
  }

  /**
   * The pass of a client that an app vouches for, on whose behalf the application can be asked: who it is, where the
   * application says that, and what it may do on channels.
   *
   * @throws {MessagingError} what the application says, or `application_unavailable`
   */
  async admitAppClient(caller: Caller | undefined): Promise<Pass> {
    const { callouts } = this.#options;
    if (callouts === undefined || caller === undefined) return this.admitApp();
    const identified = await this.#identify(caller, {});
    if (identified !== undefined) return identified;
    return this.hasTokenKeys || callouts.identifies
      ? this.#createPass(undefined, caller)
      : this.#admitOpenly(caller);
  }

  /** Whether the application says who somebody is that has no token. */
  get asksWhoItIs(): boolean {
    return this.#options.callouts?.identifies === true;
  }

  /** Whether tokens are checked here. */
  get hasTokenKeys(): boolean {
    return this.#options.verifier !== undefined;
  }

  /**
   * Reads the credentials of an HTTP request: an API key, or a token as `Authorization: Bearer`.
   *
   * @returns the pass itself where nobody has to be waited for
   * @throws {MessagingError} or rejects with it: `unauthorized` or `token_expired` for a token that is not good,
   * `keys_unavailable` when that cannot be told
   */
  admit(request: Request): Pass | Promise<Pass> {
    const decision = this.#options.apiKeys.check(request.headers);
    if (decision.allowed) return this.#findOperatorPass(decision.keyId);
    const caller = this.describeCaller(request);
    if (this.isOpen) return this.#admitOpenly(caller);
    return this.#admitByToken(request, caller);
  }

  async #admitByToken({ headers }: Request, caller: Caller | undefined): Promise<Pass> {
    const token = /^Bearer (.+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    if (token !== undefined) return await this.#admitToken(token, caller);
    const bringsUnknownKey = bringsKey(headers);
    return await this.#identify(caller, {}) ?? this.#createPass(undefined, caller, { bringsUnknownKey });
  }

  /**
   * Who sends a request, for the application that decides; undefined where there is none. Read before an upgrade, after
   * which a request has no headers any more.
   */
  describeCaller({ headers }: Pick<Request, "headers">, transport?: string): Caller | undefined {
    const { callouts } = this.#options;
    if (callouts === undefined) return undefined;
    const upgrades = headers.get("upgrade")?.toLowerCase() === "websocket";
    return {
      headers: callouts.pickHeaders(headers),
      transport: transport ?? (upgrades ? "websocket" : "http"),
      client: crypto.randomUUID(),
    };
  }

  /**
   * Reads the credentials of a connection that brings a token, or an API key, inside its protocol.
   *
   * @param token empty when it brings none
   * @param caller from {@linkcode describeCaller}; without one, the application is not asked who it is
   * @throws {MessagingError} `no_credentials` where nobody may connect without a token, and what `admit` throws
   */
  async admitConnection(token: string, caller?: Caller, introduction: Introduction = {}): Promise<Pass> {
    const keyId = token === "" ? undefined : this.#options.apiKeys.identify(token);
    if (keyId !== undefined) return this.#findOperatorPass(keyId);
    if (this.isOpen) return this.#admitOpenly(caller);
    if (token !== "") return await this.#admitToken(token, caller);
    const identified = await this.#identify(caller, introduction);
    if (identified !== undefined) return identified;
    if (this.rules.admitsAnonymous) return this.#createPass(undefined, caller);
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
    return this.#createPass(this.#accept(result), pass.caller);
  }

  /**
   * Asks the application whether a connection that it let in may go on, when its time is up.
   *
   * @throws {MessagingError} `token_expired` if not, or what the application says
   */
  async renewByApplication(pass: Pass): Promise<Pass> {
    const { callouts } = this.#options;
    const { claims, caller } = pass;
    const renewed = callouts === undefined || claims === undefined || caller === undefined
      ? undefined
      : await callouts.refresh(caller, claims);
    if (claims === undefined || renewed === undefined) {
      throw new MessagingError("token_expired", "The connection has expired: connect again");
    }
    return this.#createPass({ ...claims, ...renewed }, caller, { isIdentified: true });
  }

  /**
   * Hands a call of a client to the application.
   *
   * @throws {MessagingError} `not_available` where no application answers calls
   */
  async call(pass: Pass, method: string, data: Payload | undefined): Promise<Payload | undefined> {
    const { callouts } = this.#options;
    if (callouts === undefined || pass.caller === undefined) {
      throw new MessagingError("not_available", `No method ${JSON.stringify(method)} here`);
    }
    return await callouts.rpc(pass.caller, { ...pass.asker, method, data });
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

  /** Whether a request carries a good API key. */
  carriesKey({ headers }: Request): boolean {
    const decision = this.#options.apiKeys.check(headers);
    return decision.allowed && decision.keyId !== undefined;
  }

  /** The pass of an operator, for what was admitted by {@linkcode demandOperator}. */
  get operator(): Pass {
    return this.#findOperatorPass("");
  }

  /**
   * Refuses those who are no operators.
   *
   * @param what names what was asked for in the message
   * @returns the operator's pass
   * @throws {MessagingError} `unauthorized`, saying how to show a key
   */
  demandOperator({ headers }: Request, what: string): Pass {
    const decision = this.#options.apiKeys.check(headers, what);
    if (!decision.allowed) throw new MessagingError("unauthorized", decision.message);
    return this.#findOperatorPass(decision.keyId);
  }

  #findOperatorPass(keyId: string | undefined): Pass {
    if (keyId === undefined) return this.#unaskedPass;
    let pass = this.#operatorPasses.get(keyId);
    if (pass === undefined) {
      const { rules, logger } = this.#options;
      pass = new Pass({
        rules,
        logger,
        isProtected: this.isProtected,
        requester: { kind: "operator", hasKey: true },
        keyId,
      });
      this.#operatorPasses.set(keyId, pass);
    }
    return pass;
  }

  /** Everybody is let in; the application may still decide about channels. */
  #admitOpenly(caller: Caller | undefined): Pass {
    const { callouts, rules, logger } = this.#options;
    if (callouts === undefined) return this.#openPass;
    return new Pass({
      rules,
      logger,
      isProtected: this.isProtected,
      requester: { kind: "open" },
      callouts,
      caller,
    });
  }

  /** Asks the application who it is; undefined where there is none, or it is away and everybody is let in. */
  async #identify(caller: Caller | undefined, introduction: Introduction): Promise<Pass | undefined> {
    const { callouts } = this.#options;
    if (callouts?.identifies !== true || caller === undefined) return undefined;
    const identified = await callouts.connect(caller, introduction);
    if (identified === undefined) return this.#createPass(undefined, caller);
    const { claims, data } = identified;
    return this.#createPass(claims, caller, { isIdentified: true, data });
  }

  async #admitToken(token: string, caller: Caller | undefined): Promise<Pass> {
    const { verifier } = this.#options;
    if (verifier === undefined) {
      throw new MessagingError(
        "unauthorized",
        "Tokens are not checked here, as no key for them is set: leave it out, or send an API key as X-API-Key",
      );
    }
    return this.#createPass(this.#accept(await verifier.verifyConnectionToken(token)), caller);
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
        throw new MessagingError(
          "unauthorized",
          `The token is not valid here: ${
            formatTask("token explain", Deno.execPath())
          } says what is wrong with it`,
        );
    }
  }

  #createPass(
    claims: ConnectionClaims | undefined,
    caller: Caller | undefined,
    more: Pick<PassOptions, "isIdentified" | "data" | "bringsUnknownKey"> = {},
  ): Pass {
    const { rules, logger, callouts } = this.#options;
    const shared = { rules, logger, isProtected: this.isProtected, callouts, caller };
    return new Pass({ ...shared, requester: toRequester(claims), claims, ...more });
  }
}
