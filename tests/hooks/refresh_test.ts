/**
 * Connections that the application let in for a time, in every protocol: when the time is up it is asked, by its callout
 * `refresh`, and the connection goes on or ends as it says. Centrifuge's are in `callouts_test.ts`.
 */
import assert from "node:assert/strict";
import { connect, type MqttApp, startMqtt } from "../protocols/mqtt/app.ts";
import { APP } from "../protocols/pusher/pusher_app.ts";
import { TestSocket } from "../test_socket.ts";
import { type Asked, Backend } from "./backend.ts";
import { writeHooks } from "./receiver.ts";

const V5 = { protocolVersion: 5, protocolId: "MQTT", username: "ann" } as const;
const COOKIE = { headers: { cookie: "session=ann" } };
/** MQTT 5.0 section 3.14.2.1: maximum connect time, server busy. */
const TIME_IS_UP = 0xa0;
const BUSY = 0x89;

function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

/** Lets everybody in for a second or two, once more with another info, and then no more. */
class Application extends Backend {
  refreshes = 0;

  constructor() {
    super();
    this.answer = ({ kind }: Asked) => {
      if (kind === "connect") {
        return { result: { user: "ann", info: { mood: "fine" }, meta: { x: 1 }, expire_at: inSeconds(2) } };
      }
      return ++this.refreshes < 2
        ? { result: { expire_at: inSeconds(2), info: { mood: "better" } } }
        : { result: { expired: true } };
    };
  }
}

async function start(
  { url }: Backend,
  refresh: object | false = {},
): Promise<MqttApp> {
  const callouts = {
    headers: ["Cookie"],
    connect: { url: `${url}/connect` },
    ...(refresh === false ? {} : { refresh: { url: `${url}/refresh`, ...refresh } }),
  };
  const rules = [{ channels: "**", allow: ["subscribe", "publish", "history", "presence"] }];
  return await startMqtt(
    ...["--hooks", await writeHooks({ callouts }), "--rules", await writeHooks(rules)],
    `RAINDROPS_PUSHER_APP=${APP.id}:${APP.key}:${APP.secret}`,
  );
}

/** The reason code with which a 5.0 client is disconnected; undefined where its connection just ends. */
function untilDisconnected({ client }: Awaited<ReturnType<typeof connect>>): Promise<number | undefined> {
  return new Promise((resolve) => {
    if (!client.connected) return resolve(undefined);
    client.once("disconnect", ({ reasonCode }) => resolve(reasonCode));
    client.once("close", () => resolve(undefined));
  });
}

function assertAsked(application: Application, transport: string): void {
  assert.equal(application.refreshes, 2);
  const [first] = application.of("refresh");
  assert.deepEqual([first?.body.user, first?.body.meta, first?.body.transport], ["ann", { x: 1 }, transport]);
}

Deno.test("An MQTT client goes on as long as the application says, and then is told that its time is up", async () => {
  await using application = new Application();
  await using server = await start(application);
  await using ann = await connect(server, V5);
  const ended = untilDisconnected(ann);
  await ann.client.subscribeAsync("news", { qos: 1 });
  while (application.refreshes === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  // It works on, and others see its new info.
  let mood = "";
  while (mood !== "better") {
    await ann.client.publishAsync("news", "rain", { qos: 1 });
    assert.equal((await ann.next()).text, "rain");
    const { messages } = await (await fetch(`${server.url}/news?since=earliest`, COOKIE)).json();
    mood = messages.at(-1).from.info.mood;
  }
  assert.equal(await ended, TIME_IS_UP);
  assertAsked(application, "mqtt");
});

Deno.test("A session of MQTT is kept when its client's time is up, and goes on when it is let in again", async () => {
  await using application = new Application();
  await using server = await start(application);
  const lasting = { ...V5, clientId: "phone", clean: false, properties: { sessionExpiryInterval: 600 } };
  {
    await using ann = await connect(server, lasting);
    await ann.client.subscribeAsync("news", { qos: 1 });
    assert.equal(await untilDisconnected(ann), TIME_IS_UP);
  }
  application.refreshes = 0;
  await (await fetch(`${server.url}/news`, { method: "POST", body: "meanwhile", ...COOKIE })).body?.cancel();
  await using ann = await connect(server, lasting);
  assert.equal((await ann.next()).text, "meanwhile");
});

Deno.test("Without the callout refresh, an MQTT connection ends when its time is up; 3.1.1 just ends", async () => {
  await using application = new Application();
  await using server = await start(application, false);
  await using five = await connect(server, V5);
  await using three = await connect(server, { protocolVersion: 4, username: "ann" });
  const closed = new Promise<void>((resolve) => three.client.once("close", () => resolve()));
  assert.equal(await untilDisconnected(five), TIME_IS_UP);
  await closed;
  assert.equal(application.refreshes, 0);
});

Deno.test("When the application is away, a connection ends so that it may come back, or goes on by rule", async () => {
  await using application = new Backend();
  application.answer = ({ kind }) =>
    kind === "connect"
      ? { result: { user: "ann", expire_at: inSeconds(2) } }
      : new Response("broken", { status: 500 });
  {
    await using server = await start(application);
    await using ann = await connect(server, V5);
    assert.equal(await untilDisconnected(ann), BUSY);
  }
  await using server = await start(application, { whenAway: "allow" });
  const before = application.of("refresh").length;
  await using ann = await connect(server, V5);
  while (application.of("refresh").length === before) await new Promise((resolve) => setTimeout(resolve, 10));
  await ann.client.subscribeAsync("news", { qos: 1 });
  await ann.client.publishAsync("news", "rain", { qos: 1 });
  assert.equal((await ann.next()).text, "rain");
});

Deno.test("An answer whose time has passed ends the connection, and is not asked for again and again", async () => {
  await using application = new Application();
  const { answer } = application;
  application.answer = (asked) => asked.kind === "connect" ? answer(asked) : { result: { expire_at: 1 } };
  await using server = await start(application);
  await using ann = await connect(server, V5);
  assert.equal(await untilDisconnected(ann), TIME_IS_UP);
  assert.equal(application.of("refresh").length, 1);
});

Deno.test("A WebSocket and an event stream go on as long as the application says", async () => {
  await using application = new Application();
  await using server = await start(application);
  await using socket = await TestSocket.open(`${server.socketUrl}/news`, COOKIE);
  socket.send("before");
  while (application.refreshes === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  // It works on, and others see its new info.
  let mood = "";
  while (mood !== "better" && application.refreshes === 1) {
    socket.send("rain");
    const { messages } = await (await fetch(`${server.url}/news?since=earliest`, COOKIE)).json();
    mood = messages.at(-1).from.info.mood;
  }
  assert.equal(mood, "better");
  assert.equal((await socket.closed).code, 4401);
  assertAsked(application, "websocket");
  application.refreshes = 0;
  const headers = { accept: "text/event-stream", ...COOKIE.headers };
  const stream = await fetch(`${server.url}/news`, { headers });
  // It ends when the server ends it.
  await stream.text();
  assert.equal(application.refreshes, 2);
});

Deno.test("A Pusher client goes on as long as the application says", async () => {
  await using application = new Application();
  await using server = await start(application);
  await using socket = await TestSocket.open(`${server.socketUrl}/app/${APP.key}?protocol=7`, COOKIE);
  socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel: "news" } }));
  assert.equal((await socket.closed).code, 4009);
  assertAsked(application, "pusher");
});
