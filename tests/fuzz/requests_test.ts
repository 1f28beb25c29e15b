/**
 * Throws requests at the whole server that nobody would send: each gets an answer that is no internal error, a
 * refusal is a problem in words that help, and afterwards the server serves as before.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { SocketHandler } from "../../lib/core/socket.ts";
import { readLines } from "../read_lines.ts";
import { startApp, type TestApp } from "../test_app.ts";

const word = (...words: readonly string[]) =>
  fc.oneof(fc.constantFrom(...words), fc.string({ unit: "binary", maxLength: 12 }), fc.nat().map(String));

const KNOWN_PATHS = [
  "/",
  "/news",
  "/news,ops",
  "/orders/**",
  "/@id",
  "/echo",
  "/_inspect",
  "/metrics",
  "/healthz",
  "/readyz",
  "/connection/websocket",
  "/connection/uni_websocket",
  "/connection/sse",
  "/connection/uni_sse",
  "/connection/http_stream",
  "/connection/uni_http_stream",
  "/emulation",
  ...["publish", "broadcast", "subscribe", "history", "channels", "info", "batch", "backup", "refresh"]
    .map((method) => `/api/${method}`),
];

const path = fc.oneof(
  fc.constantFrom(...KNOWN_PATHS),
  fc.array(
    fc.oneof(
      fc.constantFrom(
        "news",
        "*",
        "**",
        ",",
        "%2C",
        "%",
        "%ff",
        "..",
        "@id",
        "_static",
        "api",
        "connection",
        "",
      ),
      fc.string({ maxLength: 6 }),
      fc.nat(2_000).map((length) => "x".repeat(length)),
    ),
    { maxLength: 4 },
  ).map((parts) => `/${parts.join("/")}`),
);

const query = fc.array(
  fc.tuple(
    fc.constantFrom(
      "since",
      "limit",
      "follow",
      "presence",
      "id",
      "name",
      "event",
      "to",
      "ttl",
      "ephemeral",
      "x",
      "cf_connect",
    ),
    word("earliest", "10m", "1", "-1", "true", "", "{}", '{"subs":{}}'),
  ),
  { maxLength: 3 },
);

const header = fc.tuple(
  fc.constantFrom(
    "accept",
    "accept-encoding",
    "authorization",
    "content-encoding",
    "content-type",
    "expect",
    "forwarded",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "last-event-id",
    "range",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "traceparent",
    "upgrade",
    "x-api-key",
    "x-centrifugo-error-mode",
    "x-forwarded-for",
    "x-http-method-override",
  ),
  word(
    "text/event-stream",
    "text/html",
    "application/json",
    "application/x-www-form-urlencoded",
    "bytes=0-",
    "bytes=-1,5-2",
    "*",
    '"x"',
    "gzip",
    "websocket",
    "13",
    "Bearer a.b.c",
    "apikey x",
    "centrifuge-json",
  ),
);

const body = fc.oneof(
  fc.constant(undefined),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes)),
  fc.json(),
  fc.dictionary(
    fc.constantFrom(
      "data",
      "event",
      "to",
      "ttl",
      "channel",
      "channels",
      "commands",
      "user",
      "session",
      "limit",
      "__proto__",
    ),
    fc.oneof(
      fc.jsonValue(),
      fc.constantFrom("news", 1, -1, ["news"], [{ publish: { channel: "news", data: 1 } }]),
    ),
  ).map((value) => JSON.stringify(value)),
  fc.constant("data=x&event=y"),
  fc.constant('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news","recover":true}}'),
);

interface Thrown {
  readonly method: string;
  readonly path: string;
  readonly query: [string, string][];
  readonly headers: [string, string][];
  readonly body: Uint8Array<ArrayBuffer> | string | undefined;
}

const thrown: fc.Arbitrary<Thrown> = fc.record({
  method: fc.oneof(
    fc.constantFrom("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"),
    fc.constant("BREW"),
  ),
  path,
  query,
  headers: fc.array(header, { maxLength: 4 }),
  body,
});

function createRequest({ method, path, query, headers, body }: Thrown): Request | undefined {
  const url = new URL("http://127.0.0.1:8000/");
  url.pathname = path;
  url.search = new URLSearchParams(query).toString();
  const init: RequestInit = { method };
  if (body !== undefined && method !== "GET" && method !== "HEAD") init.body = body;
  try {
    const request = new Request(url, init);
    for (const [name, value] of headers) request.headers.set(name, value);
    return request;
  } catch {
    // What no HTTP library sends is for the listeners' own tests.
    return undefined;
  }
}

/** A problem that says what is wrong and what to do. */
async function assertHelps(response: Response, shown: string, accept = ""): Promise<void> {
  const type = response.headers.get("content-type") ?? "";
  const text = await response.text();
  // A HEAD has no words.
  if (text === "") return;
  if (type === "application/problem+json") {
    const { detail, title, status } = JSON.parse(text);
    assert.equal(status, response.status, shown);
    assert.ok(typeof title === "string" && title.length > 3, shown);
    assert.match(detail, /\w+ \w+/, shown);
    assert.doesNotMatch(detail, /undefined|\[object|NaN/, shown);
  } else if (type.startsWith("text/html")) {
    // A browser gets a page: one that says what is wrong, or the channel's, which asks for a token.
    assert.match(accept, /text\/html/i, shown);
    assert.match(text, response.status === 401 ? /data-credential="token"/ : /<h1>\w+ \w+/, shown);
  } else {
    // The API and the Centrifuge protocol have words of theirs.
    assert.ok(/json|text\/plain/.test(type), `${shown}: ${type} ${text.slice(0, 200)}`);
  }
}

async function assertServes({ url }: TestApp, headers: Record<string, string>): Promise<void> {
  await using reader = await readLines(`${url}/still/here?follow`, headers);
  assert.equal(reader.response.status, 200);
  await reader.take(1);
  const response = await fetch(`${url}/still/here`, { method: "POST", body: "x", headers });
  assert.equal(response.status, 200);
  await response.body?.cancel();
  assert.equal(JSON.parse((await reader.take(1))[0] ?? "").data, "x");
}

const KEY = "a-key-long-enough-for-here";

const SETTINGS: readonly [name: string, settings: readonly string[], headers: Record<string, string>][] = [
  ["an open server", [], {}],
  [
    "a server with keys",
    ["RAINDROPS_TOKEN_SECRET=a-secret-that-is-long-enough-for-hmac", `RAINDROPS_API_KEYS=${KEY}`],
    { "x-api-key": KEY },
  ],
];

for (const [name, settings, headers] of SETTINGS) {
  Deno.test(`No request whatsoever is an internal error to ${name}, and each refusal says why`, async () => {
    // So few that whoever leaves one behind is noticed.
    await using server = await startApp("--max-connections", "3", ...settings);
    const peer = {
      address: "127.0.0.1",
      upgrade: (handler: SocketHandler) => {
        handler.close(1006, "");
        return new Response(null, { status: 204 });
      },
    };
    await fc.assert(
      fc.asyncProperty(thrown, async (thrown) => {
        const request = createRequest(thrown);
        if (request === undefined) return;
        const response = await server.app.fetch(request, peer);
        const shown = JSON.stringify(thrown).slice(0, 500);
        assert.ok(response.status !== 500, shown);
        const accept = request.headers.get("accept") ?? "";
        if (response.status >= 400) await assertHelps(response, `${shown} -> ${response.status}`, accept);
        else await response.body?.cancel();
      }),
      { numRuns: 1_000 },
    );
    assert.deepEqual(server.logger.entries.filter(({ level }) => level === "error"), []);
    assert.equal(server.app.hub.clientCount, 0, "nobody is there any more");
    await assertServes(server, headers);
  });
}

const HEAD = [
  "POST /news?event=x HTTP/1.1\r\n",
  "Host: 127.0.0.1\r\n",
  "Content-Type: application/json\r\n",
  "Content-Length: 12\r\n",
  "Transfer-Encoding: chunked\r\n",
  "Connection: close\r\n",
  "Idempotency-Key: k\r\n",
  "Expect: 100-continue\r\n",
  "X: \u00e9\u0001\r\n",
  "\r\n",
  '{"data":"x"}',
  'c\r\n{"data":"x"}\r\n0\r\n\r\n',
];

async function throwBytes(listener: string): Promise<void> {
  await using server = await startApp("--listener", listener);
  const pieces = fc.oneof(
    fc.subarray(HEAD).map((parts) => parts.join("")),
    fc.tuple(fc.nat(), fc.string({ unit: "binary", maxLength: 3 })).map(([at, put]) => {
      const whole = HEAD.join("");
      return whole.slice(0, at % whole.length) + put + whole.slice((at % whole.length) + put.length);
    }),
    fc.string({ unit: "binary", maxLength: 200 }),
  );
  await fc.assert(
    fc.asyncProperty(pieces, async (text) => {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
      try {
        await connection.write(new TextEncoder().encode(text));
        await connection.closeWrite();
        const answer = await new Response(connection.readable).text();
        assert.doesNotMatch(answer, /^HTTP\/1.1 500/, text);
      } catch (error) {
        // The server may hang up first.
        if (!isHangUp(error)) throw error;
      }
    }),
    { numRuns: 200 },
  );
  assert.deepEqual(server.logger.entries.filter(({ level }) => level === "error"), []);
  await assertServes(server, {});
}

for (const listener of ["deno", "node"]) {
  const promise =
    "Bytes that are nearly a request, or none at all, are answered or dropped, and others are served";
  Deno.test(`${promise}, by the ${listener} listener`, () => throwBytes(listener));
}

function isHangUp(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.NotConnected;
}
