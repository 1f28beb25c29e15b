/** Frames, paths and signatures that nobody would send: each ends in the right error, and in nothing worse. */
import assert from "node:assert/strict";
import { createHash, createHmac } from "node:crypto";
import fc from "fast-check";
import { CLOSE } from "../../../lib/protocols/pusher/errors.ts";
import type { TestApp } from "../../test_app.ts";
import { APP, RawPusher, sign, startPusherApp } from "./pusher_app.ts";

/** The server has failed nowhere. */
function assertSound({ app, logger }: TestApp): void {
  for (const words of ["event failed", "pusher request failed"]) assert.deepEqual(logger.find(words), []);
  assert.equal(app.metrics.refusals.get("internal"), undefined);
}

/** What has been answered, up to the answer to a ping. */
async function readAll(client: RawPusher): Promise<string[]> {
  client.send("pusher:ping", {});
  const frames: string[] = [];
  for (let frame = await client.read(); !frame.includes('"pusher:pong"'); frame = await client.read()) {
    frames.push(frame);
  }
  return frames;
}

const channels = fc.constantFrom(
  "news",
  "private-a",
  "presence-a",
  "#server-to-user-1",
  "#server-to-user-",
  "cache-a",
  "private-encrypted-cache-a",
  "a/b",
  "",
  ".",
  "..",
  "@x",
  "**",
  "__proto__",
  "x".repeat(201),
);

const since = fc.oneof(
  fc.constantFrom("earliest", "latest", "10m", "1", "0-0", "x-1", "-1", "2026-01-31T12:00:00Z"),
  fc.jsonValue(),
);

const frames = fc.record({
  event: fc.oneof(
    fc.constantFrom(
      "pusher:subscribe",
      "pusher:unsubscribe",
      "pusher:pong",
      "client-a",
      "client-",
      "pusher:x",
    ),
    fc.string(),
    fc.jsonValue(),
  ),
  channel: fc.oneof(channels, fc.jsonValue()),
  data: fc.oneof(
    fc.record({
      channel: fc.oneof(channels, fc.jsonValue()),
      auth: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue()),
      channel_data: fc.oneof(fc.string(), fc.json(), fc.jsonValue()),
      since,
    }, { requiredKeys: [] }),
    fc.jsonValue(),
    fc.json(),
  ),
}, { requiredKeys: [] });

Deno.test("frames of no sense are answered by errors alone, and the connection goes on", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  const texts = fc.oneof(
    frames.map((frame) => JSON.stringify(frame)),
    fc.string({ unit: "binary" }),
    fc.json(),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(texts, { maxLength: 5 }), async (batch) => {
      for (const text of batch) client.socket.send(text);
      for (const frame of await readAll(client)) {
        const { event, data, channel } = JSON.parse(frame);
        if (event === "pusher:error") assert.ok([4200, 4301].includes(data.code), frame);
        else if (event === "pusher:subscription_error") {
          assert.ok(["AuthError", "InvalidChannel", "InvalidSince"].includes(JSON.parse(data).type), frame);
        } else {
          // Public channels are open to everybody; nothing opens the others.
          assert.match(event, /^(?:pusher_internal:subscription_succeeded|pusher:cache_miss|raindrops:gap)$/);
          assert.doesNotMatch(channel, /^(?:private-|presence-|#)/);
        }
      }
    }),
    { numRuns: 300 },
  );
  client.socket.send(new Uint8Array([1, 2, 3]));
  assert.deepEqual(await readAll(client), [
    '{"event":"pusher:error","data":{"code":4200,"message":"Frames are text"}}',
  ]);
  assertSound(server);
});

Deno.test("paths below /app that nobody has are told 4001, 4005 or what is wrong with the version", async () => {
  await using server = await startPusherApp();
  const word = fc.oneof(
    fc.constantFrom(APP.key, APP.id, "", ".x", "%2F", "%ff", "%", "app"),
    fc.string({ maxLength: 6 }).map((text) => encodeURIComponent(text).replace(/^\.+$/, "x")),
  );
  const version = fc.oneof(fc.constantFrom("7", "6", "", "07", "1e1"), fc.webQueryParameters());
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 3 }), version, async (words, protocol) => {
      await using client = await RawPusher.open(server, `/app/${words.join("/")}?protocol=${protocol}`);
      const { event, data } = JSON.parse(await client.read());
      if (event === "pusher:connection_established") return assert.deepEqual(words, [APP.key]);
      assert.equal(event, "pusher:error");
      const wanted = words.length === 1 && words[0] !== ""
        ? words[0] === APP.key ? [4006, 4007, 4008] : [4001]
        : [4005];
      assert.ok(wanted.includes(data.code), `${words.join("/")} ${JSON.stringify(data)}`);
      assert.equal((await client.socket.closed).code, data.code);
    }),
    { numRuns: 100 },
  );
  assertSound(server);
});

