/** Publishing over HTTP: every body form, every option, every refusal, through the app without a socket. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { parseOptions } from "../../../lib/protocols/url/publish.ts";
import { type App, createApp } from "../../../lib/app.ts";
import type { Peer } from "../../../lib/core/socket.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { createConfig, startApp, type TestApp } from "../../test_app.ts";

const PEER: Peer = {
  address: "127.0.0.1",
  upgrade() {
    throw new TypeError("These tests open no sockets");
  },
};

async function openApp(...flags: string[]): Promise<App> {
  return await createApp(createConfig(...flags), new RecordingLogger());
}

/** Rules in a file that is removed in the end. */
async function writeRules(rules: unknown): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(path, JSON.stringify(rules));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}

interface Sent {
  readonly body?: BodyInit;
  readonly headers?: Record<string, string>;
  readonly method?: string;
}

async function send(
  app: App,
  path: string,
  { body = "", headers = {}, method = "POST" }: Sent,
): Promise<Response> {
  return await app.fetch(new Request(`http://localhost:8000${path}`, { method, body, headers }), PEER);
}

async function readStored(app: App, channel: string): Promise<readonly { data: unknown; event?: string }[]> {
  const response = await app.fetch(new Request(`http://localhost:8000/${channel}?since=earliest`), PEER);
  return (await response.json()).messages;
}

/** The same, of a server that is asked from outside. */
async function askStored({ url }: TestApp, channel: string): Promise<readonly { data: unknown }[]> {
  return (await (await fetch(`${url}/${channel}?since=earliest`)).json()).messages;
}

const BODIES: readonly { name: string; type?: string; body: BodyInit; data: unknown }[] = [
  { name: "JSON with data", type: "application/json", body: '{"data":"hi"}', data: "hi" },
  {
    name: "JSON with an object as data",
    type: "application/json",
    body: '{"data":{"a":[1]}}',
    data: { a: [1] },
  },
  { name: "JSON without data", type: "application/json; charset=utf-8", body: '{"a":1}', data: { a: 1 } },
  { name: "a JSON string", type: "application/json", body: '"hi"', data: "hi" },
  { name: "a JSON number", type: "application/json", body: "42", data: 42 },
  { name: "JSON null as data", type: "application/json", body: '{"data":null}', data: null },
  { name: "a JSON array", type: "application/json", body: "[1,\n2]", data: [1, 2] },
  {
    name: "a form with data",
    type: "application/x-www-form-urlencoded",
    body: "data=it+rains%21",
    data: "it rains!",
  },
  {
    name: "a form without data",
    type: "application/x-www-form-urlencoded",
    body: "it rains & pours",
    data: "it rains & pours",
  },
  { name: "text", type: "text/plain", body: "\u{1F327} déjà", data: "\u{1F327} déjà" },
  { name: "no type", body: new TextEncoder().encode("plain"), data: "plain" },
  { name: "an empty body", type: "text/plain", body: "", data: "" },
  {
    name: "bytes",
    type: "application/octet-stream",
    body: new Uint8Array([0, 255]),
    data: { base64: "AP8=" },
  },
];

for (const { name, type, body, data } of BODIES) {
  Deno.test(`POST with ${name} publishes it`, async () => {
    await using app = await openApp();
    const response = await send(app, "/news", {
      body,
      headers: type === undefined ? {} : { "content-type": type },
    });
    assert.equal(response.status, 200);
    const receipt = await response.json();
    const { channel, epoch, id, offset, time, subscribers } = receipt;
    assert.deepEqual({ channel, id, offset, subscribers }, {
      channel: "news",
      id: `${epoch}-1`,
      offset: 1,
      subscribers: 0,
    });
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
    const [message] = await readStored(app, "news");
    assert.deepEqual(message?.data, data);
  });
}

Deno.test("POST keeps every digit of a JSON number", async () => {
  await using app = await openApp();
  await send(app, "/news", {
    body: '{"data":{"id":9007199254740993,"x":1.50}}',
    headers: { "content-type": "application/json" },
  });
  const response = await app.fetch(new Request("http://localhost:8000/news?since=earliest"), PEER);
  assert.match(await response.text(), /"data":\{"id":9007199254740993,"x":1\.50\}/);
});

Deno.test("PUT publishes like POST", async () => {
  await using app = await openApp();
  assert.equal((await send(app, "/news", { body: "hi", method: "PUT" })).status, 200);
  assert.equal((await readStored(app, "news")).length, 1);
});

