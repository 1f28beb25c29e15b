/** Webhooks across crashes: the server is killed again and again, the receiver fails, stalls and restarts meanwhile. */
import assert from "node:assert/strict";
import { testWithNats } from "../engines/jetstream/fixture.ts";
import { NatsCluster } from "../nats_cluster.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { assertOrder, Receiver, SECRET } from "./receiver.ts";

const CHANNELS = ["a", "b/1", "b/2", "c/x/y"];

/** Publishes to a channel until told to stop, whatever the server does; keeps the newest offset that was confirmed. */
async function publishUntil(
  url: () => string,
  channel: string,
  confirmed: Map<string, number>,
  signal: AbortSignal,
): Promise<void> {
  for (let i = 1; !signal.aborted; i++) {
    try {
      const response = await fetch(`${url()}/${channel}`, { method: "POST", body: `${channel} ${i}` });
      const body = await response.json();
      if (response.ok) confirmed.set(channel, body.offset);
    } catch {
      // Killed or not up yet: nothing was confirmed.
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Rules that keep everything, so that no gap is to be expected. */
async function writeRules(directory: string): Promise<string> {
  const path = `${directory}/rules.json`;
  await Deno.writeTextFile(path, JSON.stringify([{ channels: "**", history: { messages: 1_000_000 } }]));
  return path;
}

/** Answers badly for a share of the requests, differently each time. */
function misbehave(receiver: Receiver): void {
  let count = 0;
  receiver.answer = () => {
    count++;
    if (count % 7 === 3) return new Response("no", { status: 500 });
    if (count % 11 === 5) {
      return new Response(null, { status: 302, headers: { location: "http://127.0.0.1:1/" } });
    }
    return new Response(null, { status: 204 });
  };
}

function countTo(receiver: Receiver, more: number): Promise<void> {
  const target = receiver.taken.length + more;
  return receiver.until(() => receiver.taken.length >= target);
}

/** Whether everything that was confirmed has arrived. */
function hasAll(receiver: Receiver, confirmed: ReadonlyMap<string, number>): boolean {
  const newest = new Map<string, number>();
  for (const { channel, offset } of receiver.events) newest.set(channel, offset);
  return [...confirmed].every(([channel, offset]) => (newest.get(channel) ?? 0) >= offset);
}

Deno.test("Every stored message arrives in order although the server is killed 8 times", async () => {
  await using receiver = new Receiver();
  misbehave(receiver);
  const directory = await Deno.makeTempDir();
  await using server = await startServer({
    flags: [
      "--engine",
      `sqlite:${directory}/log.db`,
      "--log-level",
      "warn",
      "--rules",
      await writeRules(directory),
    ],
    env: { RAINDROPS_WEBHOOK_URL: receiver.url, RAINDROPS_WEBHOOK_SECRET: SECRET },
  });
  const confirmed = new Map<string, number>();
  const stop = new AbortController();
  const publishers = CHANNELS.map((channel) =>
    publishUntil(() => server.url, channel, confirmed, stop.signal)
  );
  for (let i = 0; i < 8; i++) {
    await countTo(receiver, 3 + i);
    // Every other time it is away when the server dies.
    if (i % 2 === 1) await receiver.stop();
    await server.kill();
    await server.start();
    if (i % 2 === 1) receiver.start();
  }
  await countTo(receiver, 3);
  stop.abort();
  await Promise.all(publishers);
  await receiver.until(() => hasAll(receiver, confirmed));
  assert.deepEqual(receiver.events.filter(({ type }) => type !== "message"), []);
  assertOrder(receiver.events, confirmed);
  assert.equal(confirmed.size, CHANNELS.length);
  await Deno.remove(directory, { recursive: true });
});

testWithNats(
  "Another node sends when the sending one is killed, and every message arrives in order",
  async () => {
    await using receiver = new Receiver();
    misbehave(receiver);
    await using nats = await NatsCluster.start(1);
    const directory = await Deno.makeTempDir();
    const options = {
      flags: ["--engine", `nats://${nats.hosts}?stream=test`, "--rules", await writeRules(directory)],
      env: { RAINDROPS_WEBHOOK_URL: receiver.url, RAINDROPS_WEBHOOK_SECRET: SECRET },
    };
    const servers: ServerProcess[] = [];
    await using stack = new AsyncDisposableStack();
    for (let i = 0; i < 2; i++) servers.push(stack.use(await startServer(options)));
    await Promise.all(servers.map((server) => server.line(/node found .*nodes=2/)));
    const confirmed = new Map<string, number>();
    const stop = new AbortController();
    let alive = servers;
    const publishers = CHANNELS.map((channel, i) =>
      publishUntil(() => alive[i % alive.length]!.url, channel, confirmed, stop.signal)
    );
    await countTo(receiver, 10);
    // Only the sender logs failures of the target.
    const sender = servers.find(({ lines }) => lines.some((line) => line.includes("webhook failed")));
    assert.ok(sender !== undefined);
    alive = servers.filter((server) => server !== sender);
    const sent = receiver.taken.length;
    await sender.kill();
    await countTo(receiver, 10);
    assert.ok(receiver.taken.length > sent);
    stop.abort();
    await Promise.all(publishers);
    await receiver.until(() => hasAll(receiver, confirmed));
    assert.deepEqual(receiver.events.filter(({ type }) => type !== "message"), []);
    assertOrder(receiver.events, confirmed);
    await Deno.remove(directory, { recursive: true });
  },
);
