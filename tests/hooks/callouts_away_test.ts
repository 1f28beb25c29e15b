/**
 * An application that answers late, never, or nonsense: what clients of every protocol see, that others do not wait, and
 * that the server's memory stays bounded.
 */
import assert from "node:assert/strict";
import { connect } from "../protocols/mqtt/app.ts";
import { APP, RawPusher } from "../protocols/pusher/pusher_app.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";
import { Backend, CookieClient } from "./backend.ts";
import { writeHooks } from "./receiver.ts";

const V5 = { protocolVersion: 5, protocolId: "MQTT" } as const;
const MEGABYTES_10 = 10 * 1024 * 1024;
/** Questions of one kind that are under way at a time. */
const CONCURRENCY = 64;

/** An answer of 10 MB that takes the backend no memory. */
function createFlood(): Response {
  const chunk = new TextEncoder().encode("x".repeat(64 * 1024));
  let sent = 0;
  return new Response(
    new ReadableStream({
      pull(controller) {
        controller.enqueue(chunk);
        sent += chunk.byteLength;
        if (sent >= MEGABYTES_10) controller.close();
      },
    }),
  );
}

interface Away extends AsyncDisposable {
  readonly server: ServerProcess;
  readonly mqttPort: number;
  readonly socketUrl: string;
}

/** Starts a server, all protocols on, that asks about `private/**` and waits so many seconds for an answer. */
async function startServerAsking({ url }: Backend, timeout: number): Promise<Away> {
  const asked = { channels: ["private/**", "private-*", "club-*"], timeout };
  const hooks = await writeHooks({
    callouts: {
      subscribe: { url: `${url}/subscribe`, ...asked },
      publish: { url: `${url}/publish`, ...asked },
    },
  });
  const server = await startServer({
    flags: ["--hooks", hooks, "--mqtt-port", "0", "--log-format", "json"],
    env: { RAINDROPS_PUSHER_APP: `${APP.id}:${APP.key}:${APP.secret}` },
  });
  const { port } = JSON.parse(await server.line(/listening for mqtt/));
  return {
    server,
    mqttPort: port,
    socketUrl: server.socketUrl,
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What clients of each protocol are told when they subscribe and publish. */
async function readRefusals({ server, mqttPort, socketUrl }: Away) {
  const status = async (init: RequestInit) => {
    const response = await fetch(`${server.url}/private/1`, init);
    await response.body?.cancel();
    return response.status;
  };
  const [read, posted] = [
    await status({ headers: { accept: "application/json" } }),
    await status({ method: "POST", body: "x" }),
  ];
  using centrifuge = await CookieClient.open(socketUrl, "");
  await centrifuge.send({ connect: {} });
  const subscribed = await centrifuge.send({ subscribe: { channel: "private/1" } });
  const published = await centrifuge.send({ publish: { channel: "private/1", data: 1 } });
  await using mqtt = await connect({ mqttPort } as never, V5);
  const code = (promise: Promise<unknown>) =>
    promise.then(() => "accepted", (error) => error.code ?? error.packet?.granted?.[0] ?? error.message);
  const mqttSubscribed = await code(mqtt.client.subscribeAsync("private/1"));
  const mqttPublished = await code(mqtt.client.publishAsync("private/1", "x", { qos: 1 }));
  await using pusher = await RawPusher.connect({ socketUrl });
  pusher.socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel: "club-1" } }));
  const frame = JSON.parse(await pusher.read());
  return {
    urls: [read, posted],
    centrifuge: [subscribed.error?.code, subscribed.error?.temporary, published.error?.code],
    mqtt: [mqttSubscribed, mqttPublished],
    pusher: [frame.event, (typeof frame.data === "string" ? JSON.parse(frame.data) : frame.data).type],
  };
}

const REFUSALS = {
  urls: [503, 503],
  centrifuge: [100, true, 100],
  // Neither SUBACK nor PUBACK has a reason for it but "unspecified".
  mqtt: [0x80, 0x80],
  pusher: ["pusher:subscription_error", "AuthError"],
};

Deno.test("Clients of every protocol are told that an application is away, whichever way it is", async (t) => {
  let release = () => {};
  const ways: Readonly<Record<string, () => unknown>> = {
    // Five seconds, or never: for whoever waits less it is the same. It comes when everybody was told.
    "too late": async () => {
      await new Promise<void>((resolve) => {
        const before = release;
        release = () => {
          before();
          resolve();
        };
      });
      return { result: {} };
    },
    garbage: () => new Response("<html>"),
    "with 500": () => new Response("no", { status: 500 }),
    "with a redirect": () => new Response(null, { status: 307, headers: { location: "/elsewhere" } }),
    "with 10 MB": createFlood,
  };
  for (const [name, answer] of Object.entries(ways)) {
    await t.step(`that answers ${name}`, async () => {
      await using backend = new Backend();
      backend.answer = answer;
      await using away = await startServerAsking(backend, 0.3);
      using _release = { [Symbol.dispose]: () => release() };
      assert.deepEqual(await readRefusals(away), REFUSALS);
      assert.equal(backend.of("elsewhere").length, 0, "redirects are not followed");
    });
  }
});

