/** The Centrifuge protocol as it is on the wire, over a real listener: every command, error and disconnect code. */
import assert from "node:assert/strict";
import { VERSION } from "../../../lib/config/version.ts";
import fc from "fast-check";
import type { Payload } from "../../../lib/core/message.ts";
import { readLines } from "../../read_lines.ts";
import { createConfig, startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";
import {
  createToken,
  post,
  RawClient,
  type RawReply,
  secondsFromNow,
  startKeyedApp,
  startRuledApp,
} from "./app.ts";

/** Publishes where HTTP would ask for a token. */
async function publish({ app }: TestApp, channel: string, ...texts: string[]): Promise<void> {
  await Promise.all(texts.map((text) => app.hub.publish({ channel, payload: { kind: "text", text } })));
}

async function keyed(server: TestApp, claims: Record<string, unknown> = { sub: "u1" }): Promise<RawClient> {
  return await RawClient.connect(server, { token: await createToken(claims) });
}

function texts(replies: readonly RawReply[]): unknown[] {
  return replies.map(({ push }) => push.pub.data);
}

Deno.test("Connect answers with a client id, the server's version and its pings, and leaves out what is zero", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server);
  const { id, connect } = await client.call("connect");
  assert.equal(id, 1);
  assert.match(connect.client, /^[0-9a-f-]{36}$/);
  assert.deepEqual(connect, { client: connect.client, version: VERSION, ping: 25, pong: true });
  assert.equal(server.app.hub.clientCount, 1);
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
  await using server = await startKeyedApp();
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
  assert.equal(server.app.hub.subscriptionCount, 0);
});

Deno.test("Subscribe answers with the stream's top; what is published follows, the client's own with its info", async () => {
  await using server = await startApp();
  await post(server, "/news", "before");
  await using client = await RawClient.open(server);
  const { connect } = await client.call("connect", { data: { name: "Ada" } });
  const { epoch } = server.app.hub.top;
  assert.deepEqual(await client.call("subscribe", { channel: "news" }), {
    id: 2,
    subscribe: { recoverable: true, epoch, offset: 1, positioned: true },
  });
  client.send({ id: 3, publish: { channel: "news", data: [1.5, "x"] } });
  assert.deepEqual(await client.take(2), [
    {
      push: {
        channel: "news",
        pub: {
          data: [1.5, "x"],
          info: { user: "", client: connect.client, conn_info: { name: "Ada" } },
          offset: 2,
        },
      },
    },
    { id: 3, publish: {} },
  ]);
  assert.deepEqual((await client.call("unsubscribe", { channel: "news" })).unsubscribe, {});
  assert.deepEqual((await client.call("unsubscribe", { channel: "never" })).unsubscribe, {});
  await post(server, "/news", "no subscribers");
  assert.deepEqual((await client.call("ping")).ping, {});
});

Deno.test("Ephemeral channels have no positions", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  assert.deepEqual(await client.call("subscribe", { channel: "cursors" }), { id: 2, subscribe: {} });
  await post(server, "/cursors", "here");
  assert.deepEqual(await client.next(), { push: { channel: "cursors", pub: { data: "here" } } });
});

Deno.test("Presence shows clients of every protocol, and counts the anonymous as one user", async () => {
  await using server = await startKeyedApp([{
    channels: "*",
    allowAnonymous: ["subscribe", "presence"],
    allow: ["subscribe", "presence"],
  }]);
  await using ada = await keyed(server, { sub: "u1", info: { name: "Ada" } });
  await using same = await keyed(server, { sub: "u1" });
  await using one = await RawClient.connect(server);
  await using two = await RawClient.connect(server);
  for (const client of [ada, same, one, two]) await client.call("subscribe", { channel: "news" });
  assert.deepEqual((await one.call("presence_stats", { channel: "news" })).presence_stats, {
    num_clients: 4,
    num_users: 2,
  });
  const { presence } = (await one.call("presence", { channel: "news" })).presence;
  const members = Object.entries<RawReply>(presence).map(([id, { client, user, conn_info }]) => {
    assert.equal(client, id);
    return [user, conn_info];
  });
  assert.deepEqual(members, [["u1", { name: "Ada" }], ["u1", undefined], ["", undefined], ["", undefined]]);
  assert.deepEqual((await one.call("presence", { channel: "empty" })).presence, { presence: {} });
});

