/** What callouts promise: the application decides, by URL and in the Centrifuge protocol, and nobody waits for it long. */
import assert from "node:assert/strict";
import { ApiKeys } from "../../lib/auth/api_keys.ts";
import { Gate } from "../../lib/auth/gate.ts";
import { selectChannel, selectPatterns } from "../../lib/core/channel.ts";
import { Rules } from "../../lib/core/rules.ts";
import { parseCallouts } from "../../lib/hooks/callout_file.ts";
import { openCallouts } from "../../lib/hooks/callouts.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { Backend, CookieClient, decide } from "./backend.ts";
import { writeHooks } from "./receiver.ts";

interface Start {
  readonly kinds?: readonly string[];
  readonly more?: Readonly<Record<string, object>>;
  readonly settings?: readonly string[];
}

async function start(backend: Backend, { kinds, more = {}, settings = [] }: Start = {}): Promise<TestApp> {
  const all: Record<string, object> = {
    connect: {},
    subscribe: { channels: ["private/**"] },
    publish: { channels: ["private/**"] },
    rpc: {},
  };
  const callouts = Object.fromEntries(
    (kinds ?? Object.keys(all)).map((
      kind,
    ) => [kind, { url: `${backend.url}/${kind}`, ...all[kind], ...more[kind] }]),
  );
  const file = await writeHooks({ callouts: { headers: ["Cookie"], ...callouts } });
  const rules = await writeHooks([{ channels: "users/*", allow: ["subscribe", "publish", "history"] }]);
  return await startApp("--hooks", file, "--rules", rules, ...settings);
}

async function ask(url: string, path: string, cookie: string | undefined, init: RequestInit = {}) {
  const headers = {
    accept: "application/json",
    "x-other": "secret",
    ...(cookie === undefined ? {} : { cookie }),
  };
  const response = await fetch(url + path, { ...init, headers: { ...headers, ...init.headers } });
  const body = response.headers.get("content-type")?.includes("json") ? await response.json() : undefined;
  if (body === undefined) await response.body?.cancel();
  return { status: response.status, body };
}

Deno.test("By URL, cookies say who it is, and the application decides about subscribing and publishing", async () => {
  await using backend = new Backend();
  backend.answer = decide;
  await using server = await start(backend);
  const post = (path: string, cookie: string | undefined, body: string) =>
    ask(server.url, path, cookie, { method: "POST", body });
  assert.equal((await post("/users/1", undefined, "hi")).status, 403);
  assert.equal((await post("/users/1", "session=banned", "hi")).status, 403);
  assert.equal((await post("/users/1", "session=bob", "hi")).status, 200);
  assert.equal((await post("/news", "session=bob", "hi")).status, 403, "rules decide elsewhere");
  const [known] = backend.of("connect").slice(-1);
  assert.equal(known?.headers.get("cookie"), "session=bob");
  assert.equal(known?.headers.get("x-other"), null, "only headers that are named are passed on");

  assert.deepEqual((await post("/private/1", "session=ann", "damn")).body.detail, "mind your words");
  assert.equal((await post("/private/1", "session=ann", "rain")).status, 200);
  assert.equal((await ask(server.url, "/private/1", "session=bob")).status, 403);
  const history = await ask(server.url, "/private/1", "session=ann");
  assert.deepEqual(
    history.body.messages.map((
      { data, from }: { data: unknown; from: { user: string } },
    ) => [data, from.user]),
    [
      [{ text: "rain", by: "ann" }, "ann"],
    ],
  );
  for (const path of ["/private/*", "/**", "/private/1,users/1"]) {
    const accept = { headers: { accept: "text/event-stream" } };
    const { status } = await ask(server.url, path, "session=bob", accept);
    assert.equal(status, 403, path);
  }
  const published = backend.of("publish").at(-1)?.body;
  assert.deepEqual([published.user, published.channel, published.data], ["ann", "private/1", "rain"]);
});

