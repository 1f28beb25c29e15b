/** Who is let in: open on loopback, closed by a key, open to all by `--open`; and whose an id is, at every door. */
import assert from "node:assert/strict";
import {
  createToken,
  RawClient,
  secondsFromNow,
  startKeyedApp,
  startRuledApp,
} from "../protocols/centrifuge/app.ts";
import { createClient } from "../fakes/socket.ts";
import { readLines } from "../read_lines.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

/** The tests' own address counts as a proxy's: who is behind it is theirs to say. */
const BEHIND_PROXY = ["--trusted-proxy", "127.0.0.1", "--open"];
const KEY = "key-0123456789abcdef";
const WORLD = ["--host", "0.0.0.0"];
const OPEN_RULES = [{ channels: "open/*", allowAnonymous: ["subscribe", "publish", "history"] }];

async function call(server: TestApp, path: string, init: RequestInit = {}) {
  const abort = new AbortController();
  const response = await fetch(server.url + path, { ...init, signal: abort.signal });
  const { status } = response;
  const detail = status >= 400 ? (await response.json()).detail : undefined;
  abort.abort();
  return { status, detail };
}

const post = (headers: Record<string, string> = {}) => ({ method: "POST", body: "it rains", headers });
const info = (headers: Record<string, string> = {}) => ({ method: "POST", body: "{}", headers });

Deno.test("Without a key on loopback, everybody may do everything, and nothing is warned of", async () => {
  await using server = await startApp();
  assert.equal((await call(server, "/news", post())).status, 200);
  assert.equal((await call(server, "/**?since=earliest")).status, 200);
  assert.equal((await call(server, "/api/info", info())).status, 200);
  assert.equal((await call(server, "/news", { method: "DELETE" })).status, 200);
  assert.deepEqual(server.logger.entries.filter(({ level }) => level === "warn"), []);
});

Deno.test("--open beyond loopback lets everybody read and publish, says so, and lets nobody erase or call the API", async () => {
  await using server = await startApp(...WORLD, "--open");
  assert.equal(
    server.logger.entries.filter(({ event }) => /0\.0\.0\.0 may read and publish/.test(event)).length,
    1,
  );
  assert.equal((await call(server, "/news", post())).status, 200);
  assert.equal((await call(server, "/news?since=earliest")).status, 200);
  await using client = await RawClient.connect(server);
  assert.equal(await client.fail("publish", { channel: "news", data: {} }), undefined);
  for (const headers of [{}, { "x-api-key": "any" }]) {
    assert.equal((await call(server, "/api/info", info(headers))).status, 401);
    const cleared = await call(server, "/news", { method: "DELETE", headers });
    assert.equal(cleared.status, 403);
    assert.match(cleared.detail, /RAINDROPS_API_KEYS/);
  }
});

Deno.test("--open beside API keys: everybody publishes, and only a key erases", async () => {
  await using server = await startApp(...WORLD, "--open", `RAINDROPS_API_KEYS=${KEY}`);
  assert.equal((await call(server, "/news", post())).status, 200);
  assert.equal((await call(server, "/news", { method: "DELETE" })).status, 403);
  const headers = { "x-api-key": KEY };
  assert.equal((await call(server, "/news", { method: "DELETE", headers })).status, 200);
  assert.equal((await call(server, "/api/info", info(headers))).status, 200);
});

Deno.test("--open does nothing beside a token key, and says so", async () => {
  await using server = await startKeyedApp([], ...WORLD, "--open");
  assert.equal(server.logger.entries.filter(({ event }) => /--open does nothing/.test(event)).length, 1);
  assert.equal((await call(server, "/news", post())).status, 401);
});

Deno.test("Beyond loopback API keys alone close every door to those without one, but for what rules allow", async () => {
  await using server = await startRuledApp(OPEN_RULES, ...WORLD, `RAINDROPS_API_KEYS=${KEY}`);
  const doors: readonly [string, RequestInit][] = [
    ["/news", post()],
    ["/news", {}],
    ["/news?since=earliest", {}],
    ["/news?follow", {}],
    ["/news?presence", {}],
    ["/news", { headers: { accept: "text/event-stream" } }],
    ["/news", post({ "x-api-key": "wrong" })],
    ["/news", post({ authorization: "Bearer x.y.z" })],
    ["/api/publish", post()],
  ];
  for (const [path, init] of doors) {
    assert.equal((await call(server, path, init)).status, 401, `${path} ${JSON.stringify(init)}`);
  }
  assert.match(
    (await call(server, "/news", post({ authorization: "Bearer x.y.z" }))).detail,
    /no key for them/,
  );
  for (const [path, method] of [["/news", "DELETE"], ["/@id1", "POST"], ["/a,b", "GET"]] as const) {
    assert.equal((await call(server, path, { method })).status, 403, path);
  }
  await assert.rejects(TestSocket.open(`${server.socketUrl}/news`));
  await using client = await RawClient.connect(server);
  assert.equal(await client.fail("subscribe", { channel: "news" }), 103);
  assert.equal(await client.fail("publish", { channel: "news", data: {} }), 103);
  assert.equal(await client.fail("subscribe", { channel: "open/1" }), undefined);

  assert.equal((await call(server, "/open/1", post())).status, 200);
  const headers = { "x-api-key": KEY };
  assert.equal((await call(server, "/news", post(headers))).status, 200);
  assert.equal((await call(server, "/**?since=earliest", { headers })).status, 200);
  assert.equal((await call(server, "/news", { method: "DELETE", headers })).status, 200);
});

