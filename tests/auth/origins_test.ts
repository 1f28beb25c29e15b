/**
 * Pages of other sites at every door: refused before anything happens, let in when named, and never helped by cookies.
 * Clients that are no browsers send no origin, and are let through.
 */
import assert from "node:assert/strict";
import { createToken, startKeyedApp, startRuledApp } from "../protocols/centrifuge/app.ts";
import { startApp, type TestApp } from "../test_app.ts";

const ELSEWHERE = "https://elsewhere.example";
const KEY = "key-0123456789abcdef";
const CONNECT = '{"id":1,"connect":{}}';

interface Door {
  readonly name: string;
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** What it answers to those who are let in. */
  readonly open: number;
  /** What it answers to pages from disk, where that differs: they are no operators. */
  readonly disk?: number;
  /** What it answers to those without credentials, where they are asked for. */
  readonly closed: number | "3501";
}

const UPGRADE = {
  connection: "upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};
const EVENTS = { accept: "text/event-stream" };

const DOORS: readonly Door[] = [
  { name: "a plain WebSocket", path: "/news", headers: UPGRADE, open: 101, closed: 401 },
  { name: "an event stream", path: "/news", headers: EVENTS, open: 200, closed: 401 },
  { name: "a line stream", path: "/news?follow", open: 200, closed: 401 },
  { name: "a document", path: "/news?since=earliest", open: 200, closed: 401 },
  { name: "presence", path: "/news?presence", open: 200, closed: 401 },
  { name: "a POST", path: "/news", method: "POST", body: "it rains", open: 200, closed: 401 },
  { name: "a PUT", path: "/news", method: "PUT", body: "it rains", open: 200, closed: 401 },
  { name: "a DELETE", path: "/news", method: "DELETE", open: 200, disk: 403, closed: 403 },
  { name: "a message to one client", path: "/@id1", method: "POST", body: "x", open: 404, closed: 403 },
  { name: "the API", path: "/api/info", method: "POST", body: "{}", open: 200, disk: 401, closed: 401 },
  {
    name: "a Centrifuge WebSocket",
    path: "/connection/websocket",
    headers: UPGRADE,
    open: 101,
    closed: "3501",
  },
  {
    name: "a Centrifuge line stream",
    path: "/connection/http_stream",
    method: "POST",
    body: CONNECT,
    open: 200,
    closed: "3501",
  },
  {
    name: "a Centrifuge event stream",
    path: `/connection/sse?cf_connect=${encodeURIComponent(CONNECT)}`,
    open: 200,
    closed: "3501",
  },
  {
    name: "commands beside a stream",
    path: "/emulation",
    method: "POST",
    body: "{}",
    open: 404,
    closed: 404,
  },
  {
    name: "a one-way WebSocket",
    path: "/connection/uni_websocket",
    headers: UPGRADE,
    open: 101,
    closed: "3501",
  },
  {
    name: "a one-way line stream",
    path: "/connection/uni_http_stream",
    method: "POST",
    body: "{}",
    open: 200,
    closed: "3501",
  },
  { name: "a one-way event stream", path: "/connection/uni_sse", open: 200, closed: "3501" },
];

interface Answer {
  readonly status: number;
  /** The answer's headers and the first of its body. */
  readonly text: string;
}

/**
 * Asks as a browser would, whose headers `fetch` does not let anybody set. Reads an answer to its end, and of a stream
 * the first words.
 */
async function knock(server: TestApp, door: Door, headers: Record<string, string>): Promise<Answer> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  const { method = "GET", path, body = "" } = door;
  const fields = { host: `localhost:${server.port}`, ...door.headers, ...headers };
  const head = [
    `${method} ${path} HTTP/1.1`,
    ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
    ...(method === "GET" ? [] : [`content-length: ${body.length}`, "content-type: text/plain"]),
  ];
  await connection.write(new TextEncoder().encode(`${head.join("\r\n")}\r\n\r\n${body}`));
  const chunk = new Uint8Array(65_536);
  let text = "";
  // An answer without a length is a stream, or nothing: of that its head and first words will do.
  const isDone = () => {
    const [head = "", rest = ""] = text.split(/\r\n\r\n(.*)/s);
    const length = /\r\ncontent-length: (\d+)/i.exec(head)?.[1];
    if (length !== undefined) return rest.length >= Number(length);
    return !/\r\ntransfer-encoding: chunked/i.test(head) || rest !== "";
  };
  while (!(text.includes("\r\n\r\n") && isDone())) {
    const count = await connection.read(chunk);
    if (count === null) break;
    text += new TextDecoder().decode(chunk.subarray(0, count));
  }
  return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]), text };
}

/** Everything but what is read alone would change. */
function count(server: TestApp): number[] {
  const { hub, connectionCount } = server.app;
  return [hub.clientCount, connectionCount, hub.top.sequence];
}

/** One test that knocks at every door of one server, a step each. */
function testDoors(
  promise: string,
  open: () => Promise<TestApp>,
  check: (server: TestApp, door: Door) => Promise<void>,
): void {
  Deno.test(promise, async (t) => {
    await using server = await open();
    for (const door of DOORS) await t.step(`at ${door.name}`, () => check(server, door));
  });
}

