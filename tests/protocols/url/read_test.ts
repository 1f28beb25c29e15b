/** Reading a channel over HTTP: which answer a GET gets, every form of since, documents, presence and clearing. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseSelectorPath } from "../../../lib/core/channel.ts";
import { parseSince } from "../../../lib/core/since.ts";
import { readLines } from "../../read_lines.ts";
import { startApp, type TestApp } from "../../test_app.ts";
import { TestSocket } from "../../test_socket.ts";

async function publish(server: TestApp, path: string, body: string): Promise<{ id: string; time: string }> {
  const response = await fetch(server.url + path, {
    method: "POST",
    body,
    headers: { accept: "application/json" },
  });
  return await response.json();
}

async function read(server: TestApp, path: string, status = 200) {
  const response = await fetch(server.url + path, { headers: { accept: "application/json" } });
  assert.equal(response.status, status);
  return await response.json();
}

function texts(document: { messages: { data: string }[] }): string[] {
  return document.messages.map(({ data }) => data);
}

const NEWS = parseSelectorPath("/news");

Deno.test("parseSince() reads every form", () => {
  const now = 1_000_000_000_000;
  const cases: readonly [string, unknown][] = [
    ["earliest", { kind: "earliest" }],
    ["5d1f-12", { kind: "id", epoch: "5d1f", sequence: 12 }],
    ["0", { kind: "offset", offset: 0 }],
    ["12", { kind: "offset", offset: 12 }],
    ["10m", { kind: "time", time: now - 600_000 }],
    ["1d", { kind: "time", time: now - 86_400_000 }],
    ["500ms", { kind: "time", time: now - 500 }],
    ["2026-01-31T12:00:00Z", { kind: "time", time: Date.UTC(2026, 0, 31, 12) }],
    ["2026-01-31T12:00:00.5+01:00", { kind: "time", time: Date.UTC(2026, 0, 31, 11, 0, 0, 500) }],
    ["2026-01-31T12:00:00 01:00", { kind: "time", time: Date.UTC(2026, 0, 31, 11) }],
  ];
  for (const [text, cursor] of cases) assert.deepEqual(parseSince(text, NEWS, now), cursor, text);
});

Deno.test("parseSince() refuses everything else with the list of forms, and offsets for several channels", () => {
  for (const text of ["", "soon", "-1", "1w", "2026-13-01T00:00:00Z", "2026-01-31", "a-b", "A-1", "1.5"]) {
    assert.throws(() => parseSince(text, NEWS, 0), /earliest/, text);
  }
  assert.throws(() => parseSince("12", parseSelectorPath("/a,b"), 0), /one channel/);
  fc.assert(fc.property(fc.string(), (text) => {
    try {
      parseSince(text, NEWS, 0);
    } catch (error) {
      assert.ok(error instanceof SyntaxError);
    }
  }));
});

Deno.test("GET reads the messages after every form of since, oldest first", async () => {
  await using server = await startApp();
  const receipts = [];
  for (const body of ["a", "b", "c"]) receipts.push(await publish(server, "/news", body));
  const second = receipts[1]!;
  const all = await read(server, "/news?since=earliest");
  assert.deepEqual(Object.keys(all), ["channel", "epoch", "offset", "next", "messages"]);
  assert.deepEqual(texts(all), ["a", "b", "c"]);
  assert.equal(all.offset, 3);
  assert.deepEqual(texts(await read(server, `/news?since=${second.id}`)), ["c"]);
  assert.deepEqual(texts(await read(server, "/news?since=1")), ["b", "c"]);
  assert.deepEqual(texts(await read(server, "/news?since=1h")), ["a", "b", "c"]);
  const future = await read(server, "/news?since=2099-01-01T00:00:00Z");
  assert.deepEqual(texts(future), ["a", "b", "c"], "a time that has not come is no place in the history");
  assert.equal(future.gap.earliest, receipts[0]!.id);
  assert.deepEqual(texts(await read(server, "/news?since=2020-01-01T00:00:00Z")), ["a", "b", "c"]);
});

Deno.test("GET without since reads the newest messages, and limit says how many", async () => {
  await using server = await startApp();
  for (let i = 1; i <= 5; i++) await publish(server, "/news", String(i));
  assert.deepEqual(texts(await read(server, "/news")), ["1", "2", "3", "4", "5"]);
  assert.deepEqual(texts(await read(server, "/news?limit=2")), ["4", "5"]);
  const page = await read(server, "/news?since=earliest&limit=2");
  assert.deepEqual(texts(page), ["1", "2"]);
  assert.equal(page.more, true);
  assert.deepEqual(texts(await read(server, `/news?since=${page.next}`)), ["3", "4", "5"]);
});

Deno.test("A document of large messages is whole, says its length, and ends at 8 MiB of messages", async () => {
  await using app = await startApp();
  const texts = Array.from({ length: 150 }, (_, i) => `${i} \u{1F327} "é" ${"x".repeat(60_000)}`);
  for (const text of texts) await publish(app, "/large", text);
  const response = await fetch(`${app.url}/large?since=earliest`, {
    headers: { accept: "application/json" },
  });
  const bytes = await response.bytes();
  assert.equal(response.headers.get("content-length"), String(bytes.byteLength));
  const page = JSON.parse(new TextDecoder().decode(bytes));
  const data = page.messages.map((message: { data: string }) => message.data);
  assert.ok(page.more && data.length < texts.length && bytes.byteLength > 8 * 1024 * 1024);
  assert.deepEqual(data, texts.slice(0, data.length));
  const rest = await read(app, `/large?since=${page.next}`);
  assert.deepEqual([...data, ...rest.messages.map((message: { data: string }) => message.data)], texts);
});

Deno.test("GET reads lists and patterns in their common order", async () => {
  await using server = await startApp();
  for (const path of ["/a", "/b/1", "/c", "/b/1/x", "/a"]) await publish(server, path, path);
  assert.deepEqual(texts(await read(server, "/a,b/*?since=earliest")), ["/a", "/b/1", "/a"]);
  assert.deepEqual(texts(await read(server, "/b/**?since=earliest")), ["/b/1", "/b/1/x"]);
  assert.deepEqual(texts(await read(server, "/**?since=earliest")).length, 5);
});

Deno.test("GET tells of a gap when history is gone, and what is left", async () => {
  await using server = await startApp();
  const first = await publish(server, "/news", "a");
  const removed = await fetch(`${server.url}/news`, { method: "DELETE" });
  assert.deepEqual(await removed.json(), { channel: "news", removed: 1 });
  const next = await publish(server, "/news", "b");
  const document = await read(server, "/news?since=0");
  assert.deepEqual(document.gap, { earliest: next.id });
  assert.deepEqual(texts(document), ["b"]);
  assert.equal(document.offset, 2);
  assert.equal((await read(server, `/news?since=${first.id}`)).gap, undefined);
  assert.deepEqual((await read(server, "/news?since=other-1")).gap, { earliest: next.id });
});

Deno.test("GET answers by Accept: pages to browsers, JSON to others, and home to curl on /", async () => {
  await using server = await startApp();
  const get = async (path: string, accept: string) => {
    const response = await fetch(server.url + path, { headers: { accept } });
    const text = await response.text();
    return { type: response.headers.get("content-type"), vary: response.headers.get("vary"), text };
  };
  const browser = "text/html,application/xhtml+xml,*/*;q=0.8";
  assert.match((await get("/news", browser)).type ?? "", /^text\/html/);
  assert.equal((await get("/news", browser)).vary, "accept, accept-encoding");
  assert.equal((await get("/news", "*/*")).type, "application/json");
  assert.match((await get("/", "*/*")).type ?? "", /^text\/html/);
  assert.equal((await get("/", "application/json")).type, "application/json");
  assert.equal((await get("/?since=earliest", "*/*")).type, "application/json");
  assert.match((await get("/_examples/chat", browser)).type ?? "", /^text\/html/);
});

