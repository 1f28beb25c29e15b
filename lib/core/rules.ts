/** Channel rules: what is kept of a channel and how it is delivered, by name pattern. The hub and the logs ask here. */
import { matchesPattern, parseRulePattern } from "./channel.ts";

/** How much of a channel the log keeps. What goes beyond either bound is removed. */
interface Retention {
  readonly messages: number;
  readonly seconds: number;
}

/** What a client can ask of a channel. */
export const ACTIONS = ["subscribe", "publish", "presence", "history"] as const;

export type Action = typeof ACTIONS[number];

/** A list of actions, and the pattern of the rule it comes from; undefined where no rule sets it. */
interface Allowance {
  readonly actions: readonly Action[];
  readonly rule: string | undefined;
}

/** The rules in force for one channel. */
export interface ChannelRules {
  readonly history: Retention;
  /** Messages are delivered and never stored. */
  readonly ephemeral: boolean;
  /** A reader that falls behind gets only the newest message of each sender, instead of being cut off. */
  readonly conflate: boolean;
  /** Who is on the channel may be asked for. */
  readonly presence: boolean;
  /** What users may do without a token that names the channel. This and the next two hold once there is a key. */
  readonly allow: Allowance;
  /** What else those may do who are subscribed, or may subscribe by a token that names the channel. */
  readonly allowSubscribers: Allowance;
  /** What everybody may do, without any token. */
  readonly allowAnonymous: Allowance;
}

/** One entry of a rules file: what it sets for the channels its pattern matches. */
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
  allow: { actions: [], rule: undefined },
  // They can have it anyway, by recovering from an early position; presence shows who others are.
  allowSubscribers: { actions: ["history"], rule: undefined },
  allowAnonymous: { actions: [], rule: undefined },
};

const ALLOWANCES = ["allow", "allowSubscribers", "allowAnonymous"] as const;

/** Rules that hold unless a rules file says otherwise: cursors of the example and of channel pages move too often. */
export const BUILT_IN_RULES: readonly RuleEntry[] = [
  { channels: "cursors", ephemeral: true, conflate: true },
  { channels: "cursors/**", ephemeral: true, conflate: true },
];

const CACHED_CHANNELS = 10_000;

/** Looks up the rules of channels. For each setting the first entry that matches and sets it decides. */
export class Rules {
  readonly #entries: readonly { pattern: readonly string[]; entry: RuleEntry }[];
  readonly #cache = new Map<string, ChannelRules>();

  /** @throws {SyntaxError} for a pattern outside the channel grammar */
  constructor(entries: readonly RuleEntry[] = BUILT_IN_RULES) {
    this.#entries = entries.map((entry) => ({ pattern: parseRulePattern(entry.channels), entry }));
  }

  /** Whether a client without a token may do anything anywhere. */
  get admitsAnonymous(): boolean {
    return this.#entries.some(({ entry }) => (entry.allowAnonymous ?? []).length > 0);
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
    // Applied last to first, so that the first entry that sets something has the last word.
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

/** What whoever asks for presence is told where a rule says no, in every protocol's error. */
export function describePresenceOff(channel: string): string {
  return `Presence is off for "${channel}" by the rule "presence": false`;
}

/** The same for history. */
export function describeHistoryOff(channel: string): string {
  return `History is off for "${channel}" by the rule "ephemeral": true`;
}

/**
 * Reads a rules file: a JSON array of objects such as
 * `{ "channels": "orders/**", "history": { "messages": 100, "seconds": 3600 }, "conflate": true }`.
 * The built-in rules follow those of the file.
 *
 * @throws {SyntaxError} naming the entry and what is wrong with it
 */
export function parseRules(text: string): readonly RuleEntry[] {
  const entries: unknown = JSON.parse(text);
  if (!Array.isArray(entries)) throw new SyntaxError("Rules must be a JSON array of objects");
  return [...entries.map(parseEntry), ...BUILT_IN_RULES];
}

function parseEntry(value: unknown, index: number): RuleEntry {
  const where = `Rule ${index + 1}`;
  if (!isRecord(value)) throw new SyntaxError(`${where} must be an object`);
  for (const [key, setting] of Object.entries(value)) {
    if (key === "channels") continue;
    if (key === "history") parseRetention(setting, where);
    else if (ALLOWANCES.some((known) => known === key)) parseActions(key, setting, where);
    else if (key !== "ephemeral" && key !== "conflate" && key !== "presence") {
      throw new SyntaxError(
        `${where} has the unknown key "${key}": use channels, history, ephemeral, conflate, presence, ` +
          ALLOWANCES.join(", "),
      );
    } else if (typeof setting !== "boolean") {
      throw new SyntaxError(`${where}: "${key}" must be true or false`);
    }
  }
  if (typeof value.channels !== "string") {
    throw new SyntaxError(`${where} needs "channels", a channel name or pattern`);
  }
  try {
    parseRulePattern(value.channels);
  } catch (cause) {
    throw new SyntaxError(`${where}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
  return value as RuleEntry;
}

function parseRetention(value: unknown, where: string): void {
  if (!isRecord(value)) throw new SyntaxError(`${where}: "history" must be an object`);
  for (const [key, bound] of Object.entries(value)) {
    if (key !== "messages" && key !== "seconds") {
      throw new SyntaxError(`${where}: "history" has the unknown key "${key}": use messages and seconds`);
    }
    if (!Number.isSafeInteger(bound) || Number(bound) < 1) {
      throw new SyntaxError(`${where}: "history.${key}" must be a whole number from 1 on`);
    }
  }
}

function parseActions(key: string, value: unknown, where: string): void {
  if (!Array.isArray(value) || !value.every((action) => ACTIONS.includes(action))) {
    throw new SyntaxError(`${where}: "${key}" must be a list of ${ACTIONS.map((a) => `"${a}"`).join(", ")}`);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
