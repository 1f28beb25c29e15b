/** The Centrifuge protocol as it is on the wire, over a real listener: connecting, frames, pings, limits and endings. */
import { EarlyFrames, findMaxFrameBytes } from "../../../lib/protocols/centrifuge/frame_size.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import { VERSION } from "../../../lib/config/version.ts";
import type { Payload } from "../../../lib/core/message.ts";
import { createConfig, startApp } from "../../test_app.ts";
import {
  createToken,
  OPERATED,
  publish,
  RawClient,
  readStream,
  secondsFromNow,
  startKeyedApp,
  startRuledApp,
  untilCounts,
} from "./app.ts";

Deno.test("Connect answers with a client id, the server's version and its pings, and leaves out what is zero", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server);
  const { id, connect } = await client.call("connect");
  assert.equal(id, 1);
  assert.match(connect.client, /^[0-9a-f-]{36}$/);
  assert.deepEqual(connect, { client: connect.client, version: VERSION, ping: 25, pong: true });
  await untilCounts(server, { clients: 1 });
});

Deno.test("The offered subprotocol is echoed, and chooses between JSON and Protobuf", async () => {
  await using server = await startApp();
  for (const protocol of ["centrifuge-json", "centrifuge-protobuf"]) {
    const socket = new WebSocket(`${server.socketUrl}/connection/websocket`, [protocol]);
    await new Promise((resolve) => socket.onopen = resolve);
    assert.equal(socket.protocol, protocol);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
  }
});

Deno.test("Every command of one first frame is answered, connect first, in order of what they wait for", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server);
  client.send(
    { id: 1, connect: {} },
    { id: 2, subscribe: { channel: "news" } },
    { id: 3, publish: { channel: "news", data: { n: 1 } } },
    { id: 4, ping: {} },
  );
  const replies = await client.take(5);
  assert("connect" in replies[0]);
  const index = (kind: string) => replies.findIndex((reply) => kind in reply);
  assert(index("subscribe") < index("push"), "Nothing of a channel comes before the answer to its subscribe");
  assert.deepEqual(replies[index("publish")], { id: 3, publish: {} });
  assert.deepEqual(replies[index("push")].push.pub.data, { n: 1 });
  assert.deepEqual(replies[index("ping")], { id: 4, ping: {} });
});

Deno.test("What waits behind a connect that fails is dropped, and the client may connect again", async () => {
  await using server = await startKeyedApp([], OPERATED);
  await using client = await RawClient.open(server);
  client.send(
    { id: 1, connect: { token: await createToken({ sub: "u1", exp: secondsFromNow(-10) }) } },
    { id: 2, subscribe: { channel: "news" } },
    { id: 3, publish: { channel: "news", data: 1 } },
  );
  assert.deepEqual(await client.next(), {
    id: 1,
    error: { code: 109, message: "The token has expired: get a new one" },
  });
  client.send({ id: 4, connect: { token: await createToken({ sub: "u1" }) } });
  assert.equal((await client.next()).id, 4);
  assert.deepEqual(client.socket.unread, []);
  await untilCounts(server, { subscriptions: 0 });
});

