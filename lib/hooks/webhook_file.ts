/** Reads the webhooks of the `--hooks` file and of the environment. `mod.ts` calls it. */
import { joinKey, parseRulePattern, type Selector } from "../core/channel.ts";
import { parseSecret, type WebhookSecret } from "./signature.ts";
import { isRecord, parseTargetUrl, refuseUnknown } from "./fields.ts";

export const WEBHOOK_EVENTS = [
  "message",
  "channel.occupied",
  "channel.vacated",
  "member.joined",
  "member.left",
  "gap",
] as const;

export type WebhookEvent = (typeof WEBHOOK_EVENTS)[number];

/** A webhook as the configuration says it. */
export interface WebhookDefinition {
  /** Names it in logs and in the engine, where its position is kept: another name starts from now on. */
  readonly name: string;
  readonly url: URL;
  readonly secrets: readonly WebhookSecret[];
  readonly events: ReadonlySet<WebhookEvent>;
  /** The channels it is about. */
  readonly selector: Selector;
  /** Seconds that the target has to answer. */
  readonly timeout: number;
}

const KEYS = ["name", "url", "secret", "events", "channels", "timeout"];
const DEFAULT_TIMEOUT_SECONDS = 10;
const MAX_TIMEOUT_SECONDS = 120;

/**
 * Reads one entry of the file.
 *
 * @throws {SyntaxError} naming the entry and what to write instead
 */
export function parseWebhook(value: unknown, number: number): WebhookDefinition {
  const where = `webhook ${number}`;
  if (!isRecord(value)) throw new SyntaxError(`${where} is not an object`);
  refuseUnknown(value, KEYS, where);
  const { timeout = DEFAULT_TIMEOUT_SECONDS, events = ["message"], channels = ["**"] } = value;
  if (typeof timeout !== "number" || !(timeout > 0 && timeout <= MAX_TIMEOUT_SECONDS)) {
    throw new SyntaxError(
      `${where}: timeout must be a number of seconds, such as 10, at most ${MAX_TIMEOUT_SECONDS}`,
    );
  }
  const url = parseTargetUrl(value.url, where);
  return {
    name: parseName(value.name, url, where),
    url,
    secrets: parseSecrets(value.secret, where),
    events: parseEvents(toTexts(events, `${where}: events`), where),
    selector: parseSelector(toTexts(channels, `${where}: channels`), where),
    timeout,
  };
}

/** The webhook that the environment describes: the messages of all channels. */
export function createMessageWebhook(url: string, secret: string): WebhookDefinition {
  return {
    name: "environment",
    url: parseTargetUrl(url, "RAINDROPS_WEBHOOK_URL"),
    secrets: parseSecrets(secret, "RAINDROPS_WEBHOOK_SECRET"),
    events: new Set(["message"]),
    selector: parseSelector(["**"], ""),
    timeout: DEFAULT_TIMEOUT_SECONDS,
  };
}

/** @throws {SyntaxError} when two have the same name: they would share a position */
export function demandUniqueNames(webhooks: readonly Pick<WebhookDefinition, "name">[]): void {
  const names = new Set<string>();
  for (const { name } of webhooks) {
    if (names.has(name)) throw new SyntaxError(`Two webhooks are called "${name}": give each a "name"`);
    names.add(name);
  }
}

function parseName(value: unknown, { host, pathname }: URL, where: string): string {
  if (value === undefined) return `${host}${pathname}`.replaceAll(/[^A-Za-z0-9-]+/g, "_").slice(0, 60);
  if (typeof value === "string" && /^[A-Za-z0-9_-]{1,60}$/.test(value)) return value;
  throw new SyntaxError(`${where}: name must have 1 to 60 characters of A-Z a-z 0-9 _ -`);
}

function parseSecrets(value: unknown, where: string): readonly WebhookSecret[] {
  const texts = value === undefined ? [] : toTexts(value, `${where}: secret`);
  if (texts.length === 0) throw new SyntaxError(`${where} needs a "secret" to sign with`);
  try {
    return texts.map(parseSecret);
  } catch (cause) {
    throw new SyntaxError(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function parseEvents(names: readonly string[], where: string): ReadonlySet<WebhookEvent> {
  const events = new Set(names.map((name) => parseEvent(name, where)));
  if ([...events].some((event) => event !== "gap")) return events;
  throw new SyntaxError(`${where}: "gap" comes with other events, name one`);
}

function parseEvent(name: string, where: string): WebhookEvent {
  const event = WEBHOOK_EVENTS.find((known) => known === name);
  if (event !== undefined) return event;
  throw new SyntaxError(
    `${where}: unknown event ${JSON.stringify(name)}: there are ${WEBHOOK_EVENTS.join(", ")}`,
  );
}

/** Patterns as in rules, `chat:*` included: nothing is indexed by them. */
function parseSelector(names: readonly string[], where: string): Selector {
  try {
    const patterns = names.map(parseRulePattern);
    return { key: joinKey(names), channel: undefined, patterns };
  } catch (cause) {
    throw new SyntaxError(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

function toTexts(value: unknown, where: string): readonly string[] {
  const values = Array.isArray(value) ? value : [value];
  if (values.length > 0 && values.every((item) => typeof item === "string")) return values;
  throw new SyntaxError(`${where} must be a string or an array of strings`);
}
