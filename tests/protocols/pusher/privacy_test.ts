/** Private channels of an app are private at every door: a table of doors, kinds of channels and credentials. */
import assert from "node:assert/strict";
import { TestSocket } from "../../test_socket.ts";
import type { TestApp } from "../../test_app.ts";
import { RawClient } from "../centrifuge/app.ts";
import { connect, startMqtt } from "../mqtt/app.ts";
import { APP, OfficialClient, openServerLibrary, startPusherApp } from "./pusher_app.ts";

const KEY = "operators-key-0123456789";

const CHANNELS = [
  "private-a",
  "presence-a",
  "private-encrypted-a",
  "private-cache-a",
  "presence-cache-a",
  "#server-to-user-ann",
] as const;

/** A way to read or change a channel by URL, with the status for whoever may. */
const DOORS: readonly { name: string; method: string; path(channel: string): string; accept?: string }[] = [
  { name: "document", method: "GET", path: (channel) => `/${channel}?since=earliest` },
  { name: "list", method: "GET", path: (channel) => `/news,${channel}` },
  { name: "presence", method: "GET", path: (channel) => `/${channel}?presence` },
  { name: "event stream", method: "HEAD", path: (channel) => `/${channel}`, accept: "text/event-stream" },
  { name: "lines", method: "HEAD", path: (channel) => `/${channel}?follow` },
  { name: "publishing", method: "POST", path: (channel) => `/${channel}` },
  { name: "clearing", method: "DELETE", path: (channel) => `/${channel}` },
];

async function ask(
  { url }: TestApp,
  door: typeof DOORS[number],
  channel: string,
  key?: string,
): Promise<number> {
  const response = await fetch(url + door.path(encodeURIComponent(channel)), {
    method: door.method,
    headers: {
      accept: door.accept ?? "application/json",
      ...(key === undefined ? {} : { "x-api-key": key }),
    },
    ...(door.method === "POST" ? { body: "x" } : {}),
  });
  await response.body?.cancel();
  return response.status;
}

for (const door of DOORS) {
  Deno.test(`${door.name} by URL of a private channel takes an API key, on an open server too`, async () => {
    for (const keyed of [false, true]) {
      await using server = await startPusherApp(...(keyed ? [`RAINDROPS_API_KEYS=${KEY}`] : []));
      for (const channel of CHANNELS) {
        assert.equal(await ask(server, door, channel), 403, channel);
        if (keyed) assert.equal(await ask(server, door, channel, KEY), 200, channel);
      }
      assert.notEqual(await ask(server, door, "public", keyed ? KEY : undefined), 403);
    }
  });
}

Deno.test("a Centrifuge client can neither subscribe, publish, nor ask for presence or history of a private channel", async () => {
  await using server = await startPusherApp();
  await using client = await RawClient.connect(server);
  for (const channel of CHANNELS) {
    assert.equal(await client.fail("subscribe", { channel }), 103, channel);
    assert.equal(await client.fail("publish", { channel, data: 1 }), 103, channel);
    assert.equal(await client.fail("presence", { channel }), 103, channel);
    assert.equal(await client.fail("presence_stats", { channel }), 103, channel);
    assert.equal(await client.fail("history", { channel, limit: 1 }), 103, channel);
  }
  assert.equal(await client.fail("subscribe", { channel: "news" }), undefined);
});

Deno.test("a plain WebSocket of a private channel is refused, and wildcards of others do not match it", async () => {
  await using server = await startPusherApp(`RAINDROPS_API_KEYS=${KEY}`);
  await assert.rejects(TestSocket.open(`${server.socketUrl}/private-a`));
  await using all = await TestSocket.open(`${server.socketUrl}/**`);
  await using one = await TestSocket.open(`${server.socketUrl}/*`);
  await using operator = await TestSocket.open(`${server.socketUrl}/**`, { headers: { "x-api-key": KEY } });
  const library = openServerLibrary(server);
  await library.trigger(["private-a", "presence-a"], "secret", "hidden");
  await library.trigger("news", "shown", "seen");
  assert.equal(await all.next(), "seen");
  assert.equal(await one.next(), "seen");
  assert.deepEqual([await operator.next(), await operator.next(), await operator.next()], [
    "hidden",
    "hidden",
    "seen",
  ]);
  const read = async (headers: HeadersInit) => {
    const { messages } = await (await fetch(`${server.url}/**?since=earliest`, { headers })).json();
    return messages.length;
  };
  assert.deepEqual([await read({}), await read({ "x-api-key": KEY })], [1, 3]);
});

