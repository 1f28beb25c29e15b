/**
 * What a client may do on a channel, as a pure function of its token and the channel's rules. Only the gate asks; the
 * answer to a denial says who denied and what would allow it.
 *
 * On an open server everybody may do everything. Elsewhere nobody may do anything until a token or a channel rule
 * allows it:
 *
 * - A token that names the channel (`channels` or `subs` of the connection token, or a subscription token) allows
 *   to subscribe, and with it what `allowSubscribers` lists.
 * - A connection token's `grants` allow exactly what they list, on the channels that match their patterns.
 * - Users, who have a connection token with a `sub`, may do what `allow` lists. Those whom it lets subscribe may also
 *   do what `allowSubscribers` lists, whether they are subscribed already or not.
 * - Everybody, with or without a token, may do what `allowAnonymous` lists.
 *
 * Centrifugo's users know these settings as `allow_X_for_subscriber`, `allow_X_for_client` and
 * `allow_X_for_anonymous`.
 */
import { coversPattern } from "../core/channel.ts";
import { type Action, ACTIONS, type ChannelRules } from "../core/rules.ts";

/** What must be known of a channel's rules. */
export type AccessRules = Pick<ChannelRules, "allow" | "allowSubscribers" | "allowAnonymous">;

/** Who asks. */
export type Requester =
  /** Anybody, as the server is open. */
  | { readonly kind: "open" }
  /** An operator: with a key, or on a server that asks nobody for one. */
  | { readonly kind: "operator"; readonly hasKey: boolean }
  | {
    readonly kind: "keyed";
    /** "" without a connection token, or with one for nobody. */
    readonly user: string;
    /** The channels its connection token names. */
    readonly channels: ReadonlySet<string>;
    /** What else it grants. */
    readonly grants: readonly Grant[];
  };

/** What a token allows on all channels that match a pattern. */
export interface Grant {
  readonly pattern: string;
  /** The pattern, split. */
  readonly segments: readonly string[];
  readonly actions: readonly Action[];
}

/**
 * Whether a token for this very channel is in force besides the connection token: one that was presented now or with
 * the subscription. A subscription made by the HTTP API counts the same.
 */
export type Tie = "none" | "token";

export type Decision = { readonly allowed: true } | Denial;

export interface Denial {
  readonly allowed: false;
  /** Pattern of the rule that denied; undefined when it was the default. */
  readonly rule: string | undefined;
  /** What would allow it, as it has to stand in a rule for the channel. */
  readonly setting: string;
  /** For the log. */
  readonly message: string;
  /** For the client. Anonymous ones learn nothing of the rules. */
  readonly clientMessage: string;
}

const BLAND = "permission denied";
const ALLOWED: Decision = { allowed: true };

const PHRASES: Readonly<Record<Action, string>> = {
  subscribe: "subscribe to",
  publish: "publish to",
  presence: "read the presence of",
  history: "read the history of",
};

/** Whether a requester may do something on a channel that has these rules. */
export function mayUse(
  action: Action,
  channel: string,
  requester: Requester,
  rules: AccessRules,
  tie: Tie = "none",
): Decision {
  if (requester.kind !== "keyed" || rules.allowAnonymous.actions.includes(action)) return ALLOWED;
  const anonymous = requester.user === "";
  const named = tie === "token" || requester.channels.has(channel);
  if (named && action === "subscribe") return ALLOWED;
  if (!anonymous && rules.allow.actions.includes(action)) return ALLOWED;
  // Anonymous clients whom a rule let in are anybody: what is for subscribers is not for them.
  const isUserSubscriber = [rules.allow, rules.allowAnonymous].some(({ actions }) =>
    actions.includes("subscribe")
  );
  const subscriber = named || (!anonymous && isUserSubscriber);
  if (subscriber && rules.allowSubscribers.actions.includes(action)) return ALLOWED;
  const { grants } = requester;
  if (grants.length > 0 && mayReach(action, channel.split("/"), grants)) return ALLOWED;

  if (named) return deny(action, channel, requester, rules, "allowSubscribers", "to subscribers");
  if (anonymous) {
    return deny(action, channel, requester, rules, "allowAnonymous", "to clients without a user");
  }
  const unless = action === "subscribe" || rules.allowSubscribers.actions.includes(action)
    ? "without a subscription token"
    : "to users";
  return deny(action, channel, requester, rules, "allow", unless);
}

/**
 * Whether grants allow something on every channel that matches a pattern, whatever the rules say.
 *
 * @param pattern split; a channel's name is one, too
 */
export function mayReach(action: Action, pattern: readonly string[], grants: readonly Grant[]): boolean {
  return grants.some(({ segments, actions }) => actions.includes(action) && coversPattern(segments, pattern));
}

/** What a token lets its holder be and do. */
export function toRequester(
  claims: { user: string; channels: readonly string[]; grants: readonly Grant[] } | undefined,
): Requester & { readonly kind: "keyed" } {
  const { user = "", channels = [], grants = [] } = claims ?? {};
  return { kind: "keyed", user, channels: new Set(channels), grants };
}

/** Why a client without a connection token may not connect where no rule allows anything to such clients. */
export function describeAnonymousRefusal(): Pick<Denial, "message" | "clientMessage"> {
  return {
    message: "Cannot connect without a token: no rule allows anything to clients without a user; " +
      `send a connection token, or set "allowAnonymous": ["subscribe"] in the rules`,
    clientMessage: BLAND,
  };
}

function deny(
  action: Action,
  channel: string,
  { user, grants }: Requester & { readonly kind: "keyed" },
  rules: AccessRules,
  key: keyof AccessRules,
  unless: string,
): Denial {
  const { actions, rule } = rules[key];
  // What is allowed already stays in, so that the setting can be copied as it is.
  const listed = ACTIONS.filter((known) => known === action || actions.includes(known));
  const setting = `"${key}": [${listed.map((known) => `"${known}"`).join(", ")}]`;
  const denier = rule === undefined ? "no rule allows" : `rule "${rule}" does not allow`;
  const granted = grants.filter(({ actions }) => actions.includes(action)).map(({ pattern }) =>
    `"${pattern}"`
  );
  const only = grants.length === 0 ? "" : `, and the token grants it ${describeList(granted)}`;
  const message =
    `Cannot ${PHRASES[action]} ${JSON.stringify(channel)}: ${denier} "${action}" ${unless}${only}; ` +
    `set ${setting} in the rules`;
  const isNobody = user === "" && grants.length === 0;
  return { allowed: false, rule, setting, message, clientMessage: isNobody ? BLAND : message };
}

/** A token may hold thousands of patterns; a few show what it is for. */
function describeList(patterns: readonly string[]): string {
  if (patterns.length === 0) return "nowhere";
  return `only on ${patterns.slice(0, 3).join(", ")}${patterns.length > 3 ? " and others" : ""}`;
}
