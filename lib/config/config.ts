/**
 * Flags and environment, read into one typed, validated Config. `server.ts` calls it; unknown names and bad
 * values are errors whose message is fit to show as it is.
 */
import { parseArgs } from "node:util";
import { isLoopback } from "../auth/origin.ts";
import { type Setting, toFlag, toVariable } from "../base/setting.ts";
import { type Config, OPTIONS, RENAMED } from "./options.ts";
import { formatTask } from "../base/task.ts";
import { listNearNames } from "./near_names.ts";
import { findNearest } from "../base/nearest.ts";

export type { Config } from "./options.ts";

/** What the names of environment variables begin with, but for those that others know. */
const PREFIX = "RAINDROPS_";

/** A setting as users name it. */
interface NamedSetting {
  readonly key: keyof Config;
  /** Undefined for secrets. */
  readonly flag: string | undefined;
  readonly variable: string;
  readonly setting: Setting<unknown>;
}

const SETTINGS: readonly NamedSetting[] = Object.entries(OPTIONS).map((
  [key, setting]: [string, Setting<unknown>],
) => ({
  key: key as keyof Config,
  flag: toFlag(key, setting),
  variable: toVariable(key, setting),
  setting,
}));

/** The environment variables that are read. */
export const ENVIRONMENT_VARIABLES: readonly string[] = SETTINGS.map(({ variable }) => variable);

/** What former variables, such as `RAINDROPS_LOG`, are called now. */
const FORMER_VARIABLES: ReadonlyMap<string, string> = new Map(
  Object.entries(RENAMED).map(([former, key]) => [
    toVariable(former, { help: "", parse: String }),
    toVariable(key, OPTIONS[key]),
  ]),
);

/** Environment variables that have no meaning, but look as if they had: where one is set, the error names the right one. */
export function listMistakenVariables(): readonly string[] {
  return [...FORMER_VARIABLES.keys(), ...listNearNames(ENVIRONMENT_VARIABLES).keys()];
}

/**
 * Reads the configuration. A flag outranks its environment variable.
 *
 * @param args command-line arguments
 * @param environment environment variables by name
 * @returns the configuration, or what `--help` or `--version` asks for instead
 * @throws {SyntaxError} for an unknown flag or `RAINDROPS_` variable, a value that does not parse, or a server beyond
 * loopback with neither a key nor `--open`
 */
export function parseConfig(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Config | "help" | "version" {
  const flags = parseFlags(args);
  if (flags.help === true) return "help";
  if (flags.version === true) return "version";
  refuseUnknownVariables(environment);
  const entries = SETTINGS.map((named) => {
    const { key, flag, variable, setting } = named;
    const fromFlag = flag === undefined ? undefined : flags[flag];
    if (fromFlag !== undefined) return [key, parseValue(named, String(fromFlag), `--${flag}`)];
    const fromVariable = environment[variable];
    if (fromVariable !== undefined) return [key, parseValue(named, fromVariable, variable)];
    return [key, parseFallback(setting)];
  });
  const config = Object.fromEntries(entries) as Config;
  checkConfig(config);
  return config;
}

/**
 * Fills what is left out with the defaults. For programs that embed Raindrops; no flags or environment are read.
 *
 * @throws {SyntaxError} as `parseConfig` does for settings that contradict each other
 */
export function completeConfig(values: Partial<Config>): Config {
  const defaults = Object.fromEntries(
    SETTINGS.map(({ key, setting }) => [key, parseFallback(setting)]),
  ) as Config;
  const config = { ...defaults, ...values };
  checkConfig(config);
  return config;
}

/** Whether others than this machine reach the server: it listens to them, or a proxy passes them on. */
export function isExposed({ host, trustedProxy }: Config): boolean {
  return !isLoopback(host) || trustedProxy.length > 0;
}

/**
 * The listener that serves: under `auto` the runtime's own on this machine, and `node` once others reach the server.
 */
export function chooseListener(config: Config): "deno" | "node" {
  if (config.listener !== "auto") return config.listener;
  return isExposed(config) ? "node" : "deno";
}

/** The values that must not be shown to anybody. */
export function listSecrets(config: Config): readonly string[] {
  return SETTINGS.filter(({ setting }) => setting.secret)
    .flatMap(({ key }): unknown => config[key])
    .filter((value) => typeof value === "string");
}

/** The text that `--help` prints. */
export function formatHelp(): string {
  const settings = SETTINGS.map(({ flag, variable, setting: { value = "", fallback = "", help } }) => [
    flag === undefined ? "" : `--${flag} ${value}`.trimEnd(),
    variable,
    help + (fallback === "" ? "" : ` (${fallback})`),
  ]);
  const rows = [
    ["flag", "or environment variable", "meaning (default)"],
    ...settings,
    ["--help", "", "print this and exit"],
    ["--version", "", "print the version and exit"],
  ];
  const width = (column: number) => Math.max(...rows.map((row) => row[column]!.length));
  const [flags, variables] = [width(0), width(1)];
  return [
    "Raindrops: every URL path is a live channel.",
    "",
    `Usage: ${formatTask("start", Deno.execPath())} [--flag value ...]`,
    "",
    ...rows.map(([flag, variable, meaning]) =>
      `  ${flag!.padEnd(flags)}  ${variable!.padEnd(variables)}  ${meaning}`
    ),
  ].join("\n");
}

function parseFlags(args: readonly string[]): Record<string, string | boolean | undefined> {
  refuseFormerFlags(args);
  const options: Record<string, { type: "string" | "boolean" }> = {
    help: { type: "boolean" },
    version: { type: "boolean" },
  };
  for (const { flag, setting } of SETTINGS) {
    if (flag !== undefined) options[flag] = { type: setting.value === undefined ? "boolean" : "string" };
  }
  try {
    return parseArgs({ args: [...args], options, allowPositionals: false }).values;
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    const [, bare] = /^Option '(--[^']*)' argument is ambiguous/.exec(detail) ?? [];
    if (bare !== undefined) {
      throw new SyntaxError(
        `No value follows ${bare}, but what looks like a flag: write a value that begins with - as ${bare}=VALUE`,
        { cause },
      );
    }
    const [, unknown = ""] = /^Unknown option '--([^']*)'/.exec(detail) ?? [];
    const hint = suggest(unknown, Object.keys(options), "--");
    throw new SyntaxError(`${detail.split(/\.(?:\s|$)/)[0]}: ${hint}--help lists the flags`, { cause });
  }
}