Deno.test("the inspector and the API show and reach private channels for a key alone, where nobody is asked for one too", async () => {
  const header = { "content-type": "application/json" };
  const api = (method: string, body: object) => ({ path: `/api/${method}`, body: JSON.stringify(body) });
  for (const keyed of [false, true]) {
    await using server = await startPusherApp(...(keyed ? [`RAINDROPS_API_KEYS=${KEY}`] : []));
    const key: Record<string, string> = keyed ? { "x-api-key": KEY } : {};
    await openServerLibrary(server).trigger("private-a", "e", "hidden");
    for (const channel of CHANNELS) {
      const doors: readonly { path: string; body?: string }[] = [
        { path: `/_inspect/channel?channel=${encodeURIComponent(channel)}` },
        api("publish", { channel, data: 1 }),
        api("broadcast", { channels: ["news", channel], data: 1 }),
        api("batch", { commands: [{ publish: { channel, data: 1 } }] }),
        api("batch", { commands: [{ history: { channel, limit: 1 } }], parallel: true }),
        api("history", { channel, limit: 1 }),
        api("history_remove", { channel }),
        api("presence", { channel }),
        api("subscribe", { channel, user: "ann", client: "none" }),
      ];
      for (const { path, body } of doors) {
        const init = body === undefined ? {} : { method: "POST", body };
        const response = await fetch(server.url + path, { ...init, headers: { ...key, ...header } });
        const text = await response.text();
        const isDenied = response.status === 403 || /"error":\{"code":103,/.test(text);
        assert.equal(isDenied, !keyed, `${path} ${body} ${text}`);
      }
    }
    const tail = await fetch(`${server.url}/_inspect/tail?channel=private-a`, { headers: key });
    assert.equal(tail.status, keyed ? 200 : 403);
    await tail.body?.cancel();
    const list = await fetch(`${server.url}/_inspect/channels?filter=private-a`, { headers: key });
    assert.equal((await list.text()).includes("hidden"), false, "cleared above, or not shown");
    await openServerLibrary(server).trigger("private-a", "e", "hidden");
    const again = await fetch(`${server.url}/_inspect/channels?filter=private-a`, { headers: key });
    assert.equal((await again.text()).includes("hidden"), keyed);
  }
});

Deno.test("a backup that would hold a private channel takes a key, whether it is stored or still to be sent", async () => {
  const backUp = async ({ url }: TestApp, headers: HeadersInit = {}): Promise<number> => {
    const response = await fetch(`${url}/api/backup`, { headers });
    await response.arrayBuffer();
    return response.status;
  };
  for (const query of ["", "?delay=1h"]) {
    const folder = await Deno.makeTempDir();
    try {
      const settings = ["--engine", `sqlite:${folder}/raindrops.db`];
      {
        await using keyed = await startPusherApp(...settings, `RAINDROPS_API_KEYS=${KEY}`);
        const headers = { "x-api-key": KEY };
        const init = { method: "POST", body: "hidden", headers };
        await (await fetch(`${keyed.url}/private-a${query}`, init)).body?.cancel();
        assert.deepEqual([await backUp(keyed), await backUp(keyed, headers)], [401, 200]);
      }
      await using open = await startPusherApp(...settings);
      assert.equal(await backUp(open), 403);
      await (await fetch(`${open.url}/news?delay=2h`, { method: "POST", body: "shown" })).body?.cancel();
      const { rows, total } = await (await fetch(`${open.url}/_inspect/scheduled`)).json();
      assert.deepEqual([rows.map(({ channel }: { channel: string }) => channel), total], [["news"], 1]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
});

Deno.test("an MQTT client can neither subscribe to, publish to nor be retained a private channel, and wildcards do not match it", async () => {
  const app = `RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`;
  for (const keyed of [false, true]) {
    await using server = await startMqtt(app, ...(keyed ? [`RAINDROPS_API_KEYS=${KEY}`] : []));
    const library = openServerLibrary(server);
    const key = { headers: { "x-api-key": KEY } };
    await using client = await connect(server, { protocolVersion: 5 });
    for (const channel of CHANNELS.filter((name) => !name.startsWith("#"))) {
      await assert.rejects(client.client.subscribeAsync(channel), channel);
      await assert.rejects(client.client.publishAsync(channel, "x", { qos: 1 }), channel);
    }
    await client.client.subscribeAsync(["#", "+", "$share/group/#"]);
    await library.trigger(["private-a", "presence-a", "private-cache-a"], "secret", "hidden");
    await library.trigger("news", "shown", "seen");
    for (let i = 0; i < 3; i++) assert.equal((await client.next()).topic, "news");
    assert.equal(client.waiting, 0);
    if (!keyed) continue;
    await (await fetch(`${server.url}/private-a`, { method: "POST", body: "x", ...key })).body?.cancel();
    assert.equal(client.waiting, 0);
  }
});

Deno.test("an API key opens private channels over MQTT, in shared subscriptions whoever's turn it is", async () => {
  const app = `RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`;
  await using server = await startMqtt(app, `RAINDROPS_API_KEYS=${KEY}`);
  await using operator = await connect(server, { protocolVersion: 5, username: "apikey", password: KEY });
  await using stranger = await connect(server, { protocolVersion: 5 });
  await operator.client.subscribeAsync(["private-b", "$share/group/#"]);
  await stranger.client.subscribeAsync("$share/group/#");
  const library = openServerLibrary(server);
  await library.trigger("private-b", "e", "one");
  for (let i = 0; i < 2; i++) assert.equal((await operator.next()).topic, "private-b");
  for (let i = 0; i < 4; i++) await library.trigger("private-a", "e", i);
  for (let i = 0; i < 4; i++) assert.equal((await operator.next()).text, String(i));
  await library.trigger("news", "e", "end");
  await library.trigger("news", "e", "end");
  assert.deepEqual([(await operator.next()).text, (await stranger.next()).text], ["end", "end"]);
});

Deno.test("members are one presence: plain clients see Pusher's, and are members for them", async () => {
  await using server = await startPusherApp(`RAINDROPS_API_KEYS=${KEY}`);
  await using client = new OfficialClient(server, { user: { user_id: "ann", user_info: { name: "Ann" } } });
  const channel = await client.subscribe("presence-a");
  const headers = { "x-api-key": KEY };
  const added = client.next(channel, "pusher:member_added");
  await using plain = await TestSocket.open(`${server.socketUrl}/presence-a?id=desk&name=Desk`, { headers });
  assert.deepEqual(await added, { id: "desk", info: { name: "Desk" } });
  const { members } = await (await fetch(`${server.url}/presence-a?presence`, { headers })).json();
  assert.deepEqual(members.map(({ protocol }: { protocol: string }) => protocol).sort(), [
    "plain",
    "pusher",
  ]);
  const removed = client.next(channel, "pusher:member_removed");
  await plain[Symbol.asyncDispose]();
  assert.equal((await removed).id, "desk");
});
