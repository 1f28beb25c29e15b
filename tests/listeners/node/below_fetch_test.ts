/** What the node listener answers where `node:http` and `ws` would refuse or drop by themselves. */
import assert from "node:assert/strict";
import { createFrame, createHandshake, KEY, RawSocket } from "../../raw_socket.ts";
import { startApp } from "../../test_app.ts";

const HOST = "Host: localhost\r\n";
const POST = `POST /news HTTP/1.1\r\n${HOST}`;
const CLOSE = "Connection: close\r\n";
const WEBSOCKET = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n` +
  `Sec-WebSocket-Key: ${KEY}\r\n`;
const H2C =
  "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n";

/** Requests that ask for something else than a plain answer, and what they get. */
const REQUESTS: readonly [string, string, RegExp][] = [
  ["a POST that offers h2c", `${POST}${H2C}Content-Length: 2\r\n\r\nhi`, /^HTTP\/1\.1 200 .*"offset":1,/s],
  [
    "a POST with a WebSocket upgrade",
    `${POST}${WEBSOCKET}Content-Length: 2\r\n\r\nhi`,
    /^HTTP\/1\.1 200 .*"offset":1,/s,
  ],
  [
    "a GET with 200 headers",
    `GET /healthz HTTP/1.1\r\n${HOST}${CLOSE}${"X-A: b\r\n".repeat(200)}\r\n`,
    /^HTTP\/1\.1 200 .*alive/s,
  ],
  [
    "a foreign Origin behind 2,500 headers",
    `GET /news HTTP/1.1\r\n${HOST}${"a:\r\n".repeat(2_500)}Origin: https://elsewhere.example\r\n\r\n`,
    /^HTTP\/1\.1 403 .*origin_refused/s,
  ],
  [
    "a cookie of 70 KB",
    `GET /news HTTP/1.1\r\n${HOST}Cookie: a=${"x".repeat(70_000)}\r\n\r\n`,
    /^HTTP\/1\.1 431 .*problem\+json.*headers_too_large/s,
  ],
  ["HTTP/1.1 without Host", "GET /news HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 .*problem\+json.*bad_host/s],
  ["bytes that are no request", "it rains\r\n\r\n", /^HTTP\/1\.1 400 .*problem\+json.*bad_request/s],
];

for (const [what, request, expected] of REQUESTS) {
  Deno.test(`node listener: ${what} is answered`, async () => {
    await using server = await startApp("--listener", "node");
    using socket = await RawSocket.open(server.port);
    await socket.write(request);
    assert.match(await socket.readUntil(/\}|alive\n/), expected);
  });
}

Deno.test("node listener: what it refuses before the app is counted by its reason, with its address", async () => {
  await using server = await startApp("--listener", "node");
  const { metrics } = server.app;
  for (
    const [reason, request] of [
      ["headers_too_large", `GET /news HTTP/1.1\r\n${HOST}Cookie: a=${"x".repeat(70_000)}\r\n\r\n`],
      ["bad_request", "it rains\r\n\r\n"],
    ] as const
  ) {
    using socket = await RawSocket.open(server.port);
    await socket.write(request);
    await socket.readUntil(/\}/);
    assert.equal(metrics.refusals.get(reason), 1, reason);
    const [newest] = metrics.listRefusals(metrics.lastRefusal - 1);
    assert.deepEqual([newest?.reason, newest?.address], [reason, "127.0.0.1"]);
  }
});

const COMPLETE: readonly [string, string][] = [
  ["a length", `${POST}Content-Length: 2\r\n\r\nhi`],
  ["chunks", `${POST}Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n`],
];

for (const [what, request] of COMPLETE) {
  Deno.test(`node listener: a client that has sent a POST with ${what} and closes its side gets its answer`, async () => {
    await using server = await startApp("--listener", "node");
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
    await connection.write(new TextEncoder().encode(request));
    await connection.closeWrite();
    // Reads to the end of the connection: the server must close it, too.
    assert.match(await new Response(connection.readable).text(), /^HTTP\/1\.1 200 .*"offset":1,/s);
  });
}

Deno.test("node listener: a client of a stream that closes its side has left", async () => {
  await using server = await startApp("--listener", "node");
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await connection.write(
    new TextEncoder().encode(`GET /news HTTP/1.1\r\n${HOST}Accept: text/event-stream\r\n\r\n`),
  );
  await connection.closeWrite();
  await new Response(connection.readable).text();
  assert.equal(server.app.hub.clientCount, 0);
});

Deno.test("node listener: a message of 65,536 fragments of one byte is taken", async () => {
  await using server = await startApp("--listener", "node");
  using reader = await RawSocket.upgrade(server.port);
  using sender = await RawSocket.open(server.port);
  await sender.write(createHandshake());
  await sender.readUntil("\r\n\r\n");
  const piece = createFrame(0, "x", { bits: 0 });
  const pieces = new Uint8Array(65_530 * piece.length);
  for (let i = 0; i < 65_530; i++) pieces.set(piece, i * piece.length);
  await sender.write(createFrame(1, "x", { bits: 0 }));
  await sender.write(pieces);
  await sender.write(createFrame(0, "end"));
  assert.match(await reader.readUntil("end"), /x{1000}end$/);
});
