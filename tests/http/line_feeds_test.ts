/** What a terminal shows ends with a line feed, so that the prompt stands on a line of its own. */
import assert from "node:assert/strict";
import { startApp } from "../test_app.ts";

/** Method and path, with a body where there is one. In order: later ones show what earlier ones have left. */
const REQUESTS: readonly (readonly [request: string, body?: string])[] = [
  ["POST /news", "it rains"],
  ["POST /news?ephemeral", "for now"],
  ["POST /news?delay=5m", "later"],
  ["POST /news?delay=never", "wrong"],
  ["POST /_foo", "wrong"],
  ["GET /news"],
  ["GET /news?since=earliest"],
  ["GET /news?since=wrong"],
  ["GET /news?presence"],
  ["GET /news?export=ndjson"],
  ["GET /news?export=csv"],
  ["GET /_scheduled"],
  ["DELETE /_scheduled/none"],
  ["DELETE /news?id=wrong"],
  ["DELETE /news"],
  ["PATCH /news"],
  ["GET /_foo"],
  ["GET /healthz"],
  ["GET /readyz"],
  ["GET /metrics"],
  ["POST /api/info", "{}"],
  ["POST /api/info"],
  ["POST /api/foo", "{}"],
  ["GET /api/info"],
];

Deno.test("What a terminal shows ends with a line feed: receipts, documents, exports, errors, health", async () => {
  await using server = await startApp();
  for (const [request, body = null] of REQUESTS) {
    const [method = "", path] = request.split(" ");
    const response = await fetch(server.url + path, { method, body });
    const text = await response.text();
    assert.equal(text.at(-1), "\n", `${request}: ${response.status} ${text}`);
  }
});

Deno.test("A cancelled message is answered with a line feed", async () => {
  await using server = await startApp();
  const scheduled = await fetch(`${server.url}/news?delay=5m`, { method: "POST", body: "later" });
  const { scheduled: id } = await scheduled.json();
  const response = await fetch(`${server.url}/_scheduled/${id}`, { method: "DELETE" });
  assert.match(await response.text(), /cancelled.*\n$/);
});