/** The same header in other cases, which mean the same (RFC 9110). */
const CASES: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text.toUpperCase(),
  (text) => text.replaceAll(/\b[a-z]/g, (letter) => letter.toUpperCase()),
];

const COMPARED: readonly [name: string, path: string, header: string, value: string, init: RequestInit][] = [
  ["Accept of an event stream", "/news", "accept", "text/event-stream", { method: "HEAD" }],
  ["Accept of a page", "/news", "accept", "text/html", {}],
  ["Accept of JSON on /", "/", "accept", "application/json", { method: "POST", body: "x" }],
  ["Accept-Encoding", "/_examples/chat", "accept-encoding", "gzip", {}],
  ["the type of JSON", "/news", "content-type", "application/json", { method: "POST", body: "1" }],
  ["the type of JSON-based formats", "/news", "content-type", "application/x+json", {
    method: "POST",
    body: "{",
  }],
  ["the type of a form", "/news", "content-type", "application/x-www-form-urlencoded", {
    method: "POST",
    body: "data=1&ttl=x",
  }],
  ["a charset", "/news", "content-type", 'text/plain; charset="utf-8"', { method: "POST", body: "x" }],
  ["a content coding", "/news", "content-encoding", "identity", { method: "POST", body: "x" }],
  ["the API's error mode", "/api/nothing", "x-centrifugo-error-mode", "transport", {
    method: "POST",
    body: "{}",
  }],
];

