/** Every limit at its edge, on real servers: what the client is told, that it is counted, and that life goes on. */
import assert from "node:assert/strict";
import { createToken, post, RawClient, startKeyedApp } from "../protocols/centrifuge/app.ts";
import { readLines } from "../read_lines.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

/** The tests' own address counts as a proxy's: who is behind it is theirs to say. */
const BEHIND_PROXY = ["--trusted-proxy", "127.0.0.1", "--open"];
const KEY = "key-0123456789abcdef";

const at = (address: string) => ({ "x-forwarded-for": address });

/** Asks, hangs up, and tells what was answered. */
async function ask(server: TestApp, path: string, init: RequestInit = {}) {
  const abort = new AbortController();
  const response = await fetch(server.url + path, { ...init, signal: abort.signal });
  const { status, headers } = response;
  const { type = "", detail = "" } = status >= 400 ? await response.json() : {};
  abort.abort();
  const code = String(type).replace("urn:raindrops:", "");
  return { status, code, detail: String(detail), retryAfter: headers.get("retry-after") };
}

const publish = (headers: Record<string, string> = {}): RequestInit => ({
  method: "POST",
  body: "it rains",
  headers,
});

async function assertCounted(server: TestApp, reason: string, count?: number): Promise<void> {
  await server.app.metrics.refresh();
  const counted = server.app.metrics.refusals.get(reason) ?? 0;
  assert.ok(count === undefined ? counted > 0 : counted === count, `${reason} was counted ${counted} times`);
}

/** Resolves when something has come to be, which no message would tell of. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Resolves when the server counts so many connections: a peer's leaving takes a moment to arrive. */
async function connections(server: TestApp, count: number): Promise<void> {
  await until(() => server.app.connectionCount === count);
}

const STREAMS: readonly [name: string, path: string, init: RequestInit][] = [
  ["an event stream", "/news", { headers: { accept: "text/event-stream" } }],
  ["a line stream", "/news?follow", {}],
  ["a Centrifuge line stream", "/connection/http_stream", { method: "POST", body: '{"id":1,"connect":{}}' }],
  [
    "a Centrifuge event stream",
    `/connection/sse?cf_connect=${encodeURIComponent('{"id":1,"connect":{}}')}`,
    {},
  ],
  ["a one-way line stream", "/connection/uni_http_stream", { method: "POST", body: "{}" }],
  ["a one-way event stream", "/connection/uni_sse", {}],
];
const SOCKETS: readonly [name: string, path: string][] = [
  ["a plain WebSocket", "/news"],
  ["a Centrifuge WebSocket", "/connection/websocket"],
  ["a one-way WebSocket", "/connection/uni_websocket?cf_connect={}"],
];

for (const [name, path] of SOCKETS) {
  Deno.test(`${name} beyond --max-connections is refused, and let in once another has left`, async () => {
    await using server = await startApp("--max-connections", "1");
    {
      await using _first = await TestSocket.open(server.socketUrl + path);
      await assert.rejects(TestSocket.open(server.socketUrl + path));
      await assertCounted(server, "too_many_connections", 1);
      assert.equal((await ask(server, "/news", publish())).status, 200, "Requests are no connections");
    }
    await connections(server, 0);
    await using _second = await TestSocket.open(server.socketUrl + path);
  });
}

for (const [name, path, init] of STREAMS) {
  Deno.test(`${name} beyond --max-connections gets 503, and is let in once another has left`, async () => {
    await using server = await startApp("--max-connections", "1");
    const abort = new AbortController();
    const first = await fetch(server.url + path, { ...init, signal: abort.signal });
    assert.equal(first.status, 200);
    const { status, code, detail, retryAfter } = await ask(server, path, init);
    assert.deepEqual([status, code, retryAfter], [503, "too_many_connections", "1"]);
    assert.match(detail, /1 connections.*--max-connections/);
    await assertCounted(server, "too_many_connections", 1);
    await assert.rejects(TestSocket.open(`${server.socketUrl}/news`));
    abort.abort();
    await first.body?.cancel().catch(() => {});
    await connections(server, 0);
    assert.equal((await ask(server, path, init)).status, 200);
  });
}

