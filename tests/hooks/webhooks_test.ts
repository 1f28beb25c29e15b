/** What webhooks promise, with a real server and a real receiver. */
import assert from "node:assert/strict";
import { startApp } from "../test_app.ts";
import { assertOrder, Receiver, SECRET, writeHooks } from "./receiver.ts";

async function publish(url: string, channel: string, data: string, query = ""): Promise<void> {
  const response = await fetch(`${url}/${channel}${query}`, { method: "POST", body: data });
  assert.equal(response.status, 200, await response.text());
}

function readGauge(metrics: string, name: string): number {
  const line = metrics.split("\n").find((text) => text.startsWith(`${name} `));
  return Number(line?.split(" ")[1]);
}

Deno.test("The webhook of the environment gets every stored message of all channels, signed", async () => {
  await using receiver = new Receiver();
  await using server = await startApp(
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
  );
  await publish(server.url, "news/local", "rain", "?event=weather&id=ann");
  await receiver.until(() => receiver.texts().length === 1);
  await publish(server.url, "lobby", "transient", "?ephemeral");
  await publish(server.url, "lobby", "stored");
  await receiver.until(() => receiver.texts().length === 2);
  const [first, second] = receiver.events;
  assert.equal(first.type, "message");
  assert.equal(first.channel, "news/local");
  assert.equal(first.data, "rain");
  assert.equal(first.event, "weather");
  assert.equal(first.offset, 1);
  assert.equal(first.from.id, "ann");
  assert.match(first.id, /^[0-9a-z]+-1$/);
  assert.ok(!Number.isNaN(Date.parse(first.time)));
  assert.equal(second.data, "stored");
});

Deno.test("A webhook gets the events and channels that its file names, and nothing else", async () => {
  await using receiver = new Receiver();
  const file = await writeHooks({
    webhooks: [
      { name: "orders", url: receiver.url, secret: SECRET, channels: ["orders/**", "chat:*"] },
      {
        name: "presence",
        url: receiver.url,
        secret: SECRET,
        events: ["channel.occupied", "channel.vacated", "member.joined", "member.left"],
        channels: "rooms/*",
      },
    ],
  });
  await using server = await startApp("--hooks", file);
  for (const channel of ["news", "orders/1", "orders", "chat:x", "orders/1/2"]) {
    await publish(server.url, channel, channel);
  }
  await receiver.until(() => receiver.texts().length === 3);
  assert.deepEqual(receiver.texts(), ["orders/1", "chat:x", "orders/1/2"]);

  const open = async (path: string) => {
    const socket = new WebSocket(`${server.socketUrl}/${path}`);
    await new Promise((resolve) => socket.onopen = resolve);
    return socket;
  };
  const close = async (socket: WebSocket) => {
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
  };
  const elsewhere = await open("news?id=bob");
  const first = await open("rooms/1?id=ann&name=Ann");
  const second = await open("rooms/1?id=ann");
  const other = await open("rooms/1?id=bob");
  for (const socket of [elsewhere, first, second, other]) await close(socket);
  await receiver.until(() => receiver.events.some(({ type }) => type === "channel.vacated"));
  const seen = receiver.events.filter(({ type }) => type !== "message")
    .map(({ type, channel, member }) =>
      [type, channel, ...(member === undefined ? [] : [member.id])].join(" ")
    );
  assert.deepEqual(seen, [
    "channel.occupied rooms/1",
    "member.joined rooms/1 ann",
    "member.joined rooms/1 bob",
    "member.left rooms/1 ann",
    "member.left rooms/1 bob",
    "channel.vacated rooms/1",
  ]);
});

Deno.test("A target that fails, redirects or is away gets everything in order once it answers", async () => {
  await using receiver = new Receiver();
  await using elsewhere = new Receiver();
  const answers = [
    () => new Response("no", { status: 500 }),
    () => new Response(null, { status: 307, headers: { location: elsewhere.url } }),
    () => new Response("x".repeat(1_000_000), { status: 404 }),
  ];
  receiver.answer = () => answers.shift()?.() ?? new Response("x".repeat(100_000));
  await using server = await startApp(
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
    "RAINDROPS_API_KEYS=key",
  );
  for (let i = 1; i <= 150; i++) await publish(server.url, i % 2 ? "a" : "b", String(i));
  await receiver.until(() => receiver.requests.length === 2);
  await receiver.stop();
  receiver.start();
  for (let i = 151; i <= 300; i++) await publish(server.url, i % 2 ? "a" : "b", String(i));
  await receiver.until(() => receiver.texts().length === 300);
  assertOrder(receiver.events, new Map([["a", 150], ["b", 150]]));
  assert.equal(elsewhere.requests.length, 0, "redirects are not followed");
  const [first, second] = receiver.requests;
  assert.equal(first?.id, second?.id, "a repeat has the id of the first attempt");
  const failures = server.logger.find("webhook failed");
  assert.match(String(failures[0]?.reason), /answered 500/);
  assert.match(String(failures[1]?.reason), /redirects are not followed/);
  assert.equal(server.logger.find("webhook is taken again").length > 0, true);
});