Deno.test("What headers say is compared without regard to case", async () => {
  await using server = await startApp();
  for (const [name, path, header, value, init] of COMPARED) {
    const answers: unknown[] = [];
    for (const write of CASES) {
      const headers = { "content-type": "text/plain", accept: "*/*", [header]: write(value) };
      const response = await fetch(server.url + path, { ...init, headers });
      await response.body?.cancel();
      answers.push([response.status, response.headers.get("content-type"), response.headers.get("vary")]);
    }
    assert.deepEqual(answers, CASES.map(() => answers[0]), name);
  }
});

Deno.test("GET of a bad channel, option or reserved path is a clear problem", async () => {
  await using server = await startApp();
  assert.match((await read(server, "/a//b", 400)).detail, /empty segment/);
  assert.match((await read(server, "/news?since=soon", 400)).detail, /earliest/);
  assert.match((await read(server, "/news?limit=0", 400)).detail, /whole number/);
  assert.match((await read(server, "/_unknown", 404)).detail, /_unknown/);
  assert.match((await read(server, "/_static/unknown.css", 404)).detail, /unknown\.css/);
  assert.match((await read(server, "/_examples/..%2f..%2fdeno", 404)).detail, /There is no/);
  assert.match((await read(server, "/apps/x", 404)).detail, /apps/);
});

Deno.test("GET ignores query parameters that it does not know, and takes lastEventId for Last-Event-ID", async () => {
  await using server = await startApp();
  const first = await publish(server, "/news", "1");
  await publish(server, "/news", "2");
  for (const name of ["utm_source", "access_token", "t", "sinse", "__proto__", ""]) {
    assert.deepEqual(texts(await read(server, `/news?${name}=x&since=${first.id}`)), ["2"], name);
  }
  for (const name of ["lastEventId", "lastEventID", "last-event-id", "Last-Event-ID", "LASTEVENTID"]) {
    assert.deepEqual(texts(await read(server, `/news?${name}=${first.id}&since=earliest`)), ["2"], name);
    assert.deepEqual(texts(await read(server, `/news?${name}=&since=earliest`)), ["1", "2"], `empty ${name}`);
    assert.ok((await read(server, `/news?${name}=nonsense`)).gap, `${name} of another log`);
    for (const query of ["follow", "x"]) {
      await using stream = await readLines(`${server.url}/news?${query}&${name}=${first.id}`, {
        accept: "text/event-stream",
      });
      assert.match((await stream.take(query === "follow" ? 2 : 3)).join(), /2/);
    }
    await using socket = await TestSocket.open(`${server.socketUrl}/news?${name}=${first.id}&utm_source=x`);
    assert.equal(await socket.next(), "2");
  }
  const refused = await fetch(`${server.url}/news?sinse=1`, { method: "POST", body: "x" });
  assert.equal(refused.status, 400, "publishing takes no chances");
  await refused.body?.cancel();
});

