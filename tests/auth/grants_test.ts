/** What clients may do, as one table of decisions, and what the denied and the operator are told. */
import assert from "node:assert/strict";
import { parseRulePattern } from "../../lib/core/channel.ts";
import {
  type AccessRules,
  type Denial,
  mayReach,
  mayUse,
  type Requester,
  type Tie,
  toRequester,
} from "../../lib/auth/grants.ts";
import { type Action, ACTIONS, Rules } from "../../lib/core/rules.ts";

const DEFAULT_ACCESS: AccessRules = new Rules([]).for("any");

const OPEN: Requester = { kind: "open" };
const STRANGER: Requester = { kind: "keyed", user: "", channels: new Set(), grants: [] };
const USER: Requester = { kind: "keyed", user: "ann", channels: new Set(["other"]), grants: [] };
const NAMED: Requester = { kind: "keyed", user: "ann", channels: new Set(["news"]), grants: [] };
const NAMED_STRANGER: Requester = { kind: "keyed", user: "", channels: new Set(["news"]), grants: [] };

const RULE = "news/**";

/** Rules where the pattern `news/**` sets some, over others. */
function set(
  settings: { readonly [K in keyof AccessRules]?: readonly Action[] },
  rules: AccessRules = DEFAULT_ACCESS,
): AccessRules {
  const entries = Object.entries(settings).map(([key, actions]) => [key, { actions, rule: RULE }]);
  return { ...rules, ...Object.fromEntries(entries) };
}

const NONE = DEFAULT_ACCESS;
const SHUT = set({ allow: [], allowSubscribers: [], allowAnonymous: [] });
const READERS = set({ allow: ["subscribe"] });
const WRITERS = set({ allow: ["publish", "presence"] });
const CHAT = set({ allowSubscribers: ["publish", "presence", "history"] });
const PUBLIC = set({ allowAnonymous: ["subscribe"] });
const PUBLIC_CHAT = set({ allowAnonymous: ["subscribe"], allowSubscribers: ["publish"] });
const EVERYTHING = set({ allowAnonymous: ACTIONS });

const ALL = "subscribe publish presence history";

/** Who, tied how, under which rules, may do what. */
const TABLE: readonly [string, Requester, Tie, AccessRules, string][] = [
  ["anybody without a key", OPEN, "none", NONE, ALL],
  ["anybody without a key, whatever the rules", OPEN, "none", SHUT, ALL],

  ["a stranger by default", STRANGER, "none", NONE, ""],
  ["a stranger where users may subscribe", STRANGER, "none", READERS, ""],
  ["a stranger where users may publish", STRANGER, "none", WRITERS, ""],
  ["a stranger where subscribers may chat", STRANGER, "none", CHAT, ""],
  ["a stranger where anybody may subscribe", STRANGER, "none", PUBLIC, "subscribe"],
  ["a stranger where anybody may do everything", STRANGER, "none", EVERYTHING, ALL],
  ["a stranger with a subscription token", STRANGER, "token", NONE, "subscribe history"],
  ["a stranger with a subscription token where subscribers may chat", STRANGER, "token", CHAT, ALL],
  ["a stranger whose connection token names the channel", NAMED_STRANGER, "none", NONE, "subscribe history"],
  ["a stranger whom a rule lets subscribe", STRANGER, "none", PUBLIC_CHAT, "subscribe"],

  ["a user by default", USER, "none", NONE, ""],
  ["a user where users may subscribe", USER, "none", READERS, "subscribe history"],
  ["a user where users may publish", USER, "none", WRITERS, "publish presence"],
  ["a user where subscribers may chat", USER, "none", CHAT, ""],
  ["a user where anybody may subscribe", USER, "none", PUBLIC, "subscribe history"],
  [
    "a user where anybody may subscribe and subscribers may publish",
    USER,
    "none",
    PUBLIC_CHAT,
    "subscribe publish",
  ],
  ["a user where anybody may do everything", USER, "none", EVERYTHING, ALL],
  ["a user with a subscription token", USER, "token", NONE, "subscribe history"],
  ["a user with a subscription token where nothing is allowed", USER, "token", SHUT, "subscribe"],
  ["a user with a subscription token where subscribers may chat", USER, "token", CHAT, ALL],
  ["a user with a subscription token where users may publish", USER, "token", WRITERS, ALL],
  ["a user whose connection token names the channel", NAMED, "none", NONE, "subscribe history"],
  ["a user whose connection token names the channel where subscribers may chat", NAMED, "none", CHAT, ALL],
  [
    "a user whose connection token names the channel where nothing is allowed",
    NAMED,
    "none",
    SHUT,
    "subscribe",
  ],
];