Deno.test("A target that stalls slows neither publishers nor another webhook, and metrics tell of it", async () => {
  await using stalled = new Receiver();
  await using quick = new Receiver();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  stalled.answer = async () => {
    await released;
    return new Response();
  };
  const file = await writeHooks([
    { name: "stalled", url: stalled.url, secret: SECRET },
    { name: "quick", url: quick.url, secret: SECRET },
  ]);
  await using server = await startApp("--hooks", file, "RAINDROPS_API_KEYS=key");
  for (let i = 1; i <= 250; i++) await publish(server.url, "a", String(i));
  await quick.until(() => quick.texts().length === 250);
  assert.equal(stalled.taken.length, 0);
  const read = async () =>
    await (await fetch(`${server.url}/metrics`, { headers: { "x-api-key": "key" } })).text();
  // The server hears of the last answer a moment after it was given.
  const readSettled = async (delivered: number) => {
    while (true) {
      const metrics = await read();
      if (readGauge(metrics, "raindrops_webhook_delivered_total") === delivered) return metrics;
    }
  };
  const metrics = await readSettled(250);
  assert.equal(readGauge(metrics, "raindrops_webhook_waiting"), 250);
  assert.ok(readGauge(metrics, "raindrops_webhook_oldest_seconds") > 0);
  release();
  await stalled.until(() => stalled.texts().length === 250);
  assertOrder(stalled.events, new Map([["a", 250]]));
  assert.equal(readGauge(await readSettled(500), "raindrops_webhook_waiting"), 0);
});

Deno.test("A target that does not answer in time is asked again", async () => {
  await using receiver = new Receiver();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  receiver.answer = async () => {
    if (receiver.requests.length === 1) await released;
    return new Response();
  };
  const file = await writeHooks([{ url: receiver.url, secret: SECRET, timeout: 0.2 }]);
  await using server = await startApp("--hooks", file);
  await publish(server.url, "a", "1");
  await receiver.until(() => receiver.texts().length === 1);
  assert.deepEqual(receiver.requests.map(({ id }) => id), [
    receiver.requests[0]?.id,
    receiver.requests[0]?.id,
  ]);
  assert.equal(server.logger.find("webhook failed")[0]?.reason, "no answer within 0.2 seconds");
});

Deno.test("A webhook whose messages were removed before they were taken gets a gap", async () => {
  await using receiver = new Receiver();
  receiver.answer = () => new Response(null, { status: 503 });
  const directory = await Deno.makeTempDir();
  const rules = `${directory}/rules.json`;
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "**", history: { messages: 10 } }]));
  const settings = [
    "--engine",
    `sqlite:${directory}/log.db`,
    "--rules",
    rules,
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
  ];
  {
    await using server = await startApp(...settings);
    for (let i = 1; i <= 500; i++) await publish(server.url, "a", String(i));
  }
  receiver.answer = () => new Response();
  await using _server = await startApp(...settings);
  await receiver.until(() => receiver.texts().at(-1) === "500");
  const [first] = receiver.events;
  assert.equal(first.type, "gap");
  assert.deepEqual(first.channels, ["**"]);
  assert.equal(receiver.events.filter(({ type }) => type === "gap").length, 1);
  const [, message] = receiver.events;
  assert.equal(first.earliest, message.id);
});

Deno.test("After a restart a gap asks for presence anew, and messages go on where they were", async () => {
  await using receiver = new Receiver();
  const directory = await Deno.makeTempDir();
  const file = await writeHooks([
    { name: "all", url: receiver.url, secret: SECRET, events: ["message", "member.joined"] },
  ]);
  const settings = ["--engine", `sqlite:${directory}/log.db`, "--hooks", file];
  {
    await using server = await startApp(...settings);
    await publish(server.url, "a", "1");
    await receiver.until(() => receiver.texts().length === 1);
  }
  await using server = await startApp(...settings);
  await publish(server.url, "a", "2");
  await receiver.until(() =>
    receiver.texts().length === 2 && receiver.events.some(({ type }) => type === "gap")
  );
  assert.deepEqual(receiver.texts(), ["1", "2"], "nothing is sent again that was taken");
  const gaps = receiver.events.filter(({ type }) => type === "gap");
  assert.deepEqual(gaps.map(({ missing }) => missing), [["member.joined"]]);
});

