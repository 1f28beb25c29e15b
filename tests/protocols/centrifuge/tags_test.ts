/** Tags of publications: by which doors they come in and go out, and filters over them. */
import assert from "node:assert/strict";
import type { FilterNode } from "centrifuge";
import { Clients, listen, listenTo, subscribe } from "../../suites/centrifuge_clients.ts";
import { TcpProxy } from "../../fakes/tcp_proxy.ts";
import { startApp } from "../../test_app.ts";
import { connect, startMqtt } from "../mqtt/app.ts";
import { post, RawClient } from "./app.ts";
import { VARIANTS } from "./variants.ts";

async function call(server: { readonly url: string }, path: string, body: unknown) {
  const headers = { "content-type": "application/json" };
  const response = await fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

async function publish(server: { readonly url: string }, data: unknown, tags: unknown): Promise<void> {
  const { body } = await call(server, "/api/publish", { channel: "news", data, tags });
  assert.equal(body.error, undefined, JSON.stringify(body));
}

for (const variant of VARIANTS) {
  const data = ({ data }: { readonly data: unknown }) => variant.decode(data);

  Deno.test(`Client over ${variant.name} gets tags live, in history and by recovery`, async () => {
    await using server = await startApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = await clients.connect();
    const subscription = await subscribe(client, "news");
    const [publications, connecting] = [listenTo(subscription, "publication"), listen(client, "connecting")];
    const tags = { city: "Zürich", ["__proto__"]: "x", empty: "" };
    await publish(server, 1, tags);
    assert.deepEqual({ ...(await publications.next()).tags }, { ...tags });
    proxy.cut();
    const event = encodeURIComponent("rain");
    await post(
      server,
      `/news?event=${event}&tags=${encodeURIComponent(JSON.stringify({ city: "Bern" }))}`,
      "2",
    );
    await call(server, "/news", { data: 3, tags: { city: "Basel" } });
    await call(server, "/api/broadcast", { channels: ["news"], data: 4, tags: { city: "Genf" } });
    await connecting.next();
    proxy.refuses = false;
    const rest = [{ city: "Bern", event: "rain" }, { city: "Basel" }, { city: "Genf" }];
    assert.deepEqual((await publications.take(3)).map(({ tags }) => ({ ...tags })), rest);
    const history = await client.history("news", { limit: 9 });
    assert.deepEqual(history.publications.slice(1).map(({ tags }) => ({ ...tags })), rest);
    assert.equal(history.publications[0]?.tags?.city, "Zürich");
  });

  Deno.test(`Client over ${variant.name} gets only what passes its filter, live and by recovery`, async () => {
    await using server = await startApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = await clients.connect();
    const tagsFilter: FilterNode = {
      op: "or",
      nodes: [
        {
          op: "and",
          nodes: [{ key: "city", cmp: "in", vals: ["Bern", "Basel"] }, { key: "mm", cmp: "gte", val: "2.5" }],
        },
        { key: "event", cmp: "eq", val: "flood" },
      ],
    };
    const subscription = await subscribe(client, "news", { tagsFilter });
    const everything = listenTo(await subscribe(await clients.connect(), "news"), "publication");
    const [publications, subscribed, connecting] = [
      listenTo(subscription, "publication"),
      listenTo(subscription, "subscribed"),
      listen(client, "connecting"),
    ];
    await publish(server, "Bern 2.50", { city: "Bern", mm: "2.50" });
    await publish(server, "Bern 2.49", { city: "Bern", mm: "2.49" });
    await publish(server, "Genf 9", { city: "Genf", mm: "9" });
    await publish(server, "no tags", undefined);
    await post(server, "/news?event=flood", "flood");
    assert.deepEqual((await publications.take(2)).map(data), ["Bern 2.50", "flood"]);
    assert.deepEqual((await everything.take(5)).map(({ offset }) => offset), [1, 2, 3, 4, 5]);
    proxy.cut();
    await publish(server, "Basel 10", { city: "Basel", mm: "10" });
    await publish(server, "Basel 1", { city: "Basel", mm: "1" });
    await connecting.next();
    proxy.refuses = false;
    assert.equal((await subscribed.next()).recovered, true);
    assert.deepEqual(data(await publications.next()), "Basel 10");
    await post(server, "/news?event=flood", "flood again");
    assert.deepEqual(data(await publications.next()), "flood again");
    assert.deepEqual(publications.unread, []);
  });
}

Deno.test("a filter and deltas work together: each delta leads on from what passed before", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const tf = { key: "kind", cmp: "eq", val: "a" };
  await client.call("subscribe", { channel: "news", delta: "fossil", tf });
  const text = "x".repeat(100);
  for (const [n, kind] of [[1, "a"], [2, "b"], [3, "a"]] as const) {
    await publish(server, { n, text }, { kind });
  }
  const [first, second] = (await client.take(2)).map(({ push }) => push.pub);
  assert.deepEqual([first.data, first.offset], [JSON.stringify({ n: 1, text }), 1]);
  assert.deepEqual([second.delta, second.offset], [true, 3]);
  assert(second.data.length < 50, second.data);
});

