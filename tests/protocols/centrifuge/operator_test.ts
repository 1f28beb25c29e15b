/** What an operator's API does to connected clients, as the official client sees it. */
import assert from "node:assert/strict";
import { Clients, listen, listenTo, subscribe } from "../../suites/centrifuge_clients.ts";
import type { TestApp } from "../../test_app.ts";
import { createToken, RawClient, startKeyedApp, startRuledApp } from "./app.ts";
import { VARIANTS } from "./variants.ts";

const KEY = "a-key-for-tests";

/** Starts an app that checks tokens, and has an API key. */
function start(rules: readonly unknown[] = []): Promise<TestApp> {
  return startKeyedApp(rules, `RAINDROPS_API_KEYS=${KEY}`);
}

async function call(server: { readonly url: string }, method: string, request: unknown): Promise<void> {
  const response = await fetch(`${server.url}/api/${method}`, {
    method: "POST",
    headers: { "x-api-key": KEY },
    body: JSON.stringify(request),
  });
  assert.deepEqual(await response.json(), { result: {} });
}

for (const variant of VARIANTS) {
  const { decode } = variant;
  const data = ({ data }: { readonly data: unknown }) => decode(data);

  Deno.test(`Client over ${variant.name} is subscribed by the API from a position, and goes on from there`, async () => {
    await using server = await start([{ channels: "news", allowSubscribers: [] }]);
    using clients = new Clients(variant, server);
    const client = await clients.connect({ token: await createToken({ sub: "u" }) });
    const [subscribed, publications] = [listen(client, "subscribed"), listen(client, "publication")];
    const publish = (text: string) =>
      server.app.hub.publish({ channel: "news", payload: { kind: "text", text } });
    for (const text of ["1", "2", "3"]) await publish(text);
    const { epoch } = server.app.hub.top;
    await call(server, "subscribe", { user: "u", channel: "news", recover_since: { offset: 1, epoch } });
    await publish("4");
    const { streamPosition } = await subscribed.next();
    assert.deepEqual(streamPosition, { offset: 1, epoch });
    assert.deepEqual((await publications.take(3)).map(data), ["2", "3", "4"]);

    await call(server, "subscribe", {
      user: "u",
      channel: "other",
      recover_since: { offset: 5, epoch: "gone" },
    });
    assert.deepEqual((await subscribed.next()).streamPosition, { offset: 0, epoch });
    assert.deepEqual(publications.unread, []);
  });

  Deno.test(`Client over ${variant.name} has another info once the API says so`, async () => {
    await using server = await start([{
      channels: "**",
      allow: ["subscribe", "publish", "presence"],
      allowSubscribers: ["presence"],
    }]);
    using clients = new Clients(variant, server);
    const token = await createToken({
      sub: "u",
      info: { name: "Ann" },
      subs: { seats: { info: { seat: 1 } } },
    });
    const client = await clients.connect({ token });
    const publications = listenTo(await subscribe(client, "news"), "publication");
    await call(server, "refresh", { user: "u", info: { name: "Anna" } });
    await client.publish("news", variant.encode("hi"));
    assert.deepEqual(decode((await publications.next()).info?.connInfo), { name: "Anna" });
    for (const channel of ["news", "seats"]) {
      const [member, ...others] = Object.values((await client.presence(channel)).clients);
      assert.deepEqual([decode(member?.connInfo), others.length], [{ name: "Anna" }, 0]);
      if (channel === "seats") assert.deepEqual(decode(member?.chanInfo), { seat: 1 });
    }
    await call(server, "refresh", { user: "u" });
    const [member] = Object.values((await client.presence("news")).clients);
    assert.deepEqual(decode(member?.connInfo), { name: "Anna" });
  });
}

Deno.test("a new token brings a new info, too", async () => {
  await using server = await start([{ channels: "**", allow: ["subscribe", "presence"] }]);
  await using client = await RawClient.connect(server, { token: await createToken({ sub: "u", info: 1 }) });
  await client.call("subscribe", { channel: "news" });
  await client.call("refresh", { token: await createToken({ sub: "u", info: 2 }) });
  const { presence } = (await client.call("presence", { channel: "news" })).presence;
  assert.deepEqual(Object.values(presence).map((member) => (member as { conn_info: unknown }).conn_info), [
    2,
  ]);
});

Deno.test("the API chooses connections by the labels of their tokens, and all of all users", async () => {
  await using server = await start([{ channels: "**", allowAnonymous: ["subscribe"] }]);
  const labelled = async (sub: string, labels?: unknown) =>
    await RawClient.connect(server, { token: await createToken({ sub, labels }) });
  await using ann = await labelled("ann", { plan: "pro", version: "12" });
  await using bob = await labelled("bob", { plan: "free", version: "9" });
  await using nobody = await RawClient.connect(server);
  const label_filter = {
    op: "or",
    nodes: [{ key: "plan", cmp: "eq", val: "pro" }, { key: "version", cmp: "gt", val: "10" }],
  };
  await call(server, "subscribe", { all_users: true, channel: "pro", label_filter });
  assert.equal((await ann.next()).push.channel, "pro");
  await call(server, "subscribe", { user: "bob", channel: "bob", label_filter });
  await call(server, "subscribe", { all_users: true, channel: "all" });
  for (const client of [ann, bob, nobody]) assert.equal((await client.next()).push.channel, "all");
  await call(server, "unsubscribe", { all_users: true, channel: "all" });
  for (const client of [ann, bob, nobody]) assert.equal((await client.next()).push.unsubscribe.code, 2000);
  await call(server, "disconnect", { all_users: true, label_filter: { key: "plan", cmp: "ex" } });
  assert.deepEqual([(await ann.socket.closed).code, (await bob.socket.closed).code], [3503, 3503]);
  assert.equal(server.app.hub.clientCount, 1);
});

for (const labels of [["a"], "a", { a: 1 }, { "": "a" }, { a: "x".repeat(9_000) }]) {
  Deno.test(`a token with labels ${JSON.stringify(labels).slice(0, 20)} is not good`, async () => {
    await using server = await startKeyedApp();
    await using client = await RawClient.open(server);
    client.send({ id: 1, connect: { token: await createToken({ sub: "u", labels }) } });
    assert.equal((await client.socket.closed).code, 3500);
  });
}

Deno.test("on an ephemeral channel there is nothing to go on from", async () => {
  await using server = await startRuledApp([{ channels: "**", ephemeral: true }]);
  await using client = await RawClient.connect(server);
  await call(server, "subscribe", { user: "", channel: "news", recover_since: { offset: 1, epoch: "e" } });
  assert.deepEqual(await client.next(), { push: { channel: "news", subscribe: {} } });
});