for (const [who, requester, tie, rules, expected] of TABLE) {
  Deno.test(`mayUse(): ${who} may ${expected === "" ? "do nothing" : expected.replaceAll(" ", ", ")}`, () => {
    const allowed = ACTIONS.filter((action) => mayUse(action, "news", requester, rules, tie).allowed);
    assert.equal(allowed.join(" "), expected);
  });
}

Deno.test("mayUse() takes no token for another channel than it names", () => {
  for (const channel of ["News", "news/1", "new", ""]) {
    assert.equal(mayUse("subscribe", channel, NAMED, NONE).allowed, false, channel);
  }
});

function grant(grants: Record<string, readonly Action[]>, user = "ann"): Requester {
  const parsed = Object.entries(grants).map(([pattern, actions]) => ({
    pattern,
    segments: parseRulePattern(pattern),
    actions,
  }));
  return toRequester({ user, channels: [], grants: parsed });
}

Deno.test("mayUse() allows what a token grants by pattern, to users and to nobody in particular, and no more", () => {
  for (const user of ["ann", ""]) {
    const requester = grant({ "chat/*": ["subscribe", "publish"], "user:**": ["history"] }, user);
    const allowed = (channel: string) =>
      ACTIONS.filter((action) => mayUse(action, channel, requester, NONE).allowed).join(" ");
    assert.equal(allowed("chat/1"), "subscribe publish");
    assert.equal(allowed("chat/1/2"), "");
    assert.equal(allowed("user:7/inbox"), "history");
    assert.equal(allowed("news"), "");
  }
});

Deno.test("mayUse() says in a denial what a token does grant", () => {
  const message = (requester: Requester) => {
    const decision = mayUse("publish", "news", requester, NONE);
    return decision.allowed ? "" : decision.clientMessage;
  };
  assert.match(message(grant({ "chat/*": ["publish"] })), /to "news".*grants it only on "chat\/\*"; set/);
  assert.match(message(grant({ "chat/*": ["subscribe"] }, "")), /grants it nowhere; set/);
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`c${i}`, ["publish" as const]]));
  assert.match(message(grant(many)), /only on "c0", "c1", "c2" and others; set/);
});

Deno.test("mayReach() takes a pattern for granted only if all of it is", () => {
  const requester = grant({ "chat/*": ["subscribe"], "all/**": ["subscribe"], "user:**": ["subscribe"] });
  assert.ok(requester.kind === "keyed");
  const reach = (pattern: string) => mayReach("subscribe", pattern.split("/"), requester.grants);
  for (const pattern of ["chat/1", "chat/*", "all/*", "all/**", "all/1/*/2", "user:7", "user:7/**"]) {
    assert.ok(reach(pattern), pattern);
  }
  for (const pattern of ["*", "**", "*/1", "chat/**", "chat", "chat/1/2", "all", "user:", "news"]) {
    assert.ok(!reach(pattern), pattern);
  }
});