Deno.test("In the Centrifuge protocol, the application connects, decides, changes data and answers calls", async () => {
  await using backend = new Backend();
  backend.answer = decide;
  await using server = await start(backend);
  using ann = await CookieClient.open(server.socketUrl, "session=ann");
  const connected = await ann.send({ connect: { name: "js", data: { lang: "en" } } });
  assert.deepEqual(connected.connect.data, { hello: "ann" });
  const asked = backend.of("connect")[0]?.body;
  assert.equal(asked.transport, "websocket");
  assert.equal(asked.client, connected.connect.client);
  assert.deepEqual([asked.name, asked.data], ["js", { lang: "en" }]);

  const subscribed = await ann.send({ subscribe: { channel: "private/1" } });
  assert.deepEqual(subscribed.subscribe.data, { topic: "private/1" });
  assert.equal(
    (await ann.send({ publish: { channel: "private/1", data: { text: "damn" } } })).error?.code,
    422,
  );
  assert.ok("publish" in await ann.send({ publish: { channel: "private/1", data: { text: "rain" } } }));
  const history = await ann.send({ history: { channel: "private/1", limit: 10 } });
  assert.deepEqual(history.history.publications.map(({ data }: { data: unknown }) => data), [
    { text: "rain", by: "ann" },
  ]);
  const called = await ann.send({ rpc: { method: "sum", data: [1, 2] } });
  assert.deepEqual(called.rpc.data, { method: "sum", echo: [1, 2], user: "ann" });

  using bob = await CookieClient.open(server.socketUrl, "session=bob");
  await bob.send({ connect: {} });
  const refused = await bob.send({ subscribe: { channel: "private/1" } });
  assert.deepEqual(refused.error, { code: 403, message: "not yours" });
  assert.equal((await bob.send({ history: { channel: "private/1", limit: 10 } })).error?.code, 103);
  using banned = await CookieClient.open(server.socketUrl, "session=banned");
  banned.send({ connect: {} });
  const { code, reason } = await banned.closed;
  assert.deepEqual([code, reason], [4501, "banned"]);
});

Deno.test("Messages of one client keep their order, however long the application takes for each", async () => {
  await using backend = new Backend();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  const { promise: firstAsked, resolve: noteFirst } = Promise.withResolvers<void>();
  backend.answer = async (asked) => {
    if (asked.kind === "publish" && asked.body.data === "0") {
      noteFirst();
      await released;
    }
    return decide(asked);
  };
  await using server = await start(backend);
  const socket = new WebSocket(
    `${server.socketUrl}/private/1`,
    { headers: { cookie: "session=ann" } } as unknown as string[],
  );
  await new Promise((resolve) => socket.onopen = resolve);
  for (let i = 0; i < 20; i++) socket.send(String(i));
  await firstAsked;
  // Others do not wait for it.
  assert.equal(
    (await ask(server.url, "/private/2", "session=ann", { method: "POST", body: "x" })).status,
    200,
  );
  const waiting = backend.of("publish").filter(({ body }) => body.channel === "private/1");
  assert.equal(waiting.length, 1, "the next is asked for when the first is published");
  release();
  const follower = await fetch(`${server.url}/private/1?follow&since=earliest&limit=20`, {
    headers: { cookie: "session=ann" },
  });
  const lines = (await follower.text()).trim().split("\n").map((line) => JSON.parse(line));
  const texts = lines.flatMap(({ data }) => data === undefined ? [] : [data.text]);
  assert.deepEqual(texts, Array.from({ length: 20 }, (_, i) => String(i)));
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
});

Deno.test("An application that is away refuses, or lets in what its rule says, and slows nobody else", async () => {
  const bad: Readonly<Record<string, () => unknown>> = {
    "500": () => new Response("no", { status: 500 }),
    redirect: () => new Response(null, { status: 307, headers: { location: "/elsewhere" } }),
    garbage: () => new Response("<html>"),
    "no object": () => 5,
    "10 MB": () => new Response(`{"result":"${"x".repeat(10_000_000)}"}`),
    "bad user": () => ({ result: { user: 5 } }),
    never: () => new Promise((resolve) => setTimeout(() => resolve({ result: { user: "late" } }), 1_000)),
  };
  for (const [name, answer] of Object.entries(bad)) {
    await using backend = new Backend();
    backend.answer = (asked) =>
      asked.kind === "connect" || asked.kind === "elsewhere" ? decide(asked) : answer();
    const more = { subscribe: { timeout: 0.2 }, publish: { timeout: 0.2, whenAway: "allow" } };
    await using server = await start(backend, { more });
    const cookie = "session=ann";
    // What the answer to a subscribe means cannot be "bad user".
    if (name !== "bad user") {
      assert.equal((await ask(server.url, "/private/1", cookie)).status, 503, name);
      assert.equal(
        (await ask(server.url, "/private/1", cookie, { method: "POST", body: "rain" })).status,
        200,
        name,
      );
    }
    assert.equal(
      (await ask(server.url, "/users/1", cookie, { method: "POST", body: "hi" })).status,
      200,
      name,
    );
    assert.equal(backend.of("elsewhere").length, 0, "redirects are not followed");

    backend.answer = (asked) => asked.kind === "connect" ? answer() : decide(asked);
    if (name === "never") continue;
    assert.equal(
      (await ask(server.url, "/users/1", cookie, { method: "POST", body: "hi" })).status,
      503,
      name,
    );
    using client = await CookieClient.open(server.socketUrl, cookie);
    const reply = await client.send({ connect: {} });
    assert.deepEqual([reply.error?.code, reply.error?.temporary], [100, true], name);
  }
});