Deno.test("A connection that its client, the server or a limit ends is counted no more", async () => {
  await using server = await startApp();
  await (await TestSocket.open(`${server.socketUrl}/news`))[Symbol.asyncDispose]();
  await ask(server, "/news?follow&limit=1&since=earliest");
  await using lines = await readLines(`${server.url}/news?follow&limit=1`);
  // The node listener waits a moment to tell a client that is gone from one that has only closed its own side.
  await connections(server, 1);
  await post(server, "/news", "it rains");
  await lines.take(9);
  await connections(server, 0);
  // A handshake whose peer has gone before it is answered.
  for (let i = 0; i < 20; i++) {
    using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    const handshake =
      "GET /news HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    await connection.write(new TextEncoder().encode(handshake));
  }
  await assert.rejects(TestSocket.open(`${server.socketUrl}/bad,`));
  assert.equal((await ask(server, "/news", { headers: { upgrade: "websocket" } })).status, 400);
  await ask(server, "/last", publish());
  await connections(server, 0);
});

Deno.test("--max-connections-per-address holds for each client behind a proxy, IPv6 by /64, and for nobody else", async () => {
  await using server = await startApp(...BEHIND_PROXY, "--max-connections-per-address", "1");
  const url = `${server.socketUrl}/news`;
  await using _one = await TestSocket.open(url, { headers: at("192.0.2.1") });
  await assert.rejects(TestSocket.open(url, { headers: at("192.0.2.1") }));
  await assert.rejects(TestSocket.open(url, { headers: at("198.51.100.7, 192.0.2.1") }));
  await using _two = await TestSocket.open(url, { headers: at("2001:db8::1") });
  const { status, code, detail, retryAfter } = await ask(server, "/news?follow", {
    headers: at("2001:db8:0:0:1::2"),
  });
  assert.deepEqual([status, code, retryAfter], [429, "too_many_connections_from_address", "1"]);
  assert.match(detail, /--max-connections-per-address/);
  await using _three = await TestSocket.open(url, { headers: at("2001:db8:0:1::1") });
  await assertCounted(server, "too_many_connections_from_address", 3);
});

Deno.test("Limits per address spare this machine until they are set, and nobody believes it without a trusted proxy", async () => {
  await using spared = await startApp();
  const sockets = await Promise.all(
    Array.from({ length: 20 }, () => TestSocket.open(`${spared.socketUrl}/news`)),
  );
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
  await using held = await startApp("--max-connections-per-address", "1");
  await using _one = await TestSocket.open(`${held.socketUrl}/news`);
  await assert.rejects(TestSocket.open(`${held.socketUrl}/news`, { headers: at("192.0.2.1") }));
});

Deno.test("A proxy on this machine that nobody named is warned of, once", async () => {
  await using server = await startApp();
  for (let i = 0; i < 2; i++) await ask(server, "/news", publish(at("192.0.2.1")));
  const warnings = server.logger.entries.filter(({ level, event }) =>
    level === "warn" && /proxy/.test(event)
  );
  assert.deepEqual(warnings.map(({ event }) => /--trusted-proxy 127\.0\.0\.1/.test(event)), [true]);
  await using named = await startApp(...BEHIND_PROXY);
  await ask(named, "/news", publish(at("192.0.2.1")));
  assert.ok(!named.logger.entries.some(({ event }) => /A proxy at/.test(event)));
});

const SLOWLY = ["--max-publish-rate", "1", "--publish-burst", "2"];

Deno.test("A plain WebSocket beyond --max-publish-rate is closed with 1013 and the reason, others go on", async () => {
  await using server = await startApp(...SLOWLY);
  await using reader = await TestSocket.open(`${server.socketUrl}/news`);
  await using fast = await TestSocket.open(`${server.socketUrl}/news`);
  for (let i = 1; i <= 9; i++) fast.send(`${i}`);
  const { code, reason } = await fast.closed;
  assert.equal(code, 1013);
  assert.match(reason, /More than 1 messages a second .*--max-publish-rate/);
  await assertCounted(server, "too_many_publishes", 1);
  await using other = await TestSocket.open(`${server.socketUrl}/news`);
  other.send("other");
  assert.deepEqual([await reader.next(), await reader.next(), await reader.next()], ["1", "2", "other"]);
});

