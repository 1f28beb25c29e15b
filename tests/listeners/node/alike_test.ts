/**
 * The plain path of the node listener and `node:http` answer the same bytes alike: random requests, usual and not, on one
 * connection, cut into random pieces.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Peer } from "../../../lib/core/socket.ts";
import { listenNode } from "../../../lib/listeners/node/listener.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { RawSocket } from "../../raw_socket.ts";

const RUNS = Number(Deno.env.get("ALIKE_RUNS") ?? 200);

/** The requests of a conversation whose bodies arrived. */
let seen: string[] = [];

/** Says what a request was, in one of the ways that the app answers. */
async function describe(request: Request, { createResponse }: Peer): Promise<Response> {
  const { method, url, headers } = request;
  const path = url.slice(0, 2_000);
  if (path.includes("refused")) return new Response("no\n", { status: 403 });
  let body: string;
  try {
    const bytes = await request.bytes();
    body = `${bytes.length}:${new TextDecoder("latin1").decode(bytes.subarray(0, 40))}`;
  } catch {
    return new Response("the body ended early\n", { status: 400 });
  }
  const text = JSON.stringify({ method, path, headers: [...headers], body }) + "\n";
  seen.push(text);
  const fields = { "content-type": "application/json" };
  if (path.includes("empty")) return new Response(null, { status: 204 });
  if (path.includes("stream")) {
    return new Response(ReadableStream.from(speakLater(text)));
  }
  return createResponse?.(text, fields) ?? new Response(text, { headers: fields });
}

async function* speakLater(text: string) {
  await new Promise((resolve) => setImmediate(resolve));
  yield new TextEncoder().encode(text);
}

function listen() {
  return listenNode({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    headerTimeout: 60,
    // For bodies without their end: `node:http` does not always see that a client has closed its side.
    bodyTimeout: 1,
    maxConnections: 0,
    maxMessageBytes: 65_536,
    logger: new RecordingLogger(),
  }, describe);
}

const TARGETS = ["/news", "/a/b-c.d", "/a/../b", "/a/%2e%2E/b", "/%41?x=1&y=%20", "/refused", "/empty"];
const ODD_TARGETS = [
  "/stream",
  "*",
  "http://other.example/x",
  "/a b",
  "/#a",
  "/_inspect",
  "//x",
  "/é",
  "?",
  "",
];
const HOSTS = ["Host: localhost", "host: LOCALHOST:8000", "Host: 127.1:80", "HOST: [::1]:80"];
const ODD_HOSTS = ["Host:", "Host: a b", "Host: a/b", "Host: a@b", "X: y", "Host: a\r\nHost: b"];
const FIELDS = [
  "Content-Type: text/plain",
  "content-type: application/json; charset=utf-8",
  "Accept: */*",
  "X-A: b",
  "x-a: c, d",
  "Origin: http://localhost",
  "Connection: keep-alive",
  'User-Agent: a "b" (c; d)/1.0',
  "Idempotency-Key: 1",
];
const ODD_FIELDS = [
  "X-Empty:",
  "X-Space:  two ",
  "X-Tab:\ta\tb",
  "X-Fold: a\r\n b",
  "X-High: caf\u00e9",
  "X-Bare: a\nb",
  "X-Nul: a\0b",
  "X Name: a",
  "X-Colon : a",
  ": none",
  "no colon",
  "Connection: close",
  "Connection: upgrade",
  "Upgrade: h2c",
  "Expect: 100-continue",
  "Expect: wonders",
  "Transfer-Encoding: identity",
  "Transfer-Encoding: chunked",
  "Content-Length: 3",
  "Content-Length: 5, 5",
  "Content-Length: +3",
  "Content-Length:",
  "TE: trailers",
  "Trailer: X-After",
  "Keep-Alive: timeout=1",
  "Proxy-Connection: close",
  `X-Long: ${"x".repeat(5_000)}`,
];
const BODIES = [
  "",
  "hi",
  "it rains",
  "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
  "x".repeat(1_000),
  "caf\u00e9",
];

/** One time in so many something is unusual. */
function mostly<T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>, weight = 12): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: usual, weight }, { arbitrary: odd, weight: 1 });
}

const framing = (body: string) =>
  mostly<{ lines: string[]; body: string }>(
    fc.constant({ lines: [`Content-Length: ${body.length}`], body }),
    fc.constantFrom(
      { lines: ["Transfer-Encoding: chunked"], body: `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` },
      {
        lines: ["Transfer-Encoding: chunked"],
        body: `${body.length.toString(16)};a=b\r\n${body}\r\n0\r\nX-After: 1\r\n\r\n`,
      },
      { lines: [`Content-Length: ${body.length}`, "Transfer-Encoding: chunked"], body },
      { lines: [`Content-Length: ${body.length}`, `Content-Length: ${body.length}`], body },
      { lines: [`Content-Length: ${body.length}`, `Content-Length: ${body.length + 1}`], body },
      { lines: [`Content-Length: 0${body.length}`], body },
      { lines: [`Content-Length: ${body.length + 7}`], body: `${body}POST / ` },
      { lines: [], body },
    ),
    6,
  );

