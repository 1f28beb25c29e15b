/** Webhooks of two nodes on one JetStream: the one that sends is killed, and the other goes on where it was. */
import assert from "node:assert/strict";
import { countTo, hasAll, misbehave, publishUntil, writeImpatientHook, writeRules } from "../hooks/crash.ts";
import { assertOrder, Receiver } from "../hooks/receiver.ts";
import { testWithNats } from "../engines/jetstream/fixture.ts";
import { NatsCluster } from "../nats_cluster.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { findSender } from "./nodes.ts";

const CHANNELS = ["a", "b/1", "b/2", "c/x/y"];
const KILLS = 2;

testWithNats(
  "Another node sends when the sending one is killed, and every message arrives in order",
  async () => {
    await using receiver = new Receiver();
    const misbehaviour = misbehave(receiver);
    await using nats = await NatsCluster.start(1);
    const directory = await Deno.makeTempDir();
    const flags = [
      ...["--engine", `nats://${nats.hosts}?stream=test`, "--rules", await writeRules(directory)],
      ...["--hooks", await writeImpatientHook(receiver.url)],
    ];
    await using stack = new AsyncDisposableStack();
    const servers: ServerProcess[] = [];
    for (let i = 0; i < 2; i++) servers.push(stack.use(await startServer({ flags })));
    await Promise.all(servers.map((server) => server.line(/node found .*nodes=2/)));
    const confirmed = new Map<string, number>();
    const stop = new AbortController();
    let alive = servers;
    const publishers = CHANNELS.map((channel, i) =>
      publishUntil(() => alive[i % alive.length]!.url, channel, { confirmed, receiver, signal: stop.signal })
    );
    for (let i = 0; i < KILLS; i++) {
      await countTo(receiver, 10);
      const sender = await findSender(servers);
      alive = servers.filter((server) => server !== sender);
      await sender.kill();
      misbehaviour.release();
      await countTo(receiver, 10);
      const found = sender.lines.length;
      await sender.start();
      while (!sender.lines.slice(found).some((line) => /node found .*nodes=2/.test(line))) {
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      alive = servers;
    }
    await countTo(receiver, 10);
    stop.abort();
    await Promise.all(publishers);
    await receiver.until(() => hasAll(receiver, confirmed));
    misbehaviour.release();
    assert.deepEqual(receiver.events.filter(({ type }) => type !== "message"), []);
    assertOrder(receiver.events, confirmed);
    assert.ok(misbehaviour.stalls > 0);
    await Deno.remove(directory, { recursive: true });
  },
);

testWithNats("The inspector of a node that does not send has the numbers of the one that does", async () => {
  await using receiver = new Receiver();
  receiver.answer = () => new Response(null, { status: 500 });
  await using nats = await NatsCluster.start(1);
  const directory = await Deno.makeTempDir();
  const flags = [
    ...["--engine", `nats://${nats.hosts}?stream=test`, "--rules", await writeRules(directory)],
    ...["--hooks", await writeImpatientHook(receiver.url)],
  ];
  await using stack = new AsyncDisposableStack();
  const servers: ServerProcess[] = [];
  for (const name of ["north", "south"]) {
    servers.push(stack.use(await startServer({ flags: [...flags, "--node-name", name] })));
  }
  await Promise.all(servers.map((server) => server.line(/node found .*nodes=2/)));
  const sender = await findSender(servers);
  const other = servers.find((server) => server !== sender)!;
  const [senderName, otherName] = sender === servers[0] ? ["north", "south"] : ["south", "north"];
  for (let i = 0; i < 5; i++) {
    const { body } = await fetch(`${other.url}/news`, { method: "POST", body: String(i) });
    await body?.cancel();
  }
  await receiver.until(() => receiver.requests.length >= 2);
  // What waits may not all have reached the sender yet.
  const shown = await readUntil(other, ({ waiting, failures }) => waiting === 5 && failures >= 2);
  assert.deepEqual([shown.sends, shown.sender, shown.delivered], [false, senderName, 0]);
  assert.match(shown.failure, /answered 500/);
  assert.ok(shown.oldestSeconds > 0);
  receiver.answer = () => new Response(null, { status: 204 });
  const done = await readUntil(other, ({ waiting }) => waiting === 0);
  assert.deepEqual([done.delivered, done.failure, done.sender], [5, undefined, senderName]);
  await sender.kill();
  const alone = await readUntil(other, ({ sends }) => sends);
  assert.equal(alone.sender, otherName);
  await Deno.remove(directory, { recursive: true });
});

/** What the inspector of a server shows of its webhook, once a condition holds. */
async function readUntil(
  { url }: ServerProcess,
  // deno-lint-ignore no-explicit-any -- tests look into what was answered
  condition: (row: any) => boolean,
  // deno-lint-ignore no-explicit-any -- the same
): Promise<any> {
  while (true) {
    const { webhooks: [row] } = await (await fetch(`${url}/_inspect/webhooks`)).json();
    if (condition(row)) return row;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