const DENIALS: readonly [Action, Requester, Tie, AccessRules, Omit<Denial, "allowed" | "clientMessage">][] = [
  ["subscribe", USER, "none", set({ allow: [] }), {
    rule: RULE,
    setting: '"allow": ["subscribe"]',
    message:
      'Cannot subscribe to "news": rule "news/**" does not allow "subscribe" without a subscription token; ' +
      'set "allow": ["subscribe"] in the rules',
  }],
  ["subscribe", USER, "none", NONE, {
    rule: undefined,
    setting: '"allow": ["subscribe"]',
    message: 'Cannot subscribe to "news": no rule allows "subscribe" without a subscription token; ' +
      'set "allow": ["subscribe"] in the rules',
  }],
  ["publish", USER, "none", READERS, {
    rule: RULE,
    setting: '"allow": ["subscribe", "publish"]',
    message: 'Cannot publish to "news": rule "news/**" does not allow "publish" to users; ' +
      'set "allow": ["subscribe", "publish"] in the rules',
  }],
  ["publish", USER, "none", CHAT, {
    rule: undefined,
    setting: '"allow": ["publish"]',
    message: 'Cannot publish to "news": no rule allows "publish" without a subscription token; ' +
      'set "allow": ["publish"] in the rules',
  }],
  ["presence", USER, "token", NONE, {
    rule: undefined,
    setting: '"allowSubscribers": ["presence", "history"]',
    message: 'Cannot read the presence of "news": no rule allows "presence" to subscribers; ' +
      'set "allowSubscribers": ["presence", "history"] in the rules',
  }],
  ["history", NAMED, "none", SHUT, {
    rule: RULE,
    setting: '"allowSubscribers": ["history"]',
    message: 'Cannot read the history of "news": rule "news/**" does not allow "history" to subscribers; ' +
      'set "allowSubscribers": ["history"] in the rules',
  }],
  ["publish", STRANGER, "none", PUBLIC, {
    rule: RULE,
    setting: '"allowAnonymous": ["subscribe", "publish"]',
    message: 'Cannot publish to "news": rule "news/**" does not allow "publish" to clients without a user; ' +
      'set "allowAnonymous": ["subscribe", "publish"] in the rules',
  }],
  ["publish", STRANGER, "token", set({ allowSubscribers: ["presence"] }), {
    rule: RULE,
    setting: '"allowSubscribers": ["publish", "presence"]',
    message: 'Cannot publish to "news": rule "news/**" does not allow "publish" to subscribers; ' +
      'set "allowSubscribers": ["publish", "presence"] in the rules',
  }],
];

for (const [action, requester, tie, rules, expected] of DENIALS) {
  Deno.test(`mayUse() denies: ${expected.message}`, () => {
    const decision = mayUse(action, "news", requester, rules, tie);
    const anonymous = requester.kind === "keyed" && requester.user === "";
    assert.deepEqual(decision, {
      allowed: false,
      ...expected,
      clientMessage: anonymous ? "permission denied" : expected.message,
    });
  });
}

Deno.test("the setting a denial names allows what was denied, and takes nothing away", () => {
  const rules = [NONE, SHUT, READERS, WRITERS, CHAT, PUBLIC, PUBLIC_CHAT, EVERYTHING];
  let denials = 0;
  for (const requester of [STRANGER, USER, NAMED, NAMED_STRANGER]) {
    for (const tie of ["none", "token"] as const) {
      for (const before of rules) {
        const may = (action: Action, access: AccessRules) => mayUse(action, "news", requester, access, tie);
        for (const action of ACTIONS) {
          const decision = may(action, before);
          if (decision.allowed) continue;
          denials++;
          const changed = set(JSON.parse(`{${decision.setting}}`), before);
          assert.ok(may(action, changed).allowed, decision.message);
          for (const other of ACTIONS) {
            if (may(other, before).allowed) assert.ok(may(other, changed).allowed, decision.message);
          }
        }
      }
    }
  }
  assert.ok(denials > 40);
});

Deno.test("mayUse() gives whoever is let in by a grant what the grant lists, not what is for subscribers", () => {
  const requester = grant({ "news": ["subscribe"] });
  const allowed = ACTIONS.filter((action) => mayUse(action, "news", requester, CHAT).allowed);
  assert.deepEqual(allowed, ["subscribe"]);
});
