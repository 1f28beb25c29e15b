/** What protocols keep private is so for the thread of the engine too, which reads history for all workers. */
import assert from "node:assert/strict";
import { ENGINE_PROTOCOLS } from "../../lib/protocols/mod.ts";
import * as registry from "../../lib/protocols/registry.ts";
import { startWorkers } from "../test_app.ts";

const PROTOCOLS = new URL("../../lib/protocols/", import.meta.url);

Deno.test("Every protocol that keeps channels private is opened in the thread of the engine", async () => {
  const guarding: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(PROTOCOLS)) {
    if (!isDirectory) continue;
    for await (const file of Deno.readDir(new URL(`${name}/`, PROTOCOLS))) {
      const text = await Deno.readTextFile(new URL(`${name}/${file.name}`, PROTOCOLS));
      if (/\.protect\(/.test(text)) guarding.push(name);
    }
  }
  assert.ok(guarding.length > 0);
  const opens: Readonly<Record<string, { readonly open: unknown }>> = { ...registry };
  for (const name of guarding) {
    const { open } = opens[name] ?? {};
    assert.ok(
      ENGINE_PROTOCOLS.some((one) => one === open),
      `${name} keeps channels private: add it to ENGINE_PROTOCOLS`,
    );
  }
});

Deno.test("Workers show private channels of no protocol to whoever reads a pattern, or asks the inspector", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "**", personalChannel: true }]));
  await using server = await startWorkers([
    ...["--workers", "3", "--rules", rules, "RAINDROPS_PUSHER_APP=app1:key1:secret-of-app-1"],
    "RAINDROPS_API_KEYS=key-of-an-operator",
  ]);
  await Deno.remove(rules);
  const headers = { "x-api-key": "key-of-an-operator" };
  for (const channel of ["news", "%2342", "private-a", "presence-a"]) {
    const { status } = await fetch(`${server.url}/${channel}`, { method: "POST", body: "hidden", headers })
      .then(async (response) => (await response.body?.cancel(), response));
    assert.equal(status, 200, channel);
  }
  const read = async (init: RequestInit) => {
    const answer = await (await fetch(`${server.url}/**?since=earliest`, init)).json();
    return answer.messages.map(({ channel }: { channel: string }) => channel);
  };
  assert.deepEqual(await read({}), ["news"]);
  assert.deepEqual(await read({ headers }), ["news", "#42", "private-a", "presence-a"]);
  for (const channel of ["%2342", "private-a"]) {
    const tail = await fetch(`${server.url}/_inspect/tail?channel=${channel}`);
    await tail.body?.cancel();
    assert.ok(tail.status >= 400, channel);
  }
});