Deno.test("a client whose filter lets nothing pass goes on from where the channel is", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const tf = { key: "kind", cmp: "ex" };
  const { subscribe: { epoch } } = await client.call("subscribe", { channel: "news", tf });
  await client.call("unsubscribe", { channel: "news" });
  await publish(server, 1, undefined);
  await publish(server, 2, undefined);
  const again = await client.call("subscribe", { channel: "news", tf, recover: true, epoch, offset: 0 });
  const { recovered, offset, publications } = again.subscribe;
  assert.deepEqual([recovered, offset, publications], [true, 2, undefined]);
});

Deno.test("a unidirectional client's filters hold for the channels it asks for", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server, "/connection/uni_websocket");
  client.send({ subs: { news: { tf: { key: "kind", cmp: "eq", val: "a" } } } });
  await client.next();
  await publish(server, 1, { kind: "b" });
  await publish(server, 2, { kind: "a" });
  assert.equal((await client.next()).pub.data, 2);
});

/** A chain of `not` of so many levels. */
function nest(levels: number): unknown {
  return levels === 1 ? { key: "a", cmp: "ex" } : { op: "not", nodes: [nest(levels - 1)] };
}

const leaf = { key: "a", cmp: "ex" };

const REFUSED: readonly (readonly [string, unknown, RegExp])[] = [
  ["an empty node", {}, /cmp that is not one of/],
  ["an unknown op", { op: "xor", nodes: [leaf] }, /op that is not/],
  ["a name that objects inherit", { key: "a", cmp: "toString", val: "x" }, /cmp that is not one of/],
  ["and of nothing", { op: "and" }, /needs nodes/],
  ["not of two", { op: "not", nodes: [leaf, leaf] }, /exactly one/],
  ["a comparison without a key", { cmp: "eq", val: "x" }, /needs a key/],
  ["a comparison without a value", { key: "a", cmp: "eq" }, /needs a val/],
  ["a list without values", { key: "a", cmp: "in", val: "x" }, /needs vals/],
  ["a value where none is taken", { key: "a", cmp: "ex", val: "x" }, /takes none/],
  ["an order of what is no number", { key: "a", cmp: "lt", val: "1e3" }, /decimal number/],
  ["a tree that is too deep", nest(11), /more than 10 levels/],
  ["a tree that is deep beyond all bounds", nest(450), /more than 10 levels/],
  ["a tree of too many nodes", { op: "or", nodes: Array(200).fill(leaf) }, /more than 200 nodes/],
  [
    "too many searches through texts",
    { op: "or", nodes: Array(17).fill({ key: "a", cmp: "ct", val: "x" }) },
    /more than 16 comparisons with ct/,
  ],
  ["too many values", { key: "a", cmp: "in", vals: Array(1_001).fill("x") }, /more than 1000 values/],
];

for (const [name, tf, message] of REFUSED) {
  Deno.test(`a filter is refused with 107, and the connection stays: ${name}`, async () => {
    await using server = await startApp();
    await using client = await RawClient.connect(server);
    const { error } = await client.call("subscribe", { channel: "news", tf });
    assert.equal(error.code, 107);
    assert.match(error.message, message);
    assert.notEqual((await client.call("subscribe", { channel: "news", tf: nest(10) })).subscribe, undefined);
  });
}

