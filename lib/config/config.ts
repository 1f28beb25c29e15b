/**
 * Flags and environment, read into one typed, validated Config. `server.ts` calls it; unknown names and bad
 * values are errors whose message is fit to show as it is.
 */
import { parseArgs } from "node:util";
import { isLoopback } from "../auth/origin.ts";
import { type Config, type Option, OPTIONS } from "./options.ts";

export type { Config } from "./options.ts";

const NAMES = Object.keys(OPTIONS) as (keyof Config)[];

/** The environment variables that are read, all others are nobody's business here. */
export const ENVIRONMENT_VARIABLES: readonly string[] = NAMES.map((name) => OPTIONS[name].variable);

/**
 * Reads the configuration. A flag outranks its environment variable.
 *
 * @param args command-line arguments
 * @param environment environment variables by name
 * @returns the configuration, or "help" when `--help` is among the arguments
 * @throws {SyntaxError} for an unknown flag or `RAINDROPS_` variable, a value that does not parse, or a server beyond
 * loopback with neither a key nor `--open`
 */
export function parseConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Config | "help" {
  const flags = parseFlags(args);
  if (flags.help === true) return "help";
  for (const variable of Object.keys(environment)) {
    if (variable.startsWith("RAINDROPS_") && !ENVIRONMENT_VARIABLES.includes(variable)) {
      throw new SyntaxError(`Unknown variable ${variable}: --help lists them all`);
    }
  }
  const entries = NAMES.map((name) => {
    const option: Option<Config[keyof Config]> = OPTIONS[name];
    const flag = option.flag === undefined ? undefined : flags[option.flag];
    const variable = environment[option.variable];
    if (flag !== undefined) return [name, parseValue(option, String(flag), `--${option.flag}`)];
    if (variable !== undefined) return [name, parseValue(option, variable, option.variable)];
    return [name, option.parse(option.fallback)];
  });
  const config = Object.fromEntries(entries) as Config;
  if ((config.cert === undefined) !== (config.key === undefined)) {
    throw new SyntaxError("A certificate needs its private key: give both --cert and --key, or neither");
  }
  demandKey(config);
  return config;
}

/** Whether others than this machine reach the server: it listens to them, or a proxy passes them on. */
export function isExposed({ host, trustedProxies }: Config): boolean {
  return !isLoopback(host) || trustedProxies.length > 0;
}

/** Nobody opens a server to the world by an address alone. */
function demandKey(config: Config): void {
  const { host, open, tokenSecret, tokenKey, tokenJwks, apiKeys } = config;
  if (open || !isExposed(config) || apiKeys.length > 0) return;
  if ([tokenSecret, tokenKey, tokenJwks].some((key) => key !== undefined)) return;
  const what = isLoopback(host) ? "Serving a proxy, and with it others than" : `Listening on ${host}, beyond`;
  throw new SyntaxError(
    `${what} this machine, takes a key: set RAINDROPS_TOKEN_SECRET, --token-key, --token-jwks ` +
      "or RAINDROPS_API_KEYS, or let everybody in with --open",
  );
}

/** The values that must not be shown to anybody: those of settings without a flag. */
export function listSecrets(config: Config): readonly string[] {
  return NAMES.filter((name) => OPTIONS[name].flag === undefined)
    .flatMap((name): unknown => config[name])
    .filter((value) => typeof value === "string");
}

/** The text that `--help` prints. */
export function formatHelp(): string {
  const rows = NAMES.map((name) => {
    const { flag, variable, value, fallback, help } = OPTIONS[name];
    const shown = fallback === "" ? "" : ` (${fallback})`;
    return `  ${(flag === undefined ? "" : `--${flag} ${value}`.trimEnd()).padEnd(30)} ${
      variable.padEnd(29)
    } ${help}${shown}`;
  });
  return [
    "Raindrops: every URL path is a live channel.",
    "",
    "Usage: deno task start [--flag value ...]",
    "",
    `  ${"flag".padEnd(30)} ${"or environment variable".padEnd(29)} meaning (default)`,
    ...rows,
    `  ${"--help".padEnd(60)} print this and exit`,
  ].join("\n");
}

function parseFlags(args: readonly string[]): Record<string, string | boolean | undefined> {
  const options: Record<string, { type: "string" | "boolean" }> = { help: { type: "boolean" } };
  for (const name of NAMES) {
    const { flag, value } = OPTIONS[name];
    if (flag !== undefined) options[flag] = { type: value === "" ? "boolean" : "string" };
  }
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values;
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`${detail.split(/\.(?:\s|$)/)[0]}: --help lists the flags`, { cause });
  }
}

function parseValue<T>(option: Option<T>, text: string, source: string): T {
  try {
    return option.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    // What has no flag is secret, and not repeated.
    if (option.flag === undefined) {
      throw new SyntaxError(`Bad value for ${source}: ${cause.message}`, { cause });
    }
    throw new SyntaxError(`Bad value ${JSON.stringify(hideUserinfo(text))} for ${source}: ${cause.message}`, {
      cause,
    });
  }
}

/** Leaves out of a URL what may be a password. */
function hideUserinfo(text: string): string {
  return text.replace(/:\/\/[^/]*@/g, "://***@");
}