Deno.test("Joins and leaves come to those who ask for them, plain sockets' and their own too", async () => {
  await using server = await startApp();
  await using watcher = await RawClient.connect(server);
  await using other = await RawClient.connect(server);
  await watcher.call("subscribe", { channel: "news", join_leave: true });
  await other.call("subscribe", { channel: "news" });
  const joined = await watcher.next();
  assert.deepEqual(Object.keys(joined.push), ["channel", "join"]);
  await using plain = await TestSocket.open(`${server.socketUrl}/news?id=john`);
  assert.deepEqual(await watcher.next(), {
    push: { channel: "news", join: { info: { user: "", client: "john" } } },
  });
  await plain[Symbol.asyncDispose]();
  assert.deepEqual(await watcher.next(), {
    push: { channel: "news", leave: { info: { user: "", client: "john" } } },
  });
  await other.call("unsubscribe", { channel: "news" });
  assert.equal((await watcher.next()).push.leave.info.client, joined.push.join.info.client);
});

Deno.test("History is paged by limit, since and reverse, with the position always there", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const { epoch } = server.app.hub.top;
  const read = async (request: Record<string, unknown>) =>
    (await client.call("history", { channel: "news", ...request })).history;
  assert.deepEqual(await read({}), { publications: [], epoch, offset: 0 });
  await publish(server, "news", ...Array.from({ length: 310 }, (_, i) => String(i + 1)));
  assert.deepEqual(await read({ limit: 0 }), { publications: [], epoch, offset: 310 });
  assert.deepEqual(await read({ limit: 2 }), {
    publications: [{ data: "1", offset: 1 }, { data: "2", offset: 2 }],
    epoch,
    offset: 310,
  });
  const offsets = async (request: Record<string, unknown>) =>
    (await read(request)).publications.map(({ offset }: RawReply) => offset);
  assert.equal((await offsets({ limit: -1 })).length, 300);
  assert.equal((await offsets({ limit: 1_000 })).length, 300);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 100 } }), [101, 102, 103]);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 309, epoch } }), [310]);
  assert.deepEqual(await offsets({ limit: 3, since: { offset: 310, epoch } }), []);
  assert.deepEqual(await offsets({ limit: 3, reverse: true }), [310, 309, 308]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 100, epoch } }), [99, 98, 97]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 2, epoch } }), [1]);
  assert.deepEqual(await offsets({ limit: 3, reverse: true, since: { offset: 1, epoch } }), []);
  const bad = { channel: "news", limit: 1 };
  assert.equal(await client.fail("history", { ...bad, since: { offset: 1, epoch: "other" } }), 112);
  assert.equal(await client.fail("history", { ...bad, since: { offset: 0, epoch }, reverse: true }), 107);
});

Deno.test("Recovery hands over what was missed with the request's own offset", async () => {
  await using server = await startApp();
  await publish(server, "news", "1", "2", "3");
  const { epoch } = server.app.hub.top;
  const recovered = { recoverable: true, epoch, positioned: true, recovered: true, was_recovering: true };
  const missed = [{ data: "2", offset: 2 }, { data: "3", offset: 3 }];
  for (const known of [epoch, ""]) {
    await using client = await RawClient.connect(server);
    const request = { channel: "news", recover: true, epoch: known };
    assert.deepEqual((await client.call("subscribe", { ...request, offset: 1 })).subscribe, {
      ...recovered,
      offset: 1,
      publications: missed,
    });
    await client.call("unsubscribe", { channel: "news" });
    const { subscribe } = await client.call("subscribe", { ...request, offset: 3 });
    assert.deepEqual(subscribe, { ...recovered, offset: 3 });
    await post(server, "/other", "not here");
    assert.deepEqual((await client.call("ping")).ping, {});
  }
});

