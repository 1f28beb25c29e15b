/**
 * Channel rules: retention, delivery and permissions of channels, by name pattern. Hub, gate and engines look them up.
 */
import { parseJsonFile } from "../base/json_file.ts";
import { matchesPattern, parseRulePattern } from "./channel.ts";
import { MAX_TTL_SECONDS } from "./draft.ts";

/** How much of a channel the log keeps. Messages beyond either bound are removed. */
interface Retention {
  readonly messages: number;
  readonly seconds: number;
}

/** The actions of clients on channels. */
export const ACTIONS = ["subscribe", "publish", "presence", "history"] as const;

export type Action = typeof ACTIONS[number];

/** Allowed actions, and the pattern of the rule that sets them; undefined if none does. */
interface Allowance {
  readonly actions: readonly Action[];
  readonly rule: string | undefined;
}

/** The rules in force for one channel. */
export interface ChannelRules {
  readonly history: Retention;
  /** Seconds after which a key of the channel's map is removed, unless set anew; undefined for never. */
  readonly keyTtl?: number | undefined;
  /** All messages are transient: delivered, never stored. */
  readonly ephemeral: boolean;
  /** A slow subscriber gets only the newest message of each sender, instead of being cut off. */
  readonly conflate: boolean;
  /** Whether clients may read the presence of the channel. */
  readonly presence: boolean;
  /** Centrifuge clients get the joins and leaves of the channel without asking, whatever else they may know of it. */
  readonly forceJoinLeave: boolean;
  /**
   * For a channel `#user`: Centrifuge clients of that user are subscribed to it as they connect, and it is private to
   * them.
   */
  readonly personalChannel: boolean;
  /** Stored messages are pushed to browsers that subscribed to that, closed ones too. */
  readonly push: boolean;
  /** What users may do without a token that names the channel. This and the next two apply once a key is set. */
  readonly allow: Allowance;
  /** What else clients may do that are subscribed, or have a token that names the channel. */
  readonly allowSubscribers: Allowance;
  /** What everybody may do, with or without a token. */
  readonly allowAnonymous: Allowance;
}

/** The settings for channels that match a pattern. */
export type RuleEntry =
  & { readonly channels: string }
  & {
    readonly [K in keyof ChannelRules]?: ChannelRules[K] extends Retention ? Partial<Retention>
      : ChannelRules[K] extends Allowance ? readonly Action[]
      : ChannelRules[K];
  };

const DEFAULTS: ChannelRules = {
  history: { messages: 1_000, seconds: 24 * 60 * 60 },
  ephemeral: false,
  conflate: false,
  presence: true,
  forceJoinLeave: false,
  personalChannel: false,
  push: false,
  allow: { actions: [], rule: undefined },
  // They can get the history anyway, by recovering from an early position; presence would reveal who others are.
  allowSubscribers: { actions: ["history"], rule: undefined },
  allowAnonymous: { actions: [], rule: undefined },
};

/** What is on or off. */
const SWITCHES = ["ephemeral", "conflate", "presence", "forceJoinLeave", "personalChannel", "push"] as const;

const ALLOWANCES = ["allow", "allowSubscribers", "allowAnonymous"] as const;

/** Rules that apply after those of the file: cursors move too often to be stored. */
export const BUILT_IN_RULES: readonly RuleEntry[] = [
  { channels: "cursors", ephemeral: true, conflate: true },
  { channels: "cursors/**", ephemeral: true, conflate: true },
];

const CACHED_CHANNELS = 10_000;

/** Looks up the rules of channels. The first matching entry that sets a setting decides it. */
export class Rules {
  readonly #entries: readonly { pattern: readonly string[]; entry: RuleEntry }[];
  readonly #cache = new Map<string, ChannelRules>();

  /** @throws {SyntaxError} for a pattern outside the channel grammar */
  constructor(entries: readonly RuleEntry[] = BUILT_IN_RULES) {
    this.#entries = entries.map((entry) => ({ pattern: parseRulePattern(entry.channels), entry }));
  }

  /** Whether any rule allows anything to clients without a token. */
  get admitsAnonymous(): boolean {
    return this.#entries.some(({ entry }) => (entry.allowAnonymous ?? []).length > 0);
  }

  /** The patterns of the entries that push. What `for` says of a channel decides, as another entry may come first. */
  get pushPatterns(): readonly (readonly string[])[] {
    return this.#entries.filter(({ entry }) => entry.push === true).map(({ pattern }) => pattern);
  }

