/** What connections of the node listener are answered before `node:http`, and that both read the same requests alike. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { parsePlainHead } from "../../../lib/listeners/node/plain_head.ts";
import { encodeRawTarget } from "../../../lib/listeners/node/raw_target.ts";
import { createFrame, createHandshake, RawSocket } from "../../raw_socket.ts";
import { startApp } from "../../test_app.ts";

const HOST = "Host: localhost\r\n";
const PLAIN = `POST /news HTTP/1.1\r\n${HOST}Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi`;
const GET = `GET /healthz HTTP/1.1\r\n${HOST}\r\n`;

Deno.test("parsePlainHead() reads a POST with a length", () => {
  const head = parsePlainHead(Buffer.from(PLAIN + "POST"));
  assert.equal(head?.target, "/news");
  assert.equal(head?.host, "localhost");
  assert.equal(head?.end, PLAIN.length);
  assert.equal(PLAIN.slice(head?.start, head?.end), "hi");
});

/** What `node:http` decides about: each differs from the plain request in one place. */
const NOT_PLAIN: readonly (readonly [what: string, find: string | RegExp, replacement: string])[] = [
  ["another method", "POST", "PATCH"],
  ["a GET", "POST", "GET"],
  ["HTTP/1.0", "1.1", "1.0"],
  ["an absolute target", "/news", "http://localhost/news"],
  ["a reserved path", "/news", "/connection/sse"],
  ["a fragment", "/news", "/news#a"],
  ["a path beyond ASCII", "/news", "/caf\u00e9"],
  ["two spaces in the request line", "POST ", "POST  "],
  ["an incomplete head", /\r\n\r\nhi$/, "\r\n"],
  ["bare line feeds", /\r\n/g, "\n"],
  ["a bare line feed in a value", "text/plain", "text\n/plain"],
  ["a NUL", "text/plain", "text\0/plain"],
  ["a folded line", "text/plain", "text/plain;\r\n a=b"],
  ["a space before the colon", "Content-Length:", "Content-Length :"],
  ["a tab in a length", "Length: 2", "Length:\t2"],
  ["no length", "Content-Length: 2\r\n", ""],
  ["two lengths", "Content-Length: 2", "Content-Length: 2\r\nContent-Length: 2"],
  ["a list of lengths", "Length: 2", "Length: 2, 2"],
  ["a signed length", "Length: 2", "Length: +2"],
  ["a hexadecimal length", "Length: 2", "Length: 0x2"],
  ["a large length", "Length: 2", "Length: 65537"],
  ["no host", HOST, ""],
  ["two hosts", HOST, HOST + HOST],
  ["a host with a path", "localhost", "localhost/x"],
  ["chunks", "Content-Length: 2", "Content-Length: 2\r\nTransfer-Encoding: chunked"],
  ["an expectation", "Content-Length: 2", "Content-Length: 2\r\nExpect: 100-continue"],
  ["an upgrade", "Content-Length: 2", "Content-Length: 2\r\nUpgrade: h2c"],
  ["a connection that ends", "Content-Length: 2", "Content-Length: 2\r\nConnection: close"],
  ["a large head", "text/plain", `text/${"x".repeat(4_096)}`],
];

for (const [what, find, replacement] of NOT_PLAIN) {
  Deno.test(`parsePlainHead() leaves ${what} to node:http`, () => {
    assert.notEqual(PLAIN.replace(find, replacement), PLAIN);
    assert.equal(parsePlainHead(Buffer.from(PLAIN.replace(find, replacement), "latin1")), undefined);
  });
}

Deno.test("encodeRawTarget() encodes UTF-8 in a target, and changes nothing else", () => {
  const encode = (text: string, encoding: "utf8" | "latin1" = "utf8") =>
    encodeRawTarget(Buffer.from(text, encoding)).toString(encoding);
  assert.equal(encode("GET /café?é HTTP/1.1\r\nA: é\r\n"), "GET /caf%C3%A9?%C3%A9 HTTP/1.1\r\nA: é\r\n");
  const unchanged = ["GET / HTTP/1.1\r\nA: é\r\n", "GET /é", "é / HTTP/1.1\r\n", "GET /a b/é HTTP/1.1\r\n"];
  for (const text of unchanged) assert.equal(encode(text), text);
  assert.equal(encode("GET /\xff HTTP/1.1\r\n", "latin1"), "GET /\xff HTTP/1.1\r\n");
});

Deno.test("node listener: plain POSTs and other requests follow each other on one connection, in order", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  for (const offset of [1, 2]) {
    await socket.write(PLAIN);
    assert.match(await socket.readUntil("}\n"), new RegExp(`^HTTP/1\\.1 200 .*"offset":${offset},`, "s"));
  }
  await socket.write(GET);
  assert.match(await socket.readUntil("alive\n"), /^HTTP\/1\.1 200 /);
  await socket.write(PLAIN);
  assert.match(await socket.readUntil("}\n"), /^HTTP\/1\.1 200 .*"offset":3,/s);
});

Deno.test("node listener: pipelined POSTs are answered in order", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN.repeat(2) + PLAIN.replace(HOST, `${HOST}Connection: close\r\n`));
  const answers = await socket.readToEnd();
  assert.deepEqual(Array.from(answers.matchAll(/"offset":(\d+),/g), ([, offset]) => offset), ["1", "2", "3"]);
  assert.equal(answers.match(/HTTP\/1\.1 200 OK\r\n/g)?.length, 3);
});