Deno.test("Settings of webhooks that make no sense are refused without repeating a secret", async () => {
  const refused = async (text: string, pattern: RegExp) => {
    const file = await writeHooks(null);
    await Deno.writeTextFile(file, text);
    await assert.rejects(startApp("--hooks", file), (error: Error) => {
      assert.match(error.message, pattern);
      assert.doesNotMatch(error.message, /topsecret/);
      return true;
    });
  };
  const hook = { url: "http://127.0.0.1:1/", secret: SECRET };
  await refused('[{"secret": "whsec_topsecret" x}]', /Hooks file \S+: it is not JSON at line 1, column 31$/);
  await refused("", /Hooks file \S+: the file is empty$/);
  await refused(JSON.stringify([{ ...hook, channels: [] }]), /webhook 1: channels must be/);
  await refused(
    JSON.stringify({ callouts: { subscribe: { url: hook.url, channels: [] } } }),
    /callouts.subscribe needs "channels"/,
  );
  await refused(JSON.stringify([{ ...hook, secret: "topsecret" }]), /whsec_/);
  await refused(JSON.stringify([{ ...hook, secret: undefined }]), /needs a "secret"/);
  await refused(JSON.stringify([{ ...hook, url: "ftp://x/" }]), /https:/);
  await refused(JSON.stringify([{ ...hook, url: "http://me:topsecret@x/" }]), /user and password/);
  await refused(JSON.stringify([{ ...hook, events: ["massage"] }]), /massage/);
  await refused(JSON.stringify([{ ...hook, events: ["gap"] }]), /name one/);
  await refused(JSON.stringify({ callouts: { connect: { url: hook.url } } }), /"headers"/);
  await refused(JSON.stringify({ callouts: { headers: ["host"] } }), /"host" cannot/);
  await refused(JSON.stringify({ callouts: { subscribe: { url: hook.url } } }), /"channels"/);
  await refused(JSON.stringify({ callouts: { rpc: { url: hook.url, whenAway: "allow" } } }), /whenAway/);
  await refused(JSON.stringify([{ ...hook, channels: ["a//b"] }]), /empty segment/);
  await refused(JSON.stringify([{ ...hook, chanels: [] }]), /chanels/);
  await refused(JSON.stringify([hook, hook]), /"name"/);
  await assert.rejects(startApp("RAINDROPS_WEBHOOK_URL=http://127.0.0.1:1/"), /RAINDROPS_WEBHOOK_SECRET/);
});

async function steer(url: string, action: string, query: Record<string, string>) {
  const response = await fetch(`${url}/_inspect/${action}?${new URLSearchParams(query)}`, { method: "POST" });
  return { status: response.status, body: await response.json() };
}

// deno-lint-ignore no-explicit-any -- tests look into what they asked for
async function readStatus(url: string): Promise<any> {
  return (await (await fetch(`${url}/_inspect/webhooks`)).json()).webhooks[0];
}

Deno.test("A paused webhook sends nothing, across restarts too, and everything in order once it goes on", async () => {
  await using receiver = new Receiver();
  const directory = await Deno.makeTempDir();
  const file = await writeHooks([{ name: "all", url: `${receiver.url}?token=hidden`, secret: SECRET }]);
  const settings = ["--engine", `sqlite:${directory}/log.db`, "--hooks", file];
  {
    await using server = await startApp(...settings);
    await publish(server.url, "a", "1");
    await receiver.until(() => receiver.texts().length === 1);
    assert.equal((await steer(server.url, "pause", { name: "all", paused: "true" })).status, 200);
    assert.equal(server.logger.find("webhook is paused").length, 1);
    for (let i = 2; i <= 5; i++) await publish(server.url, "a", String(i));
    const status = await readStatus(server.url);
    assert.deepEqual([status.paused, status.sends, status.waiting], [true, true, 4]);
    assert.doesNotMatch(JSON.stringify(status), /hidden/);
    const metrics = await (await fetch(`${server.url}/metrics`)).text();
    assert.equal(readGauge(metrics, "raindrops_webhook_paused"), 1);
    for (
      const [action, query, pattern] of [
        ["pause", { name: "nobody", paused: "true" }, /there are all/],
        ["pause", { name: "all", paused: "maybe" }, /true or false/],
        ["resend", { name: "all", from: "yesterday" }, /earliest/],
        ["resend", { name: "all", from: "zzz-5" }, /ids begin with/],
        ["resend", { name: "all", from: "" }, /earliest/],
      ] as const
    ) {
      const { status, body } = await steer(server.url, action, query);
      assert.ok(status === 400 || status === 404, `${action} ${JSON.stringify(query)}`);
      assert.match(body.detail, pattern);
    }
  }
  await using server = await startApp(...settings);
  assert.equal((await readStatus(server.url)).paused, true);
  await publish(server.url, "a", "6");
  assert.deepEqual(receiver.texts(), ["1"]);
  await steer(server.url, "pause", { name: "all", paused: "false" });
  await receiver.until(() => receiver.texts().length === 6);
  assert.deepEqual(receiver.texts(), ["1", "2", "3", "4", "5", "6"]);
});