Deno.test("GET ?presence lists who is on a channel and counts them", async () => {
  await using server = await startApp();
  await using _john = await TestSocket.open(`${server.socketUrl}/room?name=John&id=id1`);
  await using _again = await TestSocket.open(`${server.socketUrl}/room?id=id1`);
  await using _other = await TestSocket.open(`${server.socketUrl}/elsewhere`);
  let presence = await read(server, "/room?presence");
  // With workers, one learns of the members of another in a moment.
  while (presence.connections < 2) presence = await read(server, "/room?presence");
  const { channel, connections, clients, members } = presence;
  assert.deepEqual({ channel, connections, clients }, { channel: "room", connections: 2, clients: 1 });
  // Of another worker's members, one may learn before its own.
  const [john, again] = ["John", undefined].map((name) =>
    members.find((member: { name?: string }) => member.name === name)
  );
  assert.ok(Math.abs(Date.parse(john.since) - Date.now()) < 60_000);
  assert.deepEqual(john, { id: "id1", name: "John", protocol: "plain", since: john.since });
  assert.deepEqual(again, { id: "id1", protocol: "plain", since: again.since });
  assert.match((await read(server, "/room,elsewhere?presence", 400)).detail, /one channel/);
});

Deno.test("OPTIONS allows the methods, and an allowed page of another origin may read the answer", async () => {
  await using server = await startApp();
  const headers = { origin: "http://localhost:5173", "access-control-request-method": "POST" };
  const preflight = await fetch(`${server.url}/news`, { method: "OPTIONS", headers });
  assert.equal(preflight.status, 204);
  assert.equal(preflight.headers.get("access-control-allow-origin"), "http://localhost:5173");
  assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST/);
  const allowed = preflight.headers.get("access-control-allow-headers")?.split(", ") ?? [];
  for (const name of ["authorization", "content-type", "idempotency-key", "last-event-id", "x-api-key"]) {
    assert.ok(allowed.includes(name), name);
  }
  const response = await fetch(`${server.url}/news`, {
    method: "POST",
    body: "hi",
    headers: { origin: "null" },
  });
  assert.equal(response.headers.get("access-control-allow-origin"), "null");
  await response.body?.cancel();
});

const SNIFFABLE: readonly [name: string, path: string, init: RequestInit][] = [
  ["a document", "/news", {}],
  ["presence", "/news?presence", {}],
  // As browsers do it: they send the origin of the page with every POST.
  ["a receipt", "/news", { method: "POST", body: "<script>", headers: { origin: "null" } }],
  ["clearing", "/news", { method: "DELETE" }],
  ["a problem", "/news?limit=x", {}],
  ["a line stream", "/news?follow&since=earliest&limit=1", {}],
  ["an event stream", "/news?since=earliest&limit=1", { headers: { accept: "text/event-stream" } }],
  ["an answer of the API", "/api/info", { method: "POST", body: "{}" }],
  ["a problem of the API", "/api/info", { method: "POST", body: "" }],
  ["the inspector's channels", "/_inspect/channels", {}],
  ["Centrifuge's event stream", "/connection/uni_sse?cf_connect={}", {}],
  ["Centrifuge's line stream", "/connection/uni_http_stream", { method: "POST", body: "{}" }],
  ["an echo", "/echo", { method: "POST", body: "<script>" }],
];

Deno.test("Browsers are told not to guess the type of any answer", async () => {
  await using server = await startApp();
  for (const [name, path, init] of SNIFFABLE) {
    await publish(server, "/news", "<script>");
    const response = await fetch(server.url + path, { headers: { accept: "application/json" }, ...init });
    await response.body?.cancel();
    assert.equal(response.headers.get("x-content-type-options"), "nosniff", `${name}: ${response.status}`);
  }
});
