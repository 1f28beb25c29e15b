/** Subscriptions to maps, as the official client makes them: a mirror that misses nothing, whatever happens meanwhile. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { MessagingError } from "../../../lib/core/errors.ts";
import { Clients, rejection } from "../../suites/centrifuge_clients.ts";
import { callApi, listenToMap, Mirror, raceMaps, readMap } from "../../suites/maps.ts";
import { TcpProxy } from "../../fakes/tcp_proxy.ts";
import { startServer } from "../../server_process.ts";
import { startApp } from "../../test_app.ts";
import { createToken, post, RawClient, startKeyedApp, startRuledApp } from "./app.ts";
import { VARIANTS } from "./variants.ts";

const [JSON_SOCKET, PROTOBUF_SOCKET] = VARIANTS as [typeof VARIANTS[number], typeof VARIANTS[number]];

const TEXT = "д".repeat(200);

async function set(url: string, key: string, data: unknown, more: Record<string, unknown> = {}) {
  return await callApi(url, "map_publish", { channel: "map", key, data, ...more });
}

for (const variant of VARIANTS) {
  Deno.test(`Client over ${variant.name} mirrors a map: in pages, live, by deltas, and after it was away`, async () => {
    await using server = await startApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    using others = new Clients(variant, server);
    for (let i = 0; i < 5; i++) await set(server.url, `k${i}`, { i, text: TEXT });
    const mirror = new Mirror(await clients.connect(), "map", variant.decode, {
      pageSize: 2,
      delta: "fossil",
    });
    const [subscribed, updates] = ["subscribed", "update"].map((event) =>
      listenToMap(mirror.subscription, event as "update")
    ) as [ReturnType<typeof listenToMap>, ReturnType<typeof listenToMap>];
    await mirror.subscribe();
    const first = await subscribed.next() as { recoverable: boolean; recovered: boolean; state: unknown[] };
    assert.deepEqual([first.recoverable, first.recovered, first.state.length], [true, false, 5]);
    assert.deepEqual(mirror.entries.k3, { i: 3, text: TEXT });

    const other = (await others.connect()).newMapSubscription("map");
    other.subscribe();
    await other.ready();
    await other.publish("k1", variant.encode({ i: 10, text: TEXT }));
    await other.remove("k2");
    await other.remove("k2");
    await other.publish("new", variant.encode({ i: 11, text: TEXT }));
    await mirror.until((values) => values.has("new"));
    assert.equal(updates.unread.length, 3, "A removal of nothing is no message");
    const { numFullPayloads, numDeltaPayloads } = mirror.subscription.deltaStats();
    // The state and the new key whole; a removal is neither.
    assert.deepEqual([numFullPayloads, numDeltaPayloads], [6, 1]);

    proxy.cut();
    await set(server.url, "k1", { i: 20, text: TEXT });
    await set(server.url, "k1", { i: 21, text: TEXT });
    await callApi(server.url, "map_remove", { channel: "map", key: "k4" });
    updates.unread.length = 0;
    proxy.refuses = false;
    const again = await subscribed.next() as { recovered: boolean; wasRecovering: boolean };
    assert.deepEqual([again.recovered, again.wasRecovering], [true, true]);
    await mirror.until((values) => !values.has("k4"));
    assert.deepEqual([mirror.syncs, updates.unread.length], [1, 3]);
    await set(server.url, "k1", { i: 22, text: TEXT });
    await mirror.until((values) => (values.get("k1") as { i: number }).i === 22);
    assert.deepEqual(mirror.entries, await readMap(server.url, "map"));
  });
}

const engines: readonly (readonly [string, (folder: string) => string])[] = [
  ["memory", () => "memory:"],
  ["SQLite", (folder) => `sqlite:${join(folder, "maps.db")}`],
];

for (const [name, engine] of engines) {
  for (const variant of [JSON_SOCKET, PROTOBUF_SOCKET]) {
    Deno.test(`Clients over ${variant.name} that come and go while keys change agree in the end, on ${name}`, async () => {
      const folder = await Deno.makeTempDir();
      try {
        await using server = await startApp("--engine", engine(folder));
        await raceMaps([server.url], variant, 12);
      } finally {
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}

Deno.test("What is published between the pages of a state and going live is in the last answer, and nothing twice", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  for (const key of ["a", "b", "c", "d"]) await set(server.url, key, 1);
  const request = { channel: "map", type: 1, phase: 2, limit: 2 };
  const { subscribe: first } = await client.call("subscribe", request);
  assert.deepEqual([first.type, first.phase, first.cursor, first.offset], [1, 2, "b", 4]);
  assert.deepEqual(first.state.map(({ key, data }: { key: string; data: unknown }) => [key, data]), [
    ["a", 1],
    ["b", 1],
  ]);
  // One that was given, one that is to come, one that never comes, and a message without a key.
  await set(server.url, "a", 2);
  await callApi(server.url, "map_remove", { channel: "map", key: "c" });
  await set(server.url, "aa", 1);
  await callApi(server.url, "publish", { channel: "map", data: "no key" });
  const { epoch, offset, cursor } = first;
  const { subscribe: last } = await client.call("subscribe", { ...request, epoch, offset, cursor });
  assert.deepEqual([last.phase, last.cursor, last.recoverable, last.recovered, last.offset], [
    undefined,
    undefined,
    true,
    undefined,
    8,
  ]);
  assert.deepEqual(last.state.map(({ key }: { key: string }) => key), ["d"]);
  assert.deepEqual(
    last.publications.map(({ key, data, removed }: Record<string, unknown>) => [key, data, removed]),
    [["a", 2, undefined], ["c", null, true], ["aa", 1, undefined]],
  );
  await set(server.url, "z", 1);
  assert.deepEqual((await client.next()).push.pub, { data: 1, offset: 9, key: "z" });
});

Deno.test("What is too much to come along with the last page comes in pages of its own", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  await set(server.url, "a", 1);
  await set(server.url, "b", 1);
  const request = { channel: "map", type: 1, delta: "fossil" };
  const { subscribe: first } = await client.call("subscribe", { ...request, phase: 2, limit: 1 });
  const commands = Array.from({ length: 650 }, (_, i) => ({
    map_publish: { channel: "map", key: i % 2 === 0 ? "a" : "b", data: i },
  }));
  await fetch(`${server.url}/api/batch`, { method: "POST", body: JSON.stringify({ commands }) })
    .then((response) => response.body?.cancel());
  const { epoch, cursor } = first;
  const { subscribe: second } = await client.call("subscribe", { ...request, phase: 2, cursor, limit: 1 });
  assert.deepEqual([second.phase, second.cursor, second.offset, second.state.length], [2, undefined, 2, 1]);
  const offsets: number[] = [];
  let [phase, offset] = [1, second.offset];
  while (phase === 1) {
    const { subscribe } = await client.call("subscribe", { ...request, phase: 1, epoch, offset });
    offsets.push(...subscribe.publications.map((publication: { offset: number }) => publication.offset));
    phase = subscribe.phase ?? 0;
    // Only what the client decodes may be a delta.
    if (phase === 1) assert.ok(subscribe.publications.every(({ delta }: { delta?: true }) => !delta));
    offset = subscribe.offset;
  }
  assert.deepEqual(offsets, Array.from({ length: 650 }, (_, i) => i + 3));
  assert.equal(offset, 652);
});

Deno.test("A client whose position is lost takes the map anew, or gives up where it is told to", async () => {
  await using server = await startRuledApp([{ channels: "map", history: { messages: 2 } }]);
  using clients = new Clients(JSON_SOCKET, server);
  const client = await clients.connect();
  const [mirror, strict] = [new Mirror(client, "map", JSON_SOCKET.decode), await clients.connect()];
  const fatal = new Mirror(strict, "map", JSON_SOCKET.decode, { unrecoverableStrategy: "fatal" });
  await mirror.subscribe();
  await fatal.subscribe();
  await set(server.url, "a", 0);
  await mirror.until((values) => values.has("a"));
  await fatal.until((values) => values.has("a"));
  mirror.subscription.unsubscribe();
  fatal.subscription.unsubscribe();
  for (let i = 0; i < 5; i++) await set(server.url, `k${i}`, i);
  const unsubscribed = listenToMap(fatal.subscription, "unsubscribed");
  await mirror.subscribe();
  assert.deepEqual([mirror.syncs, mirror.entries], [2, await readMap(server.url, "map")]);
  assert.equal(mirror.values.size, 6);
  fatal.subscription.subscribe();
  assert.equal((await unsubscribed.next()).code, 112);
});

Deno.test("A server with another epoch, and nothing of what it had, is mirrored anew", async () => {
  await using server = await startServer();
  using clients = new Clients(JSON_SOCKET, server);
  const mirror = await new Mirror(await clients.connect(), "map", JSON_SOCKET.decode).subscribe();
  await set(server.url, "a", 1);
  await set(server.url, "b", 1);
  await mirror.until((values) => values.size === 2);
  await server.kill();
  await server.start();
  await mirror.until((values) => values.size === 0);
  assert.equal(mirror.syncs, 2);
  await set(server.url, "c", 2);
  await mirror.until((values) => values.size === 1);
  assert.deepEqual(mirror.entries, { c: 2 });
});

Deno.test("Who watches a channel that is cleared, or a message taken back, is told what is left", async () => {
  await using server = await startApp();
  using clients = new Clients(JSON_SOCKET, server);
  const mirror = await new Mirror(await clients.connect(), "map", JSON_SOCKET.decode).subscribe();
  await using paging = await RawClient.connect(server);
  await set(server.url, "a", 1);
  const { offset } = await set(server.url, "b", 1);
  const request = { channel: "map", type: 1, phase: 2, limit: 1 };
  const { subscribe: page } = await paging.call("subscribe", request);
  const { id } = (await (await fetch(`${server.url}/map?poll&limit=10`)).json()).messages
    .find((message: { offset: number }) => message.offset === offset);
  const response = await fetch(`${server.url}/map?id=${id}`, { method: "DELETE" });
  assert.equal(response.status, 200, await response.text());
  await mirror.until((values) => !values.has("b"));
  assert.deepEqual(mirror.entries, { a: 1 });
  // The rest of the pages would not tell it.
  assert.equal(await paging.fail("subscribe", { ...request, cursor: page.cursor }), 112);
  await callApi(server.url, "map_clear", { channel: "map" });
  await mirror.until((values) => values.size === 0);
  await set(server.url, "c", 1);
  await mirror.until((values) => values.has("c"));
  assert.deepEqual(await callApi(server.url, "map_stats", { channel: "map" }), { num_keys: 1 });
});

Deno.test("A filter holds for the state, for what follows and for removals", async () => {
  await using server = await startApp();
  using clients = new Clients(JSON_SOCKET, server);
  await set(server.url, "a", 1, { tags: { team: "eng" } });
  await set(server.url, "b", 1, { tags: { team: "sales" } });
  const tagsFilter = { key: "team", cmp: "eq" as const, val: "eng" };
  const mirror = new Mirror(await clients.connect(), "map", JSON_SOCKET.decode, { tagsFilter });
  await mirror.subscribe();
  assert.deepEqual(mirror.entries, { a: 1 });
  await set(server.url, "c", 1, { tags: { team: "sales" } });
  await set(server.url, "d", 1, { tags: { team: "eng" } });
  await callApi(server.url, "map_remove", { channel: "map", key: "a" });
  await mirror.until((values) => !values.has("a"));
  assert.deepEqual(mirror.entries, { d: 1 });
});

Deno.test("Who may publish on a channel may set its keys; who may subscribe, and read no history, gets the map anew", async () => {
  const rules = [{ channels: "map", allow: ["subscribe"], allowSubscribers: [] }];
  await using server = await startKeyedApp(rules, "RAINDROPS_API_KEYS=a-key-that-is-long-enough");
  using clients = new Clients(JSON_SOCKET, server);
  const client = await clients.connect({ token: await createToken({ sub: "42" }) });
  const mirror = await new Mirror(client, "map", JSON_SOCKET.decode).subscribe();
  assert.equal(await rejection(mirror.subscription.publish("a", 1)), 103);
  assert.equal(await rejection(mirror.subscription.remove("a")), 103);
  const publish = async (key: string) => {
    const headers = { "x-api-key": "a-key-that-is-long-enough" };
    const body = JSON.stringify({ channel: "map", key, data: 1 });
    const response = await fetch(`${server.url}/api/map_publish`, { method: "POST", headers, body });
    assert.ok((await response.json()).result.offset > 0);
  };
  await publish("a");
  await mirror.until((values) => values.has("a"));
  mirror.subscription.unsubscribe();
  await publish("b");
  await mirror.subscribe();
  assert.deepEqual([mirror.syncs, mirror.entries], [2, { a: 1, b: 1 }]);
});

Deno.test("What a client sends of one key at once is carried out in its order", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const publish = (id: number, key: string, more: unknown) => ({
    id,
    publish: Object.assign({ channel: "map", type: 1, key }, more),
  });
  await set(server.url, "removed", 1);
  await set(server.url, "kept", 1);
  client.send(
    publish(11, "removed", { data: 2 }),
    publish(12, "removed", { removed: true }),
    publish(13, "kept", { removed: true }),
    publish(14, "kept", { data: 2 }),
    publish(15, "new", { data: 1 }),
    publish(16, "new", { removed: true }),
    publish(17, "late", { removed: true }),
    publish(18, "late", { data: 1 }),
  );
  const ids = [];
  for (let i = 0; i < 8; i++) ids.push((await client.next()).id);
  assert.deepEqual(ids.sort(), [11, 12, 13, 14, 15, 16, 17, 18]);
  assert.deepEqual(await readMap(server.url, "map"), { kept: 2, late: 1 });
});

Deno.test("Others see messages with keys, and set and remove them by URL", async () => {
  await using server = await startApp();
  using clients = new Clients(JSON_SOCKET, server);
  const mirror = await new Mirror(await clients.connect(), "map", JSON_SOCKET.decode).subscribe();
  const post = async (query: string, body: string, type = "text/plain") => {
    const headers = { "content-type": type };
    const response = await fetch(`${server.url}/map${query}`, { method: "POST", headers, body });
    return [response.status, await response.text()] as const;
  };
  await post("?key=a", "it rains");
  await post("", JSON.stringify({ data: { mm: 3 }, key: "b" }), "application/json");
  await post("?key=a&removed", "");
  await callApi(server.url, "publish", { channel: "map", key: "c", data: 1 });
  await callApi(server.url, "publish", { channel: "map", key: "b", removed: true });
  await mirror.until((values) => values.has("c") && values.size === 1);
  const { messages } = await (await fetch(`${server.url}/map?poll&limit=10`)).json();
  assert.deepEqual(
    messages.map(({ data, key, removed }: Record<string, unknown>) => [data, key, removed]),
    [
      ["it rains", "a", undefined],
      [{ mm: 3 }, "b", undefined],
      ["", "a", true],
      [1, "c", undefined],
      [null, "b", true],
    ],
  );
  assert.equal((await post("?key=", "x"))[0], 400);
  assert.equal((await post("?key=a&ephemeral", "x"))[0], 400);
  assert.match((await post("?removed", "x"))[1], /name one/);
});

Deno.test("A key whose time is up is not there for the API and for clients, though its removal is to come", async () => {
  await using server = await startApp();
  const { url, app: { hub } } = server;
  const channel = "map";
  await post(server, "/map?key=a&ttl=1", "1");
  await set(url, "b", 2);
  await using client = await RawClient.connect(server);
  const map = await hub.maps.find(channel);
  const { expires } = map.get("a")!;
  // This publish is under way while the time of the key ends: its removal waits for it.
  const release = map.hold("a");
  await new Promise((resolve) => setTimeout(resolve, expires - Date.now() + 1));
  assert.notEqual(map.get("a"), undefined);
  assert.deepEqual((await callApi(url, "map_read_state", { channel, key: "a" })).entries, []);
  const { entries } = await callApi(url, "map_read_state", { channel });
  assert.deepEqual(entries.map(({ key }: { key: string }) => key), ["b"]);
  assert.deepEqual(await callApi(url, "map_stats", { channel }), { num_keys: 1 });
  const { subscribe } = await client.call("subscribe", { channel, type: 1, phase: 2, limit: 10 });
  assert.deepEqual(subscribe.state.map(({ key }: { key: string }) => key), ["b"]);
  assert.equal((await callApi(url, "map_remove", { channel, key: "a" })).suppressed, true);
  release();
});

Deno.test("A client whose subscription to a map fails in the middle leaves nothing behind", async () => {
  await using server = await startApp();
  const { hub } = server.app;
  await using client = await RawClient.connect(server);
  const map = await hub.maps.find("map");
  const read = hub.read.bind(hub);
  hub.read = () => Promise.reject(new MessagingError("log_unavailable", "away"));
  const request = { channel: "map", type: 1, phase: 2, limit: 1 };
  assert.equal((await client.call("subscribe", request)).error.code, 100);
  // Nobody watches the map.
  assert.ok(map.isIdle);
  hub.read = read;
  await set(server.url, "a", 1);
  assert.equal((await client.call("subscribe", request)).subscribe.state.length, 1);
});

Deno.test("The API's methods say what they do not do, and what is not there", async () => {
  await using server = await startApp("--max-map-keys", "1");
  const fail = async (method: string, request: unknown) => {
    const response = await fetch(`${server.url}/api/${method}`, {
      method: "POST",
      body: JSON.stringify(request),
    });
    return (await response.json()).error?.code;
  };
  const channel = "map";
  assert.equal(await fail("map_publish", { channel, data: 1 }), 107);
  assert.equal(await fail("map_publish", { channel, key: "a" }), 107);
  assert.equal(await fail("map_publish", { channel, key: "a", data: 1, key_mode: "if_new" }), 108);
  assert.equal(await fail("map_publish", { channel, key: "a", data: 1, version: 3 }), 107);
  assert.equal(await fail("map_remove", { channel }), 107);
  assert.equal(await fail("map_publish", { channel: "cursors", key: "a", data: 1 }), 108);
  const { offset, epoch } = await callApi(server.url, "map_publish", { channel, key: "a", data: 1 });
  assert.equal(offset, 1);
  assert.equal(await fail("map_publish", { channel, key: "b", data: 1 }), 100);
  assert.deepEqual(await callApi(server.url, "map_remove", { channel, key: "b" }), {
    offset: 1,
    epoch,
    suppressed: true,
    suppress_reason: "key_not_found",
  });
  const { entries } = await callApi(server.url, "map_read_state", { channel, key: "a" });
  assert.deepEqual(entries.map(({ key, data }: Record<string, unknown>) => [key, data]), [["a", 1]]);
  assert.deepEqual((await callApi(server.url, "map_read_state", { channel, key: "b" })).entries, []);
  const history = await callApi(server.url, "history", { channel, limit: 10 });
  assert.deepEqual(history.publications, [{ data: 1, offset: 1, key: "a" }]);
});
