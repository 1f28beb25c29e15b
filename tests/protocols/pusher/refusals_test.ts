/** Connections that are refused or ended: what they are told, and the code that says whether to come back. */
import assert from "node:assert/strict";
import { startApp } from "../../test_app.ts";
import { APP, openServerLibrary, RawPusher, sign, startPusherApp, startPusherApps } from "./pusher_app.ts";

const OFF = { id: "off", key: "key-off", secret: "secret-of-app-off", enabled: false };
const PATH = "Path not found: connect to /app/KEY, with the key of the app";

const REFUSED: readonly [string, string, number, string][] = [
  ["an unknown app", "/app/unknown?protocol=7", 4001, "App does not exist: check the key and the host"],
  ["a disabled app", `/app/${OFF.key}?protocol=7`, 4003, "The app is disabled"],
  ["no key", "/app?protocol=7", 4005, PATH],
  ["an empty key", "/app/?protocol=7", 4005, PATH],
  ["a slash behind the key", `/app/${APP.key}/?protocol=7`, 4005, PATH],
  ["a longer path", `/app/${APP.key}/news?protocol=7`, 4005, PATH],
  ["a path with two slashes", `/app//${APP.key}?protocol=7`, 4005, PATH],
  ["the path of the HTTP API", "/apps?protocol=7", 4005, PATH],
  ["a path below the HTTP API", `/apps/${APP.id}/events?protocol=7`, 4005, PATH],
  ["no version", `/app/${APP.key}`, 4008, "No protocol version supplied: add protocol=7"],
  ["an empty version", `/app/${APP.key}?protocol=`, 4008, "No protocol version supplied: add protocol=7"],
  ["a bad version", `/app/${APP.key}?protocol=seven`, 4006, "Invalid version string format"],
  ["a negative version", `/app/${APP.key}?protocol=-7`, 4006, "Invalid version string format"],
  ["an old version", `/app/${APP.key}?protocol=3`, 4007, "Unsupported protocol version 3: use 5, 6, 7"],
  ["a new version", `/app/${APP.key}?protocol=08`, 4007, "Unsupported protocol version 8: use 5, 6, 7"],
];

Deno.test("a connection that is refused is told why, and closed with the code that it is told", async () => {
  await using server = await startPusherApps([APP, OFF]);
  for (const [name, path, code, message] of REFUSED) {
    await using client = await RawPusher.open(server, path);
    const frame = `{"event":"pusher:error","data":{"code":${code},"message":"${message}"}}`;
    assert.equal(await client.read(), frame, name);
    assert.deepEqual(await client.socket.closed, { code, reason: message }, name);
  }
  assert.equal(server.app.metrics.refusals.get("forbidden"), 1);
});

Deno.test("a connection to a server without apps is told so, and closed with 4001", async () => {
  await using server = await startApp();
  for (const path of ["/app/x?protocol=7", "/app", "/apps/x"]) {
    await using client = await RawPusher.open(server, path);
    assert.match(await client.read(), /"code":4001,"message":"No Pusher app is set up here: set RAINDROPS/);
    assert.equal((await client.socket.closed).code, 4001);
  }
});

Deno.test("a request that is no WebSocket is answered in HTTP", async () => {
  await using server = await startPusherApp();
  for (const path of ["/app", "/app/", `/app/${APP.key}/x`, "/apps", "/apps/x"]) {
    const response = await fetch(server.url + path);
    assert.equal(response.status, 404, path);
    await response.body?.cancel();
  }
  const response = await fetch(`${server.url}/app/${APP.key}?protocol=7`);
  assert.ok([400, 426].includes(response.status));
  await response.body?.cancel();
});

Deno.test("a disabled app takes no requests", async () => {
  await using server = await startPusherApps([APP, OFF]);
  await assert.rejects(openServerLibrary(server, OFF).trigger("news", "e", 1), { status: 403 });
});

Deno.test("a sign-in that is wrong ends the connection with 4009", async () => {
  await using server = await startPusherApp();
  const signed = (id: string, user_data: string) => ({
    user_data,
    auth: sign(`${id}::user::${user_data}`),
  });
  const cases: readonly [(id: string) => unknown, RegExp][] = [
    [() => ({}), /needs user_data and auth/],
    [() => null, /needs user_data and auth/],
    [() => signed("1.1", '{"id":"ann"}'), /not signed by this app/],
    [(id) => signed(id, "{"), /not JSON/],
    [(id) => signed(id, "null"), /needs an id/],
    [(id) => signed(id, '{"id":7}'), /needs an id/],
    [(id) => signed(id, '{"id":""}'), /needs an id/],
    [(id) => signed(id, '{"id":"a/b"}'), /characters/],
    [(id) => signed(id, JSON.stringify({ id: "a".repeat(186) })), /characters/],
  ];
  for (const [data, reason] of cases) {
    await using client = await RawPusher.connect(server);
    client.send("pusher:signin", data(client.socketId));
    const frame = await client.read();
    assert.match(frame, /"code":4009/);
    assert.match(frame, reason);
    assert.equal((await client.socket.closed).code, 4009);
  }
});

Deno.test("a second sign-in as the same user is answered, as another one it ends the connection", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  for (const user_data of ['{"id":"ann"}', '{"id":"ann"}', '{"id":"ben"}']) {
    client.send("pusher:signin", { user_data, auth: sign(`${client.socketId}::user::${user_data}`) });
  }
  assert.match(await client.read(), /signin_success/);
  assert.match(await client.read(), /signin_success/);
  assert.match(await client.read(), /"code":4009,"message":"This connection is signed in as another user/);
});

Deno.test("the eleventh client event within a second is refused with 4301, and the connection stays", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "private-a", auth: sign(`${client.socketId}:private-a`) });
  await client.read();
  for (let i = 0; i < 11; i++) client.send("client-a", { i }, "private-a");
  assert.match(await client.read(), /"code":4301,"message":"Client event refused: at most 10 a second"/);
  client.send("pusher:ping", {});
  assert.equal(await client.read(), '{"event":"pusher:pong","data":"{}"}');
});

Deno.test("an app that switches client events off refuses them with 4301", async () => {
  await using server = await startPusherApps([{ ...APP, clientEvents: false }]);
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "private-a", auth: sign(`${client.socketId}:private-a`) });
  await client.read();
  client.send("client-a", {}, "private-a");
  assert.match(await client.read(), /"code":4301,"message":"Client events are switched off for this app"/);
});

Deno.test("draining closes with a code on which clients reconnect at once", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  server.app.drain();
  assert.equal((await client.socket.closed).code, 4200);
});
