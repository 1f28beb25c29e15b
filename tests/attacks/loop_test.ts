/**
 * Nobody holds up the loop: the worst request of each kind, at every route there is, by strangers, users and subscribers.
 * Meanwhile somebody else asks for `/healthz`, and what counts is how long the server's thread was at work before that was
 * answered: time of the processor, so that other work on the machine does not count.
 */
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { NATS_SERVER, NatsCluster } from "../nats_cluster.ts";
import { createFrame, RawSocket } from "../raw_socket.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { mintToken, toSecretKey } from "../../lib/auth/token_mint.ts";
import { startApp } from "../test_app.ts";
import { crowd, RULES } from "./crowded_server.ts";
import { converse, createGet, createRequest, send } from "./senders.ts";
import { readThreadMilliseconds } from "./vitals.ts";
import { BODIES, type Body, type Conversation, CONVERSATIONS, MEGABYTE, TARGETS } from "./worst.ts";

/** How much longer than honest ones one of the worst requests, and ten at once, may make others wait, in milliseconds. */
const BOUNDS = new Map([[10, 150], [1, 50]]);
/** Ten of what takes so little alone, honest or not, are within their bound with room to spare: they are not sent. */
const HARMLESS_MILLISECONDS = 10;
/** Measurements of which the best counts: a collection of garbage falls on some of them. */
const ATTEMPTS = 4;
/** Channels of one broadcast, and messages for the same moment. */
const WIDE = 500;
const DUE = 10_000;
/** Tiny messages that a client sends in one go, and subscribers that get each of them. */
const TINY = 1_000;
const CROWD = 20;
const HONEST: Body = { type: "application/octet-stream", body: "x".repeat(MEGABYTE) };

const JSON_TYPE = "application/json";
const PUSHER_APP = { RAINDROPS_PUSHER_APP: "app1:key1:secret-of-app-1" };
/** Signs tokens; also the server's. */
const TOKEN_SECRET = "a-secret-of-thirty-two-characters";

/** The servers under attack. */
const SERVERS = {
  memory: { flags: ["--engine", "memory:"], env: PUSHER_APP },
  sqlite: { flags: ["--engine", "sqlite:FOLDER/log.db", "--listener", "node"], env: PUSHER_APP },
  jetstream: { flags: ["--engine", "nats://HOSTS?stream=loop"], env: PUSHER_APP },
  guarded: {
    flags: ["--engine", "memory:", "--listener", "node"],
    env: { ...PUSHER_APP, RAINDROPS_TOKEN_SECRET: TOKEN_SECRET, RAINDROPS_API_KEYS: "key-of-the-operator" },
  },
} as const;
type Name = keyof typeof SERVERS;

const servers = new Map<Name, ServerProcess>();
let folder: string;
let nats: NatsCluster | undefined;
let paths: readonly string[];
let userToken: string;

Deno.test.beforeAll(async () => {
  folder = await Deno.makeTempDir();
  if (NATS_SERVER !== undefined) nats = await NatsCluster.start(1);
  for (const [name, { flags, env }] of Object.entries(SERVERS) as [Name, typeof SERVERS[Name]][]) {
    if (name === "jetstream" && nats === undefined) continue;
    const filled = flags.map((flag) => flag.replace("FOLDER", folder).replace("HOSTS", nats?.hosts ?? ""));
    const rules = `${folder}/rules.json`;
    await Deno.writeTextFile(rules, JSON.stringify(RULES));
    const server = await startServer({ flags: [...filled, "--log-level", "error", "--rules", rules], env });
    servers.set(name, server);
    await crowd(server, name === "guarded" ? { "x-api-key": "key-of-the-operator" } : {});
  }
  const grants = new Map([["**", ["publish", "subscribe", "history"]]] as const);
  userToken = await mintToken(
    { user: "ann", lifetime: 3_600, grants },
    toSecretKey(TOKEN_SECRET),
    Date.now(),
  );
  await using app = await startApp();
  // A route of its own for each: a parameter or the rest of the path is something.
  paths = app.app.paths.map((path) => path.replace(/:\w+/g, "channels").replaceAll("*", "worst"));
});
Deno.test.afterAll(async () => {
  for (const server of servers.values()) await server.stop();
  await nats?.[Symbol.asyncDispose]();
  await Deno.remove(folder, { recursive: true });
});