Deno.test("Errors say what went wrong, and the connection goes on", async () => {
  const rules = [{ channels: "quiet", presence: false, ephemeral: true }];
  await using server = await startRuledApp(rules, "--max-message-bytes", "1000");
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  const cases: readonly [number, string, unknown][] = [
    [105, "subscribe", { channel: "news" }],
    [106, "publish", { channel: "news", data: "x".repeat(1_001) }],
    [107, "publish", { channel: "news" }],
    [107, "publish", { channel: "_stats", data: 1 }],
    [107, "subscribe", { channel: "a//b" }],
    [108, "subscribe", { channel: "other", type: 2 }],
    [108, "subscribe", { channel: "quiet", type: 1, phase: 2 }],
    [107, "subscribe", { channel: "other", type: 1, phase: 3 }],
    [103, "subscribe", { channel: "other", type: 1, phase: 2, cursor: "a" }],
    [112, "subscribe", { channel: "other", type: 1, phase: 1, recover: true, epoch: "_", offset: 3 }],
    [107, "publish", { channel: "news", type: 1, data: 1 }],
    [107, "publish", { channel: "news", type: 1, key: "a\u0000", data: 1 }],
    [107, "publish", { channel: "news", type: 1, key: "k", data: undefined }],
    [108, "publish", { channel: "quiet", type: 1, key: "k", data: 1 }],
    [108, "publish", { channel: "news", type: 4, key: "k", data: 1 }],
    [108, "presence", { channel: "quiet" }],
    [108, "presence_stats", { channel: "quiet" }],
    [108, "history", { channel: "quiet", limit: 1 }],
    [108, "rpc", { method: "sum", data: [1, 2] }],
    [108, "refresh", { token: "x" }],
    [103, "sub_refresh", { channel: "never", token: "x" }],
  ];
  for (const [code, kind, request] of cases) {
    assert.equal(await client.fail(kind, request), code, `${kind} ${JSON.stringify(request).slice(0, 60)}`);
  }
  client.send({ send: { data: "nobody listens" } });
  assert.deepEqual((await client.call("ping")).ping, {});
});

Deno.test("A connection may be on 1,000 channels and no more", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const subscribes = Array.from(
    { length: 1_001 },
    (_, i) => ({ id: i + 2, subscribe: { channel: `c${i}` } }),
  );
  client.send(...subscribes);
  const errors = (await client.take(1_001)).filter(({ error }) => error !== undefined);
  assert.deepEqual(errors.map(({ id, error }) => [id, error.code]), [[1_002, 106]]);
});

const BAD_FRAMES: readonly [string, string | Uint8Array<ArrayBuffer>][] = [
  ["an empty frame", ""],
  ["a blank line", '{"id":2,"ping":{}}\n\n{"id":3,"ping":{}}'],
  ["no JSON", "hello"],
  ["a list", "[]"],
  ["a command without an id", '{"publish":{"channel":"news","data":1}}'],
  ["an unknown method", '{"id":2,"dance":{}}'],
  ["no channel", '{"id":2,"subscribe":{}}'],
  ["a second connect", '{"id":2,"connect":{}}'],
  ["a pong without a ping", "{}"],
  [
    "more than 65536 bytes beside data",
    `{"id":2,"publish":{"channel":"news","key":"${"x".repeat(65_536)}"}}`,
  ],
  ["bytes that are no UTF-8", new Uint8Array([0xff, 0xfe])],
];

Deno.test("Frames the protocol does not allow end the connection with 3501, and only that one", async () => {
  await using server = await startApp();
  await using other = await RawClient.connect(server);
  for (const [name, frame] of BAD_FRAMES) {
    await using client = await RawClient.connect(server);
    client.socket.send(frame);
    assert.deepEqual(await client.socket.closed, { code: 3501, reason: "bad request" }, name);
  }
  for (const command of [{ id: 1, ping: {} }, { id: 1, subscribe: { channel: "news" } }, {}]) {
    await using client = await RawClient.open(server);
    client.send(command);
    assert.equal((await client.socket.closed).code, 3501, `${JSON.stringify(command)} before connect`);
  }
  assert.equal(server.logger.find("client refused").length, BAD_FRAMES.length + 3);
  assert.deepEqual((await other.call("ping")).ping, {});
  await untilCounts(server, { clients: 1 });
});

Deno.test("A frame larger than any message ends the connection with 1009, and one at that size does not", async () => {
  await using server = await startApp("--max-message-bytes", "1000");
  const limit = findMaxFrameBytes(1_000);
  const publish = (data: string) => JSON.stringify({ id: 2, publish: { channel: "news", data } });
  const room = limit - publish("").length;
  for (const character of ["x", "é"]) {
    const most = Math.floor(room / new TextEncoder().encode(character).length);
    await using client = await RawClient.connect(server);
    client.socket.send(publish(character.repeat(most)));
    const { error } = await client.next();
    assert.equal(error?.code, 106);
    assert.match(error?.message ?? "", /the limit is 1000/);
    client.socket.send(publish(character.repeat(most + 1)));
    assert.deepEqual(await client.socket.closed, { code: 1009, reason: "message size limit" });
  }
});

