/** Callouts as the official Centrifuge client meets them: calls, what the application is told, and subscriptions that end. */
import assert from "node:assert/strict";
import { type Asked, Backend } from "./backend.ts";
import { writeHooks } from "./receiver.ts";
import { Clients, listenTo, rejection, subscribe } from "../suites/centrifuge_clients.ts";
import { createToken, RawClient, startKeyedApp } from "../protocols/centrifuge/app.ts";
import { VARIANTS } from "../protocols/centrifuge/variants.ts";
import type { TestApp } from "../test_app.ts";

const KINDS = { subscribe: { channels: ["private/**"] }, publish: { channels: ["private/**"] } };

async function start(backend: Backend, ...kinds: readonly string[]): Promise<TestApp> {
  const all: Readonly<Record<string, object>> = KINDS;
  const callouts = kinds.map((kind) => [kind, { url: `${backend.url}/${kind}`, ...all[kind] }]);
  const file = await writeHooks({ callouts: Object.fromEntries(callouts) });
  return await startKeyedApp([{ channels: "**", allowSubscribers: ["history"] }], "--hooks", file);
}

function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

for (const variant of VARIANTS) {
  const { encode, decode } = variant;

  Deno.test(`Client over ${variant.name} calls the application, which is told what only the server knows`, async () => {
    await using backend = new Backend();
    backend.answer = ({ kind, body }: Asked) => {
      switch (body.method ?? kind) {
        case "bytes":
          return { result: { b64data: btoa('{"n":9007199254740993}') } };
        case "fails":
          return { error: { code: 4_001, message: "not today", temporary: true } };
        case "nothing":
          return { result: {} };
        default:
          return {
            result: {
              data: kind === "publish" ? body.data : { echo: body.data, tags: 1 },
              tags: { by: kind },
            },
          };
      }
    };
    await using server = await start(backend, "rpc", "subscribe", "publish");
    using clients = new Clients(variant, server);
    const claims = { sub: "ann", meta: { role: 1, big: [null] }, labels: { plan: "pro" } };
    const client = await clients.connect({ token: await createToken(claims) });
    for (const value of [{ a: [1, 2.5, null] }, "text", 0, null, "日本"]) {
      assert.deepEqual(decode((await client.rpc("sum", encode(value))).data), { echo: value, tags: 1 });
    }
    const nothing = (await client.rpc("nothing", encode(1))).data as { length?: number } | undefined;
    assert.equal(nothing?.length ?? 0, 0);
    assert.equal(await rejection(client.rpc("fails", encode(1))), 4_001);
    const bytes = (await client.rpc("bytes", encode(1))).data;
    const isBinary = bytes instanceof Uint8Array;
    const text = isBinary ? new TextDecoder().decode(bytes) : atob((bytes as { base64: string }).base64);
    assert.equal(text, '{"n":9007199254740993}');

    const publications = listenTo(await subscribe(client, "private/1"), "publication");
    await client.publish("private/1", encode("hi"));
    const publication = await publications.next();
    assert.deepEqual([decode(publication.data), { ...publication.tags }], ["hi", { by: "publish" }]);
    for (const kind of ["rpc", "subscribe", "publish"]) {
      const { user, meta, labels } = backend.of(kind)[0]?.body ?? {};
      assert.deepEqual([user, meta, labels], [claims.sub, claims.meta, claims.labels], kind);
    }
  });

  Deno.test(`Client over ${variant.name} stays subscribed as long as the application says so`, async () => {
    await using backend = new Backend();
    let renewals = 0;
    backend.answer = ({ kind }: Asked) => {
      if (kind === "subscribe") return { result: { expire_at: renewals < 2 ? inSeconds(1) : 0 } };
      return { result: ++renewals < 2 ? { expire_at: inSeconds(1) } : { expired: true } };
    };
    await using server = await start(backend, "subscribe", "sub_refresh");
    using clients = new Clients(variant, server);
    const client = await clients.connect({ token: await createToken({ sub: "ann", meta: 7 }) });
    const subscription = await subscribe(client, "private/1");
    const [subscribing, subscribed] = [
      listenTo(subscription, "subscribing"),
      listenTo(subscription, "subscribed"),
    ];
    assert.equal((await subscribing.next()).code, 2501);
    await subscribed.next();
    assert.equal(renewals, 2);
    const { user, channel, meta } = backend.of("sub_refresh")[0]?.body ?? {};
    assert.deepEqual([user, channel, meta], ["ann", "private/1", 7]);
    assert.equal(backend.of("subscribe").length, 2);
  });
}

Deno.test("what the application says of an expired subscription: an error ends it, a disconnect the connection", async () => {
  for (
    const [answer, isEnded] of [
      [{ error: { code: 403, message: "not yours" } }, false],
      [{ result: { expire_at: 1 } }, false],
      [new Response("no", { status: 500 }), false],
      [{ disconnect: { code: 4501, reason: "banned" } }, true],
    ] as const
  ) {
    await using backend = new Backend();
    backend.answer = ({ kind }: Asked) =>
      kind === "subscribe" ? { result: { expire_at: inSeconds(1) } } : answer;
    await using server = await start(backend, "subscribe", "sub_refresh");
    await using client = await RawClient.connect(server, { token: await createToken({ sub: "ann" }) });
    assert.notEqual((await client.call("subscribe", { channel: "private/1" })).subscribe, undefined);
    if (isEnded) assert.equal((await client.socket.closed).code, 4501);
    else assert.equal((await client.next()).push.unsubscribe.code, 2501);
  }
});

Deno.test("without the callout a client is told that there are no methods, and a unidirectional one cannot call", async () => {
  await using backend = new Backend();
  await using server = await start(backend, "subscribe");
  await using client = await RawClient.connect(server, { token: await createToken({ sub: "ann" }) });
  assert.equal(await client.fail("rpc", { method: "sum", data: 1 }), 108);
  await using uni = await RawClient.open(server, "/connection/uni_websocket");
  uni.send({ token: await createToken({ sub: "bob" }) });
  assert.notEqual((await uni.next()).connect, undefined);
  uni.send({ id: 2, rpc: { method: "sum", data: 1 } });
  await client.call("ping");
  assert.deepEqual(backend.asked, []);
});