Deno.test("An unrecoverable position is told: by the reply's top, or by 112 to who asked for an error", async () => {
  await using server = await startRuledApp([{ channels: "short", history: { messages: 2 } }]);
  await publish(server, "short", "1", "2", "3", "4");
  await publish(server, "long", ...Array.from({ length: 302 }, (_, i) => String(i + 1)));
  await publish(server, "cleared", "1", "2");
  await server.app.hub.clear("cleared");
  const { epoch } = server.app.hub.top;
  await using client = await RawClient.connect(server);
  const cases = [
    ["retention", { channel: "short", epoch, offset: 1 }, 4],
    ["another epoch", { channel: "short", epoch: "other", offset: 4 }, 4],
    ["more than 300 missed", { channel: "long", epoch, offset: 1 }, 302],
    ["DELETE", { channel: "cleared", epoch, offset: 1 }, 2],
    ["an offset beyond the top", { channel: "short", epoch, offset: 9 }, 4],
  ] as const;
  for (const [name, position, offset] of cases) {
    const request = { ...position, recover: true };
    assert.deepEqual(
      (await client.call("subscribe", request)).subscribe,
      { recoverable: true, epoch, positioned: true, was_recovering: true, offset },
      name,
    );
    await client.call("unsubscribe", { channel: position.channel });
    assert.equal(await client.fail("subscribe", { ...request, flag: 2 }), 112, name);
    // A refused subscription leaves nothing behind.
    assert.equal(server.app.hub.subscriptionCount, 0, name);
  }
  const { subscribe } = await client.call("subscribe", { channel: "long", recover: true, epoch, offset: 2 });
  assert.deepEqual([subscribe.recovered, subscribe.publications.length], [true, 300]);
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
    [108, "subscribe", { channel: "other", type: 1 }],
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
  ["more than 65536 bytes", `{"id":2,"publish":{"channel":"news","data":"${"x".repeat(65_536)}"}}`],
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
  assert.equal(server.app.hub.clientCount, 1);
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
  assert.equal(server.app.hub.clientCount, 1);
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
  assert.equal(server.app.hub.clientCount, 0);
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
  while (server.app.hub.clientCount > 0) await publish(server, "news", ...new Array(20).fill(data));
  assert.deepEqual(server.logger.find("client disconnected").map(({ code }) => code), [3008]);
  assert.equal(server.app.hub.subscriptionCount, 0);
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

Deno.test("An operator's words reach the client as they are: unsubscribe, subscribe, disconnect, refresh", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  const [known] = server.app.hub.clients;
  const control = known?.control;
  assert.equal(control?.unsubscribe("news", 2000, "enough"), true);
  assert.equal(control?.unsubscribe("news", 2000, "enough"), false);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", unsubscribe: { code: 2000, reason: "enough" } },
  });
  const { epoch } = server.app.hub.top;
  assert.equal(await control?.subscribe("news", { data: { kind: "json", text: '{"a":1}' } }), true);
  assert.equal(await control?.subscribe("news", {}), false);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", subscribe: { recoverable: true, epoch, positioned: true, data: { a: 1 } } },
  });
  await publish(server, "news", "1");
  assert.deepEqual(texts([await client.next()]), ["1"]);
  control?.refresh(secondsFromNow(100));
  const { push: { refresh } } = await client.next();
  assert(refresh.expires && refresh.ttl > 95);
  control?.refresh(1);
  assert.deepEqual(await client.socket.closed, { code: 3005, reason: "connection expired" });
  await using second = await RawClient.connect(server);
  for (const { control } of server.app.hub.clients) control?.disconnect(4321, "{} is no JSON for clients");
  assert.equal((await second.socket.closed).code, 4321);
});

