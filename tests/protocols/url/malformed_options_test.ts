/** Every parameter and header of a URL that holds JSON, a number, a time or a list names itself when it is malformed. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";

/** What is wrong with each, and a word of what it may be. */
const PUBLISHING: readonly [name: string, value: string, says: RegExp][] = [
  ["tags", "city:Bern", /JSON object such as/],
  ["tags", "[1]", /JSON object such as/],
  ["tags", '{"a":', /JSON object such as/],
  ["tags", "5", /JSON object such as/],
  ["tags", '{"a":1}', /values are strings/],
  ["ttl", "soon", /seconds|whole number/],
  ["ttl", "-1", /seconds|whole number/],
  ["ttl", "1e99", /seconds|whole number/],
  ["at", "tomorrow", /2026-01-31T12:00:00Z/],
  ["delay", "a while", /30s, 5m/],
  ["delay", "-5m", /30s, 5m/],
  ["ephemeral", "maybe", /true or false/],
  ["retain", "yes", /true or false/],
  ["removed", "2", /true or false/],
  ["raw", "what", /true or false/],
  ["key", "x".repeat(300), /255 characters/],
  ["event", "x".repeat(300), /characters/],
  ["event", "", /characters/],
  ["id", "a b/c", /letters|characters/],
  ["name", "x".repeat(300), /characters/],
  ["to", "a b/c", /letters|characters/],
];

const READING: readonly [name: string, value: string, says: RegExp][] = [
  ["since", "yesterday at noon", /earliest/],
  ["limit", "many", /whole number from 1/],
  ["limit", "0", /whole number from 1/],
  ["before", "x1", /offset of a message/],
  ["follow", "perhaps", /true or false/],
  ["presence", "perhaps", /true or false/],
  ["export", "xml", /ndjson or csv/],
  ["q", "x".repeat(300), /200 characters/],
  ["id", "a b/c", /letters|characters/],
  ["name", "x".repeat(300), /characters/],
];

async function refuse(url: string, init: RequestInit): Promise<string> {
  const response = await fetch(url, init);
  const text = await response.text();
  assert.equal(response.status, 400, text);
  return JSON.parse(text).detail;
}

for (const [doors, init] of [[PUBLISHING, { method: "POST", body: "x" }], [READING, {}]] as const) {
  for (const [name, value, says] of doors) {
    Deno.test(`${doors === READING ? "GET" : "POST"} ?${name}=${value.slice(0, 20)} names ${name} and says what it may be`, async () => {
      await using app = await startApp();
      const detail = await refuse(`${app.url}/news?${new URLSearchParams({ [name]: value })}`, init);
      assert.match(detail, new RegExp(`\\b${name}\\b`, "i"));
      assert.match(detail, says);
    });
  }
}

Deno.test("An Idempotency-Key that is too long is named", async () => {
  await using app = await startApp();
  const headers = { "idempotency-key": "x".repeat(300) };
  const detail = await refuse(`${app.url}/news`, { method: "POST", body: "x", headers });
  assert.match(detail, /Idempotency-Key|idempotency key/i);
});
