/** Delta compression, as the official client asks for it. */
import assert from "node:assert/strict";
import { Clients, listen, listenTo, subscribe } from "../../suites/centrifuge_clients.ts";
import { TcpProxy } from "../../fakes/tcp_proxy.ts";
import { startApp } from "../../test_app.ts";
import { post, RawClient, startRuledApp } from "./app.ts";
import { VARIANTS } from "./variants.ts";

const TEXT = "д".repeat(200) + "🙂".repeat(50);

/** Publishes JSON by HTTP. */
async function publish(server: { readonly url: string }, channel: string, data: unknown): Promise<void> {
  await postJson(server, `/${channel}`, { data });
}

async function postJson(server: { readonly url: string }, path: string, body: unknown): Promise<void> {
  const headers = { "content-type": "application/json" };
  const response = await fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) });
  await response.body?.cancel();
  assert(response.ok, `${response.status}`);
}

for (const variant of VARIANTS) {
  const data = ({ data }: { readonly data: unknown }) => variant.decode(data);

  Deno.test(`Client over ${variant.name} gets deltas live and after recovery, and reads what was published`, async () => {
    await using server = await startApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = await clients.connect();
    const subscription = await subscribe(client, "news", { delta: "fossil" });
    const [publications, subscribed, connecting] = [
      listenTo(subscription, "publication"),
      listenTo(subscription, "subscribed"),
      listen(client, "connecting"),
    ];
    const values = Array.from(
      { length: 8 },
      (_, n) => ({ n, text: `${"е".repeat(n)}${TEXT}`, end: `${n}日` }),
    );
    for (const value of values.slice(0, 4)) await publish(server, "news", value);
    assert.deepEqual((await publications.take(4)).map(data), values.slice(0, 4));
    assert.deepEqual(counts(subscription.deltaStats()), [1, 3]);

    proxy.cut();
    for (const value of values.slice(4, 7)) await publish(server, "news", value);
    await connecting.next();
    proxy.refuses = false;
    assert.equal((await subscribed.next()).recovered, true);
    assert.deepEqual((await publications.take(3)).map(data), values.slice(4, 7));
    assert.deepEqual(counts(subscription.deltaStats()), [2, 5]);
    await publish(server, "news", values[7]);
    assert.deepEqual(data(await publications.next()), values[7]);
    assert.deepEqual(counts(subscription.deltaStats()), [2, 6]);
    const { bytesReceived, bytesDecoded } = subscription.deltaStats();
    assert(bytesReceived < bytesDecoded / 2, `${bytesReceived} of ${bytesDecoded} bytes`);
  });

  Deno.test(`Client over ${variant.name} reads every kind of data between deltas, beside others who get it whole`, async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const [differing, whole] = [await clients.connect(), await clients.connect()];
    const inboxes = [
      listenTo(await subscribe(differing, "news", { delta: "fossil" }), "publication"),
      listenTo(await subscribe(whole, "news"), "publication"),
    ];
    const late = await clients.connect();
    await publish(server, "news", { a: 1, text: TEXT });
    await postJson(server, "/api/publish", { channel: "news", data: { a: 2, text: TEXT }, delta: true });
    inboxes.push(listenTo(await subscribe(late, "news", { delta: "fossil" }), "publication"));
    await post(server, "/news", TEXT);
    await post(server, "/news", "");
    await publish(server, "news", TEXT + "!");
    await postJson(server, "/api/publish", { channel: "news", b64data: btoa("\xff\xfe".repeat(40)) });
    await postJson(server, "/api/publish", {
      channel: "news",
      b64data: btoa("\xff\xfe".repeat(40) + "\x80"),
    });
    await publish(server, "news", null);
    const [first, second, third] = [
      await inboxes[0]!.take(8),
      await inboxes[1]!.take(8),
      await inboxes[2]!.take(6),
    ];
    assert.deepEqual(first.map(data), second.map(data));
    assert.deepEqual(third.map(data), second.slice(2).map(data));
    assert.deepEqual(first.map(({ offset }) => offset), [1, 2, 3, 4, 5, 6, 7, 8]);
  });
}

Deno.test("a client that asks for another kind of delta gets publications whole, as JSON", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const { subscribe: result } = await client.call("subscribe", { channel: "news", delta: "other" });
  assert.equal(result.delta, undefined);
  await publish(server, "news", { a: 1 });
  assert.deepEqual((await client.next()).push.pub.data, { a: 1 });
});

Deno.test("with deltas every publication's data is a string in JSON: a delta where that is shorter", async () => {
  await using server = await startRuledApp([{ channels: "passing", ephemeral: true }]);
  await using client = await RawClient.connect(server);
  for (const channel of ["news", "passing"]) {
    const { subscribe: result } = await client.call("subscribe", { channel, delta: "fossil" });
    assert.equal(result.delta, true);
    await publish(server, channel, { text: "x".repeat(100) });
    await publish(server, channel, { text: "x".repeat(101) });
    await publish(server, channel, 1);
    const pubs = (await client.take(3)).map(({ push }) => push.pub);
    assert.deepEqual(pubs.map(({ delta }) => delta), [undefined, true, undefined]);
    assert.deepEqual([pubs[0].data, pubs[2].data], [`{"text":"${"x".repeat(100)}"}`, "1"]);
    assert(pubs[1].data.length < 40, pubs[1].data);
  }
});

function counts({ numFullPayloads, numDeltaPayloads }: {
  readonly numFullPayloads: number;
  readonly numDeltaPayloads: number;
}): number[] {
  return [numFullPayloads, numDeltaPayloads];
}

Deno.test("deltas come under the name that the client wrote, in whatever normal form", async () => {
  await using server = await startApp();
  await using composed = await RawClient.connect(server);
  await using decomposed = await RawClient.connect(server);
  const name = "café";
  await composed.call("subscribe", { channel: name.normalize("NFC"), delta: "fossil" });
  await decomposed.call("subscribe", { channel: name.normalize("NFD"), delta: "fossil" });
  for (const n of [1, 2]) {
    const draft = { payload: { kind: "json", text: `{"n":${n},"text":"${"x".repeat(100)}"}` } as const };
    await server.app.hub.publish({ channel: name.normalize("NFC"), ...draft });
  }
  const [one, other] = [await composed.take(2), await decomposed.take(2)];
  assert.deepEqual(one.map(({ push }) => push.pub), other.map(({ push }) => push.pub));
  assert.deepEqual([one[1]!.push.channel, other[1]!.push.channel], [
    name.normalize("NFC"),
    name.normalize("NFD"),
  ]);
  assert.equal(other[1]!.push.pub.delta, true);
});
