/** Pusher's HTTP API: the answers of each endpoint, and requests that are refused without an effect. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { TestApp } from "../../test_app.ts";
import {
  APP,
  OfficialClient,
  openServerLibrary,
  RawPusher,
  sign,
  startPusherApp,
  startPusherApps,
} from "./pusher_app.ts";

/** Signs and sends a request as the libraries do. */
async function call(
  { url }: TestApp,
  method: string,
  path: string,
  body?: string,
  changes: Readonly<Record<string, string | undefined>> = {},
): Promise<{ status: number; text: string }> {
  const target = new URL(path, url);
  const query: Record<string, string | undefined> = {
    ...Object.fromEntries(target.searchParams),
    auth_key: APP.key,
    auth_timestamp: String(Math.floor(Date.now() / 1_000)),
    auth_version: "1.0",
    ...(body === undefined ? {} : { body_md5: createHash("md5").update(body).digest("hex") }),
  };
  const { auth_signature, ...overrides } = changes;
  const given = Object.entries({ ...query, ...overrides }).filter(([, value]) => value !== undefined);
  const text = given.toSorted(([a], [b]) => a < b ? -1 : 1).map(([name, value]) => `${name}=${value}`).join(
    "&",
  );
  const signature = auth_signature ?? sign(`${method}\n${target.pathname}\n${text}`).split(":")[1] ?? "";
  target.search = new URLSearchParams([...given as [string, string][], ["auth_signature", signature]])
    .toString();
  const response = await fetch(target, { method, ...(body === undefined ? {} : { body }) });
  return { status: response.status, text: await response.text() };
}

const EVENT = JSON.stringify({ name: "a", channel: "news", data: "{}" });

Deno.test("a request that is not signed by the app is refused with 401 and does nothing", async () => {
  await using server = await startPusherApp();
  const path = `/apps/${APP.id}/events`;
  const late = String(Math.floor(Date.now() / 1_000) - 601);
  const faults: readonly [Readonly<Record<string, string | undefined>>, RegExp][] = [
    [{ auth_signature: "0".repeat(64) }, /auth_signature does not match/],
    [{ auth_signature: "" }, /does not match/],
    [{ auth_key: "other" }, /auth_key/],
    [{ auth_key: undefined }, /auth_key is missing/],
    [{ auth_timestamp: late }, /600 seconds/],
    [{ auth_timestamp: "now" }, /600 seconds/],
    [{ auth_version: "2.0" }, /auth_version/],
    [{ body_md5: "0".repeat(32) }, /body_md5/],
    [{ body_md5: undefined }, /body_md5/],
  ];
  for (const [changes, reason] of faults) {
    const { status, text } = await call(server, "POST", path, EVENT, changes);
    assert.equal(status, 401, text);
    assert.match(text, reason);
  }
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  assert.deepEqual(messages, []);
  assert.equal((await call(server, "POST", "/apps/other/events", EVENT)).status, 404);
});

Deno.test("an event is refused with the reason as text, and nothing of it is published", async () => {
  await using server = await startPusherApp();
  const valid = { name: "a", channel: "news", data: "{}" };
  const cases: readonly [Record<string, unknown>, number, RegExp][] = [
    [{ ...valid, data: "x".repeat(10_241) }, 413, /exceeds the allowed maximum \(10240 bytes\)/],
    [{ ...valid, name: undefined }, 400, /name is required/],
    [{ ...valid, name: "n".repeat(201) }, 400, /200 characters/],
    [{ ...valid, data: undefined }, 400, /data is required/],
    [{ ...valid, channel: "a b" }, 400, /Invalid channel name/],
    [{ ...valid, channel: "x".repeat(201) }, 400, /Invalid channel name/],
    [{ ...valid, channel: undefined }, 400, /channel or channels/],
    [{ ...valid, channels: Array.from({ length: 101 }, (_, i) => `c${i}`) }, 400, /100 channels/],
    [{ ...valid, socket_id: "abc" }, 400, /Invalid socket id/],
    [{ ...valid, channels: ["news", "private-encrypted-a"] }, 400, /one channel/],
    [{ ...valid, info: "subscription_count,members" }, 400, /no attribute "members"/],
  ];
  for (const [body, status, reason] of cases) {
    const answer = await call(server, "POST", `/apps/${APP.id}/events`, JSON.stringify(body));
    assert.equal(answer.status, status, answer.text);
    assert.match(answer.text, reason);
  }
  const batch = Array.from({ length: 11 }, () => valid);
  const tooLarge = await call(server, "POST", `/apps/${APP.id}/batch_events`, JSON.stringify({ batch }));
  assert.deepEqual([tooLarge.status, /Batch too large/.test(tooLarge.text)], [400, true]);
  for (const body of ["[]", "{", '"x"']) {
    assert.equal((await call(server, "POST", `/apps/${APP.id}/events`, body)).status, 400);
  }
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  assert.deepEqual(messages, []);
});

