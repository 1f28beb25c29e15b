/** What a server keeps of the worst requests and conversations: nothing that grows with their number. */
import assert from "node:assert/strict";
import { INSPECTOR_FLAG, readLiveBytes } from "../live_memory.ts";
import { startServer } from "../server_process.ts";
import { crowd, RULES } from "./crowded_server.ts";
import { converse, createGet, createRequest, send } from "./senders.ts";
import { BODIES, CONVERSATIONS, MEGABYTE, TARGETS } from "./worst.ts";

/** What may be alive in a server of a thousand requests, in bytes. */
const SLACK = 48 * MEGABYTE;
/** How many of the same there are at once. */
const AT_ONCE = 10;

Deno.test("The server is of its usual size after a thousand of the worst requests", async () => {
  const rules = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(rules, JSON.stringify(RULES));
  await using server = await startServer({
    permissions: ["--allow-all", INSPECTOR_FLAG],
    flags: ["--log-level", "error", "--rules", rules],
    env: { RAINDROPS_PUSHER_APP: "app1:key1:secret-of-app-1" },
  });
  await Deno.remove(rules);
  await crowd(server);
  const requests = [
    ...Object.values(BODIES).map((body) => createRequest("POST", "/echo", body)),
    ...Object.values(TARGETS).map((target) => createGet(target)),
  ];
  const talks = Object.values(CONVERSATIONS);
  let next = 0;
  const ask = async (count: number) => {
    for (let i = 0; i < count; i += AT_ONCE) {
      await send(server, requests[next++ % requests.length]!, AT_ONCE);
    }
  };
  const talk = async (count: number) => {
    for (let i = 0; i < count; i += AT_ONCE) {
      await converse(server, talks[(i / AT_ONCE) % talks.length]!, AT_ONCE);
    }
  };
  await ask(300);
  await talk(200);
  const before = await readLiveBytes(server);
  const check = async (what: string) => {
    const live = await readLiveBytes(server);
    const grown = Math.round((live - before) / MEGABYTE);
    assert.ok(live <= before + SLACK, `it has grown by ${grown} MB, measured after ${what}`);
  };
  await ask(1_000);
  await check("bodies and targets");
  // Lists that differ each time must not pile up.
  for (let i = 0; i < 300; i += AT_ONCE) {
    const lists = Array.from({ length: AT_ONCE }, (_, j) => createGet(`/${i + j},all/*`));
    await Promise.all(lists.map((request) => send(server, request, 1)));
  }
  await check("lists");
  await talk(400);
  await check("conversations");
});