/** What is close to a text and is not it. */
function mutationsOf(text: string): fc.Arbitrary<string> {
  const at = fc.nat(text.length - 1);
  return fc.oneof(
    fc.tuple(at, fc.string({ minLength: 1, maxLength: 1, unit: "binary" }))
      .map(([i, character]) => text.slice(0, i) + character + text.slice(i + 1)),
    at.map((i) => text.slice(0, i)),
    at.map((i) => text.slice(i + 1)),
    at.map((i) => text.slice(0, i) + text.slice(i + 1)),
    fc.string({ minLength: 1, unit: "binary" }).map((more) => text + more),
    fc.string({ minLength: 1, unit: "binary" }).map((more) => more + text),
    fc.constant(text.toUpperCase()),
    fc.constant(` ${text}`),
    fc.constant(text.replace(/^[^:]*/, "other")),
    fc.constant(`${text.split(":")[0]}:`),
    fc.string({ unit: "binary" }),
  ).filter((mutated) => mutated !== text && mutated.isWellFormed());
}

Deno.test("a signature that is not the signature opens no channel, and the connection goes on", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  const member = '{"user_id":"1"}';
  const texts = {
    "private-a": `${client.socketId}:private-a`,
    "private-encrypted-a": `${client.socketId}:private-encrypted-a`,
    "presence-a": `${client.socketId}:presence-a:${member}`,
  };
  for (const [channel, text] of Object.entries(texts)) {
    const data = channel === "presence-a" ? { channel_data: member } : {};
    const auths = fc.oneof(
      mutationsOf(sign(text)),
      // What is signed, but for something else.
      mutationsOf(text).map((other) => sign(other)),
      // A key that differs in zero bytes at its end alone is the same key (RFC 2104 section 2).
      mutationsOf(APP.secret).filter((secret) => secret.replace(/\0+$/, "") !== APP.secret)
        .map((secret) => sign(text, { ...APP, secret })),
    );
    await fc.assert(
      fc.asyncProperty(auths, async (auth) => {
        client.send("pusher:subscribe", { channel, auth, ...data });
        const [frame = "", ...more] = await readAll(client);
        assert.deepEqual(more, []);
        const { event, data: error } = JSON.parse(frame);
        assert.equal(event, "pusher:subscription_error", frame);
        assert.deepEqual([JSON.parse(error).type, JSON.parse(error).status], ["AuthError", 401]);
      }),
      { numRuns: 150 },
    );
    client.send("pusher:subscribe", { channel, auth: sign(text), ...data });
    assert.match((await readAll(client)).join(), /subscription_succeeded/);
  }
  assertSound(server);
});

Deno.test("channel_data that is not what was signed is refused", async () => {
  await using server = await startPusherApp();
  await using client = await RawPusher.connect(server);
  const member = '{"user_id":"1","user_info":{"admin":false}}';
  const auth = sign(`${client.socketId}:presence-a:${member}`);
  await fc.assert(
    fc.asyncProperty(mutationsOf(member), async (channel_data) => {
      client.send("pusher:subscribe", { channel: "presence-a", auth, channel_data });
      const [frame = ""] = await readAll(client);
      assert.match(frame, /"event":"pusher:subscription_error".*AuthError.*401/);
    }),
    { numRuns: 150 },
  );
  assertSound(server);
});