Deno.test("POST / answers Cool thanks, and JSON to those who ask for it", async () => {
  await using app = await openApp();
  const json = { "content-type": "application/json" };
  const thanks = await send(app, "/", { body: '{"data":"drop"}', headers: { ...json, accept: "*/*" } });
  assert.equal(await thanks.text(), "Cool thanks");
  const receipt = await send(app, "/", { body: "drop", headers: { accept: "application/json" } });
  assert.equal((await receipt.json()).channel, "lobby");
  assert.equal((await readStored(app, "lobby")).length, 2);
});

Deno.test("POST /echo gives the body back", async () => {
  await using app = await openApp();
  const response = await send(app, "/echo", {
    body: new Uint8Array([1, 2, 255]),
    headers: { "content-type": "image/png" },
  });
  assert.deepEqual(new Uint8Array(await response.arrayBuffer()), new Uint8Array([1, 2, 255]));
  assert.equal(response.headers.get("content-security-policy"), "sandbox");
  assert.deepEqual(await readStored(app, "echo"), []);
});

Deno.test("POST takes options as query parameters, JSON keys and form fields", async () => {
  await using app = await openApp();
  const json = { "content-type": "application/json" };
  const form = { "content-type": "application/x-www-form-urlencoded" };
  await send(app, "/news?event=rain", { body: "a" });
  await send(app, "/news", { body: '{"data":"b","event":"hail"}', headers: json });
  await send(app, "/news", { body: "data=c&event=snow", headers: form });
  await send(app, "/news?ephemeral", { body: "d" });
  const stored = await readStored(app, "news");
  assert.deepEqual(stored.map(({ data, event }) => [data, event]), [["a", "rain"], ["b", "hail"], [
    "c",
    "snow",
  ]]);
});

Deno.test("A form with data and too many fields is refused, and one without data is text however many & it has", async () => {
  await using app = await openApp();
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  for (const repeated of ["&event=a", "&", "&%65vent=a"]) {
    const refused = await send(app, "/news", { body: `data=rain${repeated.repeat(100)}`, headers });
    assert.equal(refused.status, 400);
    assert.match((await refused.json()).detail, /at most 64 fields: encode an & in a value as %26/);
    const taken = await send(app, "/news", { body: `rain${repeated.repeat(100)}`, headers });
    assert.equal(taken.status, 200);
  }
  const stored = await readStored(app, "news");
  assert.deepEqual(stored.map(({ data }) => data), [
    `rain${"&event=a".repeat(100)}`,
    `rain${"&".repeat(100)}`,
    `rain${"&%65vent=a".repeat(100)}`,
  ]);
});

Deno.test("An ephemeral message has no position in its receipt", async () => {
  await using app = await openApp();
  const receipt = await (await send(app, "/news?ephemeral=true", { body: "gone" })).json();
  assert.deepEqual(Object.keys(receipt), ["channel", "time", "subscribers"]);
});

Deno.test("The same Idempotency-Key on the same channel stores once and answers with the first position", async () => {
  await using app = await openApp();
  const headers = { "idempotency-key": "order-7" };
  const first = await (await send(app, "/news", { body: "a", headers })).json();
  await send(app, "/news", { body: "between" });
  const second = await (await send(app, "/news", { body: "a", headers })).json();
  const elsewhere = await (await send(app, "/other", { body: "a", headers })).json();
  assert.deepEqual(second, first);
  assert.equal(elsewhere.offset, 1);
  assert.notEqual(elsewhere.id, first.id);
  assert.deepEqual((await readStored(app, "news")).map(({ data }) => data), ["a", "between"]);
});

const REUSES: readonly ({ name: string; path?: string } & Sent)[] = [
  { name: "another body", body: "b" },
  { name: "another type", body: "a", headers: { "content-type": "application/octet-stream" } },
  { name: "an event", body: "a", path: "?event=e" },
  { name: "a ttl", body: "a", path: "?ttl=9" },
  { name: "ephemeral", body: "a", path: "?ephemeral" },
];

for (const { name, path = "", body = "", headers = {} } of REUSES) {
  Deno.test(`An Idempotency-Key that comes again with ${name} is refused, first or last`, async () => {
    await using app = await openApp();
    const plain = { body: "a", headers: { "idempotency-key": "k" } };
    const other = { body, headers: { ...headers, "idempotency-key": "k" } };
    for (const [channel, [first, second]] of [["x", [plain, other]], ["y", [other, plain]]] as const) {
      const [a, b] = channel === "x" ? ["", path] : [path, ""];
      assert.equal((await send(app, `/${channel}${a}`, first)).status, 200);
      const response = await send(app, `/${channel}${b}`, second);
      assert.equal(response.status, 422);
      const { type, detail } = await response.json();
      assert.equal(type, "urn:raindrops:key_reused");
      assert.match(detail, /key of its own/);
      assert.equal((await send(app, `/${channel}${a}`, first)).status, 200, "a retry stays one");
    }
  });
}

