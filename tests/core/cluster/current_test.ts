/** What a thread of a process knows of the others when it is asked who is where, and when it begins to serve. */
import assert from "node:assert/strict";
import { directChannel } from "../../../lib/core/channel.ts";
import { announceGone } from "../../../lib/core/cluster/topics.ts";
import { createDraft } from "../../fakes/message.ts";
import { type FakeNode, FakeNodes, listMembers, read, runUntil } from "../../fakes/nodes.ts";
import { settle } from "../../fakes/schedule.ts";
import { createClient } from "../../fakes/socket.ts";

/** More than what nodes tell in one message. */
const MANY = 5_000;
/** Milliseconds that do not go by in a test. */
const LONG = 1_000_000;

/** Whether a promise has settled. Its clock must have no say in that. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  void promise.then(() => settled = true);
  await settle();
  return settled;
}

/** The thread of the engine, which is the first node, and workers. */
function startThreads(nodes: FakeNodes, workers: number): readonly [FakeNode, ...FakeNode[]] {
  const main = nodes.start(undefined, "n1");
  const others = Array.from({ length: workers }, () => nodes.start(undefined, "n1"));
  nodes.settle();
  return [main, ...others];
}

function readMany(node: FakeNode): void {
  const client = createClient({ id: "reader" });
  node.hub.connect(client);
  for (let i = 1; i < MANY; i++) read(node, "news", { id: `c${i}` });
}

Deno.test("Cluster.untilCurrent() waits for all pages of what the other threads have", async () => {
  const nodes = new FakeNodes();
  const [, a] = startThreads(nodes, 1) as [FakeNode, FakeNode];
  readMany(a);
  nodes.settle();
  const b = nodes.start(undefined, "n1");
  // It has heard of the other one, and asked it for the first page.
  while (!b.cluster.threads().some(({ node }) => node === a.name)) nodes.network.deliver();
  await runUntil(nodes, b.cluster.untilCurrent()!, () => nodes.network.deliver());
  assert.equal(b.hub.presence.count("news").connections, MANY - 1);
});

Deno.test("Cluster.untilCurrent() waits for no pages of a thread that is gone", async () => {
  const nodes = new FakeNodes();
  const [main, a] = startThreads(nodes, 1) as [FakeNode, FakeNode];
  readMany(a);
  nodes.settle();
  const b = nodes.start(undefined, "n1");
  nodes.network.loses = ({ text }) => text.includes('"kind":"page"');
  nodes.settle();
  const current = b.cluster.untilCurrent()!;
  nodes.settle();
  assert.equal(await isSettled(current), false);
  // Now the other thread's answer comes, and no page.
  nodes.settle();
  assert.equal(await isSettled(current), false);
  nodes.kill(a);
  announceGone(main.bus, a.name);
  await runUntil(nodes, current);
  assert.equal(b.hub.presence.count("news").connections, 0);
});

Deno.test("The thread of the engine waits for what workers have not told, too", async () => {
  const nodes = new FakeNodes();
  const [main, worker] = startThreads(nodes, 1) as [FakeNode, FakeNode];
  read(worker, "news", { id: "john" });
  await runUntil(nodes, main.hub.untilCurrent()!, () => nodes.network.deliver());
  assert.deepEqual(listMembers(main, "news"), ["john@n2"]);
  read(worker, "news", { id: "jane" });
  const published = main.hub.publish(createDraft("hi", { channel: directChannel("jane"), to: "jane" }));
  const step = () => {
    nodes.network.deliver();
    main.loop.run();
  };
  assert.equal((await runUntil(nodes, published, step)).subscribers, 1);
});

Deno.test("A node without threads, or one that reaches nobody, does not wait", () => {
  const nodes = new FakeNodes();
  const [alone] = [nodes.start(), nodes.start()];
  nodes.settle();
  assert.equal(alone.hub.untilCurrent(), undefined);
  const [main] = startThreads(new FakeNodes(), 1);
  main.bus.connected = false;
  assert.equal(main.hub.untilCurrent(), undefined);
});

Deno.test("Cluster.untilKnown() waits until threads that were not heard yet have told all they have", async () => {
  const nodes = new FakeNodes();
  const [main, a] = startThreads(nodes, 1) as [FakeNode, FakeNode];
  readMany(a);
  nodes.settle();
  const b = nodes.start(undefined, "n1");
  const known = b.cluster.untilKnown([a.name], LONG);
  assert.equal(await isSettled(known), false);
  assert.deepEqual(await runUntil(nodes, known, () => nodes.network.deliver()), []);
  assert.equal(b.hub.presence.count("news").connections, MANY - 1);

  // Which one is dead whoever minds them says; it may never have been heard.
  nodes.kill(a);
  const c = nodes.start(undefined, "n1");
  const none = c.cluster.untilKnown([a.name], LONG);
  nodes.settle();
  assert.equal(await isSettled(none), false);
  announceGone(main.bus, a.name);
  assert.deepEqual(await runUntil(nodes, none), []);
});

Deno.test("Cluster.untilKnown() gives up those that say nothing, and all when it leaves", async () => {
  const nodes = new FakeNodes();
  const [, a] = startThreads(nodes, 1) as [FakeNode, FakeNode];
  assert.deepEqual(await a.cluster.untilKnown(["n1", "n9"], 1), ["n9"]);
  const never = a.cluster.untilKnown(["n9"], LONG);
  nodes.stop(a);
  assert.deepEqual(await never, ["n9"]);
});