Deno.test("Data of connect and rpc is no larger than a message", async () => {
  await using server = await startApp("--max-message-bytes", "1000");
  await using client = await RawClient.open(server);
  client.send({ id: 1, connect: { data: "x".repeat(1_001) } });
  assert.equal((await client.next()).error?.code, 106);
  client.send({ id: 2, connect: { data: "x".repeat(1_000) } });
  assert.equal((await client.next()).id, 2);
  assert.equal(await client.fail("rpc", { method: "a", data: "x".repeat(1_001) }), 106);
  assert.notEqual(await client.fail("rpc", { method: "a", data: "x".repeat(1_000) }), 106);
});

Deno.test("What may come before connect is answered is bounded, as it is kept until then", () => {
  const early = new EarlyFrames(1_000);
  const frame = "x".repeat(findMaxFrameBytes(1_000));
  early.add(frame);
  early.add(frame);
  assert.throws(() => early.add("x"), /before the answer to connect/);
});

Deno.test("Bytes of no sense, before and after connecting, end in 3501 and nothing worse", async () => {
  await using server = await startApp();
  const good = [
    '{"id":2,"subscribe":{"channel":"news","recover":true,"offset":1,"epoch":"x"}}',
    '{"id":3,"publish":{"channel":"news","data":{"a":[1,2,{"b":null}]}}}\n{"id":4,"history":{"channel":"news"}}',
    '{"id":5,"connect":{"token":"a.b.c","subs":{"x":{"offset":1}}}}',
  ].map((text) => new TextEncoder().encode(text));
  const mutated = fc.tuple(
    fc.constantFrom(...good),
    fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { minLength: 1, maxLength: 4 }),
  ).map(([bytes, changes]) => {
    const copy = bytes.slice();
    for (const [at, value] of changes) copy[at % copy.length] = value;
    return copy;
  });
  const frames = fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), {
    minLength: 1,
    maxLength: 3,
  });
  let refusals = 0;
  const property = fc.asyncProperty(
    frames,
    fc.boolean(),
    fc.boolean(),
    fc.boolean(),
    async (frames, connects, isText, isProtobuf) => {
      const path = `/connection/websocket${isProtobuf ? "?format=protobuf" : ""}`;
      await using client = await RawClient.open(server, path);
      if (connects) {
        if (isProtobuf) client.socket.send(new Uint8Array([4, 8, 1, 0x22, 0]));
        else client.send({ id: 1, connect: {} });
      }
      for (const bytes of frames) {
        client.socket.send(isText ? new TextDecoder().decode(bytes) : Uint8Array.from(bytes));
      }
      // What survived all that is not allowed a pong out of nowhere.
      client.socket.send(isProtobuf ? new Uint8Array([0]) : "{}");
      await client.socket.closed;
      // The log says it for certain: a close frame may be lost when more is sent to a connection that has ended.
      assert.deepEqual(server.logger.find("client refused").slice(refusals).map(({ code }) => code), [3501]);
      refusals++;
    },
  );
  await fc.assert(property, { numRuns: 150 });
  await using client = await RawClient.connect(server);
  assert.deepEqual((await client.call("ping")).ping, {});
  assert.deepEqual(server.logger.find("socket handler failed"), []);
  assert.deepEqual(server.logger.find("command failed"), []);
  await untilCounts(server, { clients: 1 });
});

Deno.test("Messages of one turn leave in one frame, those of several channels too", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  for (const channel of ["a", "b", "c"]) await client.call("subscribe", { channel });
  await Promise.all(["a", "b", "c"].map((channel) => publish(server, channel, "1", "2", "3")));
  const pushes = await client.frame();
  assert.deepEqual(pushes.map(({ push }) => push.channel + push.pub.offset).sort(), [
    ...["a1", "a2", "a3"],
    ...["b1", "b2", "b3"],
    ...["c1", "c2", "c3"],
  ]);
  await client.call("ping");
  assert.deepEqual(client.socket.unread, []);
});