Deno.test("A webhook is sent again from a position, under new ids, and goes on from there", async () => {
  await using receiver = new Receiver();
  const file = await writeHooks([{ name: "all", url: receiver.url, secret: SECRET, channels: "a" }]);
  await using server = await startApp("--hooks", file);
  for (let i = 1; i <= 5; i++) await publish(server.url, "a", String(i));
  await publish(server.url, "b", "elsewhere");
  await receiver.until(() => receiver.texts().length === 5);
  const third = receiver.events[2].id;
  // Idle and failing: it is told in both.
  assert.equal((await steer(server.url, "resend", { name: "all", from: third })).status, 200);
  await receiver.until(() => receiver.texts().length === 7);
  assert.deepEqual(receiver.texts().slice(5), ["4", "5"]);
  receiver.answer = () => new Response(null, { status: 503 });
  await publish(server.url, "a", "6");
  const before = receiver.requests.length;
  await receiver.until(() => receiver.requests.length > before);
  while ((await readStatus(server.url)).failure === undefined);
  assert.match((await readStatus(server.url)).failure, /503/);
  await steer(server.url, "resend", { name: "all", from: "earliest" });
  receiver.answer = () => new Response();
  await receiver.until(() => receiver.texts().at(-1) === "6");
  assert.deepEqual(receiver.texts().slice(-6), ["1", "2", "3", "4", "5", "6"]);
  await publish(server.url, "a", "7");
  await receiver.until(() => receiver.texts().at(-1) === "7");
  await steer(server.url, "resend", { name: "all", from: "1h" });
  await receiver.until(() => receiver.texts().slice(-7).join() === "1,2,3,4,5,6,7");
});

Deno.test("Events of presence wait while their webhook is paused", async () => {
  await using receiver = new Receiver();
  const file = await writeHooks([
    { name: "who", url: receiver.url, secret: SECRET, events: ["member.joined"] },
  ]);
  await using server = await startApp("--hooks", file);
  await steer(server.url, "pause", { name: "who", paused: "true" });
  const socket = new WebSocket(`${server.socketUrl}/rooms/1?id=ann`);
  await new Promise((resolve) => socket.onopen = resolve);
  while ((await readStatus(server.url)).waiting !== 1);
  assert.equal(receiver.requests.length, 0);
  assert.match(
    (await steer(server.url, "resend", { name: "who", from: "earliest" })).body.detail,
    /no messages/,
  );
  await steer(server.url, "pause", { name: "who", paused: "false" });
  await receiver.until(() => receiver.events.length === 1);
  assert.equal(receiver.events[0].member.id, "ann");
  const closed = new Promise((resolve) => socket.onclose = resolve);
  socket.close();
  await closed;
});

Deno.test("What is removed while a target is slow is not sent any more, and a gap says so", async () => {
  await using receiver = new Receiver();
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  using _released = { [Symbol.dispose]: release };
  const { promise: first, resolve: noteFirst } = Promise.withResolvers<void>();
  receiver.answer = async () => {
    noteFirst();
    await released;
    return new Response();
  };
  await using server = await startApp(
    `RAINDROPS_WEBHOOK_URL=${receiver.url}`,
    `RAINDROPS_WEBHOOK_SECRET=${SECRET}`,
  );
  await publish(server.url, "a", "1");
  await first;
  await publish(server.url, "a", "secret");
  await (await fetch(`${server.url}/a`, { method: "DELETE" })).body?.cancel();
  await publish(server.url, "a", "3");
  release();
  await receiver.until(() => receiver.texts().at(-1) === "3");
  assert.deepEqual(receiver.events.map(({ type, data }) => data ?? type), ["1", "gap", "3"]);
});