const test = (name: string, fn: () => Promise<void>, ignore = false) =>
  Deno.test({ name, fn, ignore, sanitizeOps: false, sanitizeResources: false });

/**
 * The longest that the server's thread was at work before it answered somebody else, while something was going on, in
 * milliseconds.
 */
async function measure(server: ServerProcess, run: () => Promise<unknown>): Promise<number> {
  using bystander = await RawSocket.open(server.port);
  const ask = async () => {
    const start = readThreadMilliseconds(server.pid);
    await bystander.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    await bystander.readUntil("\r\n\r\n");
    return readThreadMilliseconds(server.pid) - start;
  };
  await ask();
  let longest = 0;
  let isDone = false;
  const running = run().finally(() => isDone = true);
  do longest = Math.max(longest, await ask()); while (!isDone);
  await running;
  return longest;
}

/** How long others wait beside honest requests of a mebibyte, by server and how many there are at once. */
const honest = new Map<ServerProcess, Map<number, number>>();

async function measureHonest(server: ServerProcess): Promise<Map<number, number>> {
  let known = honest.get(server);
  if (known !== undefined) return known;
  honest.set(server, known = new Map());
  const headers = server === servers.get("guarded") ? BEARER() : "";
  const request = createRequest("POST", "/honest?ephemeral", HONEST, headers);
  for (const count of BOUNDS.keys()) {
    const figures = [];
    for (let i = 0; i < ATTEMPTS; i++) {
      figures.push(await measure(server, () => send(server, request, count)));
    }
    known.set(count, Math.min(...figures));
  }
  return known;
}

/**
 * Asserts that nobody waits for long while so many of the same are at work. One goes first: most routes have refused it
 * within a moment, and a thread that is busy for a moment with each is busy for ten moments with ten.
 */
async function assertBrief(
  server: ServerProcess,
  what: string,
  attack: (count: number) => Promise<unknown>,
): Promise<void> {
  const alone = await measure(server, () => attack(1));
  if (alone <= HARMLESS_MILLISECONDS && !Deno.env.has("LOOP_FIGURES")) return;
  const base = await measureHonest(server);
  for (const [count, bound] of BOUNDS) {
    let least = Infinity;
    for (let i = 0; i < ATTEMPTS && least > bound; i++) {
      least = Math.min(least, await measure(server, () => attack(count)) - (base.get(count) ?? 0));
    }
    if (Deno.env.has("LOOP_FIGURES")) console.log(`${least.toFixed(1)} ms: ${count} times ${what}`);
    assert.ok(least <= bound, `Others waited ${least.toFixed(0)} ms longer for ${count} times ${what}`);
    // Then one alone is within its own bound, too.
    if (least <= Math.min(...BOUNDS.values())) return;
  }
}

const demand = (name: Name): ServerProcess => {
  const server = servers.get(name);
  assert.ok(server !== undefined);
  return server;
};
const BEARER = () => `Authorization: Bearer ${userToken}\r\n`;

for (const [name, body] of Object.entries(BODIES)) {
  test(`Nobody waits for a body of ${name}, at any route`, async () => {
    const server = demand("memory");
    for (const path of paths) {
      const request = createRequest("POST", path, body);
      await assertBrief(server, `POST ${path} of ${name}`, (count) => send(server, request, count));
    }
  });

  test(`Nobody waits for a stranger's body of ${name}, nor a user's`, async () => {
    const server = demand("guarded");
    for (const path of paths) {
      const request = createRequest("POST", path, body);
      await assertBrief(
        server,
        `stranger's POST ${path} of ${name}`,
        (count) => send(server, request, count),
      );
    }
    for (const path of ["/worst", "/worst?raw", "/@worst", "/emulation"]) {
      const request = createRequest("POST", path, body, BEARER());
      await assertBrief(server, `user's POST ${path} of ${name}`, (count) => send(server, request, count));
    }
  });
}

for (const method of ["publish", "broadcast", "batch", "subscribe", "disconnect", "channels"]) {
  test(`Nobody waits for the API's ${method}, whatever it is sent`, async () => {
    const server = demand("memory");
    for (const [name, body] of Object.entries(BODIES)) {
      const request = createRequest("POST", `/api/${method}`, body);
      await assertBrief(server, `${method} of ${name}`, (count) => send(server, request, count));
    }
  });
}

