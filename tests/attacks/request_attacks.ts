/** Attacks by what requests say: their lines, headers, lengths and bodies. */
import assert from "node:assert/strict";
import { gzipSync } from "node:zlib";
import { createFrame, createHandshake, KEY, RawSocket } from "../raw_socket.ts";
import type { ServerProcess } from "../server_process.ts";
import { type Attack, MAX_BODY_BYTES } from "./attack.ts";

const MEGABYTE = 1024 * 1024;
const UTF8 = new TextEncoder();

interface RequestParts {
  readonly method?: string;
  readonly target?: string;
  /** Header lines, each with its line end. */
  readonly headers?: string;
  readonly body?: string;
}

/** A request of which each character before the body is one byte. */
function createRequest(
  { method = "POST", target = "/attacked", headers = "", body = "" }: RequestParts,
): Uint8Array {
  const head = `${method} ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${headers}\r\n`;
  return joinBytes(toBytes(head), UTF8.encode(body));
}

function toBytes(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

function joinBytes(first: Uint8Array, second: Uint8Array): Uint8Array {
  const joined = new Uint8Array(first.length + second.length);
  joined.set(first);
  joined.set(second, first.length);
  return joined;
}

function withLength(body: string, headers = ""): RequestParts {
  return { headers: `${headers}Content-Length: ${UTF8.encode(body).length}\r\n`, body };
}

/** Sends a request and expects it to be refused in one answer with one of the statuses. */
async function expectRefusal(
  server: ServerProcess,
  what: string,
  request: Uint8Array,
  ...statuses: number[]
) {
  const answer = await RawSocket.exchange(server.port, request);
  const [, status] = /^HTTP\/1\.1 (\d{3}) /.exec(answer) ?? [];
  assert.ok(statuses.includes(Number(status)), `${what}: ${answer.slice(0, 300) || "no answer"}`);
  assert.equal(answer.match(/HTTP\/1\.1 \d{3} /g)?.length, 1, `${what}: ${answer}`);
  assert.ok(!/^x-injected/im.test(answer.split("\r\n\r\n")[0] ?? ""), what);
}

async function countMessages({ url }: ServerProcess, channel: string): Promise<number> {
  const answer = await fetch(`${url}/${channel}?since=earliest`, {
    headers: { accept: "application/json", connection: "close" },
  });
  return (await answer.json()).messages.length;
}

const LENGTHS: readonly (readonly [string, string])[] = [
  ["two lengths", "Content-Length: 4\r\nContent-Length: 5\r\n"],
  ["a list of lengths", "Content-Length: 4, 5\r\n"],
  ["a negative length", "Content-Length: -1\r\n"],
  ["a length with a sign", "Content-Length: +4\r\n"],
  ["a length in hexadecimal", "Content-Length: 0x4\r\n"],
  ["a length that is empty", "Content-Length: \r\n"],
  ["a length beyond numbers", "Content-Length: 99999999999999999999\r\n"],
  ["an unknown transfer coding", "Transfer-Encoding: xchunked\r\n"],
  ["a transfer coding behind chunked", "Transfer-Encoding: chunked, identity\r\n"],
];

const CHUNKS: readonly (readonly [string, string])[] = [
  ["a chunk of no size", "\r\nevil\r\n0\r\n\r\n"],
  ["a chunk of a size that is no number", "zz\r\nevil\r\n0\r\n\r\n"],
  ["a chunk of a negative size", "-4\r\nevil\r\n0\r\n\r\n"],
  ["a chunk of a size beyond numbers", "fffffffffffffffff\r\nevil\r\n0\r\n\r\n"],
  ["a chunk that is longer than it says", "2\r\nevil\r\n0\r\n\r\n"],
];

/** Paths that would lead out of `static/` or be taken for something else by somebody on the way. */
const PATHS: readonly string[] = [
  "/../../../../etc/passwd",
  "/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
  "/_static/../../server.ts",
  "/_static/..%2f..%2fserver.ts",
  "/_static/%2e%2e%2f%2e%2e%2fserver.ts",
  "/_static/..%5c..%5cserver.ts",
  "/_static/..\\..\\server.ts",
  "/_static//etc/passwd",
  "/_static/%00",
  "/_static/channel.html%00.ts",
  "/_static/%c0%ae%c0%ae/server.ts",
  "/_examples/../../deno.json",
  "//etc/passwd",
  "///etc/passwd",
  "/%",
  "/%zz",
  "/%00",
  "/%ff%fe",
  "/news%2f..%2fother",
  "/.git/config",
  "/.env",
  "/" + "a".repeat(300),
  "/" + "a/".repeat(200),
];

/** What can be written where in a request, each with something that would start a new line somewhere. */
const LINE_ENDS = ["\r\n", "\n", "\r", "\u0000", "\u001b[31m", "\u0085"];

export const REQUEST_ATTACKS: readonly Attack[] = [
  {
    name: "duplicate and conflicting lengths",
    async run({ server }) {
      for (const [what, headers] of LENGTHS) {
        await expectRefusal(server, what, createRequest({ headers, body: "evil" }), 400, 413, 501);
      }
      for (const [what, body] of CHUNKS) {
        const request = createRequest({ headers: "Transfer-Encoding: chunked\r\n", body });
        const answer = await RawSocket.exchange(server.port, request);
        assert.match(answer, /^(HTTP\/1\.1 400 |$)/, what);
      }
      assert.equal(await countMessages(server, "attacked"), 0);
    },
  },
  {
    name: "a length beside a transfer coding, to smuggle a request past a proxy",
    async run({ server }) {
      const smuggled = "POST /smuggled HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nevil";
      for (
        const headers of [
          "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
          "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
          "Transfer-Encoding : chunked\r\nContent-Length: 5\r\n",
        ]
      ) {
        const head = `POST /attacked HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`;
        const request = UTF8.encode(`${head}0\r\n\r\n${smuggled}`);
        await expectRefusal(server, headers, request, 400);
      }
      assert.equal(await countMessages(server, "smuggled"), 0);
    },
  },
  {
    name: "line ends and control characters in every field",
    async run({ server }) {
      const injected = "X-Injected: yes";
      for (const end of LINE_ENDS) {
        const what = JSON.stringify(end);
        const code = encodeURIComponent(end);
        const text = `a${code}forged${code}${encodeURIComponent(injected)}`;
        for (const name of ["event", "to", "ttl", "ephemeral", "id", "name", "unknown"]) {
          const request = createRequest({ target: `/attacked?${name}=${text}`, ...withLength("evil") });
          await expectRefusal(server, `${what} in ${name}`, request, 400, 403, 404);
        }
        for (const name of ["since", "limit", "id", "name"]) {
          const request = createRequest({ method: "GET", target: `/attacked?follow&${name}=${text}` });
          await expectRefusal(server, `${what} in ${name} of a reader`, request, 400);
        }
        await expectRefusal(server, `${what} in a channel`, createRequest({ target: `/${text}` }), 400);
        await expectRefusal(server, `${what} in an id`, createRequest({ target: `/@${text}` }), 400);
        const body = JSON.stringify({ data: "evil", event: `a${end}forged${end}${injected}` });
        const json = createRequest(withLength(body, "Content-Type: application/json\r\n"));
        await expectRefusal(server, `${what} in an event of JSON`, json, 400);
        const api = {
          ...withLength(JSON.stringify({ channel: `a${end}forged`, data: 1 })),
          target: "/api/publish",
        };
        const answer = await RawSocket.exchange(server.port, createRequest(api));
        assert.match(answer, /"error"/, `${what} in the API`);
      }
      for (const end of ["\r", "\n", "\u0000", "\u001b"]) {
        for (const name of ["Idempotency-Key", "Origin", "Last-Event-ID", "Content-Type", "X-Anything"]) {
          const request = createRequest(withLength("evil", `${name}: a${end}forged\r\n`));
          await expectRefusal(server, `${JSON.stringify(end)} in ${name}`, request, 400, 403);
        }
        const target = createRequest({ method: "GET", target: `/a${end}forged` });
        await expectRefusal(server, `${JSON.stringify(end)} in the target`, target, 400);
        const handshake = createHandshake("/attacked", `Sec-WebSocket-Protocol: a${end}forged\r\n`);
        await expectRefusal(server, `${JSON.stringify(end)} in a handshake`, toBytes(handshake), 400);
      }
      assert.equal(await countMessages(server, "attacked"), 0);
    },
  },
  {
    name: "header lines that only look like some",
    async run({ server }) {
      const cases: readonly (readonly [string, string])[] = [
        ["a space before the colon", "X-Header : a\r\n"],
        ["a line without a colon", "nonsense\r\n"],
        ["an empty name", ": a\r\n"],
        ["a second Host", "Host: elsewhere.example\r\n"],
        ["a continued line", "X-Header: a\r\n\tb: c\r\n"],
      ];
      for (const [what, headers] of cases) {
        const request = createRequest({ method: "GET", target: "/attacked?follow&limit=1", headers });
        await expectRefusal(server, what, request, 400, 421);
      }
    },
  },
  {
    name: "paths that lead elsewhere",
    async run({ server }) {
      for (const target of PATHS) {
        for (const accept of ["text/html", "*/*"]) {
          const request = createRequest({ method: "GET", target, headers: `Accept: ${accept}\r\n` });
          const answer = await RawSocket.exchange(server.port, request);
          assert.match(answer, /^HTTP\/1\.1 [2-4]\d\d /, target);
          assert.ok(!/root:|createApp|"imports"|\[core\]/.test(answer), `${target}: ${answer}`);
        }
      }
    },
  },
  {
    name: "request lines that are none",
    async run({ server }) {
      const lines = [
        "",
        "\r\n\r\n\r\n",
        "GET",
        "GET /",
        "GET / HTTP/9.9",
        "GET / HTTP/1.1 extra",
        "get / http/1.1",
        "\u0016\u0003\u0001\u0002\u0000\u0001",
        "PRI * HTTP/2.0",
        "CONNECT elsewhere.example:443 HTTP/1.1",
        "TRACE / HTTP/1.1",
        `${"A".repeat(1_000)} / HTTP/1.1`,
        "GET http://[ HTTP/1.1",
        "OPTIONS * HTTP/1.1",
      ];
      for (const line of lines) {
        const request = `${line}\r\nHost: localhost\r\nConnection: close\r\n\r\n`;
        const answer = await RawSocket.exchange(server.port, request);
        assert.ok(!/HTTP\/1\.1 5\d\d /.test(answer.replace("HTTP/1.1 505 ", "")), `${line}: ${answer}`);
      }
    },
  },
  {
    name: "floods of headers",
    async run({ server }) {
      const long = `X-Header: ${"a".repeat(MEGABYTE)}\r\n`;
      const many = Array.from({ length: 20_000 }, (_, i) => `X-Header-${i}: a\r\n`).join("");
      for (const headers of [long, many]) {
        const answer = await RawSocket.exchange(server.port, createRequest({ method: "GET", headers }));
        // Whoever is still sending may see the connection break before the answer.
        assert.match(answer, /^(HTTP\/1\.1 (400|431) |$)/);
      }
      using socket = await RawSocket.open(server.port);
      await socket.write("GET /attacked HTTP/1.1\r\n");
      const sent = await socket.flood(UTF8.encode(long), 64 * MEGABYTE);
      assert.ok(sent < 64 * MEGABYTE, "it took everything");
    },
  },
  {
    name: "a target of a megabyte",
    async run({ server }) {
      const request = createRequest({ method: "GET", target: "/" + "a".repeat(MEGABYTE) });
      assert.match(await RawSocket.exchange(server.port, request), /^(HTTP\/1\.1 4\d\d |$)/);
    },
  },
  {
    name: "bodies without an end",
    async run({ port }) {
      for (const headers of ["Transfer-Encoding: chunked\r\n", `Content-Length: ${2 ** 40}\r\n`]) {
        using socket = await RawSocket.open(port);
        await socket.write(createRequest({ headers }));
        const answer = socket.readToEnd();
        const chunk = UTF8.encode(`${MEGABYTE.toString(16)}\r\n${"a".repeat(MEGABYTE)}\r\n`);
        await socket.flood(chunk, 512 * MEGABYTE);
        socket[Symbol.dispose]();
        assert.match(await answer, /^(HTTP\/1\.1 413 |$)/);
      }
    },
  },
  {
    name: "compressed bombs",
    async run({ server }) {
      const bomb = gzipSync(new Uint8Array(64 * MEGABYTE));
      assert.ok(bomb.length < MAX_BODY_BYTES);
      for (
        const name of [
          "Content-Encoding: gzip",
          "Content-Encoding: br, gzip",
          "Transfer-Encoding: gzip, chunked",
        ]
      ) {
        const isChunked = name.startsWith("Transfer");
        const headers = isChunked ? `${name}\r\n` : `${name}\r\nContent-Length: ${bomb.length}\r\n`;
        const start = isChunked ? toBytes(`${bomb.length.toString(16)}\r\n`) : new Uint8Array();
        const end = toBytes(isChunked ? "\r\n0\r\n\r\n" : "");
        const bytes = joinBytes(createRequest({ headers }), joinBytes(joinBytes(start, bomb), end));
        assert.match(await RawSocket.exchange(server.port, bytes), /^HTTP\/1\.1 (400|415|501) /, name);
      }
    },
  },
  {
    name: "offers to compress frames, and frames compressed all the same",
    async run({ port }) {
      const offers = [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits; server_max_window_bits=10",
        'permessage-deflate; permessage-deflate; nonsense="',
        "x-webkit-deflate-frame",
      ];
      for (const offer of offers) {
        using socket = await RawSocket.open(port);
        await socket.write(createHandshake("/attacked", `Sec-WebSocket-Extensions: ${offer}\r\n`));
        const head = await socket.readUntil("\r\n\r\n");
        assert.match(head, /^HTTP\/1\.1 (101|400) /);
        assert.ok(!/sec-websocket-extensions/i.test(head), head);
        if (!head.startsWith("HTTP/1.1 101")) continue;
        const bomb = gzipSync(new Uint8Array(16 * MEGABYTE));
        await socket.flood(createFrame(2, bomb, { bits: 0xc0 }), 1);
        await socket.readToEnd();
      }
    },
  },
  {
    name: "JSON of a depth and size that parsers fear",
    async run({ server }) {
      const bodies = [
        "[".repeat(90_000),
        `{"a":`.repeat(15_000),
        `${"[".repeat(45_000)}${"]".repeat(45_000)}`,
        `{"data":${"9".repeat(90_000)}}`,
        `{"__proto__":{"data":1},"constructor":{"prototype":{}}}`,
      ];
      for (const body of bodies) {
        const request = createRequest({
          ...withLength(body, "Content-Type: application/json\r\n"),
          target: "/json",
        });
        assert.match(
          await RawSocket.exchange(server.port, request),
          /^HTTP\/1\.1 (200|400|413) /,
          body.slice(0, 30),
        );
      }
      for (const body of bodies) {
        using socket = await RawSocket.upgrade(server.port, "/connection/websocket");
        await socket.write(createFrame(1, body));
        // A close frame with 3501: the session is over.
        await socket.readUntil("bad request");
      }
    },
  },
  {
    name: "handshakes with nonsense in them",
    async run({ server }) {
      const good = createHandshake("/attacked");
      const cases = [
        good.replace(KEY, "a".repeat(10_000)),
        good.replace("Version: 13", `Version: ${"1".repeat(5_000)}`),
        good.replace("Upgrade: websocket", "Upgrade: websocket, h2c"),
        good.replace("GET", "POST"),
        good.replace("Upgrade: websocket", "Upgrade: h2c"),
      ];
      for (const handshake of cases) {
        using socket = await RawSocket.open(server.port);
        await socket.write(handshake);
        const head = await socket.readUntil("\r\n\r\n");
        assert.match(head, /^(HTTP\/1\.[01] (200|4\d\d) |$)/, handshake);
      }
    },
  },
];
