/** The keys of the HTTP API: which calls they let in, and that nobody gets to see one. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import { ApiKeys, parseApiKeys } from "../../lib/auth/api_keys.ts";

const OLD = "old-key-0123456789abcdef";
const NEW = "new-key-0123456789abcdef";

function check(keys: ApiKeys, headers: Record<string, string>): string {
  const decision = keys.check(new Headers(headers));
  return decision.allowed ? "allowed" : decision.message;
}

const CALLS: readonly { name: string; headers: Record<string, string>; outcome: RegExp }[] = [
  { name: "the first key", headers: { "x-api-key": OLD }, outcome: /^allowed$/ },
  { name: "the second key", headers: { "x-api-key": NEW }, outcome: /^allowed$/ },
  { name: "Authorization", headers: { authorization: `apikey ${NEW}` }, outcome: /^allowed$/ },
  { name: "Authorization in capitals", headers: { authorization: `APIKey  ${NEW}` }, outcome: /^allowed$/ },
  {
    name: "an empty X-API-Key",
    headers: { "x-api-key": "", authorization: `apikey ${NEW}` },
    outcome: /^allowed$/,
  },
  { name: "no key", headers: {}, outcome: /needs a key: send it as X-API-Key/ },
  { name: "another scheme", headers: { authorization: `Basic ${NEW}` }, outcome: /needs a key/ },
  { name: "a key as a bearer", headers: { authorization: `Bearer ${NEW}` }, outcome: /^allowed$/ },
  { name: "a bare key as Authorization", headers: { authorization: NEW }, outcome: /needs a key/ },
  { name: "words behind the key", headers: { authorization: `apikey ${NEW} x` }, outcome: /needs a key/ },
  { name: "a wrong key", headers: { "x-api-key": "wrong" }, outcome: /unknown.*RAINDROPS_API_KEYS/ },
  { name: "the start of a key", headers: { "x-api-key": NEW.slice(0, -1) }, outcome: /unknown/ },
  { name: "a key and more", headers: { "x-api-key": NEW + "0" }, outcome: /unknown/ },
  { name: "a key in capitals", headers: { "x-api-key": NEW.toUpperCase() }, outcome: /unknown/ },
  { name: "both keys at once", headers: { "x-api-key": `${OLD},${NEW}` }, outcome: /unknown/ },
  {
    name: "a wrong key beside a right one",
    headers: { "x-api-key": "wrong", authorization: `apikey ${NEW}` },
    outcome: /unknown/,
  },
];

for (const { name, headers, outcome } of CALLS) {
  Deno.test(`ApiKeys.check() decides on ${name}`, () => {
    for (const open of [false, true]) {
      const message = check(new ApiKeys(parseApiKeys(`${OLD},${NEW}`), { open }), headers);
      assert.match(message, outcome);
      assert.ok(!message.includes(OLD) && !message.includes(NEW) && !message.includes("wrong"));
    }
  });
}

Deno.test("ApiKeys.check() without a key lets everybody in where the server is open, and nobody elsewhere", () => {
  const headers = { "x-api-key": "anything" };
  assert.equal(check(new ApiKeys([], { open: true }), headers), "allowed");
  assert.equal(check(new ApiKeys([], { open: true }), {}), "allowed");
  // Any site can make a page without an origin: a frame in a sandbox is one.
  assert.match(check(new ApiKeys([], { open: true }), { origin: "null" }), /not for pages from disk/);
  assert.equal(check(new ApiKeys([], { open: true }), { origin: "http://localhost:5173" }), "allowed");
  assert.match(check(new ApiKeys([], { open: false }), headers), /closed.*set RAINDROPS_API_KEYS/);
  assert.match(check(new ApiKeys([], { open: false }), {}), /closed.*set RAINDROPS_API_KEYS/);
});

Deno.test("ApiKeys keeps no key that could be printed, and warns of one that is short", () => {
  const keys = new ApiKeys(parseApiKeys(`${OLD},tiny`), { open: false });
  assert.equal(keys.warnings.length, 1);
  assert.match(keys.warnings[0]!, /fewer than 16 characters/);
  const shown = inspect(keys, { showHidden: true, depth: 9 }) + Deno.inspect(keys) + JSON.stringify(keys);
  assert.ok(!shown.includes(OLD) && !shown.includes("tiny"));
  assert.deepEqual(new ApiKeys(parseApiKeys(`${OLD},${NEW}`), { open: false }).warnings, []);
});

Deno.test("parseApiKeys() reads a comma list", () => {
  assert.deepEqual(parseApiKeys(""), []);
  assert.deepEqual(parseApiKeys("  "), []);
  assert.deepEqual(parseApiKeys("a").map(({ isShort }) => isShort), [true]);
  const keys = parseApiKeys(` ${OLD} , ${NEW} `);
  assert.deepEqual(keys, [...parseApiKeys(OLD), ...parseApiKeys(NEW)]);
  assert.deepEqual(keys[0]?.digest, createHash("sha256").update(OLD).digest());
});

Deno.test("parseApiKeys() says which key is bad without quoting any", () => {
  const bad: readonly [text: string, message: RegExp][] = [
    [`${OLD},`, /API key 2 is empty/],
    [`,${OLD}`, /API key 1 is empty/],
    [`${OLD},two words`, /API key 2 has a space/],
    [`${OLD},schlüssel`, /API key 2 has a space or a character that is not ASCII/],
  ];
  for (const [text, message] of bad) {
    assert.throws(() => parseApiKeys(text), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      assert.ok(!["old-key", "two", "schl"].some((part) => error.message.includes(part)));
      return true;
    });
  }
});