Deno.test("An Idempotency-Key is its publisher's own: user, API key, or everybody without credentials", async () => {
  const secret = "tokens are signed with this secret here";
  await using rules = await writeRules([{ channels: "**", allow: ["publish"], allowAnonymous: ["publish"] }]);
  const keys = ["a".repeat(16), "b".repeat(16)];
  await using app = await openApp(
    "--rules",
    rules.path,
    `RAINDROPS_TOKEN_SECRET=${secret}`,
    `RAINDROPS_API_KEYS=${keys}`,
  );
  const bearer = async (sub: string) => {
    const token = new SignJWT({ sub }).setProtectedHeader({ alg: "HS256" });
    return `Bearer ${await token.sign(new TextEncoder().encode(secret))}`;
  };
  const publishers: Record<string, string>[] = [
    {},
    { authorization: await bearer("ann") },
    { authorization: await bearer("bob") },
    { "x-api-key": keys[0]! },
    { "x-api-key": keys[1]! },
  ];
  for (const [i, credentials] of publishers.entries()) {
    const sent = { body: `of ${i}`, headers: { ...credentials, "idempotency-key": "k" } };
    for (const attempt of [1, 2]) {
      const response = await send(app, "/news", sent);
      assert.equal(response.status, 200, await response.clone().text());
      assert.equal((await response.json()).offset, i + 1, `attempt ${attempt}`);
    }
  }
});

const CLOUD_EVENT = '{"specversion": "1.0", "id": "1", "source": "/a", "type": "t", "data": {"n": 1.0}}';

/** Bodies that publishers send as they must, with what is stored, to the byte. */
const WHOLE: readonly { name: string; path?: string; type: string; body: string; stored?: string }[] = [
  {
    name: "a webhook with ?raw",
    path: "?raw",
    type: "application/json",
    body: '{"id": 1, "data": {"a": 2}}',
  },
  {
    name: "data with an option, with ?raw=true",
    path: "?raw=true",
    type: "application/json",
    body: '{"data": 1, "ttl": 5}',
  },
  { name: "a list with ?raw", path: "?raw", type: "application/json", body: '[1.0,  {"data": 2}]' },
  {
    name: "a JSON-based type with ?raw",
    path: "?raw",
    type: "application/ld+json",
    body: '{"id": 1, "data": 2}',
  },
  {
    name: "a form with ?raw",
    path: "?raw",
    type: "application/x-www-form-urlencoded",
    body: "data=1&x=2",
    stored: '"data=1&x=2"',
  },
  { name: "a CloudEvent", type: "application/cloudevents+json", body: CLOUD_EVENT },
  {
    name: "a CloudEvent in other case",
    type: "Application/CloudEvents+JSON; charset=utf-8",
    body: CLOUD_EVENT,
  },
  { name: "CloudEvents", type: "application/cloudevents-batch+json", body: `[${CLOUD_EVENT}]` },
];

for (const { name, path = "", type, body, stored = body } of WHOLE) {
  Deno.test(`POST of ${name} stores it as it is`, async () => {
    await using app = await openApp();
    const response = await send(app, `/news${path}`, { body, headers: { "content-type": type } });
    assert.equal(response.status, 200, await response.clone().text());
    const document = await app.fetch(new Request("http://localhost:8000/news?since=earliest"), PEER);
    assert.ok((await document.text()).includes(`"data":${stored}`));
  });
}

Deno.test("An option that is null is left out, and ?raw is checked like any other", async () => {
  await using app = await openApp();
  const headers = { "content-type": "application/json" };
  const body = '{"data": 1, "event": null, "to": null, "ttl": null, "ephemeral": null}';
  const response = await send(app, "/news", { body, headers });
  assert.equal(response.status, 200, await response.clone().text());
  assert.equal((await response.json()).offset, 1);
  assert.equal((await send(app, "/news", { body: '{"data": 1, "evnt": null}', headers })).status, 400);
  assert.equal((await send(app, "/news?raw=perhaps", { body: "1", headers })).status, 400);
  assert.equal((await send(app, "/news?raw", { body: "{", headers })).status, 400);
  assert.equal((await send(app, "/news?raw=false", { body: '{"data":1,"x":2}', headers })).status, 400);
});