Deno.test("A subscription that has expired ends with 2501, and the client is told after its start", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  const [known] = server.app.hub.clients;
  // Past the time in which a client may still refresh.
  await known?.control?.subscribe("news", { expires: secondsFromNow(-30) });
  assert("subscribe" in (await client.next()).push);
  assert.deepEqual(await client.next(), {
    push: { channel: "news", unsubscribe: { code: 2501, reason: "subscription expired" } },
  });
  assert.equal(server.app.hub.subscriptionCount, 0);
});

Deno.test("What a plain socket says reaches Centrifuge clients, and the other way round", async () => {
  await using server = await startApp();
  await using client = await RawClient.connect(server);
  await client.call("subscribe", { channel: "news" });
  await using plain = await TestSocket.open(`${server.socketUrl}/news?id=john&name=John`);
  plain.send("it rains");
  const info = { user: "", client: "john", conn_info: { name: "John" } };
  assert.deepEqual(await client.next(), {
    push: { channel: "news", pub: { data: "it rains", info, offset: 1 } },
  });
  client.send({ id: 3, publish: { channel: "news", data: "it does" } });
  client.send({ id: 4, publish: { channel: "news", data: { mm: 12 } } });
  assert.deepEqual([await plain.next(), await plain.next()], ["it does", '{"mm":12}']);
});

Deno.test("Direct messages arrive as message pushes", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server);
  const { connect } = await client.call("connect");
  await post(server, `/@${connect.client}`, "psst");
  assert.deepEqual(await client.next(), { push: { message: { data: "psst" } } });
});

Deno.test("A token says who connects, for how long, and to what", async () => {
  await using server = await startKeyedApp();
  await using client = await RawClient.open(server);
  const token = await createToken({
    sub: "u1",
    info: { name: "Ada" },
    exp: secondsFromNow(100),
    channels: ["news"],
    subs: { weather: { info: { seat: 1 }, data: { unit: "mm" } } },
  });
  const { epoch } = server.app.hub.top;
  await publish(server, "news", "1", "2");
  const { connect } = await client.call("connect", {
    token,
    subs: { news: { recover: true, offset: 1, epoch }, forbidden: { recover: true } },
  });
  assert.equal(connect.expires, true);
  assert(connect.ttl > 95 && connect.ttl <= 100);
  assert.deepEqual(connect.subs, {
    news: {
      recoverable: true,
      epoch,
      publications: [{ data: "2", offset: 2 }],
      recovered: true,
      offset: 1,
      positioned: true,
      was_recovering: true,
    },
    weather: { recoverable: true, epoch, positioned: true, data: { unit: "mm" } },
  });
  assert.equal(await client.fail("subscribe", { channel: "news" }), 105);
  const { refresh } = await client.call("refresh", {
    token: await createToken({ sub: "u1", exp: secondsFromNow(1_000) }),
  });
  assert.deepEqual([refresh.client, refresh.expires], [connect.client, true]);
  assert(refresh.ttl > 995);
  const bad = await createToken({ sub: "u2", exp: secondsFromNow(1_000) });
  client.send({ id: 4, refresh: { token: bad } });
  assert.deepEqual(await client.socket.closed, { code: 3500, reason: "invalid token" });
});

Deno.test("Tokens that will not do: 109 for an expired one, 3500 for a bad one, 3501 for none", async () => {
  await using server = await startKeyedApp();
  const [header, , signature] = (await createToken({ sub: "u1" })).split(".");
  const cases: readonly [string, number][] = [
    ["nonsense", 3500],
    [`${header}.${btoa('{"sub":"admin"}')}.${signature}`, 3500],
    [await createToken({ sub: "u1", channel: "news" }), 3500],
    [await createToken({ sub: "u1", channels: ["a//b"] }), 3500],
    ["", 3501],
  ];
  for (const [token, code] of cases) {
    await using client = await RawClient.open(server);
    client.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: "news" } });
    assert.equal((await client.socket.closed).code, code, token);
    assert.deepEqual(client.socket.unread, []);
  }
  await using client = await RawClient.open(server);
  const expired = await createToken({ sub: "u1", exp: secondsFromNow(-1) });
  assert.equal(await client.fail("connect", { token: expired }), 109);
  assert.equal(server.app.hub.clientCount, 0);
});

