/** Tokens and rules of the Centrifuge protocol as they are on the wire: who may do what, and what it is told otherwise. */
import assert from "node:assert/strict";
import {
  createToken,
  keyed,
  OPERATED,
  publish,
  RawClient,
  type RawReply,
  secondsFromNow,
  startKeyedApp,
  untilCounts,
} from "./app.ts";

Deno.test("A token says who connects, for how long, and to what", async () => {
  await using server = await startKeyedApp();
  await using client = await RawClient.open(server);
  const token = await createToken({
    sub: "u1",
    info: { name: "Ada" },
    exp: secondsFromNow(100),
    channels: ["news"],
    subs: { weather: { info: { seat: 1 }, data: { unit: "mm" } } },
  });
  const { epoch } = server.app.hub.top;
  await publish(server, "news", "1", "2");
  const { connect } = await client.call("connect", {
    token,
    subs: { news: { recover: true, offset: 1, epoch }, forbidden: { recover: true } },
  });
  assert.equal(connect.expires, true);
  assert(connect.ttl > 95 && connect.ttl <= 100);
  assert.deepEqual(connect.subs, {
    news: {
      recoverable: true,
      epoch,
      publications: [{ data: "2", offset: 2 }],
      recovered: true,
      offset: 1,
      positioned: true,
      was_recovering: true,
    },
    weather: { recoverable: true, epoch, positioned: true, data: { unit: "mm" } },
  });
  assert.equal(await client.fail("subscribe", { channel: "news" }), 105);
  const { refresh } = await client.call("refresh", {
    token: await createToken({ sub: "u1", exp: secondsFromNow(1_000) }),
  });
  assert.deepEqual([refresh.client, refresh.expires], [connect.client, true]);
  assert(refresh.ttl > 995);
  const bad = await createToken({ sub: "u2", exp: secondsFromNow(1_000) });
  client.send({ id: 4, refresh: { token: bad } });
  assert.deepEqual(await client.socket.closed, { code: 3500, reason: "invalid token" });
});

Deno.test("Tokens that will not do: 109 for an expired one, 3500 for a bad one, 3501 for none", async () => {
  await using server = await startKeyedApp([], OPERATED);
  const [header, , signature] = (await createToken({ sub: "u1" })).split(".");
  const cases: readonly [string, number][] = [
    ["nonsense", 3500],
    [`${header}.${btoa('{"sub":"admin"}')}.${signature}`, 3500],
    [await createToken({ sub: "u1", channel: "news" }), 3500],
    [await createToken({ sub: "u1", channels: ["a//b"] }), 3500],
    ["", 3501],
  ];
  for (const [token, code] of cases) {
    await using client = await RawClient.open(server);
    client.send({ id: 1, connect: { token } }, { id: 2, subscribe: { channel: "news" } });
    assert.equal((await client.socket.closed).code, code, token);
    assert.deepEqual(client.socket.unread, []);
  }
  await using client = await RawClient.open(server);
  const expired = await createToken({ sub: "u1", exp: secondsFromNow(-1) });
  assert.equal(await client.fail("connect", { token: expired }), 109);
  await untilCounts(server, { clients: 0 });
});

Deno.test("A subscription token opens one channel for one user, and is refreshed", async () => {
  await using server = await startKeyedApp([{ channels: "secret", allowSubscribers: ["presence"] }]);
  await using client = await keyed(server);
  const claims = { sub: "u1", channel: "secret" };
  const subscribe = async (more: Record<string, unknown>) => ({
    channel: "secret",
    token: await createToken({ ...claims, ...more }),
  });
  assert.equal(await client.fail("subscribe", { channel: "secret" }), 103);
  assert.equal(await client.fail("subscribe", { channel: "secret", token: "nonsense" }), 103);
  assert.equal(await client.fail("subscribe", await subscribe({ exp: secondsFromNow(-1) })), 109);
  const opened = await client.call(
    "subscribe",
    await subscribe({ exp: secondsFromNow(100), info: { seat: 7 }, data: { hi: 1 } }),
  );
  assert.deepEqual([opened.subscribe.expires, opened.subscribe.data], [true, { hi: 1 }]);
  const { presence } = (await client.call("presence", { channel: "secret" })).presence;
  assert.deepEqual(Object.values<RawReply>(presence).map(({ chan_info }) => chan_info), [{ seat: 7 }]);
  const { sub_refresh } = await client.call("sub_refresh", await subscribe({ exp: secondsFromNow(1_000) }));
  assert(sub_refresh.expires && sub_refresh.ttl > 995);
  assert.equal(await client.fail("sub_refresh", await subscribe({ exp: secondsFromNow(-1) })), 109);
  assert.equal(await client.fail("sub_refresh", { channel: "secret", token: "nonsense" }), 103);

  for (const more of [{ channel: "other" }, { sub: "u2" }, { client: "somebody" }]) {
    await using stranger = await keyed(server);
    stranger.send({ id: 2, subscribe: await subscribe(more) });
    assert.equal((await stranger.socket.closed).code, 3500, JSON.stringify(more));
  }
});

