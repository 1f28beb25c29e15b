/** Subscriptions of the Centrifuge protocol as they are on the wire: positions, recovery, history, presence, joins. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";
import {
  keyed,
  post,
  publish,
  RawClient,
  type RawReply,
  startKeyedApp,
  startRuledApp,
  untilCounts,
} from "./app.ts";

Deno.test("Subscribe answers with the stream's top; what is published follows, the client's own with its info", async () => {
  await using server = await startApp();
  await post(server, "/news", "before");
  await using client = await RawClient.open(server);
  const { connect } = await client.call("connect", { data: { name: "Ada" } });
  const { epoch } = server.app.hub.top;
  assert.deepEqual(await client.call("subscribe", { channel: "news" }), {
    id: 2,
    subscribe: { recoverable: true, epoch, offset: 1, positioned: true },
  });
  client.send({ id: 3, publish: { channel: "news", data: [1.5, "x"] } });
  assert.deepEqual(await client.take(2), [
    {
      push: {
        channel: "news",
        pub: {
          data: [1.5, "x"],
          info: { user: "", client: connect.client, conn_info: { name: "Ada" } },
          offset: 2,
        },
      },
    },
    { id: 3, publish: {} },
  ]);
  assert.deepEqual((await client.call("unsubscribe", { channel: "news" })).unsubscribe, {});
  assert.deepEqual((await client.call("unsubscribe", { channel: "never" })).unsubscribe, {});
  await post(server, "/news", "no subscribers");
  assert.deepEqual((await client.call("ping")).ping, {});
});

Deno.test("Ephemeral channels have no positions", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  assert.deepEqual(await client.call("subscribe", { channel: "cursors" }), { id: 2, subscribe: {} });
  await post(server, "/cursors", "here");
  assert.deepEqual(await client.next(), { push: { channel: "cursors", pub: { data: "here" } } });
});

Deno.test("Presence shows clients of every protocol, and counts the anonymous as one user", async () => {
  await using server = await startKeyedApp([{
    channels: "*",
    allowAnonymous: ["subscribe", "presence"],
    allow: ["subscribe", "presence"],
  }]);
  await using ada = await keyed(server, { sub: "u1", info: { name: "Ada" } });
  await using same = await keyed(server, { sub: "u1" });
  await using one = await RawClient.connect(server);
  await using two = await RawClient.connect(server);
  for (const client of [ada, same, one, two]) await client.call("subscribe", { channel: "news" });
  assert.deepEqual((await one.call("presence_stats", { channel: "news" })).presence_stats, {
    num_clients: 4,
    num_users: 2,
  });
  const { presence } = (await one.call("presence", { channel: "news" })).presence;
  const members = Object.entries<RawReply>(presence).map(([id, { client, user, conn_info }]) => {
    assert.equal(client, id);
    return [user, conn_info];
  });
  assert.deepEqual(members, [["u1", { name: "Ada" }], ["u1", undefined], ["", undefined], ["", undefined]]);
  assert.deepEqual((await one.call("presence", { channel: "empty" })).presence, { presence: {} });
});

Deno.test("Joins and leaves come to those who ask for them, plain sockets' and their own too", async () => {
  await using server = await startApp();
  await using watcher = await RawClient.connect(server);
  await using other = await RawClient.connect(server);
  await watcher.call("subscribe", { channel: "news", join_leave: true });
  await other.call("subscribe", { channel: "news" });
  const joined = await watcher.next();
  assert.deepEqual(Object.keys(joined.push), ["channel", "join"]);
  await using plain = await TestSocket.open(`${server.socketUrl}/news?id=john`);
  assert.deepEqual(await watcher.next(), {
    push: { channel: "news", join: { info: { user: "", client: "john" } } },
  });
  await plain[Symbol.asyncDispose]();
  assert.deepEqual(await watcher.next(), {
    push: { channel: "news", leave: { info: { user: "", client: "john" } } },
  });
  await other.call("unsubscribe", { channel: "news" });
  assert.equal((await watcher.next()).push.leave.info.client, joined.push.join.info.client);
});

Deno.test("History is paged by limit, since and reverse, with the position always there", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const { epoch } = server.app.hub.top;
  const read = async (request: Record<string, unknown>) =>
    (await client.call("history", { channel: "news", ...request })).history;
  assert.deepEqual(await read({}), { publications: [], epoch, offset: 0 });
  await publish(server, "news", ...Array.from({ length: 310 }, (_, i) => String(i + 1)));
  assert.deepEqual(await read({ limit: 0 }), { publications: [], epoch, offset: 310 });
  assert.deepEqual(await read({ limit: 2 }), {
    publications: [{ data: "1", offset: 1 }, { data: "2", offset: 2 }],
    epoch,
    offset: 310,
  });
  const offsets = async (request: Record<string, unknown>) =>
    (await read(request)).publications.map(({ offset }: RawReply) => offset);
  assert.equal((await offsets({ limit: -1 })).length, 300);
  assert.equal((await offsets({ limit: 1_000 })).length, 300);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 100 } }), [101, 102, 103]);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 309, epoch } }), [310]);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 310, epoch } }), []);
  assert.deepEqual(await offsets({ limit: 3, reverse: true }), [310, 309, 308]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 100, epoch } }), [99, 98, 97]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 2, epoch } }), [1]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 1, epoch } }), []);
  const bad = { channel: "news", limit: 1 };
  assert.equal(await client.fail("history", { ...bad, since: { offset: 1, epoch: "other" } }), 112);
  assert.equal(await client.fail("history", { ...bad, since: { offset: 0, epoch }, reverse: true }), 107);
});

Deno.test("Recovery hands over what was missed with the request's own offset", async () => {
  await using server = await startApp();
  await publish(server, "news", "1", "2", "3");
  const { epoch } = server.app.hub.top;
  const recovered = { recoverable: true, epoch, positioned: true, recovered: true, was_recovering: true };
  const missed = [{ data: "2", offset: 2 }, { data: "3", offset: 3 }];
  for (const known of [epoch, ""]) {
    await using client = await RawClient.connect(server);
    const request = { channel: "news", recover: true, epoch: known };
    assert.deepEqual((await client.call("subscribe", { ...request, offset: 1 })).subscribe, {
      ...recovered,
      offset: 1,
      publications: missed,
    });
    await client.call("unsubscribe", { channel: "news" });
    const { subscribe } = await client.call("subscribe", { ...request, offset: 3 });
    assert.deepEqual(subscribe, { ...recovered, offset: 3 });
    await post(server, "/other", "not here");
    assert.deepEqual((await client.call("ping")).ping, {});
  }
});

Deno.test("An unrecoverable position is told: by the reply's top, or by 112 to who asked for an error", async () => {
  await using server = await startRuledApp([{ channels: "short", history: { messages: 2 } }]);
  await publish(server, "short", "1", "2", "3", "4");
  await publish(server, "long", ...Array.from({ length: 302 }, (_, i) => String(i + 1)));
  await publish(server, "cleared", "1", "2");
  await (await fetch(`${server.url}/cleared`, { method: "DELETE" })).body?.cancel();
  const { epoch } = server.app.hub.top;
  await using client = await RawClient.connect(server);
  const cases = [
    ["retention", { channel: "short", epoch, offset: 1 }, 4],
    ["another epoch", { channel: "short", epoch: "other", offset: 4 }, 4],
    ["more than 300 missed", { channel: "long", epoch, offset: 1 }, 302],
    ["DELETE", { channel: "cleared", epoch, offset: 1 }, 2],
    ["an offset beyond the top", { channel: "short", epoch, offset: 9 }, 4],
  ] as const;
  for (const [name, position, offset] of cases) {
    const request = { ...position, recover: true };
    assert.deepEqual(
      (await client.call("subscribe", request)).subscribe,
      { recoverable: true, epoch, positioned: true, was_recovering: true, offset },
      name,
    );
    await client.call("unsubscribe", { channel: position.channel });
    assert.equal(await client.fail("subscribe", { ...request, flag: 2 }), 112, name);
    // A refused subscription leaves nothing behind.
    await untilCounts(server, { subscriptions: 0 });
  }
  const { subscribe } = await client.call("subscribe", { channel: "long", recover: true, epoch, offset: 2 });
  assert.deepEqual([subscribe.recovered, subscribe.publications.length], [true, 300]);
});

Deno.test("What a plain socket says reaches Centrifuge clients, and the other way round", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  await using plain = await TestSocket.open(`${server.socketUrl}/news?id=john&name=John`);
  plain.send("it rains");
  const info = { user: "", client: "john", conn_info: { name: "John" } };
  assert.deepEqual(await client.next(), {
    push: { channel: "news", pub: { data: "it rains", info, offset: 1 } },
  });
  client.send({ id: 3, publish: { channel: "news", data: "it does" } });
  client.send({ id: 4, publish: { channel: "news", data: { mm: 12 } } });
  assert.deepEqual([await plain.next(), await plain.next()], ["it does", '{"mm":12}']);
});

Deno.test("Direct messages arrive as message pushes", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server);
  const { connect } = await client.call("connect");
  await post(server, `/@${connect.client}`, "psst");
  assert.deepEqual(await client.next(), { push: { message: { data: "psst" } } });
});

Deno.test("A conflated channel claims no position", async () => {
  await using server = await startRuledApp([{ channels: "ticker", conflate: true }]);
  await using client = await RawClient.open(server);
  await client.call("connect");
  const { subscribe } = await client.call("subscribe", { channel: "ticker" });
  assert.deepEqual(subscribe, {});
});