Deno.test("A path that is percent-encoded means the same path", async () => {
  await using app = await openApp();
  for (const name of ["news", "a/b", "a,b", "a:b@c/d", "a+b=c", "#1;2", "$user/~x"]) {
    const path = name.split("/").map(encodeURIComponent).join("/");
    const answers = [];
    for (const written of [path, encodeURIComponent(name)]) {
      const response = await send(app, `/${written}`, { body: "x" });
      answers.push((await response.json()).channel);
      assert.equal((await app.fetch(new Request(`http://localhost:8000/${written}`), PEER)).status, 200);
    }
    assert.deepEqual(answers, [name, name]);
  }
  const details = [];
  for (const written of ["/@id1", "/%40id1"]) {
    const response = await send(app, written, { body: "x" });
    assert.equal(response.status, 404);
    details.push((await response.json()).detail);
  }
  assert.equal(details[1], details[0]);
});

const JSON_TYPE = { "content-type": "application/json" };
const REFUSALS: readonly ({ name: string; path?: string; status: number; detail: RegExp } & Sent)[] = [
  { name: "bad JSON", body: "{data:1}", headers: JSON_TYPE, status: 400, detail: /Not JSON at position 1/ },
  {
    name: "bad UTF-8",
    body: new Uint8Array([0xff]),
    headers: { "content-type": "text/plain" },
    status: 400,
    detail: /not UTF-8/,
  },
  {
    name: "a key besides data",
    body: '{"data":1,"evnt":"x"}',
    headers: JSON_TYPE,
    status: 400,
    detail: /"evnt".*event, to.*delay; in a query name, id, raw too$/,
  },
  { name: "an unknown query parameter", path: "/news?colour=red", status: 400, detail: /"colour"/ },
  {
    name: "a ttl that is no number",
    path: "/news?ttl=soon",
    status: 400,
    detail: /ttl must be .* seconds .*, such as 300$/,
  },
  { name: "a ttl with a unit", path: "/news?ttl=5m", status: 400, detail: /seconds .*, such as 300$/ },
  { name: "a ttl of nought", path: "/news?ttl=0", status: 400, detail: /ttl must be/ },
  {
    name: "an event with a line end",
    path: "/news?event=a%0Adata:x",
    status: 400,
    detail: /control characters/,
  },
  { name: "the event name gap", path: "/news?event=gap", status: 400, detail: /taken/ },
  { name: "an unclear switch", path: "/news?ephemeral=maybe", status: 400, detail: /true or false/ },
  { name: "a reserved channel", path: "/_own/x", status: 400, detail: /server's own/ },
  { name: "a path of the server", path: "/metrics/x", status: 400, detail: /server's own/ },
  { name: "an empty segment", path: "/a//b", status: 400, detail: /empty segment/ },
  { name: "a list", path: "/a,b", status: 400, detail: /list/ },
  { name: "a pattern", path: "/a/*", status: 400, detail: /pattern/ },
  { name: "a bad percent sign", path: "/%zz", status: 400, detail: /percent/ },
  { name: "a name too long", path: `/${"a".repeat(256)}`, status: 400, detail: /at most 255/ },
  {
    name: "a client that is not connected",
    path: "/@nobody",
    status: 404,
    detail: /"nobody".*not connected/,
  },
  { name: "a subscriber that is not connected", path: "/news?to=nobody", status: 404, detail: /"nobody"/ },
  { name: "a bad client id", path: "/@a%20b", status: 400, detail: /Client id/ },
  { name: "a bad percent sign in a client id", path: "/@%zz", status: 400, detail: /percent/ },
  { name: "two addressees", path: "/@x?to=y", status: 400, detail: /leave out "to"/ },
  { name: "a ttl for one client", path: "/@x?ttl=5", status: 400, detail: /leave out "ttl"/ },
  {
    name: "an option that is no plain value",
    body: '{"data":1,"ttl":[5]}',
    headers: JSON_TYPE,
    status: 400,
    detail: /"ttl"/,
  },
  {
    name: "an inexact number as option",
    body: '{"data":1,"ttl":1.0}',
    headers: JSON_TYPE,
    status: 400,
    detail: /"ttl"/,
  },
  {
    name: "JSON nested too deeply",
    body: "[".repeat(20_000) + "1.0" + "]".repeat(20_000),
    headers: JSON_TYPE,
    status: 400,
    detail: /too deeply/,
  },
  { name: "compression", headers: { "content-encoding": "gzip" }, status: 415, detail: /gzip/ },
  {
    name: "another charset",
    headers: { "content-type": "text/plain; charset=latin1" },
    status: 415,
    detail: /latin1/,
  },
  {
    name: "a multipart form",
    headers: { "content-type": "multipart/form-data; boundary=x" },
    status: 415,
    detail: /Multipart/,
  },
  {
    name: "an idempotency key too long",
    headers: { "idempotency-key": "k".repeat(256) },
    status: 400,
    detail: /Idempotency-Key/,
  },
  {
    name: "another site's page",
    headers: { origin: "https://elsewhere.example" },
    status: 403,
    detail: /--origins/,
  },
];

for (const { name, path = "/news", status, detail, ...sent } of REFUSALS) {
  Deno.test(`POST with ${name} is refused with ${status} and stores nothing`, async () => {
    await using app = await openApp();
    const response = await send(app, path, sent);
    assert.equal(response.headers.get("content-type"), "application/problem+json");
    const problem = await response.json();
    assert.deepEqual(Object.keys(problem), ["type", "title", "status", "detail"]);
    assert.equal(problem.status, status);
    assert.equal(response.status, status);
    assert.match(problem.detail, detail);
    assert.deepEqual(await readStored(app, "news"), []);
  });
}

Deno.test("A body beyond the limit is refused with 413 while it is read, its limit in the detail", async () => {
  await using app = await openApp("--max-body-bytes", "1000", "--max-message-bytes", "100");
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(new Uint8Array(400));
    },
  });
  const streamed = await send(app, "/news", { body: endless });
  assert.equal(streamed.status, 413);
  assert.match((await streamed.json()).detail, /1000 bytes/);
  assert.ok(pulled < 10, `read on ${pulled} times`);
  const announced = await send(app, "/news", { body: "x", headers: { "content-length": "1001" } });
  assert.equal(announced.status, 413);
  const message = await send(app, "/news", { body: "x".repeat(101) });
  assert.equal(message.status, 413);
  assert.match((await message.json()).detail, /101 bytes and the limit is 100/);
});