Deno.test("Pings are pushed, a pong is taken once, and who does not answer is let go with 3012", async () => {
  await using server = await startApp("--ping-interval", "1", "--pong-timeout", "1");
  await using silent = await RawClient.connect(server);
  await using eager = await RawClient.connect(server);
  await using steady = await RawClient.connect(server);
  assert.deepEqual(await eager.next(), {});
  eager.send({});
  eager.send({});
  assert.equal((await eager.socket.closed).code, 3501);
  assert.deepEqual(await steady.next(), {});
  steady.send({});
  assert.deepEqual(await silent.socket.closed, { code: 3012, reason: "no pong" });
  assert.deepEqual(await steady.next(), {});
  assert.deepEqual((await steady.call("ping")).ping, {});
});

Deno.test("A client that does not connect in time, by default 10 seconds, is closed with 3502, unidirectional ones too", async () => {
  assert.equal(createConfig().handshakeTimeout, 10);
  await using server = await startApp("--handshake-timeout", "1");
  await using client = await RawClient.open(server);
  await using unidirectional = await RawClient.open(server, "/connection/uni_websocket");
  assert.deepEqual(await client.socket.closed, { code: 3502, reason: "stale" });
  assert.deepEqual(await unidirectional.socket.closed, { code: 3502, reason: "stale" });
  await untilCounts(server, { clients: 0 });
});

Deno.test("A slow subscriber is disconnected with 3008, and leaves nothing behind", async () => {
  await using server = await startApp("--max-queue-bytes", "100000");
  const body = new AbortController();
  const response = await fetch(`${server.url}/connection/http_stream`, {
    method: "POST",
    body: '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}\n',
    signal: body.signal,
  });
  // The body is not read, so that messages have nowhere to go once the buffers of both sides are full.
  const data = "x".repeat(60_000);
  const ended = () => server.logger.find("client disconnected").map(({ code }) => code);
  await untilCounts(server, { subscriptions: 1 });
  // Over HTTP: what this thread published itself, one turn after another, would leave workers no turn to be heard.
  const post = async () => await (await fetch(`${server.url}/news`, { method: "POST", body: data })).text();
  while (ended().length === 0) await Promise.all(Array.from({ length: 20 }, post));
  assert.deepEqual(ended(), [3008]);
  await untilCounts(server, { subscriptions: 0 });
  body.abort();
  await response.body?.cancel().catch(() => {});
});

Deno.test("A draining server ends connections with 3001, connected or not, unidirectional ones too", async () => {
  await using server = await startApp();
  const clients = [
    await RawClient.connect(server),
    await RawClient.open(server),
    await RawClient.open(server, "/connection/uni_websocket"),
  ];
  await using stream = await readStream(server, "/connection/http_stream", '{"id":1,"connect":{}}');
  assert.equal(JSON.parse((await stream.take(1))[0] ?? "").id, 1);
  server.app.drain();
  for (const client of clients) {
    assert.deepEqual(await client.socket.closed, { code: 3001, reason: "shutdown" });
  }
  const ending = await stream.take(2);
  assert.deepEqual(ending, ['{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}']);
});

Deno.test("Many reads in one frame are answered one at a time, in bounds, and all of them", async () => {
  await using server = await startRuledApp([]);
  const payload: Payload = { kind: "text", text: "x".repeat(60_000) };
  await Promise.all(Array.from({ length: 60 }, () => server.app.hub.publish({ channel: "big", payload })));
  await using client = await RawClient.open(server);
  await client.call("connect");
  const commands = Array.from(
    { length: 40 },
    (_, i) => ({ id: 100 + i, history: { channel: "big", limit: 300 } }),
  );
  client.send(...commands);
  for (const { id } of commands) {
    const reply = await client.next();
    assert.equal(reply.id, id);
    // A mebibyte of payloads ends a page.
    assert.equal(reply.history.publications.length, 18);
  }
});

Deno.test("A name outside the grammar is refused before any rule is looked up by it", async () => {
  await using server = await startRuledApp([]);
  await using client = await RawClient.open(server);
  await client.call("connect");
  for (const method of ["presence", "presence_stats", "history", "publish", "subscribe", "sub_refresh"]) {
    assert.equal(await client.fail(method, { channel: "a//b" }), 107, method);
  }
});
