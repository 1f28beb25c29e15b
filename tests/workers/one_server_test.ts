/** A server of three workers is one server to its clients and its operator: order, positions, limits, who is where, numbers. */
import assert from "node:assert/strict";
import { Receiver, SECRET } from "../hooks/receiver.ts";
import { RawClient } from "../protocols/centrifuge/app.ts";
import { connectTo } from "../protocols/mqtt/app.ts";
import { startWorkers, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

/** Enough connections that each of three workers has some, but for one case in a hundred. */
const MANY = 15;

/** A request over a connection of its own, so that any worker may get it. */
async function ask(server: TestApp, path: string, init: RequestInit = {}) {
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  try {
    const response = await fetch(`${server.url}${path}`, { ...init, client });
    return { status: response.status, headers: response.headers, text: await response.text() };
  } finally {
    client.close();
  }
}

async function post(server: TestApp, path: string, body: string, headers: Record<string, string> = {}) {
  const { status, text } = await ask(server, path, { method: "POST", body, headers });
  return { status, body: JSON.parse(text) };
}

async function call(server: TestApp, method: string, body: object) {
  const { text } = await ask(server, `/api/${method}`, { method: "POST", body: JSON.stringify(body) });
  return JSON.parse(text);
}

function openSockets(server: TestApp, count: number, path = "/news"): Promise<TestSocket[]> {
  return Promise.all(
    Array.from(
      { length: count },
      (_, i) => TestSocket.open(`${server.socketUrl}${path}?id=c${i}&name=n${i}`),
    ),
  );
}

/** Resolves when a condition holds, of which the threads have to hear from each other. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!await holds()) await new Promise((resolve) => setTimeout(resolve, 5));
}

async function readMetric(server: TestApp, name: string): Promise<number> {
  const { text } = await ask(server, "/metrics");
  const line = text.split("\n").find((line) => line.startsWith(`${name} `));
  return Number(line?.split(" ")[1]);
}

async function closeAll(sockets: readonly TestSocket[]): Promise<void> {
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
}

for (const listener of ["deno", "node"]) {
  Deno.test(`Workers deliver all messages to all subscribers in one order (${listener} listener)`, async () => {
    await using server = await startWorkers(["--workers", "3", "--listener", listener]);
    const sockets = await openSockets(server, MANY);
    const receipts = await Promise.all(
      Array.from({ length: 60 }, (_, i) => post(server, "/news", `${i}`)),
    );
    const offsets = receipts.map(({ body }) => body.offset).sort((a, b) => a - b);
    assert.deepEqual(offsets, Array.from({ length: 60 }, (_, i) => i + 1));
    assert.ok(receipts.every(({ body }) => body.subscribers === MANY));
    const stored = JSON.parse((await ask(server, "/news?since=0")).text).messages
      .map(({ data }: { data: string }) => data);
    for (const socket of sockets) {
      const received: unknown[] = [];
      while (received.length < 60) received.push(await socket.next());
      assert.deepEqual(received, stored);
    }
    await closeAll(sockets);
  });
}

Deno.test("Workers find one client by its id, whichever has it", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  const sockets = await openSockets(server, MANY);
  for (const [i, socket] of sockets.entries()) {
    await until(async () => (await post(server, `/news?to=c${i}`, `for ${i}`)).status === 200);
    assert.equal(await socket.next(), `for ${i}`);
  }
  const members = async () => {
    const { result } = await call(server, "presence", { channel: "news" });
    return Object.keys(result.presence).length;
  };
  await until(async () => await members() === MANY);
  await sockets.pop()![Symbol.asyncDispose]();
  await until(async () => await members() === MANY - 1);
  assert.equal((await post(server, "/news?to=c14", "gone")).status, 404);
  await closeAll(sockets);
});

Deno.test("Workers hand over the largest messages to one client, and schedule them", async () => {
  await using server = await startWorkers([
    "--workers",
    "3",
    "--max-body-bytes",
    "4000000",
    "--max-message-bytes",
    "3000000",
  ]);
  const sockets = await openSockets(server, MANY);
  const large = "x".repeat(3_000_000);
  for (const [i, socket] of sockets.entries()) {
    await until(async () => (await post(server, `/news?to=c${i}`, large)).status === 200);
    assert.equal(await socket.next(), large);
  }
  assert.equal((await ask(server, "/news?delay=0.1", { method: "POST", body: large })).status, 202);
  assert.equal(await sockets[0]!.next(), large);
  await closeAll(sockets);
});

Deno.test("Workers store a message with an idempotency key once, wherever its copies arrive", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  const copies = await Promise.all(
    Array.from({ length: 24 }, () => post(server, "/news", "once", { "idempotency-key": "k" })),
  );
  assert.deepEqual(new Set(copies.map(({ body }) => body.offset)), new Set([1]));
  assert.equal((await post(server, "/news", "next")).body.offset, 2);
});

Deno.test("Workers hold together to the limits of connections in all, and free what has ended", async () => {
  await using server = await startWorkers(["--workers", "3", "--max-connections", "10"]);
  const attempts = await Promise.allSettled(
    Array.from({ length: 30 }, () => TestSocket.open(`${server.socketUrl}/news`)),
  );
  const opened = attempts.filter((attempt) => attempt.status === "fulfilled").map(({ value }) => value);
  assert.equal(opened.length, 10);
  assert.equal((await ask(server, "/news", { headers: { accept: "text/event-stream" } })).status, 503);
  await closeAll(opened.splice(0, 4));
  await until(() => server.app.connectionCount === 6);
  const again = await Promise.allSettled(
    Array.from({ length: 12 }, () => TestSocket.open(`${server.socketUrl}/news`)),
  );
  const reopened = again.filter((attempt) => attempt.status === "fulfilled").map(({ value }) => value);
  assert.equal(reopened.length, 4);
  await closeAll([...opened, ...reopened]);
});

Deno.test("Workers hold together to the limits of an address: connections, and messages a second", async () => {
  await using server = await startWorkers([
    "--workers",
    "3",
    "--max-connections-per-address",
    "7",
    "--max-publish-rate-per-address",
    "1",
    "--publish-burst",
    "9",
  ]);
  const attempts = await Promise.allSettled(
    Array.from({ length: 21 }, () => TestSocket.open(`${server.socketUrl}/news`)),
  );
  const opened = attempts.filter((attempt) => attempt.status === "fulfilled").map(({ value }) => value);
  assert.equal(opened.length, 7);
  const start = performance.now();
  const posts = await Promise.all(Array.from({ length: 40 }, (_, i) => post(server, "/news", `${i}`)));
  const seconds = Math.ceil((performance.now() - start) / 1_000);
  const stored = posts.filter(({ status }) => status === 200).length;
  assert.ok(stored >= 9 && stored <= 9 + seconds, `${stored} messages in ${seconds} s`);
  assert.ok(posts.every(({ status }) => status === 200 || status === 429));
  await closeAll(opened);
});

Deno.test("Metrics, inspector and API tell of all workers as of one server", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  const sockets = await openSockets(server, MANY);
  for (let i = 0; i < 20; i++) await post(server, "/news", "rain");
  assert.equal(await readMetric(server, "raindrops_published_messages_total"), 20);
  assert.equal(await readMetric(server, "raindrops_delivered_messages_total"), 20 * MANY);
  assert.equal(await readMetric(server, 'raindrops_connections{protocol="plain"}'), MANY);
  assert.equal(await readMetric(server, "raindrops_delivery_latency_seconds_count"), 20);
  await until(async () => await readMetric(server, "raindrops_subscriptions") === MANY);
  assert.equal(await readMetric(server, "raindrops_channels"), 1);
  assert.equal(await readMetric(server, "raindrops_nodes"), 1);
  assert.equal(await readMetric(server, "raindrops_workers"), 3);
  await post(server, "/bad%20", "refused");
  assert.equal(await readMetric(server, 'raindrops_refusals_total{reason="bad_channel"}'), 1);

  const clients = async (filter = "") =>
    JSON.parse((await ask(server, `/_inspect/clients?filter=${filter}`)).text);
  const all = await clients();
  assert.equal(all.total, MANY);
  assert.equal(new Set(all.rows.map(({ id }: { id: string }) => id)).size, MANY);
  const [{ connection }] = (await clients("n7")).rows;
  const details = JSON.parse((await ask(server, `/_inspect/client?connection=${connection}`)).text);
  assert.deepEqual([details.id, details.subscriptions], ["c7", ["news"]]);
  assert.equal(JSON.parse((await ask(server, "/_inspect/channel?channel=news")).text).readers.length, MANY);
  await ask(server, `/_inspect/disconnect?connection=${connection}`, { method: "POST" });
  assert.equal((await sockets[7]!.closed).code, 4403);
  assert.equal((await ask(server, `/_inspect/client?connection=${connection}`)).status, 404);

  const { result } = await call(server, "info", {});
  assert.equal(result.nodes.length, 1);
  await call(server, "disconnect", { user: "" });
  for (const socket of sockets) assert.ok((await socket.closed).code > 0);
  assert.equal((await call(server, "publish", { channel: "news", data: "by api" })).result.offset, 21);
});

Deno.test("A direct message finds a client that was answered before, whichever worker has it", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  for (let i = 0; i < MANY; i++) {
    await using client = await RawClient.open(server);
    const { connect } = await client.call("connect");
    const { status } = await post(server, `/@${connect.client}`, "psst");
    assert.equal(status, 200, `client ${i}`);
    assert.deepEqual(await client.next(), { push: { message: { data: "psst" } } });
  }
  assert.equal((await post(server, "/@nobody", "psst")).status, 404);
});

Deno.test("The inspector's stream and the backup come through a worker as they are, and end when their reader leaves", async () => {
  const folder = await Deno.makeTempDir({ prefix: "workers-" });
  try {
    await using server = await startWorkers(["--workers", "2", "--engine", `sqlite:${folder}/log.db`]);
    await post(server, "/news", "x".repeat(50_000));
    const stream = await fetch(`${server.url}/_inspect/stream`);
    const lines = stream.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (text.split("\n").length < 4) text += (await lines.read()).value;
    for (const line of text.split("\n").slice(0, 3)) assert.ok("samples" in JSON.parse(line));
    await lines.cancel();
    const response = await fetch(`${server.url}/api/backup`);
    const bytes = await response.bytes();
    assert.equal(bytes.length, Number(response.headers.get("content-length")));
    assert.equal(new TextDecoder().decode(bytes.subarray(0, 15)), "SQLite format 3");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("A webhook gets each message once, whichever worker it came to", async () => {
  await using receiver = new Receiver();
  await using server = await startWorkers([
    "--workers",
    "3",
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
  ]);
  const sent = Array.from({ length: 30 }, (_, i) => `${i}`);
  await Promise.all(sent.map((text) => post(server, "/news", text)));
  await receiver.until(() => receiver.texts().length >= 30);
  assert.deepEqual([...receiver.texts()].sort(), sent.sort());
});

Deno.test("Workers drain together: sockets are told, and what was accepted is stored", async () => {
  const folder = await Deno.makeTempDir({ prefix: "workers-" });
  const settings = ["--workers", "3", "--engine", `sqlite:${folder}/log.db`];
  try {
    const accepted: string[] = [];
    {
      await using server = await startWorkers(settings);
      const sockets = await openSockets(server, MANY);
      const posts = Array.from({ length: 50 }, async (_, i) => {
        const outcome = await post(server, "/news", `${i}`).catch(() => undefined);
        if (outcome?.status === 200) accepted.push(`${i}`);
      });
      await Promise.any(posts);
      server.app.drain();
      for (const socket of sockets) assert.equal((await socket.closed).code, 1012);
      assert.equal((await ask(server, "/readyz")).status, 503);
      assert.equal((await ask(server, "/news")).status, 503);
      await Promise.all(posts);
    }
    await using server = await startWorkers(settings);
    const { messages } = JSON.parse((await ask(server, "/news?since=0")).text);
    const stored = new Set(messages.map(({ data }: { data: string }) => data));
    for (const text of accepted) assert.ok(stored.has(text), `${text} was accepted`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("An MQTT client that returns to another worker takes its session over, with what it missed", async () => {
  await using server = await startWorkers(["--workers", "3", "--mqtt-port", "0"]);
  const { port } = server.logger.find("listening for mqtt")[0]!;
  const open = () =>
    connectTo(`mqtt://127.0.0.1:${port}`, { clientId: "lamp", clean: false, protocolVersion: 4 });
  let before = await open();
  await before.client.subscribeAsync("kitchen/#", { qos: 1 });
  // The kernel chooses the worker of each connection: of ten, hardly all have the same.
  for (let i = 0; i < 10; i++) {
    const closed = new Promise<void>((resolve) => before.client.once("close", () => resolve()));
    const next = await open();
    await closed;
    await post(server, "/kitchen/lamp", `${i}`);
    // What was not acknowledged in time comes again.
    while ((await next.next()).text !== `${i}`);
    before = next;
  }
  await before.client.endAsync();
  await post(server, "/kitchen/lamp", "missed");
  const last = await open();
  while ((await last.next()).text !== "missed");
  await last[Symbol.asyncDispose]();
});

Deno.test("What is scheduled by way of any worker is published once, when it is due", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  const [reader] = await openSockets(server, 1);
  for (let i = 0; i < 6; i++) {
    assert.equal(
      (await ask(server, `/news?delay=0.2&id=p${i}`, { method: "POST", body: `${i}` })).status,
      202,
    );
  }
  const received = new Set<unknown>();
  while (received.size < 6) received.add(await reader!.next());
  await post(server, "/news", "end");
  assert.equal(await reader!.next(), "end", "none comes twice");
  await reader![Symbol.asyncDispose]();
});

Deno.test("A scheduled message beyond the limit of retained ones is not published, though the engine's thread sends it", async () => {
  await using server = await startWorkers(["--workers", "2", "--mqtt-max-retained", "1", "--mqtt-port", "0"]);
  const { port } = server.logger.find("listening for mqtt")[0]!;
  assert.equal((await post(server, "/a?retain", "kept")).status, 200);
  const later = await ask(server, "/b?retain&delay=0.01", { method: "POST", body: "one too many" });
  assert.equal(later.status, 202);
  const readB = async () => JSON.parse((await ask(server, "/b?since=earliest")).text).messages;
  const listFailed = () => server.logger.find("scheduled message failed");
  await until(async () => listFailed().length > 0 || (await readB()).length > 0);
  assert.deepEqual(await readB(), []);
  assert.match(String(listFailed()[0]?.reason), /--mqtt-max-retained/);
  await using reader = await connectTo(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5 });
  // One that replaces the retained message of its channel takes no more room.
  await ask(server, "/a?retain&delay=0.01", { method: "POST", body: "replaced" });
  await until(async () => (await ask(server, "/a")).text.includes("replaced"));
  await reader.client.subscribeAsync("#", { qos: 1 });
  assert.equal((await reader.next()).text, "replaced");
});
