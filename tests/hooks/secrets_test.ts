/** What the log and the inspector tell of an application that is away holds no query of its URL, which may be a secret. */
import assert from "node:assert/strict";
import { startApp } from "../test_app.ts";
import { writeHooks } from "./receiver.ts";

/** A port of this machine where nobody answers. */
function findClosedPort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}

Deno.test("no query of a callout's or webhook's URL is logged or shown", async () => {
  const url = `http://127.0.0.1:${findClosedPort()}/hook?code=xyzzy42`;
  const channels = ["private/**"];
  const hooks = await writeHooks({
    callouts: { headers: ["cookie"], subscribe: { url, channels }, publish: { url, channels }, rpc: { url } },
    webhooks: [{ name: "away", url, secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }],
  });
  await using server = await startApp("--hooks", hooks);
  const answers = await Promise.all([
    fetch(`${server.url}/private/a?since=earliest`),
    fetch(`${server.url}/private/a`, { method: "POST", body: "x" }),
    fetch(`${server.url}/news`, { method: "POST", body: "x" }),
  ]);
  const texts = await Promise.all(answers.map((answer) => answer.text()));
  assert.equal(server.logger.find("callout failed").length, 2);
  assert.deepEqual(answers.map(({ status }) => status), [503, 503, 200]);
  while (server.logger.find("webhook failed").length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const shown = await (await fetch(`${server.url}/_inspect/webhooks`)).text();
  const logged = JSON.stringify(server.logger.entries);
  const failures = ["callout failed", "webhook failed"].flatMap((event) => server.logger.find(event));
  for (const { reason } of failures.slice(0, 3)) assert.match(String(reason), /client error \(Connect\)/);
  for (const text of [...texts, shown, logged]) assert.ok(!text.includes("xyzzy42"), text);
});