Deno.test("A subscription token opens one channel for one user, and is refreshed", async () => {
  await using server = await startKeyedApp();
  await using client = await keyed(server);
  const claims = { sub: "u1", channel: "secret" };
  const subscribe = async (more: Record<string, unknown>) => ({
    channel: "secret",
    token: await createToken({ ...claims, ...more }),
  });
  assert.equal(await client.fail("subscribe", { channel: "secret" }), 103);
  assert.equal(await client.fail("subscribe", { channel: "secret", token: "nonsense" }), 103);
  assert.equal(await client.fail("subscribe", await subscribe({ exp: secondsFromNow(-1) })), 109);
  const opened = await client.call(
    "subscribe",
    await subscribe({ exp: secondsFromNow(100), info: { seat: 7 }, data: { hi: 1 } }),
  );
  assert.deepEqual([opened.subscribe.expires, opened.subscribe.data], [true, { hi: 1 }]);
  const [member] = server.app.hub.presence.list("secret");
  assert.equal(member?.channelInfo, '{"seat":7}');
  const { sub_refresh } = await client.call("sub_refresh", await subscribe({ exp: secondsFromNow(1_000) }));
  assert(sub_refresh.expires && sub_refresh.ttl > 995);
  assert.equal(await client.fail("sub_refresh", await subscribe({ exp: secondsFromNow(-1) })), 109);
  assert.equal(await client.fail("sub_refresh", { channel: "secret", token: "nonsense" }), 103);

  for (const more of [{ channel: "other" }, { sub: "u2" }, { client: "somebody" }]) {
    await using stranger = await keyed(server);
    stranger.send({ id: 2, subscribe: await subscribe(more) });
    assert.equal((await stranger.socket.closed).code, 3500, JSON.stringify(more));
  }
});

Deno.test("An unsubscribe behind a subscribe whose token is still checked takes effect", async () => {
  await using server = await startKeyedApp();
  await using client = await keyed(server);
  const token = await createToken({ sub: "u1", channel: "secret" });
  client.send({ id: 2, subscribe: { channel: "secret", token } }, {
    id: 3,
    unsubscribe: { channel: "secret" },
  });
  assert.deepEqual((await client.take(2)).map(({ id }) => id), [2, 3]);
  assert.equal(server.app.hub.subscriptionCount, 0);
});

Deno.test("A token for more channels than a connection may be on ends it with 3505", async () => {
  await using server = await startKeyedApp();
  await using client = await RawClient.open(server);
  const channels = Array.from({ length: 1_001 }, (_, i) => `c${i}`);
  client.send({ id: 1, connect: { token: await createToken({ sub: "u1", channels }) } });
  assert.equal((await client.socket.closed).code, 3505);
  assert.equal(server.app.hub.subscriptionCount, 0);
});

Deno.test("Rules say what is allowed to users, to subscribers and to everybody; denials name them in the log", async () => {
  await using server = await startKeyedApp([
    { channels: "open", allowAnonymous: ["subscribe"] },
    { channels: "room", allow: ["subscribe", "history"], allowSubscribers: ["publish"] },
  ]);
  await using anonymous = await RawClient.connect(server);
  await using user = await keyed(server);
  assert("subscribe" in await anonymous.call("subscribe", { channel: "open" }));
  for (
    const [kind, request] of [
      ["publish", { channel: "open", data: 1 }],
      ["history", { channel: "open" }],
      ["presence", { channel: "open" }],
      ["presence_stats", { channel: "open" }],
      ["subscribe", { channel: "room" }],
    ] as const
  ) {
    const { error } = await anonymous.call(kind, request);
    // It learns nothing of the rules.
    assert.deepEqual(error, { code: 103, message: "permission denied" });
    const { reason } = server.logger.find("permission denied").at(-1) ?? {};
    const rule = kind === "subscribe" ? /no rule allows|rule "room"/ : /rule "open" does not allow/;
    assert.match(String(reason), rule);
    assert.match(String(reason), /set "allowAnonymous": \[.*\] in the rules/);
  }

  // Whoever may subscribe by a rule has what is for subscribers, subscribed or not.
  assert.equal(await user.fail("publish", { channel: "room", data: 1 }), undefined);
  assert("history" in await user.call("history", { channel: "room" }));
  assert("subscribe" in await user.call("subscribe", { channel: "room" }));
  user.send({ id: 9, publish: { channel: "room", data: 1 } });
  assert.deepEqual((await user.take(2)).map((reply) => "publish" in reply || "push" in reply), [true, true]);
  const { error } = await user.call("presence", { channel: "room" });
  assert.equal(error.code, 103);
  assert.match(error.message, /rule "room" does not allow "presence" to users/);
});