testDoors(
  "Pages of other sites are refused before anything happens",
  () => startApp("--origins", "https://friend.example"),
  async (server, door) => {
    const strangers = [ELSEWHERE, "https://friend.example.evil.example", "http://friend.example", "nonsense"];
    const counted = server.app.metrics.refusals.get("origin_refused") ?? 0;
    for (const origin of strangers) {
      const { status, text } = await knock(server, door, { origin });
      assert.equal(status, 403, origin);
      assert.match(text, /urn:raindrops:origin_refused.*--origins/s);
      assert.doesNotMatch(text, /access-control-allow-origin/i);
    }
    assert.deepEqual(count(server), [0, 0, 0]);
    assert.equal(server.app.metrics.refusals.get("origin_refused"), counted + strangers.length);
  },
);

testDoors(
  "Pages of sites that are named are let in, and may read the answer",
  () => startApp("--origins", "https://friend.example"),
  async (server, door) => {
    const { status, text } = await knock(server, door, { origin: "https://friend.example" });
    assert.equal(status, door.open, text);
    if (status !== 101) assert.match(text, /access-control-allow-origin: https:\/\/friend\.example/i);
  },
);

testDoors(
  "Clients without an origin, pages of the same origin, of this machine and from disk are let in",
  () => startApp(),
  async (server, door) => {
    for (const origin of [undefined, `http://localhost:${server.port}`, "http://127.0.0.1:5173", "null"]) {
      const { status, text } = await knock(server, door, origin === undefined ? {} : { origin });
      const expected = origin === "null" ? door.disk ?? door.open : door.open;
      assert.equal(status, expected, `${origin} ${text}`);
    }
  },
);

testDoors(
  "Once there is a key, pages from disk and of other ports are strangers",
  () => startKeyedApp(),
  async (server, door) => {
    for (const origin of ["null", "http://localhost:1"]) {
      assert.equal((await knock(server, door, { origin })).status, 403, origin);
    }
  },
);

testDoors(
  "What pages of other sites embed or fetch without an origin is refused",
  () => startApp(),
  async (server, door) => {
    const { status, text } = await knock(server, door, {
      "sec-fetch-site": "cross-site",
      "sec-fetch-mode": "no-cors",
    });
    assert.equal(status, 403);
    assert.match(text, /urn:raindrops:origin_refused/);
    assert.deepEqual(count(server), [0, 0, 0]);
  },
);

testDoors(
  "A server on loopback is not addressed by a foreign name",
  () => startApp(),
  async (server, door) => {
    for (const origin of [undefined, "http://rebound.example"]) {
      const headers = { host: "rebound.example", ...(origin === undefined ? {} : { origin }) };
      assert.equal((await knock(server, door, headers)).status, 421);
    }
    assert.deepEqual(count(server), [0, 0, 0]);
  },
);

testDoors(
  "Cookies are no credentials",
  () => startKeyedApp([], `RAINDROPS_API_KEYS=${KEY}`),
  async (server, door) => {
    const token = await createToken({
      sub: "ann",
      grants: { "**": ["subscribe", "publish", "presence", "history"] },
    });
    const names = ["authorization", "token", "session", "access_token", "jwt"];
    const cookies = [...names.map((name) => `${name}=${token}`), `x-api-key=${KEY}`, `X-API-Key=${KEY}`];
    const cookie = cookies.join("; ");
    for (const headers of [{ cookie }, { cookie, origin: `http://localhost:${server.port}` }]) {
      const { status, text } = await knock(server, door, headers);
      if (door.closed !== "3501") assert.equal(status, door.closed, text);
      // A stream says what becomes of its connect command; a WebSocket that is open may yet be nobody's.
      else if (status === 200) assert.match(text, /"code":3501/);
      else assert.equal(status, 101);
    }
    assert.deepEqual([server.app.hub.clientCount, server.app.hub.top.sequence], [0, 0]);
  },
);

Deno.test("A preflight of another site is refused, and one of a named site is told what it may send", async () => {
  await using server = await startApp("--origins", "https://friend.example");
  const door: Door = { name: "", path: "/news", method: "OPTIONS", open: 204, closed: 204 };
  assert.equal((await knock(server, door, { origin: ELSEWHERE })).status, 403);
  const { status, text } = await knock(server, door, { origin: "https://friend.example" });
  assert.equal(status, 204);
  assert.match(text, /access-control-allow-headers: .*authorization/i);
});

Deno.test("--origins * lets every page in, and a rule for anybody lets it do no more than others", async () => {
  await using server = await startRuledApp(
    [{ channels: "open/*", allowAnonymous: ["subscribe"] }],
    "--origins",
    "*",
    "RAINDROPS_TOKEN_SECRET=a secret of more than thirty-two bytes",
  );
  const stream: Door = { name: "", path: "/open/1", headers: EVENTS, open: 200, closed: 401 };
  assert.equal((await knock(server, stream, { origin: ELSEWHERE })).status, 200);
  assert.equal((await knock(server, { ...stream, path: "/news" }, { origin: ELSEWHERE })).status, 401);
});