Deno.test("A Centrifuge client beyond --max-publish-rate gets error 111, stays, and goes on later", async () => {
  await using server = await startApp(...SLOWLY);
  await using client = await RawClient.connect(server);
  const outcomes: (number | undefined)[] = [];
  for (let i = 0; i < 3; i++) outcomes.push(await client.fail("publish", { channel: "news", data: {} }));
  assert.deepEqual(outcomes, [undefined, undefined, 111]);
  const { error } = await client.call("publish", { channel: "news", data: {} });
  assert.equal(error.temporary, true);
  assert.match(error.message, /--max-publish-rate/);
  assert.equal(await client.fail("history", { channel: "news" }), undefined);
  await assertCounted(server, "too_many_publishes", 2);
});

Deno.test("POST beyond --max-publish-rate-per-address gets 429 with Retry-After, by address; a key is not held to it", async () => {
  await using server = await startApp(
    ...BEHIND_PROXY,
    "--max-publish-rate-per-address",
    "1",
    "--publish-burst",
    "2",
    `RAINDROPS_API_KEYS=${KEY}`,
  );
  const from = (address: string) => ask(server, "/news", publish(at(address)));
  assert.deepEqual([(await from("192.0.2.1")).status, (await from("192.0.2.1")).status], [200, 200]);
  const { status, code, detail, retryAfter } = await from("192.0.2.1");
  assert.deepEqual([status, code, retryAfter], [429, "too_many_publishes_from_address", "1"]);
  assert.match(detail, /--max-publish-rate-per-address/);
  assert.equal((await from("192.0.2.2")).status, 200);
  await assertCounted(server, "too_many_publishes_from_address", 1);
  for (let i = 0; i < 4; i++) {
    assert.equal((await ask(server, "/news", publish({ ...at("192.0.2.1"), "x-api-key": KEY }))).status, 200);
  }
  await using socket = await TestSocket.open(`${server.socketUrl}/news`, { headers: at("192.0.2.1") });
  socket.send("1");
  socket.send("2");
  assert.equal((await socket.closed).code, 1013);
});

Deno.test("POST beyond --max-publish-rate gets 429 by the token's user", async () => {
  await using server = await startKeyedApp([{ channels: "news", allow: ["publish"] }], ...SLOWLY);
  const by = async (sub: string) =>
    await ask(server, "/news", publish({ authorization: `Bearer ${await createToken({ sub })}` }));
  assert.deepEqual([(await by("ann")).status, (await by("ann")).status, (await by("ann")).status], [
    200,
    200,
    429,
  ]);
  assert.equal((await by("bob")).status, 200);
});

Deno.test("Without a limit set, this machine publishes as fast as it likes", async () => {
  await using server = await startApp();
  await using reader = await TestSocket.open(`${server.socketUrl}/news`);
  await using socket = await TestSocket.open(`${server.socketUrl}/news`);
  for (let i = 0; i < 2_000; i++) socket.send("x");
  for (let i = 0; i < 2_000; i++) await reader.next();
});

Deno.test("--max-subscriptions bounds lists, commands, one-way requests and what the API adds", async () => {
  await using server = await startApp("--max-subscriptions", "2");
  await using _list = await TestSocket.open(`${server.socketUrl}/a,b`);
  const { status, code, detail } = await ask(server, "/a,b,c/*?follow");
  assert.deepEqual([status, code], [400, "too_many_subscriptions"]);
  assert.match(detail, /2 channels.*--max-subscriptions/);
  await using client = await RawClient.connect(server);
  const outcomes: (number | undefined)[] = [];
  for (const channel of ["a", "b", "c"]) outcomes.push(await client.fail("subscribe", { channel }));
  assert.deepEqual(outcomes, [undefined, undefined, 106]);
  assert.equal((await client.call("unsubscribe", { channel: "a" })).error, undefined);
  assert.equal(await client.fail("subscribe", { channel: "c" }), undefined);
  await post(server, "/api/subscribe", JSON.stringify({ user: "", channel: "d" }));
  assert.equal((await client.socket.closed).code, 3505);
  const subs = { a: {}, b: {}, c: {} };
  await using oneWay = await TestSocket.open(`${server.socketUrl}/connection/uni_websocket`);
  oneWay.send(JSON.stringify({ subs }));
  assert.equal((await oneWay.closed).code, 3505);
  await assertCounted(server, "too_many_subscriptions", 4);
});

