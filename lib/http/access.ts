/**
 * Who may read and publish by URL once the server has a verification key: the same decisions as for Centrifuge
 * clients, on tokens sent as `Authorization: Bearer`. Without a key everybody may do everything.
 */
import { mayUse, type Requester } from "../auth/grants.ts";
import type { ConnectionClaims, TokenVerifier } from "../auth/tokens.ts";
import type { Selector } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Action, Rules } from "../core/rules.ts";

export interface AccessOptions {
  /** Undefined while the server has no key. */
  readonly verifier: TokenVerifier | undefined;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Whether a request carries a key that may do everything. */
  readonly isOperator: (request: Request) => boolean;
}

/** Who sent a request and what it may do, its token already read. */
export interface Pass {
  /** The server has no key, or the request carries an operator's: it may do everything, and call itself anything. */
  readonly isTrusted: boolean;
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

const TRUSTED: Pass = {
  isTrusted: true,
  user: undefined,
  info: undefined,
  expires: 0,
  deny: () => undefined,
  demand: () => {},
};

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
    const { verifier, isOperator } = this.#options;
    if (verifier === undefined || isOperator(request)) return TRUSTED;
    const token = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    const claims = token === undefined ? undefined : await this.#verify(verifier, token);
    const user = claims?.user ?? "";
    const requester: Requester = { kind: "keyed", user, channels: new Set(claims?.channels) };
    const deny: Pass["deny"] = (action, target) => this.#deny(requester, token === undefined, action, target);
    return {
      isTrusted: false,
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

  async #verify(verifier: TokenVerifier, token: string): Promise<ConnectionClaims> {
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

  #deny(
    requester: Requester,
    unidentified: boolean,
    action: Action,
    target: string | Selector,
  ): MessagingError | undefined {
    if (typeof target !== "string" && target.channel === undefined) {
      return new MessagingError(
        "forbidden",
        "Lists and patterns are read with an API key here: name one channel",
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
 * Refuses what only operators may do once there is a key.
 *
 * @throws {MessagingError} `forbidden`, naming what was asked for
 */
export function demandTrust(pass: Pass, what: string): void {
  if (pass.isTrusted) return;
  throw new MessagingError("forbidden", `${what} needs an API key here: send it as X-API-Key`);
}
