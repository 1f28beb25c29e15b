/**
 * What settings stand for: the keys, rules and credentials in the files they name. `app.ts` and `server.ts` read them
 * here, so that what is wrong with a file is said alike.
 */
import { type Keys, type KeySource, openKeys } from "../auth/keys.ts";
import { type Config, isExposed } from "./config.ts";
import { parseRules, Rules } from "../core/rules.ts";
import { type Hooks, parseHooks } from "../hooks/mod.ts";
import type { NatsCredentials } from "../engines/mod.ts";
import { formatPermissionCure } from "../base/task.ts";
import { parseNamed, readKeySet, readSettingFile } from "./setting_file.ts";

/** @throws {SyntaxError} for a server that may not be connected to: said at start, not when the first token comes */
function demandHost(flag: string, { hostname, port, protocol }: URL): void {
  const host = `${hostname}:${port || (protocol === "https:" ? 443 : 80)}`;
  if (Deno.permissions.querySync({ name: "net", host }).state === "granted") return;
  throw new SyntaxError(
    `Deno's permissions do not cover ${hostname} of ${flag}: ` +
      formatPermissionCure(`--allow-net=${hostname}`, Deno.execPath()),
  );
}

/** The keys tokens are signed with, or undefined while there are none and everybody is let in. */
export async function readKeys({ tokenSecret, tokenKey, tokenJwks }: Config): Promise<Keys | undefined> {
  const sources: KeySource[] = [];
  if (tokenSecret !== undefined) sources.push({ kind: "secret", secret: tokenSecret });
  if (tokenKey !== undefined) {
    sources.push({ kind: "pem", text: await readSettingFile("--token-key", tokenKey) });
  }
  if (tokenJwks !== undefined) {
    if (/^https?:/.test(tokenJwks)) demandHost("--token-jwks", new URL(tokenJwks));
    sources.push(
      /^https?:/.test(tokenJwks)
        ? { kind: "jwks_url", url: tokenJwks }
        : { kind: "jwks", text: await readKeySet(tokenJwks) },
    );
  }
  return sources.length === 0 ? undefined : openKeys(sources);
}

/** How NATS servers are to know us. */
export async function readNatsCredentials(config: Config): Promise<NatsCredentials> {
  const { natsUser: user, natsPassword: password, natsToken: token, natsCreds, natsCa } = config;
  const creds = natsCreds === undefined ? undefined : await readSettingFile("--nats-creds", natsCreds);
  const ca = natsCa === undefined ? undefined : await readSettingFile("--nats-ca", natsCa);
  return { user, password, token, creds, ca };
}

/** What an operator should hear at start of a server that is more open, or less, than asked for. */
export function describeOpenness(config: Config, keys: Keys | undefined): readonly string[] {
  const { open, host } = config;
  if (!open) return [];
  if (keys !== undefined) return ["--open does nothing where there is a token key: tokens and rules decide"];
  if (!isExposed(config)) return [];
  return [`Everybody who reaches ${host} may read and publish everything, as --open says`];
}

/**
 * The rules of channels; the built-in ones where the configuration names no file.
 *
 * @throws {SyntaxError} for a file that is missing or does not parse
 */
export async function readRules({ rules: path }: Config): Promise<Rules> {
  if (path === undefined) return new Rules();
  const text = await readSettingFile("--rules", path);
  return new Rules(parseNamed("Rules file", path, parseRules, text));
}

/**
 * The webhooks of the application; none where the configuration names none.
 *
 * @throws {SyntaxError} for a file that is missing or does not parse, or half of a pair of variables
 */
export async function readHooks({ hooks: path, webhookUrl, webhookSecret }: Config): Promise<Hooks> {
  const parse = (file?: string) => parseHooks({ file, webhookUrl, webhookSecret });
  return path === undefined
    ? parse()
    : parseNamed("Hooks file", path, parse, await readSettingFile("--hooks", path));
}
