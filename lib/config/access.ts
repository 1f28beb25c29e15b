/** Who is let in, by the settings: opens the gate. `app.ts` asks. */
import { ApiKeys } from "../auth/api_keys.ts";
import type { Callouts } from "../auth/callouts.ts";
import { Gate } from "../auth/gate.ts";
import type { Keys } from "../auth/keys.ts";
import { TokenVerifier } from "../auth/tokens.ts";
import type { Logger } from "../core/logger.ts";
import type { Rules } from "../core/rules.ts";
import { type Config, isExposed } from "./config.ts";
import { describeOpenness } from "./files.ts";

/** Whether everybody is let in, and everybody is on this machine. */
export function isOpenOnLoopback(
  config: Config,
  keys: Keys | undefined,
  callouts: Callouts | undefined,
): boolean {
  return keys === undefined && callouts === undefined && !isExposed(config);
}

/** What reading and publishing takes where no rule allows it without: nothing, a token, or an API key. */
export function describeCredential(config: Config): "none" | "token" | "key" {
  const { tokenSecret, tokenKey, tokenJwks, open } = config;
  if ([tokenSecret, tokenKey, tokenJwks].some((key) => key !== undefined)) return "token";
  return open || !isExposed(config) ? "none" : "key";
}

/** Who is an operator: everybody where nobody else comes near, or whoever has an API key. */
export function describeOperators(config: Config): "all" | "key" {
  const isOpen = describeCredential(config) === "none" && !isExposed(config) && config.apiKeys.length === 0;
  return isOpen ? "all" : "key";
}

/** Opens the gate of a server, and warns of what an operator should know about it. */
export function openGate(
  config: Config,
  rules: Rules,
  keys: Keys | undefined,
  logger: Logger,
  callouts: Callouts | undefined,
): Gate {
  // A server with token keys, or an application that knows its users, is not open, even where only this machine reaches
  // it.
  const open = keys === undefined && callouts?.identifies !== true && (config.open || !isExposed(config));
  // Once others reach it nobody is an operator without a key, however open the server is.
  const apiKeys = new ApiKeys(config.apiKeys, { open: isOpenOnLoopback(config, keys, callouts) });
  const { tokenAudience: audience, tokenIssuer: issuer } = config;
  const verifier = keys && new TokenVerifier({ keys, audience, issuer });
  const warnings = [...keys?.warnings ?? [], ...apiKeys.warnings, ...describeOpenness(config, keys)];
  for (const warning of warnings) logger.write("warn", warning);
  return new Gate({ open, verifier, rules, logger, apiKeys, callouts });
}