/** Posts a body and reads the lines of the answer. */
async function readStream(server: TestApp, path: string, body: string) {
  const abort = new AbortController();
  const response = await fetch(server.url + path, { method: "POST", body, signal: abort.signal });
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let buffered = "";
  return {
    response,
    /** The next lines that hold anything; fewer when the stream ends first. */
    async take(count: number): Promise<string[]> {
      const lines: string[] = [];
      while (lines.length < count) {
        const end = buffered.indexOf("\n");
        if (end >= 0) {
          if (end > 1) lines.push(buffered.slice(0, end));
          buffered = buffered.slice(end + 1);
          continue;
        }
        const { done, value } = await reader.read();
        if (done) break;
        buffered += value;
      }
      return lines;
    },
    async [Symbol.asyncDispose]() {
      abort.abort();
      await reader.cancel().catch(() => {});
    },
  };
}

Deno.test("http_stream and sse answer in their way, and take further commands by emulation", async () => {
  await using server = await startApp();
  const connect = '{"id":1,"connect":{}}';
  await using lines = await readStream(server, "/connection/http_stream", connect);
  await using posted = await readStream(server, "/connection/sse", connect);
  await using events = await readLines(
    `${server.url}/connection/sse?cf_connect=${encodeURIComponent(connect)}`,
  );
  assert.deepEqual(await events.take(1), [""]);
  const transports = [
    [lines, () => lines.take(1)],
    [posted, () => posted.take(1)],
    [events, async () => (await events.take(2)).filter((line) => line !== "")],
  ] as const;
  for (const [{ response: { headers } }, take] of transports) {
    assert.equal(headers.get("x-accel-buffering"), "no");
    assert.equal(headers.get("cache-control"), "no-store");
    const next = async () => JSON.parse(((await take())[0] ?? "").replace(/^data: /, ""));
    const { connect: { session, node } } = await next();
    const emulate = async (data: unknown) => {
      const body = JSON.stringify({ session, node, data });
      const response = await fetch(`${server.url}/emulation`, { method: "POST", body });
      await response.body?.cancel();
      return response.status;
    };
    assert.equal(await emulate('{"id":2,"subscribe":{"channel":"news"}}'), 204);
    assert.equal((await next()).id, 2);
    await publish(server, "news", "1");
    assert.deepEqual((await next()).push.pub.data, "1");
    assert.equal(await emulate("no command"), 204);
    assert.deepEqual(await next(), { push: { disconnect: { code: 3501, reason: "bad request" } } });
    assert.equal(await emulate("{}"), 404, "The session is gone");
  }
  assert.equal(server.app.hub.clientCount, 0);
});

Deno.test("Emulation refuses what is of no session: 404, 400, 413", async () => {
  await using server = await startApp("--max-body-bytes", "100000");
  await using stream = await readStream(server, "/connection/http_stream", '{"id":1,"connect":{}}');
  const { connect: { node } } = JSON.parse((await stream.take(1))[0] ?? "");
  const emulate = async (body: string) => {
    const response = await fetch(`${server.url}/emulation`, { method: "POST", body });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await emulate(JSON.stringify({ session: "x", node: "other", data: "{}" })), 404);
  assert.equal(await emulate(JSON.stringify({ session: "x", node, data: "{}" })), 404);
  assert.equal(await emulate("{"), 400);
  assert.equal(await emulate(JSON.stringify({ session: 1, node, data: "{}" })), 400);
  assert.equal(await emulate("x".repeat(100_001)), 413);
});

