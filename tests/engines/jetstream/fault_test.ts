/** What the JetStream engine does while its server is away, killed, cut off, replaced or full: on real servers. */
import assert from "node:assert/strict";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { selectChannel } from "../../../lib/core/channel.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { Receipt } from "../../../lib/core/log.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { createDraft } from "../../fakes/message.ts";
import { TcpProxy } from "../../fakes/tcp_proxy.ts";
import { NatsCluster } from "../../nats_cluster.ts";
import { openNode, startServer, type TestNode, testWithNats } from "./fixture.ts";

const NEWS = selectChannel("news");

/** What publishers were told. */
interface Ledger {
  readonly acknowledged: Map<string, Receipt>;
  readonly rejected: Set<string>;
}

/** Publishes on a node, several at a time, until it is stopped. */
function publishOn({ log }: TestNode, name: string, ledger: Ledger): () => Promise<void> {
  let stopped = false;
  const loop = async (lane: number) => {
    for (let i = 0; !stopped; i++) {
      const text = `${name}-${lane}-${i}`;
      try {
        ledger.acknowledged.set(text, await log.append(createDraft(text)));
      } catch (error) {
        assert.ok(error instanceof MessagingError && error.code === "log_unavailable", String(error));
        ledger.rejected.add(text);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  const lanes = [0, 1, 2, 3].map(loop);
  return async () => {
    stopped = true;
    await Promise.all(lanes);
  };
}

/** Resolves when a test holds; the test's own time limit is its end. */
async function until(test: () => boolean): Promise<void> {
  while (!test()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Asserts that the log holds what was acknowledged once, where it was said to be, and that nodes announced that. */
async function assertExact(nodes: readonly TestNode[], ledger: Ledger): Promise<void> {
  const [first, ...others] = nodes as [TestNode, ...TestNode[]];
  await until(() => nodes.every(({ log }) => log.checkReady() === undefined));
  const marker = await first.log.append(createDraft("marker"));
  await until(() => nodes.every(({ log }) => log.top.sequence >= marker.sequence));
  const offsets = first.announced.map(({ offset }) => offset);
  assert.deepEqual(
    offsets,
    offsets.map((_, i) => i + 1),
    "nothing was announced twice, or not, or out of order",
  );
  for (const other of others) assert.deepEqual(other.announced, first.announced);
  const texts = first.announced.map(({ payload }) => payload.kind === "text" ? payload.text : "");
  assert.equal(new Set(texts).size, texts.length, "nothing is stored twice");
  for (const [text, receipt] of ledger.acknowledged) {
    assert.equal(texts[receipt.offset - 1], text);
    assert.equal(first.announced[receipt.offset - 1]?.sequence, receipt.sequence);
  }
  for (const text of texts.slice(0, -1)) {
    assert.ok(ledger.acknowledged.has(text) || ledger.rejected.has(text));
  }
  for (const { resets } of nodes) assert.deepEqual(resets, []);
}

async function administer(hosts: string): Promise<NatsConnection> {
  return await connect({ servers: hosts.split(",") });
}

testWithNats(
  "JetStreamEngine loses and doubles nothing when its server is killed and restarted",
  async () => {
    await using cluster = await startServer();
    const [server] = cluster.servers;
    await using one = await openNode(cluster);
    await using two = await openNode(cluster);
    const ledger = { acknowledged: new Map(), rejected: new Set<string>() };
    const stops = [publishOn(one, "one", ledger), publishOn(two, "two", ledger)];
    for (let round = 1; round <= 3; round++) {
      const goal = ledger.acknowledged.size + 200;
      await until(() => ledger.acknowledged.size >= goal);
      await server?.kill();
      await until(() => [one, two].every(({ log }) => log.checkReady() !== undefined));
      await server?.start();
      await until(() => [one, two].every(({ log }) => log.checkReady() === undefined));
    }
    for (const stop of stops) await stop();
    await assertExact([one, two], ledger);
    assert.ok(one.logger.find("engine is reachable again").length >= 3);
  },
);

testWithNats(
  "JetStreamEngine loses and doubles nothing when the server that leads a cluster is killed",
  async () => {
    await using cluster = await NatsCluster.start(3);
    const options = { hosts: cluster.hosts, replicas: 3 as const };
    await using one = await openNode(options);
    await using two = await openNode(options);
    await until(() => [one, two].every(({ log }) => log.checkReady() === undefined));
    const connection = await administer(cluster.hosts);
    const leader = (await (await jetstreamManager(connection)).streams.info("raindrops")).cluster?.leader;
    await connection.close();
    const server = cluster.servers.find(({ name }) => name === leader);
    assert.ok(server);
    const ledger = { acknowledged: new Map(), rejected: new Set<string>() };
    const stops = [publishOn(one, "one", ledger), publishOn(two, "two", ledger)];
    for (const step of [() => server.kill(), () => server.start(), () => Promise.resolve()]) {
      const goal = ledger.acknowledged.size + 100;
      await until(() => ledger.acknowledged.size >= goal);
      await step();
    }
    for (const stop of stops) await stop();
    await assertExact([one, two], ledger);
  },
);

testWithNats("JetStreamEngine starts without a server, says so, and is there once that is", async () => {
  await using cluster = await startServer();
  const [server] = cluster.servers;
  await server?.kill();
  await using node = await openNode(cluster);
  const { log, logger } = node;
  assert.match(log.checkReady() ?? "", /^NATS JetStream at 127\.0\.0\.1:\d+ cannot be reached: /);
  assert.equal(logger.find("engine cannot be reached, trying again").length, 1);
  assert.deepEqual(log.top, { epoch: "0", sequence: 0 });
  await assert.rejects(log.read({ selector: NEWS, after: { kind: "earliest" }, limit: 1 }), isUnavailable);
  const early = log.append(createDraft("early"));
  await server?.start();
  assert.equal((await early).offset, 1, "what was handed in meanwhile is stored");
  assert.equal(log.checkReady(), undefined);
  assert.equal(logger.find("engine is reachable again").length, 1);
});

testWithNats("JetStreamEngine catches up after a partition, and reads what it knows during it", async () => {
  await using cluster = await startServer();
  await using proxy = new TcpProxy(cluster.servers[0]!.port);
  await using near = await openNode(cluster);
  await using far = await openNode({ hosts: `127.0.0.1:${proxy.port}` });
  await far.log.append(createDraft("before"));
  proxy.cut();
  await until(() => far.log.checkReady() !== undefined);
  await Promise.all(Array.from({ length: 500 }, (_, i) => near.log.append(createDraft(`${i}`))));
  const page = await far.log.read({ selector: NEWS, after: { kind: "earliest" }, limit: 10 });
  assert.equal(page.messages.length, 1);
  const late = far.log.append(createDraft("late"));
  proxy.refuses = false;
  assert.equal((await late).offset, 502);
  await until(() => near.announced.length === 502);
  assert.deepEqual(far.announced, near.announced);
  assert.deepEqual(far.resets, []);
});

testWithNats(
  "JetStreamEngine tells its readers when it was cut off for so long that messages are gone",
  async () => {
    await using cluster = await startServer();
    await using proxy = new TcpProxy(cluster.servers[0]!.port);
    const rules = new Rules([{ channels: "**", history: { messages: 3 } }]);
    await using near = await openNode({ hosts: cluster.hosts, rules, grace: 0 });
    await using far = await openNode({ hosts: `127.0.0.1:${proxy.port}`, rules });
    const { epoch } = await far.log.append(createDraft("before"));
    proxy.cut();
    await until(() => far.log.checkReady() !== undefined);
    for (let i = 2; i <= 50; i++) await near.log.append(createDraft(`${i}`));
    await near.log.sweep();
    await near.log.sweep();
    proxy.refuses = false;
    await until(() => far.resets.length > 0);
    const receipt = await far.log.append(createDraft("after"));
    assert.deepEqual([receipt.epoch, receipt.offset], [epoch, 51]);
    const page = await far.log.read({
      selector: NEWS,
      after: { kind: "offset", epoch, offset: 1 },
      limit: 10,
    });
    assert.equal(page.kind, "gap");
    assert.deepEqual(page.messages.map(({ offset }) => offset), [49, 50, 51]);
    assert.deepEqual(far.announced.map(({ offset }) => offset), [1, 51]);
  },
);

testWithNats(
  "JetStreamEngine has a new epoch once its stream is another, and tells its readers",
  async () => {
    await using cluster = await startServer();
    await using node = await openNode(cluster);
    const { log, announced, resets } = node;
    const before = await log.append(createDraft("before"));
    const connection = await administer(cluster.hosts);
    await (await jetstreamManager(connection)).streams.delete("raindrops");
    await connection.close();
    await until(() => resets.length > 0);
    const after = await log.append(createDraft("after"));
    assert.notEqual(after.epoch, before.epoch);
    assert.deepEqual([after.offset, log.top.epoch], [1, after.epoch]);
    assert.deepEqual(announced.map(({ epoch }) => epoch), [before.epoch, after.epoch]);
    const { epoch, offset } = before;
    const page = await log.read({ selector: NEWS, after: { kind: "offset", epoch, offset }, limit: 10 });
    assert.equal(page.kind, "gap");
  },
);

testWithNats("JetStreamEngine renews the epoch of a stream that has lost what was announced", async () => {
  await using cluster = await startServer();
  const [server] = cluster.servers;
  await using one = await openNode(cluster);
  const kept = await one.log.append(createDraft("kept"));
  await server?.kill();
  await server?.keep();
  await server?.start();
  await one.log.append(createDraft("lost"));
  await server?.kill();
  await server?.restore();
  await server?.start();
  await until(() => one.resets.length > 0);
  const receipt = await one.log.append(createDraft("new"));
  assert.notEqual(receipt.epoch, kept.epoch);
  assert.equal(receipt.offset, 2);
  await using two = await openNode(cluster);
  assert.equal(two.log.top.epoch, receipt.epoch, "for all nodes, whenever they start");
});

testWithNats(
  "JetStreamEngine finds one epoch on all nodes when the log has lost what some of them know",
  async () => {
    await using cluster = await startServer();
    const [server] = cluster.servers;
    await using proxy = new TcpProxy(server!.port);
    await using near = await openNode(cluster);
    await using far = await openNode({ hosts: `127.0.0.1:${proxy.port}` });
    const kept = await near.log.append(createDraft("kept"));
    await until(() => far.announced.length === 1);
    await server?.kill();
    await server?.keep();
    await server?.start();
    proxy.cut();
    await near.log.append(createDraft("lost"));
    await server?.kill();
    await server?.restore();
    proxy.refuses = false;
    await server?.start();
    // To this node nothing is lost: it goes on at once, and the other one notices later.
    await until(() => far.log.checkReady() === undefined);
    await until(() => near.log.checkReady() === undefined);
    await until(() => far.log.top.epoch === near.log.top.epoch);
    assert.notEqual(near.log.top.epoch, kept.epoch);
    const { epoch, offset } = await far.log.append(createDraft("new"));
    assert.deepEqual([epoch, offset], [near.log.top.epoch, 2]);
  },
);

testWithNats(
  "JetStreamEngine notices that what it announced is lost though others have written since",
  async () => {
    await using cluster = await startServer();
    const [server] = cluster.servers;
    await using proxy = new TcpProxy(server!.port);
    await using near = await openNode(cluster);
    await using far = await openNode({ hosts: `127.0.0.1:${proxy.port}` });
    await near.log.append(createDraft("kept"));
    await until(() => far.announced.length === 1);
    await server?.kill();
    await server?.keep();
    await server?.start();
    await until(() => [near, far].every(({ log }) => log.checkReady() === undefined));
    const lost = await far.log.append(createDraft("lost"));
    await until(() => near.announced.length === 2);
    proxy.cut();
    await until(() => far.log.checkReady() !== undefined);
    await near[Symbol.asyncDispose]();
    await server?.kill();
    await server?.restore();
    await server?.start();
    await using other = await openNode(cluster);
    for (const text of ["other", "words"]) await other.log.append(createDraft(text));
    proxy.refuses = false;
    await until(() => far.log.checkReady() === undefined);
    assert.equal(far.resets.length, 1);
    assert.notEqual(far.log.top.epoch, lost.epoch);
    await until(() => other.log.top.epoch === far.log.top.epoch);
    const earliest = { selector: NEWS, after: { kind: "earliest" as const }, limit: 10 };
    assert.deepEqual((await far.log.read(earliest)).messages, (await other.log.read(earliest)).messages);
  },
);

testWithNats(
  "JetStreamEngine catches up with a stream whose end was removed while it was cut off",
  async () => {
    await using cluster = await startServer();
    await using proxy = new TcpProxy(cluster.servers[0]!.port);
    const clock = new FakeClock();
    await using near = await openNode({ hosts: cluster.hosts, now: clock.now, grace: 0 });
    await using far = await openNode({ hosts: `127.0.0.1:${proxy.port}`, now: clock.now });
    await far.log.append(createDraft("before"));
    proxy.cut();
    await until(() => far.log.checkReady() !== undefined);
    await near.log.append(createDraft("claim", { ephemeral: true, idempotencyKey: "k" }));
    clock.advance(3_600);
    await near.log.sweep();
    proxy.refuses = false;
    await until(() => far.log.checkReady() === undefined);
    await until(() => far.log.top.sequence === near.log.top.sequence);
    const after = { kind: "id" as const, ...near.log.top };
    const page = await far.log.read({ selector: NEWS, after, limit: 10 });
    assert.deepEqual([page.kind, page.messages], ["complete", []]);
  },
);

testWithNats(
  "JetStreamEngine rejects with log_full what a full stream refuses, and too_large what does not fit",
  async () => {
    await using cluster = await startServer();
    await using node = await openNode(cluster);
    const draft = createDraft("x".repeat(10_000));
    await node.log.append(draft);
    const connection = await administer(cluster.hosts);
    const manager = await jetstreamManager(connection);
    await manager.streams.update("raindrops", { max_bytes: 15_000 });
    await assert.rejects(node.log.append(draft), hasCode("log_full"));
    await manager.streams.update("raindrops", { max_bytes: -1 });
    await connection.close();
    await assert.rejects(node.log.append(createDraft("x".repeat(1_100_000))), hasCode("too_large"));
    assert.equal((await node.log.append(draft)).offset, 2);
    const large = createDraft("x".repeat(1_100_000), { ephemeral: true });
    for (const each of [large, { ...large, idempotencyKey: "k" }, { ...large, to: "id1" }]) {
      await assert.rejects(node.log.append(each), hasCode("too_large"), "what other nodes would not get");
    }
    assert.equal(node.announced.length, 2);
  },
);

testWithNats("JetStreamEngine refuses a stream that would lose offsets, and tells why", async () => {
  await using cluster = await startServer();
  const connection = await administer(cluster.hosts);
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "raindrops", subjects: ["raindrops.>"] });
  await using node = await openNode(cluster);
  assert.match(node.log.checkReady() ?? "", /the stream "raindrops" does not belong to Raindrops/);
  await manager.streams.delete("raindrops");
  await until(() => node.log.checkReady() === undefined);
  await manager.streams.update("raindrops", { max_age: 3_600 * 1e9 });
  await using other = await openNode(cluster);
  assert.match(other.log.checkReady() ?? "", /removes messages by itself/);
  await connection.close();
});

testWithNats("JetStreamEngine takes no harm from what others put into its stream", async () => {
  await using cluster = await startServer();
  await using one = await openNode(cluster);
  const connection = await administer(cluster.hosts);
  const fields = (head: string) => {
    const all = headers();
    all.set("Raindrops", head);
    return { headers: all };
  };
  connection.publish("raindrops.c.news", "no head");
  connection.publish("raindrops.c.%ZZ", "no channel");
  connection.publish("raindrops.c.news", "{}", fields("9 messages 1 1 - 0 0 0 -"));
  connection.publish("raindrops.c.news", "no body", fields(`1 messages ${Date.now()} 2 - 0 0 0 -`));
  connection.publish("raindrops.c.news", "", fields(`1 anchor ${Date.now()} 0 - 5000 1000 ${Date.now()} -`));
  connection.publish("raindrops.t.somebody", "no body");
  connection.publish("raindrops.p.somebody", "no JSON");
  await connection.flush();
  await connection.close();
  assert.equal((await one.log.append(createDraft("a"))).offset, 3);
  await using two = await openNode(cluster);
  const earliest = { selector: NEWS, after: { kind: "earliest" as const }, limit: 10 };
  const { messages } = await two.log.read(earliest);
  assert.deepEqual(messages, (await one.log.read(earliest)).messages);
  assert.deepEqual(messages.map(({ offset }) => offset), [1, 2, 3]);
  assert.equal((await two.log.append(createDraft("b"))).offset, 4);
});

testWithNats("JetStreamEngine shows the server its credentials, and nobody else", async () => {
  await using cluster = await startServer('authorization { user: rain, password: "s3cret" }\n');
  const credentials = { user: "rain", password: "s3kret" };
  await using wrong = await openNode({ hosts: cluster.hosts, credentials });
  assert.match(wrong.log.checkReady() ?? "", /authorization/i);
  const said = JSON.stringify([wrong.logger.entries, wrong.log.checkReady()]);
  assert.ok(!said.includes("s3kret"));
  await using right = await openNode({
    hosts: cluster.hosts,
    credentials: { user: "rain", password: "s3cret" },
  });
  assert.equal((await right.log.append(createDraft("a"))).offset, 1);
});

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof MessagingError && error.code === code;
}

const isUnavailable = hasCode("log_unavailable");

/** How what was removed came to be stored: a list of turns, in each of which so many messages are appended. */
const TURNS: Readonly<Record<string, readonly number[]>> = {
  "one by one": Array.from({ length: 12 }, () => 1),
  "in turns": [3, 4, 5],
  "many at once": [12],
};

for (const [how, turns] of Object.entries(TURNS)) {
  for (const removal of ["a limit", "DELETE", "a DELETE, then more"] as const) {
    testWithNats(
      `JetStreamEngine tells a gap on a node that has just started where it does on others: ${how}, ${removal}`,
      async () => {
        await using cluster = await startServer();
        const rules = new Rules([{ channels: "**", history: { messages: removal === "a limit" ? 5 : 100 } }]);
        const clock = new FakeClock();
        const options = { hosts: cluster.hosts, rules, grace: 0, now: clock.now };
        await using near = await openNode(options);
        const receipts: Receipt[] = [];
        for (const count of turns) {
          const drafts = Array.from({ length: count }, () => createDraft("x"));
          receipts.push(...await Promise.all(drafts.map((draft) => near.log.append(draft))));
          await near.log.append(createDraft("x", { channel: "elsewhere" }));
        }
        if (removal !== "a limit") await near.log.clear("news");
        if (removal === "a DELETE, then more") await near.log.append(createDraft("x"));
        clock.advance(1);
        for (let i = 0; i < 3; i++) await near.log.sweep();
        await using late = await openNode(options);
        const kinds = async ({ log }: TestNode) =>
          await Promise.all(receipts.map(async ({ epoch, sequence }) => {
            const after = { kind: "id" as const, epoch, sequence };
            return (await log.read({ selector: NEWS, after, limit: 100 })).kind;
          }));
        const expected = await kinds(near);
        assert.equal(expected.at(-1), "complete");
        assert.deepEqual(await kinds(late), expected);
      },
    );
  }
}