Deno.test("Nobody else waits for an application that never answers", async () => {
  await using backend = new Backend();
  const held = Promise.withResolvers<void>();
  using _held = { [Symbol.dispose]: held.resolve };
  const { promise: full, resolve: noteFull } = Promise.withResolvers<void>();
  backend.answer = async () => {
    if (backend.asked.length === CONCURRENCY) noteFull();
    await held.promise;
    return { result: {} };
  };
  await using away = await startServerAsking(backend, 60);
  const { server, mqttPort, socketUrl } = away;
  let answered = 0;
  const waiting = Array.from({ length: 3 * CONCURRENCY }, async (_, i) => {
    const response = await fetch(`${server.url}/private/${i}`, { method: "POST", body: "x" });
    answered++;
    await response.body?.cancel();
    return response.status;
  });
  await full;
  await using socket = await TestSocket.open(`${socketUrl}/news`);
  await using mqtt = await connect({ mqttPort } as never, V5);
  await mqtt.client.subscribeAsync("news");
  await using pusher = await RawPusher.connect({ socketUrl });
  pusher.socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel: "news" } }));
  assert.match(await pusher.read(), /subscription_succeeded/);
  for (let i = 0; i < 50; i++) {
    const response = await fetch(`${server.url}/news`, { method: "POST", body: String(i) });
    assert.equal(response.status, 200, await response.text());
    assert.equal(await socket.next(), String(i));
    assert.equal((await mqtt.next()).text, String(i));
  }
  assert.equal(answered, 0, "the others wait still");
  assert.equal(backend.asked.length, CONCURRENCY, "few are asked at a time");
  held.resolve();
  assert.deepEqual(new Set(await Promise.all(waiting)), new Set([200]));
});

Deno.test("Answers of 10 MB take the server no memory", async () => {
  await using backend = new Backend();
  // All of them begin at the same time: the first failures would make it ask no more.
  const { promise: full, resolve: noteFull } = Promise.withResolvers<void>();
  backend.answer = async () => {
    if (backend.asked.length === 2 * CONCURRENCY) noteFull();
    await full;
    return createFlood();
  };
  await using away = await startServerAsking(backend, 30);
  const { server } = away;
  await (await fetch(`${server.url}/news`, { method: "POST", body: "x" })).body?.cancel();
  const before = await readPeak(server.pid);
  const statuses = await Promise.all(
    Array.from({ length: 2 * CONCURRENCY }, async (_, i) => {
      const response = await fetch(`${server.url}/private/${i}`, {
        headers: { accept: "application/json" },
        ...(i % 2 === 0 ? { method: "POST", body: "x" } : {}),
      });
      await response.body?.cancel();
      return response.status;
    }),
  );
  assert.deepEqual(new Set(statuses), new Set([503]));
  const grown = await readPeak(server.pid) - before;
  // Read in whole, they would be 1,280 MB.
  assert.ok(grown < 200 * 1024 * 1024, `the peak grew by ${Math.round(grown / 1024 / 1024)} MB`);
});

/** The most memory that a process ever held, in bytes. */
async function readPeak(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1_024;
}

/** Answers that are not understood, and what is said of them. Nothing of the answer is quoted. */
const NONSENSE: readonly [answer: () => unknown, says: RegExp][] = [
  [() => new Response("<html>"), /its answer is not JSON$/],
  [() => new Response("no", { status: 500 }), /it answered 500 instead of 200$/],
  [() => [], /its answer is not an object$/],
  [() => ({ result: { b64info: "!" } }), /its "b64info" /],
  [createFlood, /its answer has more than 262144 bytes$/],
];

Deno.test("An application that answers nonsense is said to have answered, and how", async () => {
  await using backend = new Backend();
  await using away = await startServerAsking(backend, 10);
  for (const [answer, says] of NONSENSE) {
    backend.answer = answer;
    const response = await fetch(`${away.server.url}/private/1`, { headers: { accept: "application/json" } });
    const { detail } = await response.json();
    assert.equal(response.status, 503);
    assert.match(detail, /^The application that decides here cannot be understood: /);
    assert.match(detail, says);
  }
});

Deno.test("A pattern within what an application decides is refused with what to do instead", async () => {
  await using backend = new Backend();
  await using away = await startServerAsking(backend, 10);
  for (const path of ["/private/*", "/news,private/1"]) {
    const response = await fetch(away.server.url + path, { headers: { accept: "application/json" } });
    assert.equal(response.status, 403);
    assert.match(
      (await response.json()).detail,
      /decides about each channel here, so ask for one channel by its name$/,
    );
  }
});
