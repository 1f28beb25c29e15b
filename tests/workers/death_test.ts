/** Workers that die: the others go on, clients resume without a loss, and a new worker takes the place. */
import assert from "node:assert/strict";
import { connectTo } from "../protocols/mqtt/app.ts";
import { startWorkers, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";
import type { Death, HANGING, Work } from "./mortal_thread.ts";

const MORTAL = new URL("./mortal_thread.ts", import.meta.url);

/** Importing it would begin what a worker does. */
const HANGING_WORKER: typeof HANGING = "HANGING_WORKER";

/** Enough connections that each of three workers has some, but for one case in ten thousand. */
const MANY = 24;

function kill(number: number, how: Death): void {
  command({ number, how });
}

function command(order: { readonly number: number; readonly how: Death } | Work): void {
  const channel = new BroadcastChannel("death of workers");
  channel.postMessage(order);
  channel.close();
}

async function publish(server: TestApp, text: string): Promise<number> {
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  try {
    const response = await fetch(`${server.url}/news`, { method: "POST", body: text, client });
    return (await response.json()).offset;
  } catch {
    // The connection was with the worker that died.
    return await publish(server, text);
  } finally {
    client.close();
  }
}

/** What an MQTT client has published comes as bytes. */
function textOf(message: string | Uint8Array): string {
  return typeof message === "string" ? message : new TextDecoder().decode(message);
}

async function waitForLog(server: TestApp, event: string, count = 1) {
  while (server.logger.find(event).length < count) await new Promise((resolve) => setTimeout(resolve, 10));
  return server.logger.find(event);
}

/** A subscriber that reconnects from where it was. */
class Follower implements Disposable {
  readonly received: string[] = [];
  cuts = 0;
  readonly #source: EventSource;

  constructor(url: string) {
    this.#source = new EventSource(url);
    this.#source.onmessage = ({ data }) => this.received.push(data);
    this.#source.onerror = () => this.cuts++;
  }

  [Symbol.dispose](): void {
    this.#source.close();
  }
}

for (const how of ["exit", "out of memory"] as const) {
  Deno.test({
    name: `A worker that dies (${how}) is replaced, and subscribers resume without a loss`,
    // EventSource leaves timers of its own behind.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using server = await startWorkers(["--workers", "3", "--max-connections", "100"], MORTAL);
      await publish(server, "0");
      await using stack = new AsyncDisposableStack();
      const followers = Array.from(
        { length: MANY },
        () => stack.use(new Follower(`${server.url}/news?since=0`)),
      );
      while (followers.some(({ received }) => received.length < 1)) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      const watchers = await Promise.all(
        Array.from({ length: MANY }, () => TestSocket.open(`${server.socketUrl}/news`)),
      );
      for (const watcher of watchers) stack.use(watcher);
      assert.equal(server.app.connectionCount, 2 * MANY);
      const sent = ["0"];
      let isOver = false;
      const publishing = (async () => {
        for (let i = 1; !isOver; i++) {
          sent.push(`${i}`);
          await publish(server, `${i}`);
        }
      })();
      kill(2, how);
      const [{ worker, reason }] = await waitForLog(server, "worker died, replacing it") as [
        { worker: number; reason: string },
      ];
      assert.equal(worker, 2);
      assert.match(reason, how === "exit" ? /status 3/ : /memory/);
      await waitForLog(server, "worker replaced");
      isOver = true;
      await publishing;
      const last = "the last one";
      await publish(server, last);
      while (followers.some(({ received }) => received.at(-1) !== last)) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      for (const { received } of followers) {
        // A publisher that lost its answer sends again: twice is allowed, missing is not.
        assert.deepEqual([...new Set(received)], [...sent, last]);
      }
      const cut = followers.filter(({ cuts }) => cuts > 0).length;
      assert.ok(cut > 0 && cut < MANY, `${cut} followers were on the worker that died`);
      const closed = watchers.filter(({ webSocket }) => webSocket.readyState === WebSocket.CLOSED).length;
      assert.ok(closed > 0 && closed < MANY, `${closed} sockets were on the worker that died`);
      assert.equal(
        server.app.connectionCount,
        2 * MANY - closed,
        "the limits have let go of them, and count who is back",
      );
      const metrics = await (await fetch(`${server.url}/metrics`)).text();
      assert.match(metrics, /^raindrops_workers 3$/m);
      assert.match(metrics, /^raindrops_worker_restarts_total 1$/m);
      assert.match(
        metrics,
        new RegExp(`^raindrops_connections\\{protocol="plain"\\} ${MANY - closed}$`, "m"),
      );
    },
  });
}