Deno.test("filters compare as Centrifuge does", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const passing: readonly [FilterNode, readonly string[]][] = [
    [{ key: "t", cmp: "eq", val: "ab" }, ["ab"]],
    [{ key: "t", cmp: "neq", val: "ab" }, ["", "10", "9.50", "none"]],
    [{ key: "t", cmp: "in", vals: ["ab", ""] }, ["ab", "", "none"]],
    [{ key: "t", cmp: "nin", vals: ["ab", ""] }, ["10", "9.50"]],
    [{ key: "t", cmp: "ex" }, ["ab", "", "10", "9.50"]],
    [{ key: "t", cmp: "nex" }, ["none"]],
    [{ key: "t", cmp: "sw", val: "a" }, ["ab"]],
    [{ key: "t", cmp: "ew", val: "0" }, ["10", "9.50"]],
    [{ key: "t", cmp: "ct", val: "." }, ["9.50"]],
    [{ key: "t", cmp: "lt", val: "10" }, ["9.50"]],
    [{ key: "t", cmp: "lte", val: "9.5" }, ["9.50"]],
    [{ key: "t", cmp: "gt", val: "-1" }, ["10", "9.50"]],
    [{ key: "t", cmp: "gte", val: "9.500000000000000000000000001" }, ["10"]],
    [{ op: "not", nodes: [{ key: "t", cmp: "ex" }] }, ["none"]],
  ];
  for (const [tf, expected] of passing) {
    await client.call("subscribe", { channel: "news", tf });
    for (const t of ["ab", "", "10", "9.50"]) await publish(server, t, { t });
    await publish(server, "none", { other: "x" });
    const got = (await client.take(expected.length)).map(({ push }) => push.pub.data);
    assert.deepEqual(got, expected, JSON.stringify(tf));
    await client.call("unsubscribe", { channel: "news" });
  }
});

Deno.test("tags come back by URL and API, and are the user properties of MQTT, both ways", async () => {
  await using server = await startMqtt();
  await using device = await connect(server, { protocolVersion: 5 });
  await device.client.subscribeAsync("news");
  const { body } = await call(server, "/news", { data: "a", tags: { city: "Bern" } });
  assert.equal(body.offset, 1);
  assert.deepEqual({ ...(await device.next()).packet.properties?.userProperties }, { city: "Bern" });
  await device.client.publishAsync("news", "b", {
    qos: 1,
    properties: { userProperties: { city: ["A", "B"] } },
  });
  const read = await fetch(`${server.url}/news?since=earliest`, { headers: { accept: "application/json" } });
  const { messages } = await read.json();
  assert.deepEqual([messages[0].tags, messages[1].tags], [{ city: "Bern" }, { city: "B" }]);
  const history = await call(server, "/api/history", { channel: "news", limit: 1 });
  assert.deepEqual(history.body.result.publications, [{ data: "a", offset: 1, tags: { city: "Bern" } }]);
});

const BAD_TAGS: readonly (readonly [string, unknown])[] = [
  ["an array", ["a"]],
  ["a value that is no string", { a: 1 }],
  ["an empty name", { "": "x" }],
  ["a long name", { ["n".repeat(101)]: "x" }],
  ["a control character", { a: "x\u0000" }],
  ["half a surrogate pair", { a: "\ud800" }],
  ["too many", Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`t${i}`, "x"]))],
  ["too much", { a: "é".repeat(4_096) }],
];

for (const [name, tags] of BAD_TAGS) {
  Deno.test(`tags are refused at every door, and nothing is published: ${name}`, async () => {
    await using server = await startApp();
    const byUrl = await call(server, "/news", { data: 1, tags });
    assert.deepEqual([byUrl.status, byUrl.body.type], [400, "urn:raindrops:bad_option"]);
    assert.match(byUrl.body.detail, /tag|plain value/i);
    const byQuery = await call(server, `/news?tags=${encodeURIComponent(JSON.stringify(tags))}`, { data: 1 });
    // The listener may find the line itself too long (RFC 6585, section 5).
    assert.ok([400, 431].includes(byQuery.status), String(byQuery.status));
    const byApi = await call(server, "/api/publish", { channel: "news", data: 1, tags });
    assert.equal(byApi.body.error?.code, 107, JSON.stringify(byApi.body));
    assert.equal(server.app.hub.top.sequence, 0);
  });
}

Deno.test("a retry with other tags is another message: its idempotency key is refused", async () => {
  await using server = await startApp();
  const send = (tags: unknown) =>
    call(server, "/api/publish", { channel: "news", data: 1, idempotency_key: "k", tags });
  const first = await send({ a: "1" });
  assert.deepEqual((await send({ a: "1" })).body, first.body);
  assert.notEqual((await send({ a: "2" })).body.error, undefined);
});
