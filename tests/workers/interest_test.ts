/** A worker hears only of what its clients want. So who has just subscribed, by whatever protocol, must miss nothing. */
import assert from "node:assert/strict";
import { RawClient } from "../protocols/centrifuge/app.ts";
import { connectTo } from "../protocols/mqtt/app.ts";
import { RawPusher, startPusherApp } from "../protocols/pusher/pusher_app.ts";
import { readLines } from "../read_lines.ts";
import { startWorkers, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

/** Subscribers, each to a channel that nobody had before: enough for all three workers, as publishers and readers. */
const ROUNDS = 25;

/** Publishes over a connection of its own, so that any worker may get it. */
async function post(server: TestApp, channel: string, body: string): Promise<void> {
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const response = await fetch(`${server.url}/${channel}`, { method: "POST", body, client });
  await response.body?.cancel();
  client.close();
  assert.ok(response.ok, `${response.status}`);
}

/** Subscribes to a channel with a protocol, and resolves to what reads the next message once that is done. */
type Subscribe = (
  server: TestApp,
  channel: string,
  stack: AsyncDisposableStack,
) => Promise<() => Promise<string>>;

const PROTOCOLS: Readonly<Record<string, Subscribe>> = {
  async WebSocket(server, channel, stack) {
    const socket = stack.use(await TestSocket.open(`${server.socketUrl}/${channel}`));
    return async () => String(await socket.next());
  },
  async "WebSocket to a pattern"(server, channel, stack) {
    const pattern = channel.replace(/[^/]+$/, "*");
    const socket = stack.use(await TestSocket.open(`${server.socketUrl}/${pattern}`));
    return async () => String(await socket.next());
  },
  async NDJSON(server, channel, stack) {
    const lines = stack.use(await readLines(`${server.url}/${channel}?follow`));
    await lines.take(1);
    return async () => JSON.parse((await lines.take(1))[0]!).data;
  },
  async Centrifuge(server, channel, stack) {
    const client = stack.use(await RawClient.connect(server));
    await client.call("subscribe", { channel });
    return async () => (await client.next()).push.pub.data;
  },
  async Pusher(server, channel, stack) {
    const client = stack.use(await RawPusher.connect(server));
    client.send("pusher:subscribe", { channel });
    assert.match(await client.read(), /subscription_succeeded/);
    return async () => JSON.parse(JSON.parse(await client.read()).data);
  },
  async MQTT(server, channel, stack) {
    const client = stack.use(await connectTo(`${server.socketUrl}/mqtt`, { protocolVersion: 5 }));
    await client.client.subscribeAsync(channel.replace(/[^/]+$/, "+"), { qos: 1 });
    return async () => (await client.next()).text;
  },
};

for (const [name, subscribe] of Object.entries(PROTOCOLS)) {
  Deno.test(`Workers deliver to who has just subscribed to a channel that nobody had: ${name}`, async () => {
    await using server = await startPusherApp("--workers", "3");
    await using stack = new AsyncDisposableStack();
    await Promise.all(Array.from({ length: ROUNDS }, async (_, round) => {
      // Pusher's names have no slash.
      const channel = name === "Pusher" ? `room-${round}` : `rooms/${round}/talk`;
      const next = await subscribe(server, channel, stack);
      for (const text of ["one", "two", "three"]) await post(server, channel, text);
      for (const text of ["one", "two", "three"]) assert.equal(await next(), text);
    }));
  });
}

Deno.test("Workers hand over from history to live without a gap, for who joins while messages are stored", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  await using stack = new AsyncDisposableStack();
  const count = 200;
  const texts = Array.from({ length: count }, (_, i) => `${i}`);
  const reading: Promise<void>[] = [];
  for (const [i, text] of texts.entries()) {
    if (i % 20 === 0) {
      reading.push((async () => {
        const socket = stack.use(await TestSocket.open(`${server.socketUrl}/busy?since=0`));
        for (const text of texts) assert.equal(String(await socket.next()), text);
      })());
    }
    await post(server, "busy", text);
  }
  await Promise.all(reading);
});

Deno.test("Workers give to who subscribes over MQTT each retained message, as such or live", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  await using stack = new AsyncDisposableStack();
  const values = Array.from({ length: 10 }, (_, i) => `${i}`);
  await Promise.all(Array.from({ length: ROUNDS }, async (_, round) => {
    const client = stack.use(await connectTo(`${server.socketUrl}/mqtt`, { protocolVersion: 5 }));
    const publishing = (async () => {
      for (const value of values) await post(server, `lamps/${round}/${value}?retain`, value);
    })();
    await client.client.subscribeAsync(`lamps/${round}/+`, { qos: 1 });
    await publishing;
    const got = new Set<string>();
    while (got.size < values.length) got.add((await client.next()).text);
  }));
});

Deno.test("A stream's first id is the newest, also on a worker that has heard of nothing", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  for (let i = 0; i < 10; i++) await post(server, "elsewhere", `${i}`);
  // Each has a connection of its own, and so any worker.
  for (let round = 0; round < 10; round++) {
    await using lines = await readLines(`${server.url}/quiet`, { accept: "text/event-stream" });
    let id: string | undefined;
    while (id === undefined) id = /^id: ?(.*)$/.exec((await lines.take(1))[0]!)?.[1];
    assert.match(id, /-10$/);
  }
});

Deno.test("A stream goes on from its first id without a gap, while messages are stored", async () => {
  await using server = await startWorkers(["--workers", "3"]);
  await using stack = new AsyncDisposableStack();
  let isOver = false;
  const posting = Array.from({ length: 3 }, async () => {
    while (!isOver) await post(server, "busy", "x");
  });
  stack.defer(async () => {
    isOver = true;
    await Promise.all(posting);
  });
  for (let round = 0; round < 40; round++) {
    await using lines = await readLines(`${server.url}/busy`, { accept: "text/event-stream" });
    const sequences: number[] = [];
    while (sequences.length < 3) {
      const id = /^id: ?.*-([0-9]+)$/.exec((await lines.take(1))[0]!)?.[1];
      if (id !== undefined) sequences.push(Number(id));
    }
    const [first, second, third] = sequences as [number, number, number];
    // What was on its way already may come once more.
    assert.ok(second <= first + 1 && third === second + 1, `${sequences}`);
  }
});