Deno.test("The members of a worker that dies leave at once", async () => {
  await using server = await startWorkers(["--workers", "2"], MORTAL);
  const sockets = await Promise.all(
    Array.from({ length: 16 }, (_, i) => TestSocket.open(`${server.socketUrl}/room?id=m${i}`)),
  );
  const count = async () => {
    const body = JSON.stringify({ channel: "room" });
    const response = await server.app.fetch(
      new Request(`${server.url}/api/presence_stats`, { method: "POST", body }),
      { address: "127.0.0.1", upgrade: () => new Response() },
    );
    return (await response.json()).result.num_clients;
  };
  while (await count() < 16) await new Promise((resolve) => setTimeout(resolve, 10));
  kill(1, "exit");
  await waitForLog(server, "worker died, replacing it");
  const left = sockets.filter(({ webSocket }) => webSocket.readyState === WebSocket.OPEN).length;
  assert.ok(await count() < 16, "without waiting for a silence of seconds");
  while (sockets.filter(({ webSocket }) => webSocket.readyState === WebSocket.OPEN).length > await count()) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(left > 0);
  await waitForLog(server, "worker replaced");
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
});

Deno.test("A worker that takes the place of another serves when it knows who is on the others, busy or not", async () => {
  await using server = await startWorkers(["--workers", "2"], MORTAL);
  const sockets = await Promise.all(
    Array.from({ length: MANY }, (_, i) => TestSocket.open(`${server.socketUrl}/room?id=m${i}`)),
  );
  const busyUntil = Date.now() + 2_000;
  command({ number: 1, busyUntil });
  kill(2, "exit");
  await waitForLog(server, "worker replaced");
  assert.ok(Date.now() >= busyUntil, "the other worker could not tell it before");
  const left = sockets.filter(({ webSocket }) => webSocket.readyState === WebSocket.OPEN).length;
  assert.ok(left > 0 && left < MANY, `${left} sockets are on the worker that goes on`);
  for (let i = 0; i < MANY; i++) {
    const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const { members } = await (await fetch(`${server.url}/room?presence`, { client })).json();
    assert.equal(members.length, left);
    client.close();
  }
  for (const socket of sockets) await socket[Symbol.asyncDispose]();
});

Deno.test("The wills of a worker that dies are published, delayed ones too, and no others", async () => {
  await using server = await startWorkers(["--workers", "2"], MORTAL);
  await using stack = new AsyncDisposableStack();
  const closed = new Set<number>();
  for (let i = 0; i < 12; i++) {
    const client = stack.use(
      await connectTo(`${server.socketUrl}/mqtt`, {
        protocolVersion: 5,
        clientId: `lamp ${i}`,
        reconnectPeriod: 0,
        properties: { sessionExpiryInterval: 60 },
        will: { topic: `wills/${i}`, payload: `${i}`, qos: 1, properties: { willDelayInterval: i % 2 } },
      }),
    );
    client.client.on("error", () => {}).on("close", () => closed.add(i));
  }
  kill(1, "exit");
  await waitForLog(server, "worker replaced");
  assert.ok(closed.size > 0 && closed.size < 12, `${closed.size} clients were on the worker that died`);
  await using watcher = await TestSocket.open(`${server.socketUrl}/wills/*?since=earliest`);
  const published = new Set<string>();
  while (published.size < closed.size) published.add(textOf(await watcher.next()));
  assert.deepEqual([...published].sort(), Array.from(closed, String).sort());
  const { messages } = await (await fetch(`${server.url}/wills/*?since=earliest`)).json();
  assert.equal(messages.length, closed.size);
});

Deno.test("A worker that hangs while it starts is given up: another takes its place, or the server does not start", async () => {
  try {
    Deno.env.set(HANGING_WORKER, "1");
    await assert.rejects(
      startWorkers(["--workers", "2"], MORTAL, 2_000),
      { message: /^it did not start within 2 seconds/ },
    );
    Deno.env.delete(HANGING_WORKER);
    // Long enough for healthy ones beside other tests.
    await using server = await startWorkers(["--workers", "2"], MORTAL, 8_000);
    Deno.env.set(HANGING_WORKER, "2");
    kill(2, "exit");
    const [, { reason }] = await waitForLog(server, "worker died, replacing it", 2) as [
      unknown,
      { reason: string },
    ];
    assert.match(reason, /^it did not start within 8 seconds/);
    assert.equal(await publish(server, "meanwhile"), 1);
    Deno.env.delete(HANGING_WORKER);
    await waitForLog(server, "worker replaced");
  } finally {
    Deno.env.delete(HANGING_WORKER);
  }
});

Deno.test("A worker that dies while the server stops is told of", async () => {
  await using server = await startWorkers(["--workers", "2"], MORTAL);
  server.app.drain();
  kill(2, "exit");
  const [{ worker, reason }] = await waitForLog(server, "worker died while stopping") as [
    { worker: number; reason: string },
  ];
  assert.equal(worker, 2);
  assert.match(reason, /status 3/);
});