Deno.test("node listener: a POST whose body comes in pieces is answered once it is whole", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  for (const piece of [PLAIN.slice(0, -2), "h", "i"]) {
    await socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.match(await socket.readUntil("}\n"), /^HTTP\/1\.1 200 .*"offset":1,/s);
});

Deno.test("node listener: a POST whose client closes its side in the middle of the body is refused", async () => {
  await using server = await startApp("--listener", "node");
  const connection = await Deno.connect({ hostname: "127.0.0.1", port: server.port });
  await connection.write(new TextEncoder().encode(PLAIN.slice(0, -1)));
  await connection.closeWrite();
  assert.match(await new Response(connection.readable).text(), /^HTTP\/1\.1 400 .*problem\+json/s);
});

Deno.test("node listener: a POST that stalls in its body ends by the body timeout", async () => {
  await using server = await startApp("--listener", "node", "--body-timeout", "1");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN.slice(0, -1));
  assert.match(await socket.readToEnd(), /^HTTP\/1\.1 408 /);
});

Deno.test("node listener: a connection that is idle after a POST is closed", async () => {
  await using server = await startApp("--listener", "node", "--idle-timeout", "1");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN);
  assert.match(await socket.readToEnd(), /^HTTP\/1\.1 200 .*keep-alive: timeout=1/s);
});

Deno.test("node listener: a plain POST that is refused is answered with a problem, and the next one goes on", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN.replace("/news", "/a//b"));
  assert.match(await socket.readUntil("}\n"), /^HTTP\/1\.1 400 .*problem\+json/s);
  await socket.write(PLAIN);
  assert.match(await socket.readUntil("}\n"), /^HTTP\/1\.1 200 /);
});

Deno.test("node listener: pipelined POSTs of a client that has closed its side are all answered", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN.repeat(20));
  await socket.closeWrite();
  const answers = await socket.readToEnd();
  const offsets = Array.from(answers.matchAll(/"offset":(\d+),/g), ([, offset]) => Number(offset));
  assert.deepEqual(offsets, Array.from({ length: 20 }, (_, i) => i + 1));
  assert.match(answers, /connection: close\r\n\r\n\{[^}]*"offset":20,[^}]*\}\n$/);
});

Deno.test("node listener: a request that ends early behind a plain POST is refused and counted", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  await socket.write(PLAIN + PLAIN.slice(0, -1));
  await socket.closeWrite();
  assert.match(await socket.readToEnd(), /"offset":1,.*HTTP\/1\.1 400 .*bad_request/s);
  assert.equal(server.app.metrics.refusals.get("bad_request"), 1);
});

Deno.test("node listener: a connection that says nothing ends by the header timeout", async () => {
  await using server = await startApp("--listener", "node", "--header-timeout", "1");
  using socket = await RawSocket.open(server.port);
  assert.match(await socket.readToEnd(), /^HTTP\/1\.1 408 /);
});

Deno.test("node listener: plain POSTs go on after an answer of another kind", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  const paths = ["/a//b", "/news?delay=5m", "/", "/news"];
  await socket.write(paths.map((path) => PLAIN.replace("/news", path)).join(""));
  const answers = await socket.readUntil(/"offset":1,[^}]*\}\n/);
  assert.match(
    answers,
    /^HTTP\/1\.1 400 .*HTTP\/1\.1 202 .*HTTP\/1\.1 200 .*Cool thanks.*HTTP\/1\.1 200 /s,
  );
});

Deno.test("node listener: pages of other origins get a receipt that they may read", async () => {
  for (const listener of ["node", "deno"]) {
    await using server = await startApp(
      "--listener",
      listener,
      "--origins",
      "https://a.example,https://b.example",
    );
    for (const origin of ["https://a.example", "https://b.example"]) {
      const answer = await fetch(`${server.url}/news`, { method: "POST", body: "hi", headers: { origin } });
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get("access-control-allow-origin"), origin);
      assert.equal(answer.headers.get("access-control-max-age"), "600");
      assert.equal(answer.headers.get("vary"), "origin");
      assert.equal((await answer.json()).channel, "news");
    }
  }
});

Deno.test("node listener: a WebSocket opens behind a POST, and what comes with its handshake arrives", async () => {
  await using server = await startApp("--listener", "node");
  using socket = await RawSocket.open(server.port);
  const handshake = new TextEncoder().encode(PLAIN + createHandshake("/news"));
  await socket.write(new Uint8Array([...handshake, ...createFrame(1, "one")]));
  await socket.readUntil("101 Switching Protocols");
  await socket.write(createFrame(1, "two"));
  const { hub } = server.app;
  while (hub.metrics.publishedMessages < 3) await new Promise((resolve) => setImmediate(resolve));
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  assert.deepEqual(messages.map(({ data }: { data: string }) => data), ["hi", "one", "two"]);
});

for (
  const [what, headers] of [
    ["that a page of another site sends", "Origin: https://elsewhere.example\r\n"],
    ["with two keys", "Sec-WebSocket-Key: x\r\n"],
    ["with a subprotocol list that is none", "Sec-WebSocket-Protocol: a b\r\n"],
  ] as const
) {
  Deno.test(`node listener: a handshake ${what} is refused, and leaves no connection`, async () => {
    await using server = await startApp("--listener", "node");
    const answer = await RawSocket.exchange(server.port, createHandshake("/news", headers));
    assert.match(answer, /^HTTP\/1\.1 4\d\d /);
    while (server.app.connectionCount > 0) await new Promise((resolve) => setImmediate(resolve));
  });
}
