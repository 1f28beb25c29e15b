/** Several nodes on one JetStream, as clients see them: real servers, real NATS, official clients. */
import assert from "node:assert/strict";
import { Centrifuge } from "centrifuge";
import { readLines } from "../read_lines.ts";
import { NATS_SERVER } from "../nats_cluster.ts";
import { TestSocket } from "../test_socket.ts";
import { getPresence, Nodes, post, waitForPresence } from "./nodes.ts";

/** The texts stored on a channel, as a node reads them. */
async function readHistory(url: string): Promise<string[]> {
  const response = await fetch(`${url}?since=earliest`, { headers: { accept: "application/json" } });
  const { messages } = await response.json() as { messages: { data: string }[] };
  return messages.map(({ data }) => data);
}

Deno.test({ name: "Nodes on one JetStream (nats-server)", ignore: NATS_SERVER === undefined }, async (t) => {
  await using nodes = await Nodes.start({ nodes: 2, natsServers: 1 });
  const [a, b] = nodes.servers;
  assert(a !== undefined && b !== undefined);

  await t.step("carry every message to the sockets of all, in one order", async () => {
    const sockets = await Promise.all(
      [a, a, b, b].map(({ socketUrl }) => TestSocket.open(`${socketUrl}/order`)),
    );
    await waitForPresence(nodes.servers, "order", sockets.length);
    const texts = Array.from({ length: 60 }, (_, i) => `m${i}`);
    const answers = await Promise.all(
      texts.map((text, i) => post(`${[a, b][i % 2]!.url}/order`, text, { accept: "application/json" })),
    );
    for (const { status, body } of answers) assert.deepEqual([status, body.subscribers], [200, 4]);
    const seen = await Promise.all(sockets.map(async (socket) => {
      const received: unknown[] = [];
      while (received.length < texts.length) received.push(await socket.next());
      return received;
    }));
    const stored = await readHistory(`${b.url}/order`);
    assert.deepEqual(await readHistory(`${a.url}/order`), stored);
    assert.deepEqual(stored.toSorted(), texts.toSorted());
    for (const received of seen) assert.deepEqual(received, stored);
    const offsets = answers.map(({ body }) => body.offset).sort((x, y) => x - y);
    assert.deepEqual(offsets, texts.map((_, i) => i + 1));
    for (const socket of sockets) await socket[Symbol.asyncDispose]();
  });

  await t.step("keep a sender's own message from it, and give it to those on the others", async () => {
    await using sender = await TestSocket.open(`${a.socketUrl}/own`);
    await using other = await TestSocket.open(`${b.socketUrl}/own`);
    await waitForPresence(nodes.servers, "own", 2);
    sender.send("mine");
    assert.equal(await other.next(), "mine");
    other.send("yours");
    assert.equal(await sender.next(), "yours");
  });

  await t.step("let an event stream resume on another node by its last id", async () => {
    await post(`${a.url}/resume`, "one");
    const headers = { accept: "text/event-stream" };
    let id = "";
    {
      await using stream = await readLines(`${a.url}/resume?since=earliest`, headers);
      for (let line = ""; line !== "data: one"; [line = ""] = await stream.take(1)) {
        if (line.startsWith("id: ")) id = line.slice(4);
      }
    }
    await post(`${b.url}/resume`, "two");
    await using stream = await readLines(`${b.url}/resume`, { ...headers, "last-event-id": id });
    await post(`${a.url}/resume`, "three");
    const data: string[] = [];
    while (data.length < 2) {
      const [line = ""] = await stream.take(1);
      if (line.startsWith("data: ")) data.push(line.slice(6));
      assert.notEqual(line, "event: gap");
    }
    assert.deepEqual(data, ["two", "three"]);
  });

  await t.step("find a client on whatever node it is", async () => {
    await using socket = await TestSocket.open(`${b.socketUrl}/inbox?id=id1`);
    await b.line(/client connected id=id1/);
    await waitForPresence(nodes.servers, "inbox", 1);
    const json = { accept: "application/json" };
    assert.deepEqual((await post(`${a.url}/@id1`, "only you", json)).body.subscribers, 1);
    assert.equal((await post(`${a.url}/inbox?to=id1`, "here", json)).body.subscribers, 1);
    assert.equal((await post(`${a.url}/other?to=id1`, "nowhere", json)).status, 404);
    assert.equal((await post(`${a.url}/@nobody`, "x", json)).status, 404);
    assert.deepEqual([await socket.next(), await socket.next()], ["only you", "here"]);
  });

  await t.step("show who is there, in the words of every protocol", async () => {
    const client = new Centrifuge(`${b.socketUrl}/connection/websocket`, { data: { name: "Jane" } });
    const subscription = client.newSubscription("room", { joinLeave: true });
    const joins: string[] = [];
    const leaves: string[] = [];
    const joined = Promise.withResolvers<void>();
    const left = Promise.withResolvers<void>();
    subscription.on(
      "join",
      ({ info }) => (joins.push(info.client), info.client === "john" && joined.resolve()),
    );
    subscription.on("leave", ({ info }) => (leaves.push(info.client), left.resolve()));
    subscription.subscribe();
    client.connect();
    await subscription.ready();
    const socket = await TestSocket.open(`${a.socketUrl}/room?id=john&name=John`);
    await joined.promise;
    assert.deepEqual(Object.keys((await subscription.presence()).clients).includes("john"), true);
    assert.equal((await subscription.presenceStats()).numClients, 2);
    await waitForPresence(nodes.servers, "room", 2);
    socket.send("/who");
    assert.match(String(await socket.next()), /^(John, Jane|Jane, John)$/);
    await socket[Symbol.asyncDispose]();
    await left.promise;
    assert.deepEqual(leaves, ["john"]);
    client.disconnect();
  });

  await t.step("obey the API of any of them", async () => {
    await using socket = await TestSocket.open(`${b.socketUrl}/api-room?id=id2`);
    await waitForPresence(nodes.servers, "api-room", 1);
    const { body: { result: { nodes: [self, other] } } } = await post(`${a.url}/api/info`, "{}");
    assert.deepEqual([self.name, other.name], ["node1", "node2"]);
    const { body: { result: { channels } } } = await post(`${a.url}/api/channels`, "{}");
    assert.deepEqual(channels["api-room"], { num_clients: 1 });
    const request = { client: "id2", disconnect: { code: 3501, reason: "enough" } };
    assert.deepEqual((await post(`${a.url}/api/disconnect`, JSON.stringify(request))).body, { result: {} });
    assert.equal((await socket.closed).reason, "enough");
  });

  await t.step("serve a client whose requests go to all of them in turn", async () => {
    const { url } = nodes.balancer;
    const client = new Centrifuge([{ transport: "http_stream", endpoint: `${url}/connection/http_stream` }], {
      emulationEndpoint: `${url}/emulation`,
    });
    const subscription = client.newSubscription("emulated");
    const received: unknown[] = [];
    const done = Promise.withResolvers<void>();
    subscription.on(
      "publication",
      ({ data }) => (received.push(data), received.length === 6 && done.resolve()),
    );
    subscription.subscribe();
    client.connect();
    await subscription.ready();
    // Each command is a request of its own, on a connection the balancer gives to either node.
    for (let i = 0; i < 6; i++) await subscription.publish(i);
    await done.promise;
    assert.deepEqual(received, [0, 1, 2, 3, 4, 5]);
    client.disconnect();
  });

  await t.step("go on for a client whose node stops, on another one, where it was", async () => {
    const { url } = nodes.balancer;
    const client = new Centrifuge(`${url.replace("http", "ws")}/connection/websocket`, {
      minReconnectDelay: 10,
      maxReconnectDelay: 100,
    });
    const subscription = client.newSubscription("moving");
    const received: unknown[] = [];
    let recovered = 0;
    subscription.on("subscribed", ({ wasRecovering, recovered: isRecovered }) => {
      if (wasRecovering && isRecovered) recovered++;
    });
    const waiting: (() => void)[] = [];
    subscription.on("publication", ({ data }) => (received.push(data), waiting.shift()?.()));
    const arrive = () => new Promise<void>((resolve) => waiting.push(resolve));
    subscription.subscribe();
    client.connect();
    await subscription.ready();
    const arrived = arrive();
    await post(`${b.url}/moving`, "one");
    await arrived;
    const next = arrive();
    // Whichever it was on: first one stops, later the other.
    await a.stop();
    await b.line(/node gone .*name=node1 reason=stopped/);
    await post(`${b.url}/moving`, "two");
    await next;
    const last = arrive();
    await a.start();
    await b.stop();
    await post(`${a.url}/moving`, "three");
    await last;
    assert.deepEqual(received, ["one", "two", "three"]);
    assert.ok(recovered >= 1);
    client.disconnect();
    await b.start();
  });

  await t.step("forget the clients of a node that dies without a word", async () => {
    await using watcher = await TestSocket.open(`${a.socketUrl}/mortal?id=alive`);
    const socket = await TestSocket.open(`${b.socketUrl}/mortal?id=dead`);
    await waitForPresence(nodes.servers, "mortal", 2);
    await b.kill();
    await socket.closed;
    await a.line(/node gone .*reason=silent/);
    assert.deepEqual(await getPresence(a.url, "mortal"), ["alive"]);
    watcher.send("/who");
    assert.equal(await watcher.next(), "alive");
    await b.start();
  });
});
