/** Callouts asked for by clients of MQTT and Pusher: the application decides there as it does elsewhere. */
import assert from "node:assert/strict";
import { connect, type MqttApp, RawClient, startMqtt } from "../protocols/mqtt/app.ts";
import { APP } from "../protocols/pusher/pusher_app.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";
import { type Asked, Backend, decide } from "./backend.ts";
import { writeHooks } from "./receiver.ts";

/** A payload that is text; of another one the application gets the bytes, in base64. */
const TEXT = { qos: 1, properties: { payloadFormatIndicator: true } } as const;
const V5 = { protocolVersion: 5, protocolId: "MQTT" } as const;

/** A `--hooks` file with callouts that the application decides by. */
async function writeCallouts({ url }: Backend, kinds: Readonly<Record<string, object>>): Promise<string> {
  const callouts = Object.fromEntries(
    Object.entries(kinds).map(([kind, more]) => [kind, { url: `${url}/${kind}`, ...more }]),
  );
  return await writeHooks({ callouts: { headers: ["Cookie"], ...callouts } });
}

const PRIVATE = { channels: ["private/**"] };

async function startWithMqtt(
  backend: Backend,
  more: Readonly<Record<string, object>> = {},
): Promise<MqttApp> {
  const kinds = { connect: {}, subscribe: PRIVATE, publish: PRIVATE, ...more };
  const rules = await writeHooks([{ channels: "users/*", allow: ["subscribe", "publish", "history"] }]);
  return await startMqtt("--hooks", await writeCallouts(backend, kinds), "--rules", rules);
}

/** Knows by the password who it is, as {@linkcode decide} does by the cookie. */
function decideByPassword(asked: Asked): unknown {
  if (asked.kind !== "connect") return decide(asked);
  const { username, password } = asked.body.data ?? {};
  return password === "secret"
    ? { result: { user: username, info: { name: username } } }
    : { error: { code: 401, message: "log in first" } };
}

Deno.test("In MQTT, the application knows who it is by user name and password, decides, and changes data", async () => {
  await using backend = new Backend();
  backend.answer = decideByPassword;
  await using server = await startWithMqtt(backend);
  await assert.rejects(connect(server, { ...V5, username: "ann", password: "wrong" }), { code: 0x87 });
  await assert.rejects(connect(server, V5), { code: 0x87 });
  await using ann = await connect(server, { ...V5, username: "ann", password: "secret", clientId: "phone" });
  const asked = backend.of("connect").at(-1)?.body;
  assert.deepEqual([asked.transport, asked.name, asked.data.username], ["mqtt", "mqtt", "ann"]);
  const granted = await ann.client.subscribeAsync(["private/1", "users/1"], { qos: 1 });
  assert.deepEqual(granted.map(({ qos }) => qos), [1, 1]);
  assert.deepEqual(backend.of("subscribe").map(({ body }) => [body.user, body.channel]), [[
    "ann",
    "private/1",
  ]]);
  await ann.client.publishAsync("private/1", "rain", TEXT);
  const { text } = await ann.next();
  assert.deepEqual(JSON.parse(text), { text: "rain", by: "ann" });
  await assert.rejects(ann.client.publishAsync("private/1", "damn", TEXT), { code: 0x87 });

  await using bob = await connect(server, { ...V5, username: "bob", password: "secret" });
  await assert.rejects(bob.client.subscribeAsync("private/1"), /Not authorized|Unspecified|denied/i);
  // However it is spelled: the same name in two normal forms.
  for (const form of ["NFC", "NFD"]) {
    await assert.rejects(bob.client.subscribeAsync("private/caf\u00e9".normalize(form)), form);
  }
  // Wildcards cannot be asked for, and are shut where the application decides.
  await assert.rejects(bob.client.subscribeAsync("private/#"));
  await bob.client.subscribeAsync("users/1");
  // Unsubscribed, it is asked for anew.
  const before = backend.of("subscribe").length;
  await ann.client.unsubscribeAsync("private/1");
  await ann.client.subscribeAsync("private/1");
  assert.equal(backend.of("subscribe").length, before + 1);
});

Deno.test("In MQTT over a WebSocket, the headers that are named are passed on", async () => {
  await using backend = new Backend();
  backend.answer = decide;
  await using server = await startWithMqtt(backend);
  const headers = { cookie: "session=ann", "x-other": "secret" };
  await using ann = await connect(server, { ...V5, door: "ws", wsOptions: { headers } });
  await ann.client.subscribeAsync("private/1");
  const [asked] = backend.of("subscribe");
  assert.equal(asked?.headers.get("cookie"), "session=ann");
  assert.equal(asked?.headers.get("x-other"), null);
});

Deno.test("While the application is asked who an MQTT client is, its packets wait, but not without a bound", async () => {
  await using backend = new Backend();
  const { promise: held, resolve } = Promise.withResolvers<unknown>();
  const release = () => resolve({ result: { user: "ann" } });
  using _released = { [Symbol.dispose]: release };
  backend.answer = () => held;
  await using server = await startWithMqtt(backend);
  const connect = "100d 0004 4d515454 04 02 0078 0001";
  using patient = await RawClient.open(server);
  await patient.send(`${connect} 61 ${"c000".repeat(5_000)}`);
  using flooding = await RawClient.open(server);
  // It hangs up before it has read all of this.
  await flooding.send(`${connect} 62 ${"c000".repeat(1_000_000)}`).catch(() => {});
  // The refusal may be lost when a connection is closed with unread bytes.
  assert.match(await flooding.readAll(), /^(20020003)?$/);
  release();
  assert.equal(await patient.read(4 + 10_000), `20020000${"d000".repeat(5_000)}`);
});

