/** What is wrong with credentials is said in the same words at every door. */
import assert from "node:assert/strict";
import { startApp } from "../test_app.ts";

const SETTINGS = [
  "RAINDROPS_TOKEN_SECRET=a-secret-of-thirty-two-characters",
  "RAINDROPS_API_KEYS=key-0123456789abcdef",
];

const DOORS: readonly [method: string, path: string, accept: string][] = [
  ["POST", "/news", "application/json"],
  ["DELETE", "/news", "application/json"],
  ["POST", "/@ann", "application/json"],
  ["GET", "/news", "application/json"],
  ["GET", "/news", "text/event-stream"],
  ["GET", "/news,ops", "application/json"],
  ["GET", "/news/*", "application/json"],
  ["GET", "/news?since=earliest", "application/json"],
  ["GET", "/news?export=ndjson", "application/json"],
  ["POST", "/api/info", "application/json"],
  ["GET", "/api/backup", "application/json"],
];

const WRONG: readonly Readonly<Record<string, string>>[] = [{ "x-api-key": "nope" }, {
  authorization: "apikey nope",
}];

for (const [method, path, accept] of DOORS) {
  Deno.test(`${method} ${path} as ${accept} says that an API key is unknown`, async () => {
    await using app = await startApp(...SETTINGS);
    for (const headers of WRONG) {
      const body = method === "POST" ? "{}" : null;
      const response = await fetch(app.url + path, { method, body, headers: { ...headers, accept } });
      const { detail } = await response.json();
      assert.deepEqual([response.status, detail], [
        401,
        "The API key is unknown: use one of those in RAINDROPS_API_KEYS",
      ]);
    }
  });
}

Deno.test("What rules give to everybody, a wrong API key does not take away", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, '[{"channels":"news","allowAnonymous":["subscribe","history"]}]');
  await using app = await startApp(...SETTINGS, "--rules", rules);
  await Deno.remove(rules);
  const response = await fetch(`${app.url}/news`, {
    headers: { "x-api-key": "nope", accept: "application/json" },
  });
  await response.body?.cancel();
  assert.equal(response.status, 200);
});

Deno.test("A token that is not valid is refused with the task that explains it", async () => {
  await using app = await startApp(...SETTINGS);
  const headers = { authorization: "Bearer a.b.c", accept: "application/json" };
  const response = await fetch(`${app.url}/news`, { headers });
  assert.match(
    (await response.json()).detail,
    /^The token is not valid here: .*deno task token explain says/,
  );
});
