/** Which requests the main thread answers, and streams between threads: chunk by chunk, in bounds, and ended from both sides. */
import assert from "node:assert/strict";
import type { App } from "../../lib/app.ts";
import { answerForwarded, isOfProcess } from "../../lib/workers/forward.ts";
import { StreamLink } from "../../lib/workers/stream_link.ts";
import { RawSocket } from "../raw_socket.ts";
import { startWorkers } from "../test_app.ts";

const MOUNTED = new Set([
  "/healthz",
  "/readyz",
  "/metrics",
  "/_push",
  "/_inspect/stream",
  "/_inspect/clients",
]);

Deno.test("isOfProcess() picks what concerns the process, and neither channels nor pages", () => {
  const ask = (path: string, method = "GET") =>
    isOfProcess({ method, url: `http://127.0.0.1:8000${path}` }, MOUNTED);
  for (
    const path of [
      "/healthz",
      "/readyz",
      "/metrics",
      "/metrics?x=/",
      "/api/publish",
      "/_inspect/stream?a#b",
      // The routes know these as well.
      "/%6detrics",
      "/%61pi/info",
      "/_%69nspect/clients",
    ]
  ) {
    assert.ok(ask(path), path);
  }
  for (
    const path of [
      "",
      "/",
      "/api",
      "/api/",
      "/metricsx",
      "/_inspect",
      "/_inspect/",
      "/_inspect/nothing",
      "/a/metrics",
      "/news?/metrics",
      "/%256detrics",
      "/%",
    ]
  ) {
    assert.ok(!ask(path), path);
  }
});

Deno.test("isOfProcess() leaves requests to the worker that could not be made again in another thread", () => {
  for (const method of ["TRACE", "get", "Post", "PATCH"]) {
    assert.ok(!isOfProcess({ method, url: "http://127.0.0.1:8000/metrics" }, MOUNTED), method);
  }
  for (const host of ["a b", "[", "a:99999", "%", "@"]) {
    assert.ok(!isOfProcess({ method: "GET", url: `http://${host}/metrics` }, MOUNTED), host);
  }
});

Deno.test("Workers answer what cannot be handed to the main thread, as one thread would", async () => {
  await using server = await startWorkers(["--workers", "2", "--listener", "deno"]);
  const ask = async (line: string, host = "localhost") => {
    using socket = await RawSocket.open(server.port);
    await socket.write(`${line} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
    return await socket.readToEnd();
  };
  assert.match(await ask("TRACE /metrics"), /^HTTP\/1.1 405 /);
  assert.match(await ask("get /metrics"), /^HTTP\/1.1 405 /);
  assert.match(await ask("GET /metrics", "a:99999"), /^HTTP\/1.1 400 /);
  assert.match(await ask("GET /%6detrics"), /^raindrops_workers 2$/m);
  assert.match(await ask("GET /_inspect/nothing"), /^HTTP\/1.1 404 .*Nothing is at /s);
  assert.equal(server.logger.find("unexpected rejection").length, 0);
});

Deno.test("A stream of the main thread ends with a client that closes its side (node listener)", async () => {
  await using server = await startWorkers(["--workers", "2", "--listener", "node"]);
  using socket = await RawSocket.open(server.port);
  await socket.write("GET /_inspect/tail?channel=news HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await socket.readUntil("\r\n\r\n");
  await socket.closeWrite();
  await socket.readToEnd();
});

/** Two ends of a link, as two threads have them. */
function createLinks(): readonly [StreamLink, StreamLink] {
  const ends: StreamLink[] = [];
  for (const other of [1, 0]) {
    ends.push(new StreamLink((word) => queueMicrotask(() => ends[other]!.hear(structuredClone(word)))));
  }
  return ends as [StreamLink, StreamLink];
}

function count(to: number, onCancel: () => void = () => {}) {
  let made = 0;
  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
    pull(controller) {
      if (made === to) controller.close();
      else controller.enqueue(new Uint8Array([made++]));
    },
    cancel: onCancel,
  }, { highWaterMark: 0 });
  return { stream, made: () => made };
}

Deno.test("StreamLink carries all chunks in order, and forgets the stream at its end", async () => {
  const [one, two] = createLinks();
  one.offer(1, count(100).stream);
  const chunks = await Array.fromAsync(two.open(1));
  assert.deepEqual(chunks.map(([byte]) => byte), Array.from({ length: 100 }, (_, i) => i));
  assert.deepEqual([one.size, two.size], [0, 0]);
});

Deno.test("StreamLink reads no further than its reader, and ends with it", async () => {
  const [one, two] = createLinks();
  const cancelled = Promise.withResolvers<void>();
  const { stream, made } = count(100, cancelled.resolve);
  one.offer(1, stream);
  const reader = two.open(1).getReader();
  await reader.read();
  await reader.read();
  assert.ok(made() <= 4, `${made()} chunks were made for 2`);
  await reader.cancel();
  await cancelled.promise;
  assert.deepEqual([one.size, two.size], [0, 0]);
});

Deno.test("answerForwarded() lets go of a body that nobody reads, or still waits for", async () => {
  for (const isRead of [false, true]) {
    const [one, two] = createLinks();
    const cancelled = Promise.withResolvers<void>();
    one.offer(
      2,
      new ReadableStream({ pull: () => new Promise(() => {}), cancel: () => cancelled.resolve() }),
    );
    const app = {
      fetch(request: Request) {
        if (isRead) request.bytes().catch(() => {});
        return Promise.resolve(new Response(null, { status: 408 }));
      },
    };
    const request = { method: "POST", url: "http://localhost/api/info", headers: [], hasBody: true };
    const answer = await answerForwarded(app as unknown as App, two, 2, { ...request, address: "127.0.0.1" });
    assert.equal(answer.status, 408);
    await cancelled.promise;
    assert.deepEqual([one.size, two.size], [0, 0]);
  }
});

Deno.test("StreamLink tells the reader of a stream that breaks, and both ends of a thread that is gone", async () => {
  const [one, two] = createLinks();
  one.offer(1, new ReadableStream({ pull: () => Promise.reject(new Error("secret")) }));
  await assert.rejects(Array.fromAsync(two.open(1)), /^TypeError: The stream broke off$/);
  const cancelled = Promise.withResolvers<void>();
  one.offer(2, count(9, cancelled.resolve).stream);
  const reader = two.open(2).getReader();
  await reader.read();
  one[Symbol.dispose]();
  two[Symbol.dispose]();
  await cancelled.promise;
  await assert.rejects(reader.read().then(() => reader.read()), /gone/);
  assert.deepEqual([one.size, two.size], [0, 0]);
});
