/** Reading and publishing by URL on a server with a key: tokens and rules decide, for HTTP and plain sockets alike. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { selectChannel } from "../../lib/core/channel.ts";
import { TestSocket } from "../test_socket.ts";
import { startApp, type TestApp } from "../test_app.ts";

const SECRET = "a secret of more than thirty-two bytes";
const RULES = [
  { channels: "open/*", allowAnonymous: ["subscribe", "history", "publish", "presence"] },
  { channels: "users/*", allow: ["subscribe", "publish"] },
];

async function start(): Promise<TestApp> {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify(RULES));
  const server = await startApp("--rules", rules, `RAINDROPS_TOKEN_SECRET=${SECRET}`);
  await Deno.remove(rules);
  return server;
}

function sign(claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  return new SignJWT({ sub: "ann", ...claims }).setProtectedHeader({ alg: "HS256" }).sign(
    new TextEncoder().encode(secret),
  );
}

interface Asked {
  readonly method?: string;
  readonly accept?: string;
  readonly token?: string;
}

async function ask(
  server: TestApp,
  path: string,
  { method = "GET", accept = "application/json", token }: Asked,
) {
  const abort = new AbortController();
  const response = await fetch(server.url + path, {
    method,
    headers: { accept, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    ...(method === "POST" ? { body: "it rains" } : {}),
    signal: abort.signal,
  });
  const { status, headers } = response;
  const detail = status >= 400 ? (await response.json()).detail : undefined;
  abort.abort();
  return { status, detail, challenge: headers.get("www-authenticate") };
}

const WAYS: readonly [string, string, Asked][] = [
  ["a document", "", {}],
  ["an event stream", "", { accept: "text/event-stream" }],
  ["a line stream", "?follow", {}],
  ["presence", "?presence", {}],
  ["a publish", "", { method: "POST" }],
];

for (const [name, query, asked] of WAYS) {
  Deno.test(`With a key, ${name} needs a token or a rule`, async () => {
    await using server = await start();
    const anonymous = await ask(server, `/news${query}`, asked);
    assert.deepEqual([anonymous.status, anonymous.challenge], [401, "Bearer"]);
    assert.match(anonymous.detail, /Authorization: Bearer/);
    assert.equal((await ask(server, `/open/1${query}`, asked)).status, 200);
    const stranger = await ask(server, `/news${query}`, { ...asked, token: await sign({}) });
    assert.equal(stranger.status, 403);
    const forged = await ask(server, `/open/1${query}`, {
      ...asked,
      token: await sign({}, "another secret"),
    });
    assert.equal(forged.status, 401);
    const expired = await ask(server, `/open/1${query}`, { ...asked, token: await sign({ exp: 1 }) });
    assert.match(expired.detail, /expired/);
    const [denied] = server.logger.find("permission denied");
    assert.match(String(denied?.reason), /"news".*set "/);
    assert.ok(!JSON.stringify(server.logger.entries).includes(SECRET));
  });
}

Deno.test("With a key, a token that names a channel reads it, and a rule for users lets them publish", async () => {
  await using server = await start();
  const token = await sign({ channels: ["news"] });
  assert.equal((await ask(server, "/news", { token })).status, 200);
  assert.equal(
    (await ask(server, "/news?since=earliest", { token, accept: "text/event-stream" })).status,
    200,
  );
  assert.equal((await ask(server, "/news", { token, method: "POST" })).status, 403);
  assert.equal((await ask(server, "/users/1", { token, method: "POST" })).status, 200);
  assert.equal(
    (await ask(server, "/users/1?since=earliest", { token, accept: "text/event-stream" })).status,
    200,
  );
  assert.equal((await ask(server, "/news,open/1", { token })).status, 200);
  for (const path of ["/news,other", "/news,open/*", "/**"]) {
    assert.match((await ask(server, path, { token })).detail, /one channel/);
  }
  assert.equal((await ask(server, "/@id1", { token, method: "POST" })).status, 403);
});

Deno.test("With a key, a token's grants reach what their patterns match, patterns of readers too", async () => {
  await using server = await start();
  const token = await sign({ grants: { "chat/*": ["subscribe", "publish"], "log/**": ["history"] } });
  const events = { accept: "text/event-stream", token };
  const answers: readonly [path: string, asked: Asked, status: number][] = [
    ["/chat/1", { method: "POST", token }, 200],
    ["/chat/1/2", { method: "POST", token }, 403],
    ["/chat/1", events, 200],
    ["/chat/1?since=earliest", events, 403],
    ["/chat/*", events, 200],
    ["/chat/*,open/1", events, 200],
    ["/chat/**", events, 403],
    ["/log/1", { token }, 200],
    ["/log/**", { token }, 200],
    ["/log/**", events, 403],
    ["/log/1", { method: "POST", token }, 403],
    ["/chat/1?presence", { token }, 403],
  ];
  for (const [path, asked, status] of answers) {
    assert.equal((await ask(server, path, asked)).status, status, `${asked.method ?? "GET"} ${path}`);
  }
  const { detail } = await ask(server, "/news", { method: "POST", token });
  assert.match(detail, /Cannot publish to "news": .*the token grants it only on "chat\/\*"/);
});

Deno.test("With a key, clearing a channel and writing to one client is for operators, whatever the rules", async () => {
  await using server = await start();
  const token = await sign({ channels: ["open/1"] });
  for (const credentials of [{}, { token }]) {
    assert.equal((await ask(server, "/open/1", { ...credentials, method: "DELETE" })).status, 403);
    const direct = await ask(server, "/@id1", { ...credentials, method: "POST" });
    assert.equal(direct.status, 403);
    assert.match(direct.detail, /API key/);
  }
});

Deno.test("With a key, nobody takes an id or a name by URL", async () => {
  await using server = await start();
  for (const query of ["?follow&id=ann", "?follow&name=Ann"]) {
    assert.match((await ask(server, `/open/1${query}`, {})).detail, /come from tokens/);
  }
});

Deno.test("With a key, a stream shows its user in presence, and ends when its token expires", async () => {
  await using server = await start();
  const exp = Math.floor(Date.now() / 1_000) + 2;
  const token = await sign({ exp, channels: ["news"], info: { name: "Ann" } });
  const stream = await fetch(`${server.url}/news?follow`, { headers: { authorization: `Bearer ${token}` } });
  const [member] = server.app.hub.presence.list("news");
  assert.deepEqual([member?.user, member?.info], ["ann", '{"name":"Ann"}']);
  await stream.text();
  assert.ok(Date.now() >= exp * 1_000);
  assert.equal(server.app.hub.clientCount, 0);
});

Deno.test("/who tells only those who may know", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "secret", presence: false }]));
  await using open = await startApp("--rules", rules);
  await Deno.remove(rules);
  await using socket = await TestSocket.open(`${open.socketUrl}/secret?name=Ann`);
  socket.send("/who");
  assert.match(String(await socket.next()), /Presence is off/);
});

Deno.test("With a key, plain sockets open and publish by the same rules", async () => {
  await using server = await start();
  const refused = new WebSocket(`${server.socketUrl}/news`);
  refused.onerror = (event) => event.preventDefault();
  await new Promise((resolve) => refused.onclose = resolve);
  const allowed = new WebSocket(`${server.socketUrl}/open/1`);
  await new Promise((resolve) => allowed.onopen = resolve);
  allowed.send("Hello");
  const answer = await new Promise<MessageEvent>((resolve) => allowed.onmessage = resolve);
  assert.equal(answer.data, "World!");
  const closed = new Promise((resolve) => allowed.onclose = resolve);
  allowed.close();
  await closed;
});

Deno.test("With a key, the API needs one of its own, which opens everything else too", async () => {
  await using server = await startApp(
    `RAINDROPS_TOKEN_SECRET=${SECRET}`,
    "RAINDROPS_API_KEYS=old-key,new-key",
  );
  const call = (headers: Record<string, string>) =>
    fetch(`${server.url}/api/publish`, { method: "POST", body: '{"channel":"news","data":"hi"}', headers });
  const refused = await call({});
  assert.equal(refused.status, 401);
  await refused.body?.cancel();
  for (const headers of [{ "x-api-key": "old-key" }, { authorization: "apikey new-key" }]) {
    assert.equal((await (await call(headers)).json()).result.epoch, server.app.hub.top.epoch);
    const document = await fetch(`${server.url}/**?since=earliest`, { headers });
    assert.ok((await document.json()).messages.length > 0);
  }
});

Deno.test("Without any key, the API is open on loopback", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/api/info`, { method: "POST", body: "{}" });
  assert.equal((await response.json()).result.nodes.length, 1);
});

Deno.test("With a key, pages are still shown: what is on them asks for itself", async () => {
  await using server = await start();
  assert.equal((await ask(server, "/news", { accept: "text/html" })).status, 200);
});

Deno.test("With a key, a publish is from whom its token names, and nobody else", async () => {
  await using server = await start();
  const token = await sign({ info: { name: "Ann" } });
  assert.equal((await ask(server, "/users/1", { method: "POST", token })).status, 200);
  const refused = await ask(server, "/users/1?name=Bob", { method: "POST", token });
  assert.equal(refused.status, 403);
  assert.match(refused.detail, /names come from tokens/);
  assert.equal((await ask(server, "/open/1?id=ann", { method: "POST" })).status, 403);
  const { messages } = await server.app.hub.read({
    selector: selectChannel("users/1"),
    after: { kind: "earliest" },
    limit: 10,
  });
  const senders = messages.map(({ from }) => from);
  assert.deepEqual(senders, [{ id: "ann", name: undefined, user: "ann", info: '{"name":"Ann"}' }]);
});