Deno.test("A body that is longer than announced is not read beyond what was announced", async () => {
  await using server = await startApp("--max-body-bytes", "1000");
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const head = "POST /news HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 5\r\n\r\n";
  await connection.write(new TextEncoder().encode(head + "12345" + "6".repeat(5_000)));
  await connection.read(new Uint8Array(64));
  connection.close();
  assert.deepEqual((await askStored(server, "news")).map(({ data }) => data), ["12345"]);
});

Deno.test("A body that is shorter than announced is never published", async () => {
  // The node listener is not told that nothing more comes: it waits as long as this.
  await using server = await startApp("--body-timeout", "1");
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const head = "POST /news HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n";
  await connection.write(new TextEncoder().encode(head + "12345"));
  await connection.closeWrite();
  await connection.read(new Uint8Array(64));
  connection.close();
  assert.deepEqual(await askStored(server, "news"), []);
});

Deno.test("A method that means nothing here is refused with 405 and Allow", async () => {
  await using app = await openApp();
  const response = await send(app, "/news", { method: "PATCH" });
  assert.equal(response.status, 405);
  assert.equal(response.headers.get("allow"), "GET, HEAD, POST, PUT, DELETE, OPTIONS");
});

Deno.test("A draining server refuses to publish with 503 and Retry-After", async () => {
  await using app = await openApp();
  app.hub.drain();
  const response = await send(app, "/news", { body: "late" });
  assert.equal(response.status, 503);
  assert.equal(response.headers.get("retry-after"), "1");
});

Deno.test("parseOptions() reads numbers and switches from strings and from JSON values alike", () => {
  assert.deepEqual(parseOptions({ ttl: "60", ephemeral: "" }), { ttl: 60, ephemeral: true });
  assert.deepEqual(parseOptions({ ttl: 60, ephemeral: true }), { ttl: 60, ephemeral: true });
});

Deno.test("A publisher says who it is by name and id, and subscribers see it", async () => {
  await using app = await openApp();
  await send(app, "/news?name=J%C3%B6rg&id=id1", { body: "both" });
  await send(app, "/news?id=id1", { body: "an id" });
  await send(app, "/news?name=Ann", { body: "a name" });
  await send(app, "/news", { body: "neither" });
  const senders = (await readStored(app, "news")).map((message) =>
    "from" in message ? message.from : undefined
  );
  const [both, id, name, neither] = senders as ({ id: string; name?: string } | undefined)[];
  assert.deepEqual(both, { id: "id1", name: "Jörg" });
  assert.deepEqual(id, { id: "id1" });
  assert.equal(name?.name, "Ann");
  assert.match(name?.id ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(neither, undefined);
  for (const query of ["name=", "name=%07", "id=a%20b", `id=${"x".repeat(101)}`]) {
    assert.equal((await send(app, `/news?${query}`, { body: "x" })).status, 400, query);
  }
});
