/**
 * Who may read and publish by URL once the server has a verification key: the same decisions as for Centrifuge
 * clients, on tokens sent as `Authorization: Bearer`. Without a key everybody may do everything.
 */
import { mayUse, type Requester } from "../auth/grants.ts";
import type { TokenVerifier } from "../auth/tokens.ts";
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

/** What a request may do, its token already read. */
export interface Pass {
  /** Why it may not do something on one channel or on the channels of a selector; undefined when it may. */
  deny(action: Action, target: string | Selector): MessagingError | undefined;
  /** @throws {MessagingError} `unauthorized` or `forbidden` */
  demand(action: Action, target: string | Selector): void;
}

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
    if (verifier === undefined || isOperator(request)) return createPass(() => undefined);
    const token = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    const requester = token === undefined ? ANONYMOUS : await this.#identify(verifier, token);
    return createPass((action, target) => this.#deny(requester, token === undefined, action, target));
  }

  async #identify(verifier: TokenVerifier, token: string): Promise<Requester> {
    const result = await verifier.verifyConnectionToken(token);
    if (result.kind === "valid") {
      return { kind: "keyed", user: result.claims.user, channels: new Set(result.claims.channels) };
    }
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

const ANONYMOUS: Requester = { kind: "keyed", user: "", channels: new Set() };

function createPass(deny: Pass["deny"]): Pass {
  return {
    deny,
    demand(action, target) {
      const denial = deny(action, target);
      if (denial !== undefined) throw denial;
    },
  };
}