Deno.test("MQTT messages keep their order, however long the application takes for each, and others go on", async () => {
  await using backend = new Backend();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  backend.answer = async (asked) => {
    if (asked.kind === "publish" && asked.body.data === "0") await released;
    return decideByPassword(asked);
  };
  await using server = await startWithMqtt(backend);
  const login = { ...V5, username: "ann", password: "secret" };
  await using ann = await connect(server, login);
  await ann.client.subscribeAsync("private/1");
  const published = Array.from(
    { length: 10 },
    (_, i) => ann.client.publishAsync("private/1", String(i), TEXT),
  );
  await using other = await connect(server, login);
  await other.client.subscribeAsync("users/1");
  await other.client.publishAsync("users/1", "meanwhile", { qos: 1 });
  assert.equal((await other.next()).text, "meanwhile");
  assert.equal(backend.of("publish").length, 1, "the next is asked for when the first is stored");
  release();
  await Promise.all(published);
  for (let i = 0; i < 10; i++) assert.equal(JSON.parse((await ann.next()).text).text, String(i));
});

Deno.test("A session of MQTT asks again for what it had subscribed to, and keeps it while nobody answers", async () => {
  await using backend = new Backend();
  backend.answer = decideByPassword;
  await using server = await startWithMqtt(backend);
  const login = {
    ...{ ...V5, username: "ann", password: "secret", clientId: "phone", clean: false },
    properties: { sessionExpiryInterval: 60 },
  };
  {
    await using ann = await connect(server, login);
    await ann.client.subscribeAsync("private/1", { qos: 1 });
  }
  backend.answer = (asked) => asked.kind === "connect" ? { result: { user: "ann" } } : decide(asked);
  const posted = await fetch(`${server.url}/private/1`, { method: "POST", body: "rain" });
  assert.equal(posted.status, 200, await posted.text());
  backend.answer = (asked) =>
    asked.kind === "subscribe" ? new Response("no", { status: 500 }) : decideByPassword(asked);
  {
    await using ann = await connect(server, login);
    if (ann.client.connected) {
      await new Promise((resolve) => ann.client.once("close", () => resolve(undefined)));
    }
    assert.equal(ann.waiting, 0);
  }
  backend.answer = decideByPassword;
  await using ann = await connect(server, login);
  assert.deepEqual(JSON.parse((await ann.next()).text), { text: "rain", by: "ann" });
});

async function openPusher(server: TestApp, cookie: string): Promise<TestSocket> {
  const socket = await TestSocket.open(`${server.socketUrl}/app/${APP.key}?protocol=7`, {
    headers: { cookie },
  });
  assert.equal(JSON.parse(String(await socket.next())).event, "pusher:connection_established");
  return socket;
}

async function subscribe(socket: TestSocket, channel: string) {
  socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel } }));
  const { event, data } = JSON.parse(String(await socket.next()));
  return { event, data: typeof data === "string" ? JSON.parse(data) : data };
}

const SUCCEEDED = "pusher_internal:subscription_succeeded";
const FAILED = "pusher:subscription_error";

Deno.test("In the Pusher protocol, the application says who may subscribe to public channels, by cookies", async () => {
  await using backend = new Backend();
  backend.answer = decide;
  const hooks = await writeCallouts(backend, { connect: {}, subscribe: { channels: ["club-*"] } });
  const rules = await writeHooks([{ channels: "open-*", allow: ["subscribe"] }]);
  await using server = await startApp(
    ...[`RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`, "--hooks", hooks, "--rules", rules],
  );
  await using ann = await openPusher(server, "session=ann");
  assert.equal((await subscribe(ann, "club-1")).event, SUCCEEDED);
  assert.equal((await subscribe(ann, "open-1")).event, SUCCEEDED);
  assert.equal((await subscribe(ann, "elsewhere")).event, FAILED);
  assert.equal(backend.of("connect").length, 1, "asked once who it is");
  assert.equal(backend.of("connect")[0]?.body.transport, "pusher");
  await using bob = await openPusher(server, "session=bob");
  const refused = await subscribe(bob, "club-1");
  assert.deepEqual([refused.event, refused.data.type, refused.data.error], [
    FAILED,
    "AuthError",
    "not yours",
  ]);
  assert.equal((await subscribe(bob, "open-1")).event, SUCCEEDED);
  await using guest = await openPusher(server, "");
  assert.equal((await subscribe(guest, "open-1")).data.error, "log in first");
});

Deno.test("Subscriptions of Pusher clients keep their order while the application decides, and end with the socket", async () => {
  await using backend = new Backend();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  const { promise: asked, resolve: noteAsked } = Promise.withResolvers<void>();
  backend.answer = async () => {
    noteAsked();
    await released;
    return { result: {} };
  };
  const hooks = await writeCallouts(backend, { subscribe: { channels: ["club-*"] } });
  await using server = await startApp(
    ...[`RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`, "--hooks", hooks],
  );
  await using ann = await openPusher(server, "");
  await using leaving = await openPusher(server, "");
  for (const socket of [ann, leaving]) {
    for (const channel of ["club-1", "club-1", "news"]) {
      socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel } }));
    }
    socket.send(JSON.stringify({ event: "pusher:unsubscribe", data: { channel: "club-1" } }));
  }
  await asked;
  await leaving[Symbol.asyncDispose]();
  // Others do not wait.
  await using other = await openPusher(server, "");
  assert.equal((await subscribe(other, "news")).event, SUCCEEDED);
  release();
  const channels = [];
  for (let i = 0; i < 2; i++) channels.push(JSON.parse(String(await ann.next())).channel);
  assert.deepEqual(channels, ["club-1", "news"]);
  while (server.app.hub.countSubscribers("club-1") > 0 || server.app.hub.countSubscribers("news") !== 2) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.deepEqual(server.logger.find("event failed"), []);
});