Deno.test("An application that keeps failing is left alone, and asked again after a moment", async () => {
  await using backend = new Backend();
  backend.answer = () => new Response("no", { status: 500 });
  await using server = await start(backend);
  const attempt = async () =>
    (await ask(server.url, "/users/1", "session=ann", { method: "POST", body: "x" })).status;
  for (let i = 0; i < 20; i++) assert.equal(await attempt(), 503);
  assert.equal(backend.asked.length, 5, "after five failures it is spared");
  assert.equal(server.logger.find("application is away").length, 1);
  backend.answer = decide;
  while (await attempt() !== 200);
  assert.equal(server.logger.find("application answers again").length, 1);
});

Deno.test("A decision about a subscription holds for its time, for the same user alone", async () => {
  await using backend = new Backend();
  backend.answer = decide;
  await using server = await start(backend, { more: { subscribe: { cache: 60 } } });
  for (let i = 0; i < 3; i++) {
    assert.equal((await ask(server.url, "/private/1", "session=ann")).status, 200);
    assert.equal((await ask(server.url, "/private/1", "session=bob")).status, 403);
  }
  assert.equal(backend.of("subscribe").length, 2);
});

Deno.test("On an open server nobody gets around the application, and operators need a key", async () => {
  await using backend = new Backend();
  backend.answer = ({ kind }) =>
    kind === "subscribe" ? { error: { code: 1, message: "no" } } : { result: {} };
  await using server = await start(backend, { kinds: ["subscribe"], settings: ["RAINDROPS_API_KEYS=key"] });
  assert.equal((await ask(server.url, "/news", undefined, { method: "POST", body: "x" })).status, 200);
  for (
    const path of [
      "/private/1",
      "/private/1?presence",
      "/private/1?limit=1",
      "/private/1,private/2",
      "/private/*",
    ]
  ) {
    assert.equal((await ask(server.url, path, undefined)).status, 403, path);
  }
  assert.equal(
    (await ask(server.url, "/private/1", undefined, { headers: { "x-api-key": "key" } })).status,
    200,
  );
  using client = await CookieClient.open(server.socketUrl, "");
  await client.send({ connect: {} });
  assert.equal((await client.send({ subscribe: { channel: "private/1" } })).error?.code, 1);
  for (const kind of ["history", "presence", "presence_stats"]) {
    assert.equal((await client.send({ [kind]: { channel: "private/1" } })).error?.code, 103, kind);
  }
  assert.equal((await ask(server.url, "/_inspect/data", undefined)).status === 200, false);
});

Deno.test("Doors that cannot ask the application are shut on the channels that it decides about", async () => {
  const url = "http://127.0.0.1:1/";
  for (const connect of [undefined, { url }]) {
    const definition = parseCallouts({
      headers: ["cookie"],
      ...(connect === undefined ? {} : { connect }),
      subscribe: { url, channels: ["private/**"] },
      publish: { url, channels: ["chat:*"] },
    });
    const logger = new RecordingLogger();
    using callouts = openCallouts(definition, logger);
    const rules = new Rules([{
      channels: "**",
      allowAnonymous: ["subscribe", "publish", "history", "presence"],
    }]);
    const apiKeys = new ApiKeys([], { open: false });
    const open = connect === undefined;
    const gate = new Gate({ open, verifier: undefined, rules, logger, apiKeys, callouts });
    for (const pass of [gate.admitApp(), await gate.admitConnection("")]) {
      for (const action of ["subscribe", "history", "presence"] as const) {
        assert.equal(pass.deny(action, "private/1")?.code, "forbidden");
        assert.equal(pass.may(action, "private/1"), false);
        assert.equal(pass.deny(action, "news"), undefined);
      }
      assert.equal(pass.deny("publish", "chat:1")?.code, "forbidden");
      assert.equal(pass.deny("publish", "private/1"), undefined);
      await assert.rejects(pass.admitSubscription(selectChannel("private/1")), { code: "forbidden" });
      for (const patterns of [["private/*"], ["**"], ["*/1"], ["news", "private/1"]]) {
        assert.equal(pass.deny("subscribe", selectPatterns(patterns))?.code, "forbidden", patterns.join());
      }
      // Whoever may not be asked for is let in elsewhere.
      if (open) assert.equal(pass.deny("subscribe", selectPatterns(["news/*", "chat:1"])), undefined);
    }
  }
});

Deno.test("A connection that the application let in for a time goes on as long as it says so", async () => {
  await using backend = new Backend();
  let refreshes = 0;
  const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;
  backend.answer = ({ kind }) => {
    if (kind === "connect") return { result: { user: "ann", expire_at: inSeconds(1), meta: { x: 1 } } };
    return { result: ++refreshes < 2 ? { expire_at: inSeconds(1) } : { expired: true } };
  };
  await using server = await start(backend, { kinds: ["connect", "refresh"] });
  using client = await CookieClient.open(server.socketUrl, "session=ann");
  const { connect } = await client.send({ connect: {} });
  assert.equal(connect.expires, undefined, "the server asks, not the client");
  assert.equal((await client.closed).code, 3005);
  assert.equal(refreshes, 2);
  assert.deepEqual(backend.of("refresh")[0]?.body.meta, { x: 1 });
});