Deno.test("a sign-in whose signature is not the signature ends the connection with 4009", async () => {
  await using server = await startPusherApp();
  const user = '{"id":"ann"}';
  await fc.assert(
    fc.asyncProperty(fc.nat(2), fc.infiniteStream(fc.nat()), fc.nat(), async (kind, _, seed) => {
      await using client = await RawPusher.connect(server);
      const text = `${client.socketId}::user::${user}`;
      const [draw] = fc.sample(
        kind === 0
          ? mutationsOf(sign(text)).map((auth) => ({ auth, user_data: user }))
          : kind === 1
          ? mutationsOf(text).map((other) => ({ auth: sign(other), user_data: user }))
          : mutationsOf(user).map((user_data) => ({ auth: sign(text), user_data })),
        { numRuns: 1, seed },
      );
      client.send("pusher:signin", draw);
      const { event, data } = JSON.parse(await client.read());
      assert.deepEqual([event, data.code], ["pusher:error", CLOSE.unauthorized]);
      assert.equal((await client.socket.closed).code, CLOSE.unauthorized);
    }),
    { numRuns: 60 },
  );
  assertSound(server);
});

/** A request as the libraries sign it: method, path, parameters in order, body. */
function signedQuery(method: string, path: string, body: string): [string, string][] {
  const parameters: [string, string][] = [
    ["auth_key", APP.key],
    ["auth_timestamp", String(Math.floor(Date.now() / 1_000))],
    ["auth_version", "1.0"],
    ["body_md5", createHash("md5").update(body).digest("hex")],
  ];
  const text = `${method}\n${path}\n${parameters.map(([name, value]) => `${name}=${value}`).join("&")}`;
  return [...parameters, ["auth_signature", createHmac("sha256", APP.secret).update(text).digest("hex")]];
}

Deno.test("a request that is changed after it was signed is refused with 401, and publishes nothing", async () => {
  await using server = await startPusherApp();
  const path = `/apps/${APP.id}/events`;
  const body = JSON.stringify({ name: "a", channel: "news", data: "{}" });
  const send = async (query: readonly [string, string][], sent: string) => {
    const response = await fetch(`${server.url}${path}?${new URLSearchParams([...query])}`, {
      method: "POST",
      body: sent,
    });
    await response.body?.cancel();
    return response.status;
  };
  await fc.assert(
    fc.asyncProperty(fc.nat(6), fc.nat(), async (kind, seed) => {
      const query = signedQuery("POST", path, body);
      const draw = <T>(arbitrary: fc.Arbitrary<T>) => fc.sample(arbitrary, { numRuns: 1, seed })[0]!;
      let sent = body;
      if (kind < 5) {
        const [name, value] = query[kind]!;
        query[kind] = [name, draw(mutationsOf(value))];
      } else if (kind === 5) sent = draw(mutationsOf(body));
      else query.push(draw(fc.tuple(fc.string({ minLength: 1 }), fc.string())));
      assert.equal(await send(query, sent), 401, JSON.stringify(query));
    }),
    { numRuns: 300 },
  );
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  assert.deepEqual(messages, []);
  assert.equal(await send(signedQuery("POST", path, body), body), 200);
  assertSound(server);
});

Deno.test("signed bodies of no sense are refused with 400 or 413, and publish nothing", async () => {
  await using server = await startPusherApp();
  const value = fc.oneof(channels, fc.jsonValue());
  const event = fc.record(
    {
      name: fc.oneof(fc.constant("a"), fc.jsonValue()),
      channel: value,
      channels: fc.oneof(fc.array(value), fc.jsonValue()),
      socket_id: fc.oneof(fc.constant("1.1"), fc.jsonValue()),
      info: value,
      data: fc.oneof(fc.string({ unit: "binary" }), fc.jsonValue(), fc.constant("x".repeat(10_241))),
    },
    { requiredKeys: [] },
  );
  const bodies = fc.oneof(
    event.map((one) => JSON.stringify(one)),
    fc.array(event).map((batch) => JSON.stringify({ batch })),
    fc.json(),
    fc.string({ minLength: 1 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom("events", "batch_events"), bodies, async (endpoint, body) => {
      const path = `/apps/${APP.id}/${endpoint}`;
      const query = new URLSearchParams(signedQuery("POST", path, body));
      const response = await fetch(`${server.url}${path}?${query}`, { method: "POST", body });
      const text = await response.text();
      assert.ok([200, 400, 413].includes(response.status), `${response.status} ${text}`);
      if (response.status === 200) assert.equal(typeof JSON.parse(text), "object");
      else assert.match(text, /^\S.{8,}/);
    }),
    { numRuns: 300 },
  );
  assertSound(server);
});
