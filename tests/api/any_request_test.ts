/** The HTTP API survives anything: requests, batches, bytes and paths that nobody would send. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Bench, connectPeople, withBench } from "./bench.ts";

const METHOD_NAMES = [
  "publish",
  "broadcast",
  "subscribe",
  "unsubscribe",
  "disconnect",
  "refresh",
  "presence",
  "presence_stats",
  "history",
  "history_remove",
  "channels",
  "info",
];

const FIELD_NAMES = [
  "channel channels data b64data skip_history tags idempotency_key delta version version_epoch user client info",
  "b64info expire_at recover_since override session whitelist disconnect expired since limit reverse pattern cursor",
].join(" ").split(" ");

const anyValue = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    "news",
    "cursors",
    "secret",
    "u",
    "",
    "AA==",
    "{",
    "[a",
    "*",
    null,
    -1,
    0,
    1,
    2 ** 53,
  ),
  fc.record({ offset: fc.jsonValue(), epoch: fc.jsonValue(), code: fc.jsonValue(), reason: fc.string() }),
  fc.array(fc.constantFrom("news", "a b", "u1")),
);
const anyRequest = fc.dictionary(fc.constantFrom(...FIELD_NAMES), anyValue);
const anyCommand = fc.dictionary(fc.constantFrom(...METHOD_NAMES, "batch", "__proto__"), anyRequest, {
  maxKeys: 2,
});

/** An answer of the API, never an internal error. */
async function assertSane(response: Response): Promise<void> {
  const { status } = response;
  const text = await response.text();
  assert.ok([200, 400, 404, 413, 416].includes(status), `${status} ${text}`);
  const answer = JSON.parse(text);
  if (response.headers.get("content-type") === "application/json") {
    assert.doesNotMatch(text, /"code":100\b/);
    assert.ok("result" in answer || "error" in answer || "replies" in answer || "code" in answer, text);
  } else assert.equal(response.headers.get("content-type"), "application/problem+json");
}

Deno.test("handleApi() survives any request", async () => {
  const bench = new Bench({ maxBodyBytes: 5_000 });
  const method = fc.constantFrom(...METHOD_NAMES);
  await fc.assert(
    fc.asyncProperty(method, anyRequest, fc.constantFrom("transport", ""), async (name, request, mode) => {
      if (bench.hub.clientCount === 0) connectPeople(bench);
      const headers = { "x-centrifugo-error-mode": mode };
      await assertSane(await bench.post(name, JSON.stringify(request), headers));
    }),
    { numRuns: 1_000 },
  );
  assert.deepEqual(bench.logger.find("api call failed"), []);
});

Deno.test("handleApi() survives any batch", async () => {
  const bench = new Bench();
  const commands = fc.array(fc.oneof(anyCommand, fc.jsonValue()), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(commands, fc.boolean(), async (list, parallel) => {
      const response = await bench.post("batch", JSON.stringify({ commands: list, parallel }));
      const { replies } = await response.clone().json();
      assert.equal(replies.length, list.length);
      await assertSane(response);
    }),
    { numRuns: 300 },
  );
});

Deno.test("handleApi() survives any bytes and any path", async () => {
  const bench = new Bench();
  const bytes = fc.oneof(
    fc.uint8Array().map((array) => new Uint8Array(array)),
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.constantFrom(
      '{"channel":"news","data":',
      '{"__proto__":{"channel":"x"}}',
      '{"channel":"a","channel":2}',
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.webPath(), bytes, fc.constantFrom(...METHOD_NAMES, "batch"), async (...all) => {
      const [path, body, method] = all;
      await assertSane(await bench.post(method, body));
      await assertSane(await bench.post(path, body));
    }),
  );
});

withBench("handleApi() refuses what is nested more deeply than the stack", async (bench) => {
  for (const number of ["1", "1.0"]) {
    const deep = "[".repeat(40_000) + number + "]".repeat(40_000);
    for (
      const body of [
        `{"channel":"news","data":${deep}}`,
        `{"channel":"news","user":"u","info":${deep}}`,
        deep,
      ]
    ) {
      for (const method of ["publish", "subscribe", "batch"]) {
        await assertSane(await bench.post(method, body));
      }
    }
  }
  assert.equal((await bench.read()).length, 0);
});