Deno.test("Unidirectional transports push bare pushes and want no pongs", async () => {
  await using server = await startKeyedApp([], "--ping-interval", "1", "--pong-timeout", "1");
  const token = await createToken({ sub: "u1", channels: ["news"] });
  const request = JSON.stringify({ token, subs: { forbidden: {} } });
  const query = `cf_connect=${encodeURIComponent(request)}`;
  await using byQuery = await RawClient.open(server, `/connection/uni_websocket?${query}`);
  await using byFrame = await RawClient.open(server, "/connection/uni_websocket");
  byFrame.socket.send(request);
  await using lines = await readStream(server, "/connection/uni_http_stream", request);
  await using posted = await readStream(server, "/connection/uni_sse", request);
  await using events = await readLines(`${server.url}/connection/uni_sse?${query}`);
  assert.deepEqual(await events.take(1), [""]);
  const parse = ([line = ""]: string[]) => JSON.parse(line.replace(/^data: /, ""));
  const readers: readonly (() => Promise<RawReply>)[] = [
    () => byQuery.next(),
    () => byFrame.next(),
    async () => parse(await lines.take(1)),
    async () => parse(await posted.take(1)),
    async () => parse(await events.take(2)),
  ];
  for (const next of readers) {
    const { connect } = await next();
    assert.deepEqual([Object.keys(connect.subs), connect.ping, connect.pong], [["news"], 1, undefined]);
  }
  await publish(server, "news", "1");
  for (const next of readers) {
    const seen = [await next(), await next(), await next(), await next()];
    assert.deepEqual(seen.filter((push) => "pub" in push), [
      { channel: "news", pub: { data: "1", offset: 1 } },
    ]);
    // By the third ping, who was expected to answer the first would be gone.
    assert.deepEqual(seen.filter((push) => Object.keys(push).length === 0), [{}, {}, {}]);
  }
  assert.equal(server.app.hub.clientCount, readers.length);
});

Deno.test("A unidirectional WebSocket speaks Protobuf where it is asked to", async () => {
  await using server = await startApp();
  await using client = await RawClient.open(server, "/connection/uni_websocket?format=protobuf");
  client.socket.send(new Uint8Array());
  const push = await client.socket.next();
  assert(push instanceof Uint8Array);
  // A length, then field 10: connect, in which field 1 is the client's id of 36 characters.
  assert.deepEqual([push[0], push[1], push[3], push[4]], [push.length - 1, 0x52, 0x0a, 36]);
});

Deno.test("Unidirectional clients with a bad request or token are told why", async () => {
  await using server = await startKeyedApp();
  const cases = [
    ["no JSON", 3501],
    [JSON.stringify({ token: "nonsense" }), 3500],
    [JSON.stringify({ token: await createToken({ sub: "u1", exp: secondsFromNow(-1) }) }), 3005],
    ["{}", 3501],
  ] as const;
  for (const [request, code] of cases) {
    await using client = await RawClient.open(server, "/connection/uni_websocket");
    client.socket.send(request);
    assert.equal((await client.socket.closed).code, code, request);
    await using stream = await readStream(server, "/connection/uni_http_stream", request);
    const [line = ""] = await stream.take(2);
    assert.equal(JSON.parse(line).disconnect.code, code, request);
  }
});