for (const log of ["memory:", "sqlite:"]) {
  Deno.test(`--max-channels bounds what ${log} remembers: what is there goes on, a new one is refused by its name`, async () => {
    const folder = await Deno.makeTempDir();
    const rules = `${folder}/rules.json`;
    await Deno.writeTextFile(rules, '[{"channels":"typing/*","ephemeral":true}]');
    try {
      const url = log === "memory:" ? log : `sqlite:${folder}/raindrops.db`;
      await using server = await startApp("--engine", url, "--rules", rules, "--max-channels", "2");
      await using reader = await TestSocket.open(`${server.socketUrl}/**`);
      // None of these takes a place.
      for (let i = 0; i < 9; i++) {
        await (await TestSocket.open(`${server.socketUrl}/read/${i}`))[Symbol.asyncDispose]();
        await ask(server, `/asked/${i}?since=earliest`);
        await ask(server, `/asked/${i}`, { method: "DELETE" });
        for (const path of [`/typing/${i}`, `/news/${i}?ephemeral`, `/echo`]) {
          assert.equal((await ask(server, path, publish())).status, 200, path);
        }
      }
      for (const channel of ["a", "b", "a"]) {
        assert.equal((await ask(server, `/${channel}`, publish())).status, 200);
      }
      const { status, code, detail } = await ask(server, "/c", publish());
      assert.deepEqual([status, code], [403, "too_many_channels"]);
      assert.match(detail, /"c".* 2 channels.*--max-channels/);
      await using client = await RawClient.connect(server);
      assert.equal(await client.fail("publish", { channel: "d", data: {} }), 106);
      assert.equal(await client.fail("publish", { channel: "b", data: {} }), undefined);
      const api = await fetch(`${server.url}/api/broadcast`, {
        method: "POST",
        body: JSON.stringify({ channels: ["e", "a", "f"], data: 1 }),
      });
      const { result: { responses } } = await api.json();
      assert.deepEqual(responses.map((answer: { error?: { code: number } }) => answer.error?.code), [
        108,
        undefined,
        108,
      ]);
      await using socket = await TestSocket.open(`${server.socketUrl}/g`);
      socket.send("first");
      assert.equal((await socket.closed).code, 4403);
      await assertCounted(server, "too_many_channels");
      assert.equal((await ask(server, "/a", { method: "DELETE" })).status, 200);
      assert.equal((await ask(server, "/c", publish())).status, 403, "a cleared channel's offsets go on");
      for (let i = 0; i < 18; i++) assert.equal(await reader.next(), "it rains");
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

Deno.test("--max-channel-length bounds names at every door, to a character", async () => {
  await using server = await startApp("--max-channel-length", "4");
  assert.equal((await ask(server, "/abcd", publish())).status, 200);
  for (const init of [publish(), { headers: { accept: "text/event-stream" } }]) {
    const { status, code, detail } = await ask(server, "/abcde", init);
    assert.deepEqual([status, code], [414, "name_too_long"]);
    assert.match(detail, /5 characters .* 4: .*--max-channel-length/);
  }
  await assert.rejects(TestSocket.open(`${server.socketUrl}/abcde`));
  await using client = await RawClient.connect(server);
  for (const kind of ["publish", "history", "subscribe"]) {
    assert.equal(await client.fail(kind, { channel: "abcde", data: {} }), 107, kind);
    assert.equal(await client.fail(kind, { channel: "abcd", data: {} }), undefined, kind);
  }
  await assertCounted(server, "name_too_long");
  await using long = await TestSocket.open(`${server.socketUrl}/abcd?id=a-longer-id`);
  assert.equal((await ask(server, "/@a-longer-id", publish())).status, 200, "An id has a limit of its own");
  await long.next();
});

Deno.test("--max-queue-messages bounds messages without a byte, too: a reader that takes none is cut off", async () => {
  await using server = await startApp("--max-queue-messages", "50", "--listener", "deno");
  await using writer = await TestSocket.open(`${server.socketUrl}/news`);
  using stalled = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const handshake = "GET /news HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
  await stalled.write(new TextEncoder().encode(handshake));
  await stalled.read(new Uint8Array(1_000));
  for (let i = 0; i < 50; i++) writer.send("");
  await until(() => server.app.hub.top.sequence === 50);
  assert.equal(server.app.metrics.slowSubscribers, 0);
  writer.send("");
  await until(() => server.app.metrics.slowSubscribers === 1);
  assert.equal(server.app.hub.clientCount, 1);
});

Deno.test("Messages without a byte arrive, and one with some shows that they have", async () => {
  await using server = await startApp("--max-queue-messages", "50");
  await using writer = await TestSocket.open(`${server.socketUrl}/news`);
  await using reader = await TestSocket.open(`${server.socketUrl}/news`);
  for (let i = 0; i < 5; i++) {
    for (let j = 0; j < 40; j++) writer.send("");
    writer.send("x");
    for (let j = 0; j < 40; j++) assert.equal(await reader.next(), "");
    assert.equal(await reader.next(), "x");
  }
});

Deno.test("--handshake-timeout ends a Centrifuge connection without connect, and no other", async () => {
  await using server = await startApp("--handshake-timeout", "1");
  await using connected = await RawClient.connect(server);
  await using plain = await TestSocket.open(`${server.socketUrl}/news`);
  await using silent = await RawClient.open(server);
  await using oneWay = await TestSocket.open(`${server.socketUrl}/connection/uni_websocket`);
  const ends = [await silent.socket.closed, await oneWay.closed];
  assert.deepEqual(ends, Array(2).fill({ code: 3502, reason: "stale" }));
  await assertCounted(server, "handshake_timeout", 2);
  assert.equal(await connected.fail("presence", { channel: "news" }), undefined);
  plain.send("Hello");
  assert.equal(await plain.next(), "World!");
});

Deno.test("--max-subscriptions bounds documents, whatever they ask for", async () => {
  await using server = await startApp("--max-subscriptions", "2");
  const json = { headers: { accept: "application/json" } };
  for (const path of ["/a,b,c", "/a,b,c/*?since=earliest", "/a,b/*,**?presence"]) {
    for (const method of ["GET", "HEAD"]) {
      const response = await fetch(server.url + path, { ...json, method });
      assert.equal(response.status, 400, `${method} ${path}`);
      await response.body?.cancel();
    }
    assert.equal((await ask(server, path, json)).code, "too_many_subscriptions");
  }
  assert.equal((await ask(server, "/a,b", json)).status, 200);
});

Deno.test("--max-publish-rate-per-address bounds the echo, emulation, streams, the API and the inspector", async () => {
  const requests: readonly [path: string, init: RequestInit][] = [
    ["/echo", publish()],
    ["/emulation", publish()],
    ["/connection/sse", { method: "POST", body: "{}" }],
    ["/connection/uni_http_stream", { method: "POST", body: "{}" }],
    ["/api/info", { method: "POST", body: "{}" }],
    ["/_inspect/channels", {}],
  ];
  for (const [path, init] of requests) {
    await using server = await startApp(...BEHIND_PROXY, "--max-publish-rate-per-address", "1");
    const headers = at("192.0.2.1");
    let last = await ask(server, path, { ...init, headers });
    assert.notEqual(last.code, "too_many_publishes_from_address", path);
    for (let i = 0; i < 20 && last.status !== 429; i++) last = await ask(server, path, { ...init, headers });
    assert.equal(last.code, "too_many_publishes_from_address", path);
    await assertCounted(server, "too_many_publishes_from_address");
    assert.notEqual((await ask(server, path, { ...init, headers: at("192.0.2.2") })).status, 429, path);
  }
});

Deno.test("Who has an API key calls the API and the inspector as often as it likes", async () => {
  await using server = await startApp(
    ...BEHIND_PROXY,
    "--max-publish-rate-per-address",
    "1",
    `RAINDROPS_API_KEYS=${KEY}`,
  );
  const headers = { ...at("192.0.2.1"), "x-api-key": KEY };
  for (let i = 0; i < 20; i++) {
    assert.equal((await ask(server, "/api/info", { method: "POST", body: "{}", headers })).status, 200);
  }
});