Deno.test("An unsubscribe behind a subscribe whose token is still checked takes effect", async () => {
  await using server = await startKeyedApp([], OPERATED);
  await using client = await keyed(server);
  const token = await createToken({ sub: "u1", channel: "secret" });
  client.send({ id: 2, subscribe: { channel: "secret", token } }, {
    id: 3,
    unsubscribe: { channel: "secret" },
  });
  assert.deepEqual((await client.take(2)).map(({ id }) => id), [2, 3]);
  await untilCounts(server, { subscriptions: 0 });
});

Deno.test("A token for more channels than a connection may be on ends it with 3505", async () => {
  await using server = await startKeyedApp([], OPERATED);
  await using client = await RawClient.open(server);
  const channels = Array.from({ length: 1_001 }, (_, i) => `c${i}`);
  client.send({ id: 1, connect: { token: await createToken({ sub: "u1", channels }) } });
  assert.equal((await client.socket.closed).code, 3505);
  await untilCounts(server, { subscriptions: 0 });
});

Deno.test("Rules say what is allowed to users, to subscribers and to everybody; denials name them in the log", async () => {
  await using server = await startKeyedApp([
    { channels: "open", allowAnonymous: ["subscribe"] },
    { channels: "room", allow: ["subscribe", "history"], allowSubscribers: ["publish"] },
  ]);
  await using anonymous = await RawClient.connect(server);
  await using user = await keyed(server);
  assert("subscribe" in await anonymous.call("subscribe", { channel: "open" }));
  for (
    const [kind, request] of [
      ["publish", { channel: "open", data: 1 }],
      ["history", { channel: "open" }],
      ["presence", { channel: "open" }],
      ["presence_stats", { channel: "open" }],
      ["subscribe", { channel: "room" }],
    ] as const
  ) {
    const { error } = await anonymous.call(kind, request);
    // It learns nothing of the rules.
    assert.deepEqual(error, { code: 103, message: "permission denied" });
    const { reason } = server.logger.find("permission denied").at(-1) ?? {};
    const rule = kind === "subscribe" ? /no rule allows|rule "room"/ : /rule "open" does not allow/;
    assert.match(String(reason), rule);
    assert.match(String(reason), /set "allowAnonymous": \[.*\] in the rules/);
  }

  // Whoever may subscribe by a rule has what is for subscribers, subscribed or not.
  assert.equal(await user.fail("publish", { channel: "room", data: 1 }), undefined);
  assert("history" in await user.call("history", { channel: "room" }));
  assert("subscribe" in await user.call("subscribe", { channel: "room" }));
  user.send({ id: 9, publish: { channel: "room", data: 1 } });
  assert.deepEqual((await user.take(2)).map((reply) => "publish" in reply || "push" in reply), [true, true]);
  const { error } = await user.call("presence", { channel: "room" });
  assert.equal(error.code, 103);
  assert.match(error.message, /rule "room" does not allow "presence" to users/);
});

Deno.test("Recovery asks for the permission that history asks for", async () => {
  await using server = await startKeyedApp([{ channels: "news", allowAnonymous: ["subscribe"] }]);
  await publish(server, "news", "1", "2");
  await using client = await RawClient.open(server);
  await client.call("connect");
  assert.equal(await client.fail("history", { channel: "news", limit: 5 }), 103);
  const { subscribe } = await client.call("subscribe", { channel: "news", recover: true, offset: 0 });
  assert.deepEqual([subscribe.recovered, subscribe.publications, subscribe.offset], [
    undefined,
    undefined,
    2,
  ]);
});

Deno.test("A token's grants hold for commands, and a refresh replaces them", async () => {
  await using server = await startKeyedApp();
  const sign = (grants: Record<string, string[]>) => createToken({ sub: "ann", grants });
  await using client = await RawClient.connect(server, {
    token: await sign({ "chat:*": ["subscribe", "publish"] }),
  });
  assert.equal(await client.fail("publish", { channel: "chat:1", data: {} }), undefined);
  assert.equal(await client.fail("subscribe", { channel: "chat:2" }), undefined);
  assert.equal(await client.fail("subscribe", { channel: "news" }), 103);
  assert.equal(await client.fail("presence", { channel: "chat:2" }), 103);
  assert.equal(await client.fail("history", { channel: "chat:2" }), 103, "a grant is exactly what it lists");
  await client.call("refresh", { token: await sign({ news: ["publish"] }) });
  assert.equal(await client.fail("publish", { channel: "chat:1", data: {} }), 103);
  assert.equal(await client.fail("publish", { channel: "news", data: {} }), undefined);
});
