/**
 * Who may read and publish by URL on a server that is not open: the same decisions as for Centrifuge clients, on
 * tokens sent as `Authorization: Bearer`. On an open server everybody may read and publish everything.
 */
import type { ApiKeys } from "./api_keys.ts";
import { mayReach, mayUse, type Requester, toRequester } from "./grants.ts";
import type { ConnectionClaims, TokenVerifier } from "./tokens.ts";
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Action, Rules } from "../core/rules.ts";

export interface AccessOptions {
  /** Whether everybody is let in. */
  readonly open: boolean;
  /** Undefined without a key that tokens are signed with. */
  readonly verifier: TokenVerifier | undefined;
  readonly rules: Rules;
  readonly logger: Logger;
  readonly apiKeys: ApiKeys;
}

/** Who sent a request and what it may do, its token already read. */
export interface Pass {
  /** The server is open, or an operator asks: it may read and publish everything, and call itself anything. */
  readonly isTrusted: boolean;
  /** It may do what is done to others, too, such as clearing a channel. */
  readonly isOperator: boolean;
  /** It carries an API key. */
  readonly hasKey: boolean;
  /** Whom the token names, and what it says of it as JSON text. */
  readonly user: string | undefined;
  readonly info: string | undefined;
  /** When the token expires, in seconds since 1970; 0 for never. */
  readonly expires: number;
  /** Why it may not do something on one channel or on the channels of a selector; undefined when it may. */
  deny(action: Action, target: string | Selector): MessagingError | undefined;
  /** @throws {MessagingError} `unauthorized` or `forbidden` */
  demand(action: Action, target: string | Selector): void;
}

const OPEN: Pass = {
  isTrusted: true,
  isOperator: false,
  hasKey: false,
  user: undefined,
  info: undefined,
  expires: 0,
  deny: () => undefined,
  demand: () => {},
};
const UNASKED: Pass = { ...OPEN, isOperator: true };
const OPERATOR: Pass = { ...UNASKED, hasKey: true };

export class Access {
  readonly #options: AccessOptions;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  /**
   * Reads the credentials of a request.
   *
   * @throws {MessagingError} `unauthorized` for a token that is not good, `keys_unavailable` when that cannot be told
   */
  async admit(request: Request): Promise<Pass> {
    const { open, apiKeys } = this.#options;
    const decision = apiKeys.check(request.headers);
    if (decision.allowed) return decision.byKey ? OPERATOR : UNASKED;
    if (open) return OPEN;
    const token = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    const claims = token === undefined ? undefined : await this.#verify(token);
    const user = claims?.user ?? "";
    const requester = toRequester(claims);
    const deny: Pass["deny"] = (action, target) => this.#deny(requester, token === undefined, action, target);
    return {
      isTrusted: false,
      isOperator: false,
      hasKey: false,
      user: user === "" ? undefined : user,
      info: claims?.info,
      expires: claims?.expires ?? 0,
      deny,
      demand(action, target) {
        const denial = deny(action, target);
        if (denial !== undefined) throw denial;
      },
    };
  }

  async #verify(token: string): Promise<ConnectionClaims> {
    const { verifier } = this.#options;
    if (verifier === undefined) {
      throw new MessagingError(
        "unauthorized",
        "Tokens are not checked here, as no key for them is set: leave it out, or send an API key as X-API-Key",
      );
    }
    const result = await verifier.verifyConnectionToken(token);
    if (result.kind === "valid") return result.claims;
    this.#options.logger.write("warn", "token refused", { reason: result.reason });
    if (result.kind === "unavailable") {
      throw new MessagingError(
        "keys_unavailable",
        "The keys that tokens are checked with cannot be had: try again",
      );
    }
    throw new MessagingError(
      "unauthorized",
      result.kind === "expired" ? "The token has expired: get a new one" : "The token is not valid here",
    );
  }

  /** Whether one part of a list, a name or a pattern, may be read. Rules answer only for names. */
  #mayReach(
    requester: Requester & { readonly kind: "keyed" },
    action: Action,
    pattern: readonly string[],
  ): boolean {
    if (mayReach(action, pattern, requester.grants)) return true;
    const name = pattern.join("/");
    return !name.includes("*") && mayUse(action, name, requester, this.#options.rules.for(name)).allowed;
  }

  #deny(
    requester: Requester & { readonly kind: "keyed" },
    unidentified: boolean,
    action: Action,
    target: string | Selector,
  ): MessagingError | undefined {
    if (typeof target !== "string" && target.channel === undefined) {
      if (target.patterns.every((pattern) => this.#mayReach(requester, action, pattern))) return undefined;
      return new MessagingError(
        "forbidden",
        "Lists and patterns are read with an API key here, or as far as a token grants them: name one channel",
      );
    }
    const channel = typeof target === "string" ? target : target.channel ?? "";
    const decision = mayUse(action, channel, requester, this.#options.rules.for(channel));
    if (decision.allowed) return undefined;
    this.#options.logger.write("warn", "permission denied", { reason: decision.message });
    return unidentified
      ? new MessagingError("unauthorized", "This needs a token: send it as Authorization: Bearer TOKEN")
      : new MessagingError("forbidden", decision.clientMessage);
  }
}

/**
 * Refuses those who are no operators.
 *
 * @throws {MessagingError} `unauthorized`, naming what was asked for and how to show a key
 */
export function demandKey(keys: ApiKeys, request: Request, what: string): void {
  // The one scheme that every monitor can send.
  const bearer = /^bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  const headers = bearer === undefined ? request.headers : new Headers({ "x-api-key": bearer });
  const decision = keys.check(headers, what);
  if (!decision.allowed) throw new MessagingError("unauthorized", decision.message);
}

/**
 * Refuses what only operators may do on a server that is not open.
 *
 * @throws {MessagingError} `forbidden`, naming what was asked for
 */
export function demandTrust(pass: Pass, what: string): void {
  if (!pass.isTrusted) throw needsKey(what);
}

/**
 * Refuses what only operators may do on any server, once it has an API key or listens beyond loopback.
 *
 * @throws {MessagingError} `forbidden`, naming what was asked for
 */
export function demandOperator(pass: Pass, what: string): void {
  if (!pass.isOperator) throw needsKey(what);
}

function needsKey(what: string): MessagingError {
  return new MessagingError(
    "forbidden",
    `${what} needs an API key here: send one of RAINDROPS_API_KEYS as X-API-Key`,
  );
}