  for(channel: string): ChannelRules {
    let rules = this.#cache.get(channel);
    if (rules === undefined) {
      if (this.#cache.size >= CACHED_CHANNELS) this.#cache.clear();
      this.#cache.set(channel, rules = this.#compute(channel));
    }
    return rules;
  }

  #compute(channel: string): ChannelRules {
    const segments = channel.split("/");
    // Applied last to first, so that the first entry that sets something wins.
    const matching = this.#entries.filter(({ pattern }) => matchesPattern(pattern, segments)).reverse();
    let rules = DEFAULTS;
    for (const { entry } of matching) {
      const { channels: rule, allow, allowSubscribers, allowAnonymous, ...settings } = entry;
      rules = {
        ...rules,
        ...settings,
        history: { ...rules.history, ...settings.history },
        allow: allow ? { actions: allow, rule } : rules.allow,
        allowSubscribers: allowSubscribers ? { actions: allowSubscribers, rule } : rules.allowSubscribers,
        allowAnonymous: allowAnonymous ? { actions: allowAnonymous, rule } : rules.allowAnonymous,
      };
    }
    return rules;
  }
}

/**
 * Parses a rules file: a JSON array of objects such as
 * `{ "channels": "orders/**", "history": { "messages": 100, "seconds": 3600 }, "conflate": true }`, where `channels` may be
 * an array of patterns too. The built-in rules are appended.
 *
 * @throws {SyntaxError} saying what is wrong with which entry
 */
export function parseRules(text: string): readonly RuleEntry[] {
  const entries = parseJsonFile(text);
  if (!Array.isArray(entries)) throw new SyntaxError("Rules must be a JSON array of objects");
  return [...entries.flatMap(parseEntry), ...BUILT_IN_RULES];
}

/** One rule for each pattern of an entry. */
function parseEntry(value: unknown, index: number): readonly RuleEntry[] {
  const where = `Rule ${index + 1}`;
  if (!isRecord(value)) throw new SyntaxError(`${where} must be an object`);
  for (const [key, setting] of Object.entries(value)) {
    if (key === "channels") continue;
    if (key === "history") parseRetention(setting, where);
    else if (key === "keyTtl") parseKeyTtl(setting, where);
    else if (ALLOWANCES.some((known) => known === key)) parseActions(key, setting, where);
    else if (!SWITCHES.some((known) => known === key)) {
      throw new SyntaxError(
        `${where} has the unknown key "${key}": use channels, history, keyTtl, ` +
          [...SWITCHES, ...ALLOWANCES].join(", "),
      );
    } else if (typeof setting !== "boolean") {
      throw new SyntaxError(`${where}: "${key}" must be true or false`);
    }
  }
  return parsePatterns(value.channels, where).map((channels) => ({ ...value, channels }) as RuleEntry);
}

/** One pattern or an array of them, as in the `--hooks` file. */
function parsePatterns(value: unknown, where: string): readonly string[] {
  const names: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (names.length === 0 || !names.every((name) => typeof name === "string")) {
    throw new SyntaxError(`${where} needs "channels", a channel name or pattern, or an array of them`);
  }
  try {
    for (const name of names) parseRulePattern(name);
  } catch (cause) {
    throw new SyntaxError(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return names;
}

function parseRetention(value: unknown, where: string): void {
  if (!isRecord(value)) throw new SyntaxError(`${where}: "history" must be an object`);
  for (const [key, bound] of Object.entries(value)) {
    if (key !== "messages" && key !== "seconds") {
      throw new SyntaxError(`${where}: "history" has the unknown key "${key}": use messages and seconds`);
    }
    if (!Number.isSafeInteger(bound) || Number(bound) < 1) {
      throw new SyntaxError(`${where}: "history.${key}" must be a whole number of at least 1`);
    }
  }
}

function parseKeyTtl(value: unknown, where: string): void {
  if (Number.isSafeInteger(value) && Number(value) >= 1 && Number(value) <= MAX_TTL_SECONDS) return;
  throw new SyntaxError(
    `${where}: "keyTtl" must be a whole number of seconds from 1 to ${MAX_TTL_SECONDS}, such as 300`,
  );
}

function parseActions(key: string, value: unknown, where: string): void {
  if (!Array.isArray(value) || !value.every((action) => ACTIONS.includes(action))) {
    throw new SyntaxError(`${where}: "${key}" must be a list of ${ACTIONS.map((a) => `"${a}"`).join(", ")}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
