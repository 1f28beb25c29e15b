/** Scheduled messages on two nodes of one JetStream: each is published once, also when the node that sends is killed. */
import assert from "node:assert/strict";
import { NATS_SERVER } from "../nats_cluster.ts";
import { pause, Planner, readTexts, untilNothingScheduled } from "../schedule/planner.ts";
import { Nodes, post } from "./nodes.ts";

Deno.test({
  name: "Two nodes publish each scheduled message once, though the one that sends is killed (nats-server)",
  ignore: NATS_SERVER === undefined,
}, async () => {
  const rules = [{ channels: "**", history: { messages: 1_000_000 } }];
  await using nodes = await Nodes.start({ nodes: 2, natsServers: 1, rules });
  const [a, b] = nodes.servers;
  assert.ok(a !== undefined && b !== undefined);
  // Both know of a message, whichever it was scheduled on, and either cancels it.
  const { body } = await post(`${a.url}/far?delay=1h`, "x", { accept: "application/json" });
  const list = async (url: string) => (await (await fetch(`${url}/_scheduled`)).json()).scheduled;
  while ((await list(b.url)).length === 0) await pause();
  assert.equal((await list(b.url))[0].id, body.scheduled);
  const cancelled = await fetch(`${b.url}/_scheduled/${body.scheduled}`, { method: "DELETE" });
  assert.equal(cancelled.status, 200, await cancelled.text());
  while ((await list(a.url)).length > 0) await pause();

  let alive = [a, b];
  const planner = new Planner(
    ["a", "b/1", "b/2", "c"],
    (channel) => alive[channel.length % alive.length]!.url,
  );
  await planner.more(100);
  // Only the one that sends has sent any.
  while (await readSent(a.url) + await readSent(b.url) === 0) await pause();
  const [sender, other] = await readSent(a.url) > 0 ? [a, b] : [b, a];
  assert.equal(await readSent(other.url), 0);
  alive = [other];
  await sender.kill();
  await planner.more(50);
  while (await readSent(other.url) === 0) await pause();
  await planner.more(20);
  await planner.stop();
  await untilNothingScheduled(other.url);
  planner.check(await readTexts(other.url, planner.channels));
});

async function readSent(url: string): Promise<number> {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^raindrops_scheduled_sent_total (\d+)$/m.exec(metrics)?.[1] ?? 0);
}
