/**
 * Says in words what a token is for and what it allows on a channel. `deno task token explain` and the inspector show
 * it.
 */
import { type Action, ACTIONS } from "../core/rules.ts";
import { type AccessRules, mayUse, toRequester } from "./grants.ts";
import type { TokenPurpose } from "./token_explain.ts";

/** One action on a channel, and why not. */
export interface ActionDecision {
  readonly action: Action;
  readonly allowed: boolean;
  /** Empty where it is allowed. */
  readonly reason: string;
}

/** For whom a token is, and what for: a sentence each. */
export function describePurpose({ kind, claims }: TokenPurpose): string[] {
  const who = claims.user === "" ? "nobody in particular" : `the user ${JSON.stringify(claims.user)}`;
  if (kind === "subscription") {
    const client = claims.client === "" ? "" : ` as the client ${JSON.stringify(claims.client)}`;
    return [`It is for ${who}${client}, to subscribe to ${JSON.stringify(claims.channel)}.`];
  }
  const { channels, grants } = claims;
  return [
    `It is for ${who}, who may do what channel rules allow ${claims.user === "" ? "anybody" : "users"}.`,
    ...(channels.length === 0 ? [] : [`It puts a Centrifuge connection on ${channels.join(", ")}.`]),
    ...grants.map(({ pattern, actions }) => `It grants ${actions.join(", ") || "nothing"} on ${pattern}.`),
  ];
}

/** What the server would answer to whoever has the token, on one channel. */
export function describeChannel(
  purpose: TokenPurpose,
  channel: string,
  rules: AccessRules,
): readonly ActionDecision[] {
  const isFor = purpose.kind === "subscription" && purpose.claims.channel === channel;
  const requester = toRequester(
    purpose.kind === "connection" ? purpose.claims : { user: purpose.claims.user, channels: [], grants: [] },
  );
  return ACTIONS.map((action) => {
    const decision = mayUse(action, channel, requester, rules, isFor ? "token" : "none");
    return { action, allowed: decision.allowed, reason: decision.allowed ? "" : decision.message };
  });
}