/** Readers that take everything that a channel keeps as fast as they are sent it, until they have its last message. */
const REPLAYS: Readonly<Record<string, (port: number, headers: string) => Promise<string>>> = {
  "by a WebSocket": async (port, headers) => {
    using socket = await RawSocket.upgrade(port, "/long?since=earliest", headers);
    return await socket.readUntil("the last");
  },
  "by an event stream": (port, headers) =>
    readLong(port, "/long?since=earliest", `Accept: text/event-stream\r\n${headers}`),
  "as a file": (port, headers) => readLong(port, "/long?export=ndjson", headers),
  "with others in a pattern": (port, headers) =>
    readLong(port, "/*?since=earliest", `Accept: text/event-stream\r\n${headers}`),
};

/** Opens a channel with subscribers, and returns what sends many tiny messages at once and waits until each has the last. */
async function openBurst({ port }: ServerProcess, path: string, stack: AsyncDisposableStack) {
  const open = async () => stack.use(await RawSocket.upgrade(port, path));
  const publisher = await open();
  const subscribers = await Promise.all(Array.from({ length: CROWD }, open));
  const frame = createFrame(1, "x");
  const bytes = new Uint8Array(await new Blob(Array(TINY).fill(frame)).arrayBuffer());
  return async () => {
    const reading = subscribers.map((socket) => socket.readUntil("the last"));
    await publisher.write(bytes);
    await publisher.write(createFrame(1, "the last"));
    await Promise.all(reading);
  };
}

