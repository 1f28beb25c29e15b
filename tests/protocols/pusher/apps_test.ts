/** Apps: what a file and a variable may say, and that no secret is repeated. */
import assert from "node:assert/strict";
import { Apps, parseApp, parseApps } from "../../../lib/protocols/pusher/apps.ts";

const SECRET = "top-secret-0123456789";
const GOOD = { id: "1", key: "k", secret: SECRET };

Deno.test("parseApp() reads id:key:secret, and lets clients publish", () => {
  const { id, key, secret, clientEvents, maxEventBytes } = parseApp(`1:k:${SECRET}`);
  assert.deepEqual([id, key, secret, clientEvents, maxEventBytes], ["1", "k", SECRET, true, 10_240]);
});

const BAD: readonly [string, string, RegExp][] = [
  ["no JSON", `{"secret":"${SECRET}"`, /not JSON/],
  ["an object", JSON.stringify(GOOD), /array/],
  ["no app", "[]", /array/],
  ["no id", JSON.stringify([{ ...GOOD, id: undefined }]), /App 1: "id"/],
  ["a number as key", JSON.stringify([{ ...GOOD, key: 5 }]), /App 1: "key"/],
  ["a slash in an id", JSON.stringify([GOOD, { ...GOOD, id: "a/b" }]), /App 2: "id"/],
  ["no secret", JSON.stringify([{ ...GOOD, secret: "" }]), /"secret"/],
  ["an unknown key", JSON.stringify([{ ...GOOD, webhook: [] }]), /unknown key "webhook"/],
  ["a webhook that is no URL", JSON.stringify([{ ...GOOD, webhooks: ["ftp://x"] }]), /webhooks/],
  ["a text as switch", JSON.stringify([{ ...GOOD, clientEvents: "yes" }]), /true or false/],
  ["a bad limit", JSON.stringify([{ ...GOOD, maxEventBytes: 0 }]), /maxEventBytes/],
  ["null", "[null]", /App 1 must be an object/],
];

for (const [name, text, message] of BAD) {
  Deno.test(`parseApps() refuses ${name}, and repeats no secret`, () => {
    assert.throws(() => parseApps(text), (error: Error) => {
      assert.match(error.message, message);
      assert.ok(!error.message.includes(SECRET));
      return error instanceof SyntaxError;
    });
  });
}

for (const text of ["", "1:k", `1:k:${SECRET}:x`, `a b:k:${SECRET}`, `1:k:`]) {
  Deno.test(`parseApp() refuses ${JSON.stringify(text.replace(SECRET, "..."))}`, () => {
    assert.throws(() => parseApp(text), (error: Error) => {
      assert.ok(!error.message.includes(SECRET));
      return error instanceof SyntaxError;
    });
  });
}

Deno.test("Apps refuses two apps with one id or key", () => {
  assert.throws(() => new Apps([parseApp("1:k:s"), parseApp("1:l:s")]), /id "1"/);
  assert.throws(() => new Apps([parseApp("1:k:s"), parseApp("2:k:s")]), /key of the app "2"/);
});
