/** The Pusher protocol frame by frame: exact texts, refusals with their codes, and frames of no sense. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { APP, RawPusher, sign, startPusherApp } from "./pusher_app.ts";

Deno.test("the first frame names the socket and the activity timeout", async () => {
  await using server = await startPusherApp("--pusher-activity-timeout", "77");
  await using client = await RawPusher.open(server);
  assert.match(
    await client.read(),
    /^\{"event":"pusher:connection_established","data":"\{\\"socket_id\\":\\"\d+\.\d+\\",\\"activity_timeout\\":77\}"\}$/,
  );
});

/** What a client says, and what it is answered, word for word. `$` stands for the socket id. */
const EXCHANGES: readonly [string, (socketId: string) => unknown, string][] = [
  ["a ping", () => ({ event: "pusher:ping", data: {} }), '{"event":"pusher:pong","data":"{}"}'],
  [
    "a subscribe",
    () => ({ event: "pusher:subscribe", data: { channel: "news" } }),
    '{"event":"pusher_internal:subscription_succeeded","channel":"news","data":"{}"}',
  ],
  [
    "a subscribe whose data is a string",
    () => ({ event: "pusher:subscribe", data: '{"channel":"other"}' }),
    '{"event":"pusher_internal:subscription_succeeded","channel":"other","data":"{}"}',
  ],
  [
    "a private subscribe",
    (id) => ({ event: "pusher:subscribe", data: { channel: "private-a", auth: sign(`${id}:private-a`) } }),
    '{"event":"pusher_internal:subscription_succeeded","channel":"private-a","data":"{}"}',
  ],
  [
    "a presence subscribe",
    (id) => {
      const channel_data = '{"user_id":"1","user_info":{"name":"John"}}';
      const auth = sign(`${id}:presence-a:${channel_data}`);
      return { event: "pusher:subscribe", data: { channel: "presence-a", auth, channel_data } };
    },
    '{"event":"pusher_internal:subscription_succeeded","channel":"presence-a","data":' +
    '"{\\"presence\\":{\\"count\\":1,\\"ids\\":[\\"1\\"],\\"hash\\":{\\"1\\":{\\"name\\":\\"John\\"}}}}"}',
  ],
  [
    "a private subscribe with another socket's signature",
    () => ({ event: "pusher:subscribe", data: { channel: "private-b", auth: sign("1.1:private-b") } }),
    '{"event":"pusher:subscription_error","channel":"private-b","data":"{\\"type\\":\\"AuthError\\",' +
    '\\"error\\":\\"The connection is unauthorized: the auth is not the signature of this socket, channel and data\\",' +
    '\\"status\\":401}"}',
  ],
  [
    "a sign-in",
    (id) => {
      const user_data = '{"id":"ann"}';
      return { event: "pusher:signin", data: { user_data, auth: sign(`${id}::user::${user_data}`) } };
    },
    '{"event":"pusher:signin_success","data":"{\\"user_data\\":\\"{\\\\\\"id\\\\\\":\\\\\\"ann\\\\\\"}\\"}"}',
  ],
  [
    "a client event on a public channel",
    () => ({ event: "client-a", channel: "news", data: {} }),
    '{"event":"pusher:error","data":{"code":4301,"message":"Client events are for private and presence channels"}}',
  ],
  [
    "no JSON",
    () => "hello",
    '{"event":"pusher:error","data":{"code":4200,"message":"A frame must be a JSON object with event and data"}}',
  ],
];

for (const [name, say, answer] of EXCHANGES) {
  Deno.test(`${name} is answered to the letter`, async () => {
    await using server = await startPusherApp();
    await using client = await RawPusher.connect(server);
    const frame = say(client.socketId);
    client.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
    assert.equal(await client.read(), answer);
  });
}

Deno.test("what is published comes as event, channel and data as a JSON string", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  client.send("pusher:subscribe", { channel: "news" });
  await client.read();
  const post = async (path: string, body: string, type: string) => {
    const response = await fetch(server.url + path, {
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    await response.body?.cancel();
  };
  await post("/news", "it rains", "text/plain");
  assert.equal(await client.read(), '{"event":"message","channel":"news","data":"\\"it rains\\""}');
  await post("/news?event=w", '{ "mm": 1.0 }', "application/json");
  assert.equal(await client.read(), '{"event":"w","channel":"news","data":"{ \\"mm\\": 1.0 }"}');
});

const REFUSED: readonly [string, string, number][] = [
  ["an unknown app", "/app/unknown?protocol=7", 4001],
  ["no version", `/app/${APP.key}`, 4008],
  ["a bad version", `/app/${APP.key}?protocol=seven`, 4006],
  ["an unknown version", `/app/${APP.key}?protocol=3`, 4007],
];

for (const [name, path, code] of REFUSED) {
  Deno.test(`a connection with ${name} is told why, and closed with ${code}`, async () => {
    await using server = await startPusherApp();
    await using client = await RawPusher.open(server, path);
    const { event, data } = JSON.parse(await client.read());
    assert.deepEqual([event, data.code], ["pusher:error", code]);
    assert.equal((await client.socket.closed).code, code);
  });
}

Deno.test("a client that does not answer a ping is closed with 4201", async () => {
  await using server = await startPusherApp("--pusher-activity-timeout", "1", "--pusher-pong-timeout", "1");
  await using client = await RawPusher.connect(server);
  assert.equal(await client.read(), '{"event":"pusher:ping","data":"{}"}');
  assert.equal((await client.socket.closed).code, 4201);
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

Deno.test("draining closes with a code on which clients reconnect at once", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  server.app.drain();
  assert.equal((await client.socket.closed).code, 4200);
});

Deno.test("frames of no sense end in an error, and the connection goes on", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  const channels = fc.constantFrom(
    "news",
    "private-a",
    "presence-a",
    "#server-to-user-1",
    "cache-a",
    "a/b",
    "",
    ".",
    "@x",
  );
  const frames = fc.record({
    event: fc.oneof(
      fc.constantFrom("pusher:subscribe", "pusher:unsubscribe", "client-a", "pusher:x"),
      fc.string(),
    ),
    channel: fc.oneof(channels, fc.jsonValue()),
    data: fc.oneof(
      fc.record({
        channel: fc.oneof(channels, fc.jsonValue()),
        auth: fc.string(),
        channel_data: fc.oneof(fc.string(), fc.json()),
      }),
      fc.jsonValue(),
    ),
  }, { requiredKeys: [] });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(frames.map((frame) => JSON.stringify(frame)), fc.string()), { maxLength: 5 }),
      async (batch) => {
        for (const frame of batch) client.socket.send(frame);
        client.send("pusher:ping", {});
        while (!(await client.read()).includes("pusher:pong"));
      },
    ),
    { numRuns: 200 },
  );
  assert.equal(server.logger.find("event failed").length, 0);
  assert.equal(server.app.metrics.refusals.get("internal"), undefined);
});
