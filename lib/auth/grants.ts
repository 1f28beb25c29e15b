/**
 * Decides what a client may do on a channel, as a pure function of its token and the channel's rules. Only the gate
 * calls it; a denial says which rule denied and what would allow it.
 *
 * On an open server everything is allowed. On any other, nothing is allowed unless a token or a channel rule allows it:
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

/** The rules of a channel about permissions. */
export type AccessRules = Pick<ChannelRules, "allow" | "allowSubscribers" | "allowAnonymous">;

/** Who requests an action. */
export type Requester =
  /** Any client of an open server. */
  | { readonly kind: "open" }
  /** An operator: with a key, or on a server that requires none. */
  | { readonly kind: "operator"; readonly hasKey: boolean }
  | {
    readonly kind: "keyed";
    /** "" without a connection token, or with one that has no user. */
    readonly user: string;
    /** The channels that its connection token names. */
    readonly channels: ReadonlySet<string>;
    /** The grants of its connection token. */
    readonly grants: readonly Grant[];
  };

/** What a token allows on all channels that match a pattern. */
export interface Grant {
  readonly pattern: string;
  /** The pattern, split into segments. */
  readonly segments: readonly string[];
  readonly actions: readonly Action[];
}

/**
 * Whether the client has a token for this channel besides its connection token: one sent now or with its subscription.
 * A subscription made by the HTTP API counts as one.
 */
export type Tie = "none" | "token";

export type Decision = { readonly allowed: true } | Denial;

export interface Denial {
  readonly allowed: false;
  /** The pattern of the rule that denied; undefined for the default rule. */
  readonly rule: string | undefined;
  /** The setting that would allow it in a rule for the channel. */
  readonly setting: string;
  /** For the log. */
  readonly message: string;
  /** For the client. Anonymous clients learn nothing about the rules. */
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

/** Decides whether a requester may do an action on a channel with these rules. */
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
  // An anonymous client that a rule admitted is not a subscriber in the sense of allowSubscribers.
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
 * Whether grants allow an action on every channel that matches a pattern, regardless of the rules.
 *
 * @param pattern a pattern or channel name, split into segments
 */
export function mayReach(action: Action, pattern: readonly string[], grants: readonly Grant[]): boolean {
  return grants.some(({ segments, actions }) => actions.includes(action) && coversPattern(segments, pattern));
}

/** The requester that the claims of a token make. */
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
  // Includes what is allowed already, so that the setting can be copied as it is.
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

/** Lists a few patterns: a token may have thousands. */
function describeList(patterns: readonly string[]): string {
  if (patterns.length === 0) return "nowhere";
  return `only on ${patterns.slice(0, 3).join(", ")}${patterns.length > 3 ? " and others" : ""}`;
}