Deno.test("the largest data and the largest batch are published", async () => {
  await using server = await startPusherApp();
  const event = { name: "n".repeat(200), channel: "news", data: "x".repeat(10_240) };
  assert.equal((await call(server, "POST", `/apps/${APP.id}/events`, JSON.stringify(event))).status, 200);
  const batch = Array.from({ length: 10 }, (_, i) => ({ name: "a", channel: `c${i}`, data: `${i}` }));
  const answer = await call(server, "POST", `/apps/${APP.id}/batch_events`, JSON.stringify({ batch }));
  assert.deepEqual(answer, { status: 200, text: "{}" });
  const { messages } = await (await fetch(`${server.url}/c9?since=earliest`)).json();
  assert.deepEqual(messages[0].data, 9);
});

Deno.test("channels, one channel and its users are told as Pusher tells them", async () => {
  await using server = await startPusherApp();
  await using one = new OfficialClient(server, { user: { user_id: "1" } });
  await using two = new OfficialClient(server, { user: { user_id: "2" } });
  await one.subscribe("presence-a");
  await two.subscribe("presence-a");
  await one.subscribe("news");
  const library = openServerLibrary(server);
  const get = async (path: string, params: Record<string, string> = {}) =>
    await (await library.get({ path, params })).json();
  assert.deepEqual(await get("/channels"), { channels: { "presence-a": {}, news: {} } });
  assert.deepEqual(await get("/channels", { filter_by_prefix: "presence-", info: "user_count" }), {
    channels: { "presence-a": { user_count: 2 } },
  });
  assert.deepEqual(await get("/channels/presence-a", { info: "user_count,subscription_count" }), {
    occupied: true,
    user_count: 2,
    subscription_count: 2,
  });
  assert.deepEqual(await get("/channels/empty"), { occupied: false });
  assert.deepEqual(await get("/channels/presence-a/users"), { users: [{ id: "1" }, { id: "2" }] });
  const wrong = await call(server, "GET", `/apps/${APP.id}/channels/news/users`);
  assert.equal(wrong.status, 400);
  for (const path of ["/channels?info=user_count", "/channels?info=x", "/channels/news?info=user_count"]) {
    assert.equal((await call(server, "GET", `/apps/${APP.id}${path}`)).status, 400, path);
  }
});

Deno.test("a trigger with info tells of the channels, and batches of each event's", async () => {
  await using server = await startPusherApp();
  await using client = new OfficialClient(server, { user: { user_id: "1" } });
  await client.subscribe("presence-a");
  const library = openServerLibrary(server);
  const single = await library.trigger("presence-a", "e", "d", { info: "user_count,subscription_count" });
  assert.deepEqual(await single.json(), {
    channels: { "presence-a": { user_count: 1, subscription_count: 1 } },
  });
  const batch = await library.triggerBatch([
    { channel: "presence-a", name: "e", data: "d", info: "user_count" },
    { channel: "news", name: "e", data: "d" },
  ]);
  assert.deepEqual(await batch.json(), { batch: [{ user_count: 1 }, {}] });
  const mixed = await library.trigger(["presence-a", "news"], "e", "d", {
    info: "user_count,subscription_count",
  });
  assert.deepEqual(await mixed.json(), {
    channels: { "presence-a": { user_count: 1, subscription_count: 1 }, news: { subscription_count: 0 } },
  });
});

Deno.test("without an app both URLs say how to set one up", async () => {
  await using server = await (await import("../../test_app.ts")).startApp();
  for (const path of ["/app/x", "/apps/x/events"]) {
    const response = await fetch(server.url + path);
    assert.equal(response.status, 404);
    assert.match((await response.json()).detail, /RAINDROPS_PUSHER_APP=id:key:secret/);
  }
});

Deno.test("apps do not meet: neither their channels nor their lists nor each other's keys", async () => {
  const file = await Deno.makeTempFile();
  const other = { id: "app2", key: "key2", secret: "secret-of-app-2" };
  await Deno.writeTextFile(file, JSON.stringify([APP, other]));
  try {
    await using server = await (await import("../../test_app.ts")).startApp("--pusher-apps", file);
    await using one = await RawPusher.connect(server);
    one.send("pusher:subscribe", { channel: "news" });
    await one.read();
    await openServerLibrary(server, other).trigger("news", "theirs", 1);
    await openServerLibrary(server).trigger("news", "ours", 2);
    assert.equal(await one.read(), '{"event":"ours","channel":"news","data":"2"}');
    assert.deepEqual(await (await openServerLibrary(server, other).get({ path: "/channels" })).json(), {
      channels: {},
    });
    const stored = await (await fetch(`${server.url}/app2/news?since=earliest`)).json();
    assert.equal(stored.messages.length, 1);
    one.send("pusher:subscribe", { channel: "private-x", auth: sign(`${one.socketId}:private-x`, other) });
    assert.match(await one.read(), /AuthError/);
  } finally {
    await Deno.remove(file);
  }
});

Deno.test("a request that is signed by another app is refused with 403, by nobody with 401", async () => {
  const other = { id: "app2", key: "key2", secret: "secret-of-app-2" };
  await using server = await startPusherApps([APP, other]);
  const wrongId = { ...other, id: APP.id };
  await assert.rejects(openServerLibrary(server, wrongId).trigger("news", "e", 1), { status: 403 });
  const forged = { ...wrongId, secret: "secret-of-app-3" };
  await assert.rejects(openServerLibrary(server, forged).trigger("news", "e", 1), { status: 401 });
});