/** What was probably meant by a misspelt name; nothing where none is near. */
function suggest(name: string, known: readonly string[], prefix: string): string {
  const nearest = findNearest(name, known);
  return nearest === undefined ? "" : `did you mean ${prefix}${nearest}? `;
}

/** Messages leave the values out, which may hold a password. */
function refuseFormerFlags(args: readonly string[]): void {
  for (const arg of args) {
    const [, key = ""] = /^--([^=]*)/.exec(arg) ?? [];
    const current = findRenamed(key);
    if (current?.flag !== undefined) {
      throw new SyntaxError(`--${key} is called --${current.flag} now: write --${current.flag} instead`);
    }
  }
}

function refuseUnknownVariables(environment: Readonly<Record<string, string | undefined>>): void {
  for (const [variable, value] of Object.entries(environment)) {
    if (value === undefined || !variable.startsWith("RAINDROPS_")) continue;
    if (ENVIRONMENT_VARIABLES.includes(variable) || isServiceLink(variable, value)) continue;
    const current = FORMER_VARIABLES.get(variable);
    if (current !== undefined) {
      throw new SyntaxError(`${variable} is called ${current} now: set ${current} instead`);
    }
    const near = listNearNames(ENVIRONMENT_VARIABLES).get(variable);
    throw new SyntaxError(
      near === undefined
        ? `Unknown variable ${variable}: ${
          suggest(
            variable.slice(PREFIX.length),
            ENVIRONMENT_VARIABLES.map((known) => known.replace(PREFIX, "")),
            PREFIX,
          )
        }--help lists them all`
        : `Unknown variable ${variable}: set ${near.join(" or ")} instead; --help lists them all`,
    );
  }
}

/**
 * Whether Kubernetes has set a variable in every pod beside a Service that is named `raindrops`: its address, in the form
 * of Docker's links. See "Discovering services" in the documentation of Kubernetes' Services.
 */
function isServiceLink(variable: string, value: string): boolean {
  return /^RAINDROPS_(?:SERVICE_(?:HOST|PORT(?:_\w+)?)|PORT_\d+_(?:TCP|UDP)(?:_(?:PROTO|PORT|ADDR))?)$/.test(
    variable,
  ) ||
    (variable === "RAINDROPS_PORT" && /^(?:tcp|udp):\/\//.test(value));
}

/** What a former name, such as `log`, stands for now. */
function findRenamed(name: string): NamedSetting | undefined {
  return Object.hasOwn(RENAMED, name) ? SETTINGS.find(({ key }) => key === RENAMED[name]) : undefined;
}

function parseFallback({ fallback = "", parse }: Setting<unknown>): unknown {
  return parse(fallback);
}

function parseValue({ key, setting }: NamedSetting, text: string, source: string): unknown {
  try {
    return setting.parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    const shown = setting.secret ? "" : ` ${JSON.stringify(hideUserinfo(text))}`;
    throw new SyntaxError(`Bad value${shown} for ${source}: ${cause.message}${describeUnit(key, setting)}`, {
      cause,
    });
  }
}

/** What a number counts, and an example: `30s` and `1MB` are refused. */
function describeUnit(key: string, { value, fallback = "" }: Setting<unknown>): string {
  const unit = value === "SECONDS" ? "seconds" : key.endsWith("Bytes") ? "bytes" : undefined;
  if (unit === undefined) return "";
  return `, in ${unit}, such as ${Number(fallback) > 0 ? fallback : "60"}`;
}

/** Leaves out of a URL what may be a password. */
function hideUserinfo(text: string): string {
  return text.replace(/:\/\/[^/]*@/g, "://***@");
}

/** Refuses settings that contradict each other. */
function checkConfig(config: Config): void {
  if ((config.cert === undefined) !== (config.key === undefined)) {
    throw new SyntaxError("A certificate needs its private key: give both --cert and --key, or neither");
  }
  demandKey(config);
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