const request = fc.constantFrom(...BODIES).chain((body) =>
  fc.record({
    method: mostly(
      fc.constantFrom("POST", "PUT"),
      fc.constantFrom("GET", "HEAD", "PATCH", "PoST", "PRI", "P"),
    ),
    target: mostly(fc.constantFrom(...TARGETS), fc.constantFrom(...ODD_TARGETS)),
    version: mostly(fc.constant("HTTP/1.1"), fc.constantFrom("HTTP/1.0", "HTTP/2.0", "http/1.1", ""), 40),
    host: mostly(fc.constantFrom(...HOSTS), fc.constantFrom(...ODD_HOSTS), 30),
    fields: fc.array(mostly(fc.constantFrom(...FIELDS), fc.constantFrom(...ODD_FIELDS), 24), {
      maxLength: 6,
    }),
    framing: framing(body),
    end: mostly(fc.constant("\r\n"), fc.constantFrom("\n", "\r", "\r\n\r\n"), 40),
  }).chain(({ method, target, version, host, fields, framing, end }) =>
    fc.shuffledSubarray([host, ...framing.lines, ...fields], {
      minLength: fields.length + framing.lines.length + 1,
    }).map((lines) => `${method} ${target} ${version}${end}${lines.join(end)}${end}${end}${framing.body}`)
  )
);

/** Handshakes of WebSockets, which nobody accepts here: the answer is the last one of the connection. */
const handshake = fc.record({
  target: mostly(fc.constantFrom(...TARGETS), fc.constantFrom(...ODD_TARGETS)),
  connection: fc.constantFrom("Upgrade", "keep-alive, Upgrade", "upgrade", "close, upgrade", "keep-alive"),
  upgrade: fc.constantFrom("websocket", "WebSocket", "h2c", "websocket, h2c"),
  fields: fc.array(mostly(fc.constantFrom(...FIELDS), fc.constantFrom(...ODD_FIELDS), 24), { maxLength: 3 }),
}).map(({ target, connection, upgrade, fields }) =>
  [`GET ${target} HTTP/1.1`, "Host: localhost", `Connection: ${connection}`, `Upgrade: ${upgrade}`, ...fields]
    .join("\r\n") + "\r\n\r\n"
);

const conversation = fc.record({
  text: fc.array(mostly(request, handshake, 8), { minLength: 1, maxLength: 5 }).map((requests) =>
    requests.join("")
  ),
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 4 }),
  missing: mostly(fc.constant(0), fc.integer({ min: 1, max: 60 }), 40),
});

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0) & 0xff);
}

/** After this `node:http` has the connection. */
const HAND_OVER = "GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n";

interface Outcome {
  /** Without what refuses bytes that are no request. */
  readonly answers: readonly string[];
  readonly refusals: readonly string[];
  readonly seen: readonly string[];
}

/** Sends pieces, closes its side, and reads until the server has closed as well. */
async function talk(port: number, pieces: readonly Uint8Array[], isHandedOver = false): Promise<Outcome> {
  using socket = await RawSocket.open(port);
  seen = [];
  if (isHandedOver) {
    await socket.write(HAND_OVER);
    await socket.readUntil("}\n");
  }
  seen = [];
  const reading = socket.readToEnd();
  try {
    for (const piece of pieces) {
      await socket.write(piece);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await socket.closeWrite();
  } catch {
    // The server has refused it, and may have hung up.
  }
  const all = normalize(await reading);
  const isRefusal = (answer: string) => /urn:raindrops:|the body ended early/.test(answer);
  return {
    answers: all.filter((answer) => !isRefusal(answer)),
    refusals: all.filter(isRefusal),
    // `node:http` reads the bodies of pipelined requests at the same time.
    seen: seen.toSorted(),
  };
}

/** What `node:http` writes at once for an expectation, even into the answer to the request before. */
const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";

/** Answers as they mean: statuses, fields in any order, bodies. */
function normalize(answers: string): string[] {
  const split = answers.replaceAll(CONTINUE, "").split(/(?=HTTP\/1\.1 \d{3} )/).filter((answer) =>
    answer !== ""
  );
  return split.map((answer, i) => {
    const [head = "", ...body] = answer.split("\r\n\r\n");
    const [status = "", ...fields] = head.split("\r\n");
    const sorted = fields.map((field) => field.replace(/^[^:]+/, (name) => name.toLowerCase()))
      .filter((field) => !field.startsWith("date:"))
      // `node:http` does not know then that the client has closed its side.
      .filter((field) => i < split.length - 1 || !/^(connection|keep-alive):/.test(field)).sort();
    return [status, ...sorted, body.join("\r\n\r\n")].join("\n");
  });
}

Deno.test("The plain path and node:http answer the same bytes alike", async () => {
  const listener = await listen();
  const { port } = listener;
  try {
    await fc.assert(
      fc.asyncProperty(conversation, async ({ text, cuts, missing }) => {
        const bytes = toBytes(text).subarray(0, missing === 0 ? undefined : -missing);
        const ends = [...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length].sort((a, b) =>
          a - b
        );
        const pieces = ends.map((end, i) => bytes.subarray(ends[i - 1] ?? 0, end)).filter(({ length }) =>
          length > 0
        );
        const plain = await talk(port, pieces);
        const usual = await talk(port, pieces, true);
        assert.deepEqual(plain.seen, usual.seen);
        // `node:http` reads on before an answer has left, and drops it when what follows is no request; and it answers
        // before the body has arrived. It drops what it has not answered when a handshake follows.
        const isCut = plain.refusals.length + usual.refusals.length > 0 || /^upgrade: websocket/im.test(text);
        const shared = isCut ? Math.min(plain.answers.length, usual.answers.length) : undefined;
        assert.deepEqual(plain.answers.slice(0, shared), usual.answers.slice(0, shared));
      }),
      { numRuns: RUNS },
    );
  } finally {
    await listener.close(1_000);
  }
});
