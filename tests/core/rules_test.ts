/** Channel rules: what a rules file may say, and which of its entries decides. */
import assert from "node:assert/strict";
import { BUILT_IN_RULES, parseRules, Rules } from "../../lib/core/rules.ts";

const DEFAULT = {
  history: { messages: 1_000, seconds: 86_400 },
  ephemeral: false,
  conflate: false,
  presence: true,
  forceJoinLeave: false,
  personalChannel: false,
  push: false,
  allow: { actions: [], rule: undefined },
  allowSubscribers: { actions: ["history"], rule: undefined },
  allowAnonymous: { actions: [], rule: undefined },
};

Deno.test("Rules.for() gives a channel no entry matches the defaults", () => {
  assert.deepEqual(new Rules([]).for("news"), DEFAULT);
  assert.deepEqual(new Rules().for("news"), DEFAULT);
});

Deno.test("Rules.for() lets the first entry that sets something decide it", () => {
  const rules = new Rules([
    { channels: "orders/42", history: { messages: 5 } },
    { channels: "orders/*", history: { messages: 10, seconds: 60 }, conflate: true },
    { channels: "**", conflate: false, presence: false, history: { seconds: 1 } },
  ]);
  assert.deepEqual(rules.for("orders/42"), {
    ...DEFAULT,
    history: { messages: 5, seconds: 60 },
    conflate: true,
    presence: false,
  });
  assert.deepEqual(rules.for("orders/43").history, { messages: 10, seconds: 60 });
  assert.deepEqual(rules.for("news"), {
    ...DEFAULT,
    history: { messages: 1_000, seconds: 1 },
    presence: false,
  });
});

Deno.test("Rules.for() names the rule that allows, and an empty list allows nothing", () => {
  const rules = new Rules([
    { channels: "news/secret", allow: [] },
    { channels: "news/*", allow: ["subscribe"], allowAnonymous: ["history"] },
  ]);
  assert.deepEqual(rules.for("news/1").allow, { actions: ["subscribe"], rule: "news/*" });
  assert.deepEqual(rules.for("news/secret").allow, { actions: [], rule: "news/secret" });
  assert.deepEqual(rules.for("news/secret").allowAnonymous, { actions: ["history"], rule: "news/*" });
  assert.equal(rules.admitsAnonymous, true);
  assert.equal(new Rules().admitsAnonymous, false);
});

Deno.test("Rules.for() answers alike for more channels than it remembers", () => {
  const rules = new Rules([{ channels: "a/*", ephemeral: true }]);
  for (let i = 0; i < 10_050; i++) assert.equal(rules.for(`a/${i}`).ephemeral, true);
  assert.equal(rules.for("a/0").ephemeral, true);
  assert.equal(rules.for("b").ephemeral, false);
});

Deno.test("BUILT_IN_RULES keep cursors out of the log", () => {
  const rules = new Rules(BUILT_IN_RULES);
  for (const channel of ["cursors", "cursors/news", "cursors/weather/bergen"]) {
    assert.deepEqual(rules.for(channel), { ...DEFAULT, ephemeral: true, conflate: true }, channel);
  }
});

Deno.test("parseRules() puts the file's entries before the built-in ones", () => {
  const rules = new Rules(parseRules('[{ "channels": "**", "ephemeral": false }]'));
  assert.equal(rules.for("cursors").ephemeral, false);
  assert.equal(rules.for("cursors").conflate, true);
  assert.deepEqual(parseRules("[]"), BUILT_IN_RULES);
});

Deno.test("parseRules() takes an array of patterns like a rule for each", () => {
  const rules = new Rules(parseRules(
    '[{ "channels": ["a", "b/*"], "allow": ["publish"] }, { "channels": "a", "ephemeral": true, "allow": [] }]',
  ));
  assert.deepEqual(rules.for("a").allow, { actions: ["publish"], rule: "a" });
  assert.equal(rules.for("a").ephemeral, true);
  assert.deepEqual(rules.for("b/1").allow, { actions: ["publish"], rule: "b/*" });
  assert.deepEqual(rules.for("b").allow.actions, []);
});

Deno.test("parseRules() names the entry and what is wrong with it", () => {
  const cases: readonly [text: string, error: RegExp][] = [
    ["", /^the file is empty$/],
    ['[\n{"channels":"a"},\n]', /^it is not JSON at line 3, column 1/],
    ["{}", /array/],
    ["null", /array/],
    ["[1]", /Rule 1 must be an object/],
    ["[[]]", /Rule 1 must be an object/],
    ['[{"channels":"a"},null]', /Rule 2 must be an object/],
    ["[{}]", /Rule 1 needs "channels"/],
    ['[{"channels":1}]', /Rule 1 needs "channels"/],
    ['[{"channels":[]}]', /Rule 1 needs "channels"/],
    ['[{"channels":["a",1]}]', /Rule 1 needs "channels"/],
    ['[{"channels":["a","b?"]}]', /Rule 1.*the character "\?"/],
    ['[{"channels":"a"},{"channels":"a?b"}]', /Rule 2.*the character "\?"/],
    ['[{"channels":"**/a"}]', /Rule 1.*last segment/],
    ['[{"channels":"a","histroy":{}}]', /Rule 1 has the unknown key "histroy"/],
    ['[{"channels":"a","forceJoinLeave":1}]', /"forceJoinLeave" must be true or false/],
    ['[{"channels":"a","personalChannel":"yes"}]', /"personalChannel" must be true or false/],
    ['[{"channels":"a","__proto__":{}}]', /Rule 1 has the unknown key "__proto__"/],
    ['[{"channels":"a","conflate":1}]', /Rule 1: "conflate" must be true or false/],
    ['[{"channels":"a","history":5}]', /Rule 1: "history" must be an object/],
    ['[{"channels":"a","history":{"hours":5}}]', /unknown key "hours"/],
    ['[{"channels":"a","history":{"messages":0}}]', /"history.messages" must be a whole number/],
    ['[{"channels":"a","history":{"seconds":1.5}}]', /"history.seconds" must be a whole number/],
    ['[{"channels":"a","history":{"seconds":"5"}}]', /"history.seconds" must be a whole number/],
    ['[{"channels":"a","history":{"seconds":null}}]', /"history.seconds" must be a whole number/],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseRules(text), (error) => {
      assert.ok(error instanceof SyntaxError, text);
      assert.match(error.message, message);
      return true;
    });
  }
});
