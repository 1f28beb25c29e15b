/** What rules make the server do without being asked: pushes of joins and leaves, and the personal channel. */
import assert from "node:assert/strict";
import { Clients, listen, listenTo, subscribe } from "../../suites/centrifuge_clients.ts";
import { TcpProxy } from "../../fakes/tcp_proxy.ts";
import { TestSocket } from "../../test_socket.ts";
import { createToken, post, RawClient, startKeyedApp, startRuledApp } from "./app.ts";
import { VARIANTS } from "./variants.ts";

const PERSONAL = [{
  channels: "**",
  personalChannel: true,
  forceJoinLeave: true,
  allowSubscribers: ["publish", "history"],
}];

for (const variant of VARIANTS) {
  const data = ({ data }: { readonly data: unknown }) => variant.decode(data);

  Deno.test(`Client over ${variant.name} gets joins and leaves that a rule forces, its own join first`, async () => {
    await using server = await startRuledApp([{ channels: "forced/*", forceJoinLeave: true }]);
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    const subscription = client.newSubscription("forced/a");
    const [joins, leaves] = [listenTo(subscription, "join"), listenTo(subscription, "leave")];
    const elsewhere = listenTo(await subscribe(client, "free"), "join");
    subscription.subscribe();
    await subscription.ready();
    const [member] = server.app.hub.presence.list("forced/a");
    assert.equal((await joins.next()).info.client, member?.id);
    await using _free = await TestSocket.open(`${server.socketUrl}/free?id=jane`);
    const plain = await TestSocket.open(`${server.socketUrl}/forced/a?id=john`);
    assert.equal((await joins.next()).info.client, "john");
    await plain[Symbol.asyncDispose]();
    assert.equal((await leaves.next()).info.client, "john");
    assert.deepEqual([elsewhere.unread, joins.unread, leaves.unread], [[], [], []]);
  });

  Deno.test(`Client over ${variant.name} is on its user's channel from the start, and recovers it`, async () => {
    await using server = await startKeyedApp(PERSONAL);
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = clients.create({ token: await createToken({ sub: "42" }) });
    const [connecting, subscribed, publications, joins] = [
      listen(client, "connecting"),
      listen(client, "subscribed"),
      listen(client, "publication"),
      listen(client, "join"),
    ];
    client.connect();
    assert.equal((await subscribed.next()).channel, "#42");
    assert.equal((await joins.next()).info.user, "42");
    await client.publish("#42", variant.encode({ input: "test" }));
    assert.deepEqual(data(await publications.next()), { input: "test" });

    await connecting.next();
    proxy.cut();
    await server.app.hub.publish({ channel: "#42", payload: { kind: "text", text: "missed" } });
    await connecting.next();
    proxy.refuses = false;
    assert.equal((await subscribed.next()).recovered, true);
    assert.deepEqual(data(await publications.next()), "missed");
  });
}

Deno.test("the personal channel is nobody else's, at no door", async () => {
  await using server = await startKeyedApp([{
    channels: "**",
    personalChannel: true,
    allow: ["subscribe", "publish", "history", "presence"],
    allowAnonymous: ["subscribe", "publish", "history", "presence"],
  }]);
  await using owner = await RawClient.connect(server, { token: await createToken({ sub: "42" }) });
  await using other = await RawClient.connect(server, {
    token: await createToken({ sub: "4", grants: { "**": ["subscribe", "publish", "history", "presence"] } }),
  });
  for (const kind of ["subscribe", "publish", "history", "presence", "presence_stats"]) {
    assert.equal(await other.fail(kind, { channel: "#42", data: 1 }), 103, kind);
  }
  const bearer = { authorization: `Bearer ${await createToken({ sub: "4" })}` };
  for (const [headers, status] of [[{}, 401], [bearer, 403]] as const) {
    for (const path of ["/%2342?since=earliest", "/%2342?presence"]) {
      const response = await fetch(server.url + path, { headers });
      await response.body?.cancel();
      assert.equal(response.status, status, path);
    }
    const response = await fetch(`${server.url}/%2342`, { method: "POST", body: "x", headers });
    await response.body?.cancel();
    assert.equal(response.status, status);
  }
  owner.send({ id: 2, publish: { channel: "#42", data: 1 } });
  assert.equal((await owner.next()).push.pub.data, 1);
  // Patterns do not reach it either.
  const token = await createToken({ sub: "4", grants: { "**": ["subscribe", "history"] } });
  const headers = { authorization: `Bearer ${token}`, accept: "application/json" };
  const all = await fetch(`${server.url}/**?since=earliest`, { headers });
  assert.deepEqual([all.status, (await all.json()).messages], [200, []]);
});

Deno.test("a rule against presence is stronger than one that forces joins", async () => {
  await using server = await startRuledApp([{ channels: "**", forceJoinLeave: true, presence: false }]);
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  await using plain = await TestSocket.open(`${server.socketUrl}/news?id=john`);
  await post(server, "/news", "x");
  assert.equal((await client.next()).push.pub.data, "x");
  assert.equal(await plain.next() !== undefined, true);
});

Deno.test("nobody without a user, and no user whose name is no channel's, has a personal channel", async () => {
  await using server = await startKeyedApp([{
    channels: "**",
    personalChannel: true,
    allowAnonymous: ["subscribe"],
  }]);
  await using anonymous = await RawClient.open(server);
  assert.equal((await anonymous.call("connect")).connect.subs, undefined);
  // The last one is written in another normal form than the channel that it would share with somebody.
  const users = ["a//b", "bell\u0007", "cafe\u0301"];
  for (const sub of users) {
    await using named = await RawClient.open(server);
    const token = await createToken({ sub });
    assert.equal((await named.call("connect", { token })).connect.subs, undefined);
  }
  assert.equal(server.logger.find("no personal channel").length, users.length);
});

Deno.test("without the rule a channel that begins with # is like any other", async () => {
  await using server = await startKeyedApp([{ channels: "**", allow: ["subscribe"] }]);
  await using client = await RawClient.open(server);
  assert.equal(
    (await client.call("connect", { token: await createToken({ sub: "42" }) })).connect.subs,
    undefined,
  );
  assert.notEqual((await client.call("subscribe", { channel: "#7" })).subscribe, undefined);
});

Deno.test("a unidirectional client gets its personal channel and forced joins", async () => {
  await using server = await startKeyedApp(PERSONAL);
  await using client = await RawClient.open(server, "/connection/uni_websocket");
  client.send({ token: await createToken({ sub: "42" }) });
  const { connect } = await client.next();
  assert.deepEqual(Object.keys(connect.subs), ["#42"]);
  assert.equal((await client.next()).join.info.user, "42");
});
