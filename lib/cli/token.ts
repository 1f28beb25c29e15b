/**
 * Signs tokens and explains them, with the settings of a server. Run by `deno task token`; see `--help`. Prints only
 * the token or explanation to standard output.
 */
import { parseArgs } from "node:util";
import { type Keys, type KeySource, openKeys } from "../auth/keys.ts";
import { describeChannel, describePurpose } from "../auth/token_describe.ts";
import { explainToken, type Explanation } from "../auth/token_explain.ts";
import {
  mintToken,
  parseGrant,
  parsePrivateKey,
  parseSpan,
  type SigningKey,
  toPublicPem,
  toSecretKey,
} from "../auth/token_mint.ts";
import { parseChannel } from "../core/channel.ts";
import { parseRules, Rules } from "../core/rules.ts";
import { formatTask } from "../base/task.ts";
import { readKeySet, readSettingFile } from "../config/setting_file.ts";

const HELP = `Signs tokens for Raindrops, and explains them.

  ${formatTask("token", Deno.execPath())} --sub USER [--expires 1h] [--grant 'chat/*=subscribe,publish']...
  ${formatTask("token", Deno.execPath())} --sub USER --channel NAME [--expires 1h]
  ${
  formatTask("token", Deno.execPath())
} explain [TOKEN] [--on CHANNEL]      reads standard input without TOKEN

To sign a token:
  --sub USER           the user; "" for an anonymous one
  --expires SPAN       lifetime: 90s, 15m, 1h (the default), 7d, or never
  --grant PATTERN=LIST allows any of subscribe, publish, presence, history, or =all; may be repeated
  --channels LIST      channels that a Centrifuge connection is subscribed to from the start, separated by commas
  --channel NAME       makes it a subscription token for this channel
  --info JSON          what others on a channel see
  --key FILE           private key in PEM to sign with, instead of RAINDROPS_TOKEN_SECRET
  --kid ID             id of the key, for servers with several

To explain a token, give the keys of the server: RAINDROPS_TOKEN_SECRET, --token-key FILE (or --key, as above),
--token-jwks FILE|URL, or the variables RAINDROPS_TOKEN_KEY and RAINDROPS_TOKEN_JWKS.
  --on CHANNEL         shows what it allows on this channel, with the rules of --rules FILE

Both:
  --audience NAME, --issuer NAME, or RAINDROPS_TOKEN_AUDIENCE and RAINDROPS_TOKEN_ISSUER, as the server has them

Exit status: 0 if the token was signed, or would be accepted; 1 if the server would refuse it; 2 for wrong usage.`;

const OPTIONS = {
  help: { type: "boolean" },
  sub: { type: "string" },
  expires: { type: "string" },
  grant: { type: "string", multiple: true },
  channels: { type: "string" },
  channel: { type: "string" },
  info: { type: "string" },
  key: { type: "string" },
  kid: { type: "string" },
  "token-key": { type: "string" },
  "token-jwks": { type: "string" },
  rules: { type: "string" },
  on: { type: "string" },
  audience: { type: "string" },
  issuer: { type: "string" },
} as const;

/** Shortest secret that cannot be guessed, in characters (RFC 7518 section 3.2). */
const ADVISED_SECRET_LENGTH = 32;

/** Most input read, in bytes: more than any token has. */
const MAX_INPUT_BYTES = 1024 * 1024;

type Values = ReturnType<typeof parse>["values"];

function parse(args: readonly string[]) {
  return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
}

/** @returns the exit status */
async function run(args: readonly string[]): Promise<number> {
  const { values, positionals: [command, token, ...rest] } = readArguments(args);
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  if (command === "explain") {
    if (rest.length > 0) throw new SyntaxError("Give one token, or none and write it to standard input");
    refuse(
      values,
      ["sub", "expires", "grant", "channels", "channel", "info", "kid"],
      "is for making a token",
    );
    return await explain(values, token ?? await readInput());
  }
  if (command !== undefined) {
    // Not quoted: it may be a token.
    throw new SyntaxError('The only command is "explain": --help says more');
  }
  refuse(values, ["token-key", "token-jwks", "rules", "on"], "is for explaining a token");
  return await mint(values);
}

function readArguments(args: readonly string[]) {
  try {
    return parse(args);
  } catch (cause) {
    const detail = cause instanceof Error ? cause.message : String(cause);
    throw new SyntaxError(`${detail.split(/\.(?:\s|$)/)[0]}: --help says more`, { cause });
  }
}

function refuse(values: Values, names: readonly (keyof Values)[], why: string): void {
  for (const name of names) {
    if (values[name] !== undefined) throw new SyntaxError(`--${name} ${why}: --help says more`);
  }
}

async function mint(values: Values): Promise<number> {
  const { sub, channel, kid } = values;
  if (sub === undefined) {
    throw new SyntaxError('Name the user: --sub USER, or --sub "" for an anonymous one');
  }
  const key = await readSigningKey(values);
  const lifetime = named("--expires", parseSpan, values.expires ?? "1h");
  const token = await mintToken(
    {
      user: sub,
      lifetime,
      channel,
      channels: values.channels?.split(",").map((name) => name.trim()) ?? [],
      grants: new Map((values.grant ?? []).map((text) => named("--grant", parseGrant, text))),
      info: values.info === undefined ? undefined : parseInfo(values.info),
      audience: findSetting(values.audience, "RAINDROPS_TOKEN_AUDIENCE"),
      issuer: findSetting(values.issuer, "RAINDROPS_TOKEN_ISSUER"),
      keyId: kid,
    },
    key,
    Date.now(),
  );
  if (lifetime === undefined) {
    console.error("Note: it never expires. A stolen token stays valid forever.");
  }
  console.log(token);
  return 0;
}