async function readLong(port: number, target: string, headers: string): Promise<string> {
  using socket = await RawSocket.open(port);
  await socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n${headers}\r\n`);
  return await socket.readUntil("the last");
}

for (const engine of ["memory", "sqlite"] as const) {
  test(`Nobody waits for a burst of tiny messages to ${CROWD} sockets, on the ${engine} server`, async () => {
    const server = demand(engine);
    await using stack = new AsyncDisposableStack();
    const bursts = await Promise.all(
      Array.from({ length: 10 }, (_, i) => openBurst(server, `/burst/${i}`, stack)),
    );
    await assertBrief(server, "a burst of tiny messages", async (count) => {
      await Promise.all(bursts.slice(0, count).map((send) => send()));
    });
  });

  test(`Nobody waits for a broadcast of a large text, on the ${engine} server`, async () => {
    const channels = Array.from({ length: WIDE }, (_, i) => `wide/${i}`);
    const body = JSON.stringify({ channels, data: "x".repeat(60_000) });
    const request = createRequest("POST", "/api/broadcast", { type: "application/json", body });
    const server = demand(engine);
    await assertBrief(server, "a broadcast of a large text", (count) => send(server, request, count));
  });
}

/** Members of a channel, and subscriptions of one connection. */
const MEMBERS = 3_000;
const SUBSCRIPTIONS = 5_000;

/** Connections of somebody on a channel each, and on one that all are on. */
async function openMembers({ port }: ServerProcess, stack: AsyncDisposableStack): Promise<void> {
  for (let i = 0; i < MEMBERS; i += 100) {
    await Promise.all(Array.from({ length: 100 }, async (_, j) => {
      const socket = stack.use(
        await RawSocket.upgrade(port, "/connection/websocket"),
      );
      const info = JSON.stringify({ name: `Somebody ${i + j}`, id: `member-${i + j}` });
      const lines = [
        `{"id":1,"connect":{"data":${info}}}`,
        '{"id":2,"subscribe":{"channel":"presence-hall"}}',
        `{"id":3,"subscribe":{"channel":"seat-${i + j}"}}`,
      ];
      await socket.write(createFrame(1, lines.join("\n")));
      await socket.readUntil('"id":3');
    }));
  }
}

/** A connection of the Centrifuge protocol that asks for something large, and has it. */
async function askCentrifuge(port: number, command: string): Promise<void> {
  using socket = await RawSocket.upgrade(port, "/connection/websocket");
  await socket.write(createFrame(1, '{"id":1,"connect":{}}'));
  await socket.readUntil('"connect"');
  await socket.write(createFrame(1, `{"id":2,${command}}`));
  await socket.write(createFrame(8, new Uint8Array([3, 232])));
  await socket.readToEnd();
}

test("Nobody waits for who is where, in whatever words", async () => {
  const server = demand("memory");
  await using stack = new AsyncDisposableStack();
  await openMembers(server, stack);
  const toApi = (method: string, content: object) =>
    createRequest("POST", `/api/${method}`, { type: JSON_TYPE, body: JSON.stringify(content) });
  const presence = { channel: "presence-hall" };
  const repeat = (command: object, count: number) => ({ commands: Array(count).fill(command) });
  const requests = {
    "presence": toApi("presence", presence),
    "channels": toApi("channels", {}),
    "a batch of presence": toApi("batch", repeat({ presence }, 40)),
    "a batch of presence at once": toApi("batch", { ...repeat({ presence }, 40), parallel: true }),
    "a batch of channels": toApi("batch", repeat({ channels: {} }, 40)),
    "a batch of statistics": toApi("batch", repeat({ presence_stats: presence }, 10_000)),
    "Pusher's channels": createGet(signPusher("/apps/app1/channels")),
    "Pusher's users": createGet(signPusher("/apps/app1/channels/presence-hall/users")),
    "a subscription of everybody": toApi("subscribe", { user: "", channel: "everybody" }),
    "an end of that": toApi("unsubscribe", { user: "", channel: "everybody" }),
  };
  for (const [name, request] of Object.entries(requests)) {
    await assertBrief(server, name, (count) => send(server, request, count));
  }
  await assertBrief(server, "presence of a Centrifuge client", async (count) => {
    const ask = () => askCentrifuge(server.port, '"presence":{"channel":"presence-hall"}');
    await Promise.all(Array.from({ length: count }, ask));
  });
  await assertBrief(server, "an end of everybody", async () => {
    await send(server, toApi("disconnect", { user: "" }), 1);
  });
});

test("Nobody waits for large messages of a channel, in whatever words", async () => {
  const server = demand("memory");
  const data = 'é"\u0001'.repeat(10_000);
  for (let i = 0; i < 30; i++) {
    const body = JSON.stringify({ channel: "large", data });
    await fetch(`${server.url}/api/publish`, { method: "POST", body });
  }
  const history = { channel: "large", limit: -1 };
  const commands = Array.from({ length: 20 }, () => ({ history }));
  for (const parallel of [false, true]) {
    const body = JSON.stringify({ commands, parallel });
    const request = createRequest("POST", "/api/batch", { type: JSON_TYPE, body });
    await assertBrief(server, "a batch of history", (count) => send(server, request, count));
  }
  const { result } = await (await fetch(`${server.url}/api/history`, {
    method: "POST",
    body: JSON.stringify({ ...history, limit: 0 }),
  })).json();
  const recovery = JSON.stringify({ recover: true, epoch: result.epoch, offset: 0 }).slice(1, -1);
  for (
    const command of [
      '"history":{"channel":"large","limit":-1}',
      `"subscribe":{"channel":"large",${recovery}}`,
    ]
  ) {
    await assertBrief(server, command, async (count) => {
      await Promise.all(Array.from({ length: count }, () => askCentrifuge(server.port, command)));
    });
  }
});

test("Nobody waits for the end of a connection with many subscriptions", async () => {
  const limit = ["--max-subscriptions", String(SUBSCRIPTIONS)];
  await using server = await startServer({
    flags: ["--engine", "memory:", "--log-level", "error", ...limit],
  });
  await assertBrief(server, `an end of ${SUBSCRIPTIONS} subscriptions`, async (count) => {
    await using stack = new AsyncDisposableStack();
    const sockets = await Promise.all(Array.from({ length: count }, async () => {
      const socket = stack.use(await RawSocket.upgrade(server.port, "/connection/websocket"));
      const lines = Array.from(
        { length: SUBSCRIPTIONS },
        (_, i) => `{"id":${i + 2},"subscribe":{"channel":"m${i}"}}`,
      );
      await socket.write(createFrame(1, '{"id":1,"connect":{}}'));
      await socket.readUntil('"connect"');
      for (let i = 0; i < SUBSCRIPTIONS; i += 500) {
        await socket.write(createFrame(1, lines.slice(i, i + 500).join("\n")));
        await socket.readUntil(`"id":${i + 501}`);
      }
      return socket;
    }));
    await Promise.all(sockets.map(async (socket) => {
      await socket.write(createFrame(8, new Uint8Array([3, 232])));
      await socket.readToEnd();
    }));
  });
});

/** A target of Pusher's HTTP API, signed. */
function signPusher(path: string): string {
  const query = `auth_key=key1&auth_timestamp=${Math.floor(Date.now() / 1_000)}&auth_version=1.0`;
  const signature = createHmac("sha256", "secret-of-app-1").update(`GET\n${path}\n${query}`).digest("hex");
  return `${path}?${query}&auth_signature=${signature}`;
}

test("Nobody waits for many messages that are due at once", async () => {
  const server = demand("sqlite");
  let least = Infinity;
  for (let i = 0; i < ATTEMPTS && least > BOUNDS.get(1)!; i++) {
    const last = `due ${i}`;
    const at = new Date(Date.now() + 5_000).toISOString();
    for (let j = 0; j < DUE; j += 1_000) {
      const commands = Array.from({ length: 1_000 }, (_, k) => {
        return { publish: { channel: `due/${k % 50}`, data: j + k === DUE - 1 ? last : 1, at } };
      });
      const body = JSON.stringify({ commands });
      const answer = await fetch(`${server.url}/api/batch`, { method: "POST", body });
      assert.doesNotMatch(await answer.text(), /"error"/);
    }
    using socket = await RawSocket.upgrade(server.port, "/due/*");
    least = Math.min(least, await measure(server, () => socket.readUntil(last)));
  }
  assert.ok(least <= BOUNDS.get(1)!, `Others waited ${least.toFixed(0)} ms`);
});

for (const engine of Object.keys(SERVERS) as Name[]) {
  // Without NATS there is no such engine: the tests of `tests/cluster` say how to get it.
  const ignore = engine === "jetstream" && NATS_SERVER === undefined;
  for (const [name, target] of Object.entries(TARGETS)) {
    test(`Nobody waits for a URL of ${name}, on the ${engine} server`, async () => {
      const server = demand(engine);
      for (const query of ["", "?since=earliest", "?follow&since=earliest"]) {
        if (target.includes("?") && query !== "") continue;
        const headers = engine === "guarded" ? BEARER() : "";
        const request = createGet(target + query, headers);
        await assertBrief(server, `${name} with "${query}"`, (count) => send(server, request, count));
      }
    }, ignore);
  }

  for (const [name, replay] of Object.entries(REPLAYS)) {
    test(`Nobody waits for a long channel, read ${name}, on the ${engine} server`, async () => {
      const server = demand(engine);
      const headers = engine === "guarded" ? BEARER() : "";
      await assertBrief(server, `a long channel ${name}`, async (count) => {
        const ends = await Promise.all(Array.from({ length: count }, () => replay(server.port, headers)));
        for (const end of ends) assert.ok(end.includes("the last"), end.slice(0, 1_000));
      });
    }, ignore);
  }

  for (const [name, conversation] of Object.entries(CONVERSATIONS)) {
    test(`Nobody waits for a conversation of ${name}, on the ${engine} server`, async () => {
      const server = demand(engine);
      if (engine !== "guarded") {
        await assertBrief(server, name, (count) => converse(server, conversation, count));
        return;
      }
      const { opening: _, ...withoutOpening } = conversation;
      await assertBrief(
        server,
        `stranger's ${name}`,
        (count) => converse(server, withoutOpening, count).catch(assertRefused),
      );
      const known = authorize(conversation);
      await assertBrief(server, `user's ${name}`, (count) => converse(server, known, count));
    }, ignore);
  }
}

function assertRefused(error: unknown): void {
  assert.match(String(error), /The handshake was refused: HTTP\/1.1 40[13]/);
}

/** The same conversation of somebody who has a token. */
function authorize(conversation: Conversation): Conversation {
  const { path, headers = "", opening } = conversation;
  if (path === "/connection/websocket" && opening !== undefined) {
    const frame = JSON.stringify({ id: 1, connect: { token: userToken } });
    return { ...conversation, opening: { ...opening, frame } };
  }
  return { ...conversation, headers: headers + BEARER() };
}