Deno.test("Pages of an allowed origin may use every HTTP transport, with credentials", async () => {
  await using server = await startApp("--origins", "https://example.org");
  const headers = { origin: "https://example.org" };
  for (const path of ["/connection/http_stream", "/connection/sse", "/connection/uni_sse", "/emulation"]) {
    const response = await fetch(server.url + path, { method: "OPTIONS", headers });
    assert.equal(response.status, 204);
    assert.equal(response.headers.get("access-control-allow-origin"), "https://example.org");
    assert.equal(response.headers.get("access-control-allow-credentials"), "true");
    assert.match(response.headers.get("access-control-allow-headers") ?? "", /content-type/);
    const refused = await fetch(server.url + path, {
      method: "OPTIONS",
      headers: { origin: "https://evil.example" },
    });
    await refused.body?.cancel();
    assert.equal(refused.status, 403);
  }
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

Deno.test("Recovery asks for the permission that history asks for", async () => {
  await using server = await startKeyedApp([{ channels: "news", allowAnonymous: ["subscribe"] }]);
  await publish(server, "news", "1", "2");
  await using client = await RawClient.open(server);
  await client.call("connect");
  assert.equal(await client.fail("history", { channel: "news", limit: 5 }), 103);
  const { subscribe } = await client.call("subscribe", { channel: "news", recover: true, offset: 0 });
  assert.deepEqual([subscribe.recovered, subscribe.publications, subscribe.offset], [
    undefined,
    undefined,
    2,
  ]);
});

Deno.test("A conflated channel claims no position", async () => {
  await using server = await startRuledApp([{ channels: "ticker", conflate: true }]);
  await using client = await RawClient.open(server);
  await client.call("connect");
  const { subscribe } = await client.call("subscribe", { channel: "ticker" });
  assert.deepEqual(subscribe, {});
});

Deno.test("A name outside the grammar is refused before any rule is looked up by it", async () => {
  await using server = await startRuledApp([]);
  await using client = await RawClient.open(server);
  await client.call("connect");
  for (const method of ["presence", "presence_stats", "history", "publish", "subscribe", "sub_refresh"]) {
    assert.equal(await client.fail(method, { channel: "a//b" }), 107, method);
  }
});

Deno.test("A unidirectional client gets the channels it asks for, as far as it may", async () => {
  await using server = await startKeyedApp([{
    channels: "open/*",
    allowAnonymous: ["subscribe", "history"],
  }]);
  await publish(server, "open/1", "missed");
  const { epoch } = server.app.hub.top;
  const request = { subs: { "open/1": { recover: true, offset: 0, epoch }, secret: {}, "a//b": {} } };
  const query = new URLSearchParams({ cf_connect: JSON.stringify(request) });
  await using stream = await readLines(`${server.url}/connection/uni_sse?${query}`);
  const pushes = async (count: number) => {
    const found: RawReply[] = [];
    while (found.length < count) {
      const [line = ""] = await stream.take(1);
      if (line.startsWith("data: ")) found.push(JSON.parse(line.slice(6)));
    }
    return found;
  };
  const [{ connect }] = await pushes(1);
  assert.deepEqual(Object.keys(connect.subs), ["open/1"]);
  assert.deepEqual(connect.subs["open/1"].publications, [{ data: "missed", offset: 1 }]);
  await publish(server, "secret", "hidden");
  await publish(server, "open/1", "live");
  assert.deepEqual(await pushes(1), [{ channel: "open/1", pub: { data: "live", offset: 2 } }]);
});

Deno.test("A token's grants hold for commands, and a refresh replaces them", async () => {
  await using server = await startKeyedApp();
  const sign = (grants: Record<string, string[]>) => createToken({ sub: "ann", grants });
  await using client = await RawClient.connect(server, {
    token: await sign({ "chat:*": ["subscribe", "publish"] }),
  });
  assert.equal(await client.fail("publish", { channel: "chat:1", data: {} }), undefined);
  assert.equal(await client.fail("subscribe", { channel: "chat:2" }), undefined);
  assert.equal(await client.fail("subscribe", { channel: "news" }), 103);
  assert.equal(await client.fail("presence", { channel: "chat:2" }), 103);
  assert.equal(await client.fail("history", { channel: "chat:2" }), 103, "a grant is exactly what it lists");
  await client.call("refresh", { token: await sign({ news: ["publish"] }) });
  assert.equal(await client.fail("publish", { channel: "chat:1", data: {} }), 103);
  assert.equal(await client.fail("publish", { channel: "news", data: {} }), undefined);
});