async function readSigningKey({ key }: Values): Promise<SigningKey> {
  if (key !== undefined) return named("--key", parsePrivateKey, await readSettingFile("--key", key));
  const secret = findSetting(undefined, "RAINDROPS_TOKEN_SECRET");
  if (secret === undefined) {
    throw new SyntaxError("There is nothing to sign with: set RAINDROPS_TOKEN_SECRET, or give --key FILE");
  }
  if (secret.length < ADVISED_SECRET_LENGTH) {
    console.error(`Note: the secret has fewer than ${ADVISED_SECRET_LENGTH} characters, and can be guessed.`);
  }
  return toSecretKey(secret);
}

function parseInfo(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError(`--info ${JSON.stringify(text)} is not JSON: write it like '{"name":"Ann"}'`);
  }
}

async function explain(values: Values, token: string): Promise<number> {
  const on = values.on === undefined ? undefined : parseChannel(values.on);
  const rules = values.rules === undefined
    ? new Rules()
    : new Rules(named("--rules", parseRules, await readSettingFile("--rules", values.rules)));
  using keys = await readKeys(values);
  const explanation = await explainToken(token.trim(), {
    keys,
    audience: findSetting(values.audience, "RAINDROPS_TOKEN_AUDIENCE"),
    issuer: findSetting(values.issuer, "RAINDROPS_TOKEN_ISSUER"),
  });
  console.log(formatExplanation(explanation, on, rules));
  return explanation.verdict.accepted ? 0 : 1;
}

async function readKeys(values: Values): Promise<Keys | undefined> {
  const sources: KeySource[] = [];
  const secret = findSetting(undefined, "RAINDROPS_TOKEN_SECRET");
  if (secret !== undefined) sources.push({ kind: "secret", secret });
  if (values.key !== undefined) {
    const text = named("--key", toPublicPem, await readSettingFile("--key", values.key));
    sources.push({ kind: "pem", text });
  }
  const pem = findSetting(values["token-key"], "RAINDROPS_TOKEN_KEY");
  if (pem !== undefined) sources.push({ kind: "pem", text: await readSettingFile("--token-key", pem) });
  const set = findSetting(values["token-jwks"], "RAINDROPS_TOKEN_JWKS");
  if (set !== undefined) {
    sources.push(
      /^https?:/.test(set) ? { kind: "jwks_url", url: set } : { kind: "jwks", text: await readKeySet(set) },
    );
  }
  return sources.length === 0 ? undefined : openKeys(sources);
}

function formatExplanation(
  { header, payload, checks, purpose, verdict }: Explanation,
  on: string | undefined,
  rules: Rules,
): string {
  const lines: string[] = [];
  if (header !== undefined) lines.push(`header  ${show(header)}`, `claims  ${show(payload)}`, "");
  for (const { name, passed, detail } of checks) {
    lines.push(`${passed ? "ok  " : "FAIL"}  ${name.padEnd(10)}  ${escape(detail)}`);
  }
  if (purpose !== undefined) {
    lines.push("", ...describePurpose(purpose).map(escape));
    if (on !== undefined) {
      lines.push("");
      for (const { action, allowed, reason } of describeChannel(purpose, on, rules.for(on))) {
        lines.push(escape(allowed ? `yes   ${action}` : `no    ${action}: ${reason}`));
      }
    }
  }
  lines.push(
    "",
    verdict.accepted ? "The server takes it." : `The server refuses it: ${escape(verdict.reason)}.`,
  );
  return lines.join("\n");
}

function show(value: unknown): string {
  return escape(JSON.stringify(value));
}

/** Whoever made the token shall not write on the terminal of whoever looks at it. */
function escape(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}]/gu,
    (sign) => `\\u${sign.codePointAt(0)!.toString(16).padStart(4, "0")}`,
  );
}

function findSetting(flag: string | undefined, variable: string): string | undefined {
  return flag ?? (Deno.env.get(variable) || undefined);
}

/** Says which flag a parser's complaint is about. */
function named<T>(flag: string, parse: (text: string) => T, text: string): T {
  try {
    return parse(text);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new SyntaxError(`${flag}: ${cause.message}`, { cause });
  }
}

async function readInput(): Promise<string> {
  if (Deno.stdin.isTerminal()) console.error("Paste the token, and end it with Ctrl+D:");
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for await (const chunk of Deno.stdin.readable) {
    size += chunk.byteLength;
    if (size > MAX_INPUT_BYTES) {
      throw new SyntaxError(`Standard input has more than ${MAX_INPUT_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return await new Blob(chunks).text();
}

if (import.meta.main) {
  try {
    Deno.exit(await run(Deno.args));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    console.error(error.message);
    Deno.exit(2);
  }
}