Deno.test("On an open server an id that is connected belongs to its address, whoever gave it", async () => {
  await using server = await startApp(...BEHIND_PROXY);
  const at = (address: string) => ({ headers: { "x-forwarded-for": address } });
  await using mine = await TestSocket.open(`${server.socketUrl}/news?id=id1`, at("192.0.2.1"));
  await using second = await TestSocket.open(`${server.socketUrl}/news?id=id1`, at("192.0.2.1"));
  await using centrifuge = await RawClient.open(server);
  const { connect: { client } } = await centrifuge.call("connect");
  for (const id of ["id1", client]) {
    await assert.rejects(TestSocket.open(`${server.socketUrl}/news?id=${id}`, at("192.0.2.2")));
    for (const query of ["&follow", ""]) {
      const init = query === "" ? post(at("192.0.2.2").headers) : at("192.0.2.2");
      const { status, detail } = await call(server, `/news?id=${id}${query}`, init);
      assert.equal(status, 409);
      assert.match(detail, /is taken by a client/);
    }
  }
  assert.equal((await call(server, "/@id1", post())).status, 200);
  assert.deepEqual([await mine.next(), await second.next()], ["it rains", "it rains"]);
});

Deno.test("Hub.connect() ends whoever chose an id that came to be held elsewhere meanwhile", async () => {
  await using server = await startApp(...BEHIND_PROXY);
  const { hub } = server.app;
  assert.ok(hub.connect(createClient({ id: "id1", address: "192.0.2.1", choseId: true })));
  const late = createClient({ id: "id1", address: "192.0.2.2", choseId: true });
  assert.ok(!hub.connect(late));
  assert.deepEqual(late.ended.map(({ code }) => code), ["id_taken"]);
  const vouchedFor = createClient({ id: "id1", address: "192.0.2.2" });
  assert.ok(hub.connect(vouchedFor));
});

Deno.test("With a token an id may be the token's own sub, and nothing else", async () => {
  await using server = await startKeyedApp(
    [{ channels: "news", allow: ["subscribe"] }],
    `RAINDROPS_API_KEYS=${KEY}`,
  );
  const token = await createToken({ sub: "ann", exp: secondsFromNow(60) });
  const headers = { authorization: `Bearer ${token}` };
  for (const query of ["id=bob", "id=ann&name=Bob", "name=Ann"]) {
    assert.equal((await call(server, `/news?follow&${query}`, { headers })).status, 403, query);
  }
  await using ann = await readLines(`${server.url}/news?follow&id=ann`, headers);
  assert.equal((await call(server, "/@ann", { ...post({ "x-api-key": KEY }) })).status, 200);
  const [, line = ""] = await ann.take(2);
  assert.equal(JSON.parse(line).data, "it rains");
});

Deno.test("Nobody subscribes to another's direct messages, by any door", async () => {
  await using server = await startApp();
  await using victim = await TestSocket.open(`${server.socketUrl}/news?id=id1`);
  for (const path of ["/@id1", "/%40id1", "/news,@id1", "/@*", "/%40**"]) {
    await assert.rejects(TestSocket.open(server.socketUrl + path), path);
    for (const accept of ["text/event-stream", "application/json"]) {
      assert.equal((await call(server, `${path}?since=earliest`, { headers: { accept } })).status, 400, path);
    }
  }
  await using everything = await TestSocket.open(`${server.socketUrl}/**`);
  await using client = await RawClient.connect(server);
  for (const kind of ["subscribe", "history", "presence"]) {
    assert.equal(await client.fail(kind, { channel: "@id1" }), 107, kind);
  }
  const read = await fetch(`${server.url}/api/history`, {
    method: "POST",
    body: '{"channel":"@id1","limit":9}',
  });
  assert.equal((await read.json()).error.code, 107);
  assert.equal((await call(server, "/@id1", post())).status, 200);
  assert.equal((await call(server, "/news?to=id1", post())).status, 200);
  assert.equal((await call(server, "/last", post())).status, 200);
  assert.deepEqual([await victim.next(), await victim.next()], ["it rains", "it rains"]);
  await everything.next();
  assert.deepEqual(everything.unread, [], "Only the message for all reached others");
  const stored = await fetch(`${server.url}/**?since=earliest`, { headers: { accept: "application/json" } });
  assert.deepEqual((await stored.json()).messages.map(({ channel }: { channel: string }) => channel), [
    "last",
  ]);
});
