/** What the official Centrifuge client must see of this server, whatever it writes and is carried by. */
import assert from "node:assert/strict";
import { join } from "node:path";
import type { Client } from "../../lib/core/client.ts";
import {
  Clients,
  type ClientVariant,
  Inbox,
  listen,
  listenTo,
  rejection,
  subscribe,
} from "./centrifuge_clients.ts";
import { TcpProxy } from "../fakes/tcp_proxy.ts";
import {
  createToken,
  post,
  secondsFromNow,
  startKeyedApp,
  startRuledApp,
} from "../protocols/centrifuge/app.ts";
import { readLines } from "../read_lines.ts";
import { startServer } from "../server_process.ts";
import { startApp, type TestApp } from "../test_app.ts";
import { TestSocket } from "../test_socket.ts";

/** The one client that is connected. */
function onlyClient({ app }: TestApp): Client {
  const [client, ...others] = app.hub.clients;
  assert(client !== undefined && others.length === 0);
  return client;
}

/** Runs every promise to the official client over one variant. */
export function testCentrifugeClient(variant: ClientVariant): void {
  const { encode, decode } = variant;
  const data = ({ data }: { readonly data: unknown }) => decode(data);
  const test = (name: string, run: () => Promise<void>) =>
    Deno.test(`Client over ${variant.name} ${name}`, run);

  test("publishes and receives, and HTTP publishes to the same channel", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const [alice, bob] = [await clients.connect(), await clients.connect({ data: encode({ name: "Bob" }) })];
    const [hers, his] = [await subscribe(alice, "news"), await subscribe(bob, "news")];
    const [hersIn, hisIn] = [listenTo(hers, "publication"), listenTo(his, "publication")];
    await his.publish(encode({ text: "it rains", at: [1, 2.5, null] }));
    await post(server, "/news", "still");
    await alice.publish("news", encode("over"));
    for (const inbox of [hersIn, hisIn]) {
      const publications = await inbox.take(3);
      assert.deepEqual(publications.map(data), [{ text: "it rains", at: [1, 2.5, null] }, "still", "over"]);
      assert.deepEqual(publications.map(({ offset }) => offset), [1, 2, 3]);
      assert.deepEqual(decode(publications[0]?.info?.connInfo), { name: "Bob" });
      assert.deepEqual(publications.map(({ info }) => info?.user), ["", undefined, ""]);
    }
    his.unsubscribe();
    await alice.publish("news", encode("he is gone"));
    assert.deepEqual(data(await hersIn.next()), "he is gone");
    await bob.presenceStats("news");
    assert.deepEqual(hisIn.unread, []);
  });

  test("sees who is there: presence, stats, joins and leaves, plain sockets and streams too", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const alice = await clients.connect();
    const subscription = await subscribe(alice, "news", { joinLeave: true });
    const [joins, leaves] = [listenTo(subscription, "join"), listenTo(subscription, "leave")];
    const seen = async () => {
      const { info } = await joins.next();
      return [info.client, info.user, decode(info.connInfo)];
    };
    const plain = await TestSocket.open(`${server.socketUrl}/news?id=john&name=John`);
    assert.deepEqual(await seen(), ["john", "", { name: "John" }]);
    const stream = await readLines(`${server.url}/news?id=jane&name=Jane`, { accept: "text/event-stream" });
    assert.deepEqual(await seen(), ["jane", "", { name: "Jane" }]);
    const bob = await clients.connect();
    const his = await subscribe(bob, "news");
    assert.equal((await joins.next()).info.client, newestMember(server, "news").id);

    const { clients: present } = await subscription.presence();
    assert.equal(Object.keys(present).length, 4);
    assert.deepEqual(decode(present.john?.connInfo), { name: "John" });
    assert.deepEqual(await bob.presenceStats("news"), { numClients: 4, numUsers: 1 });

    await plain[Symbol.asyncDispose]();
    assert.equal((await leaves.next()).info.client, "john");
    await stream[Symbol.asyncDispose]();
    assert.equal((await leaves.next()).info.client, "jane");
    his.unsubscribe();
    await leaves.next();
    assert.deepEqual(await bob.presenceStats("news"), { numClients: 1, numUsers: 1 });
  });

  test("reads history: limits, since and backwards, and is told what cannot be read", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    const read = async (options: Parameters<typeof client.history>[1]) => {
      const result = await client.history("news", options);
      return [result.publications.map(data), result.offset];
    };
    for (const text of ["a", "b", "c", "d"]) await post(server, "/news", text);
    const { epoch, publications } = await client.history("news");
    assert.deepEqual([epoch, publications], [server.app.hub.top.epoch, []]);
    assert.deepEqual(await read({ limit: 2 }), [["a", "b"], 4]);
    assert.deepEqual(await read({ limit: -1 }), [["a", "b", "c", "d"], 4]);
    assert.deepEqual(await read({ limit: 2, since: { offset: 1, epoch } }), [["b", "c"], 4]);
    assert.deepEqual(await read({ limit: 2, reverse: true }), [["d", "c"], 4]);
    assert.deepEqual(await read({ limit: 5, reverse: true, since: { offset: 3, epoch } }), [["b", "a"], 4]);
    const wrong = { limit: 1, since: { offset: 1, epoch: "other" } };
    assert.equal(await rejection(client.history("news", wrong)), 112);
    const before = { limit: 1, reverse: true, since: { offset: 0, epoch } };
    assert.equal(await rejection(client.history("news", before)), 107);
  });

  test("is told what it may not do, and goes on", async () => {
    const rules = [{ channels: "quiet", presence: false, ephemeral: true }];
    await using server = await startRuledApp(rules, "--max-message-bytes", "1000");
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    assert.equal(await rejection(client.publish("_stats", encode(1))), 107);
    assert.equal(await rejection(client.publish("news", encode("x".repeat(1_001)))), 106);
    assert.equal(await rejection(client.presence("quiet")), 108);
    assert.equal(await rejection(client.presenceStats("quiet")), 108);
    assert.equal(await rejection(client.history("quiet", { limit: 1 })), 108);
    assert.equal(await rejection(client.rpc("sum", encode([1, 2]))), 108);
    await client.send(encode("nobody listens"));
    const refused = client.newSubscription("a//b");
    const unsubscribed = listenTo(refused, "unsubscribed");
    refused.subscribe();
    assert.equal((await unsubscribed.next()).code, 107);
    assert.deepEqual(await client.publish("news", encode("fine")), {});
  });

  test("recovers what it missed while its connection was cut, each once and in order", async () => {
    await using server = await startApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = await clients.connect();
    const subscription = await subscribe(client, "news");
    const [publications, subscribed] = [
      listenTo(subscription, "publication"),
      listenTo(subscription, "subscribed"),
    ];
    await post(server, "/news", "1");
    assert.equal(data(await publications.next()), "1");
    const connecting = listen(client, "connecting");
    proxy.cut();
    for (const text of ["2", "3", "4"]) await post(server, "/news", text);
    await connecting.next();
    proxy.refuses = false;
    const { wasRecovering, recovered } = await subscribed.next();
    assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
    await post(server, "/news", "5");
    assert.deepEqual((await publications.take(4)).map(data), ["2", "3", "4", "5"]);
  });

  test("subscribes from a position it kept", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    for (const text of ["1", "2", "3"]) await post(server, "/news", text);
    const client = await clients.connect();
    const subscription = client.newSubscription("news", {
      since: { offset: 1, epoch: server.app.hub.top.epoch },
    });
    const publications = listenTo(subscription, "publication");
    subscription.subscribe();
    assert.deepEqual((await publications.take(2)).map(data), ["2", "3"]);
  });

  test("learns that what it missed is gone", async () => {
    await using server = await startRuledApp([{ channels: "short", history: { messages: 2 } }]);
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const client = await clients.connect();
    const [short, news] = [await subscribe(client, "short"), await subscribe(client, "news")];
    for (const path of ["/short", "/news"]) await post(server, path, "1");
    const inboxes = [listenTo(short, "subscribed"), listenTo(news, "subscribed")];
    // The answer comes behind both publications, so that the client knows where it is.
    await client.presenceStats("news");
    const connected = listen(client, "connected");
    const offline = listen(client, "connecting");
    proxy.cut();
    for (const text of ["2", "3", "4", "5"]) {
      for (const path of ["/short", "/news"]) await post(server, path, text);
    }
    await (await fetch(`${server.url}/news`, { method: "DELETE" })).body?.cancel();
    await offline.next();
    proxy.refuses = false;
    await connected.next();
    for (const inbox of inboxes) {
      const { wasRecovering, recovered, streamPosition } = await inbox.next();
      assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: false });
      assert.equal(streamPosition?.offset, 5);
    }
  });

  test("reconnects to a restarted server and recovers from its log", async () => {
    const folder = await Deno.makeTempDir();
    try {
      await using server = await startServer({ flags: ["--engine", `sqlite:${join(folder, "log.db")}`] });
      await using proxy = new TcpProxy(server.port);
      using clients = new Clients(variant, proxy);
      const client = await clients.connect();
      const subscription = await subscribe(client, "news");
      const [publications, subscribed] = [
        listenTo(subscription, "publication"),
        listenTo(subscription, "subscribed"),
      ];
      await post(server, "/news", "1");
      assert.equal(data(await publications.next()), "1");
      const connecting = listen(client, "connecting");
      // The client must not be back before there is something to miss.
      proxy.refuses = true;
      await server.stop();
      assert.deepEqual(await connecting.next(), { code: 3001, reason: "shutdown" });
      await server.start();
      await post(server, "/news", "2");
      await post(server, "/news", "3");
      proxy.refuses = false;
      const { wasRecovering, recovered } = await subscribed.next();
      assert.deepEqual({ wasRecovering, recovered }, { wasRecovering: true, recovered: true });
      assert.deepEqual((await publications.take(2)).map(data), ["2", "3"]);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });

  test("gives up with a token that is not good, and without one where it needs one", async () => {
    await using server = await startKeyedApp();
    using clients = new Clients(variant, server);
    for (
      const [token, code, event] of [["no.good.token", 3500, "token refused"], [
        "",
        3501,
        "permission denied",
      ]]
    ) {
      const client = clients.create({ token: String(token) });
      const disconnected = listen(client, "disconnected");
      client.connect();
      const ending = await disconnected.next();
      assert.equal(ending.code, code);
      assert.doesNotMatch(ending.reason, /rule|allow/);
      assert.equal(server.logger.find(String(event)).length, 1);
    }
  });

  test("is subscribed by its token's claims, and recovers those subscriptions", async () => {
    await using server = await startKeyedApp();
    await using proxy = new TcpProxy(server.port);
    using clients = new Clients(variant, proxy);
    const token = await createToken({
      sub: "u1",
      info: { name: "Ada" },
      channels: ["news"],
      subs: { weather: { info: { seat: 1 }, data: { unit: "mm" } } },
    });
    const client = clients.create({ token });
    const [subscribed, publications] = [listen(client, "subscribed"), listen(client, "publication")];
    client.connect();
    const opened = await subscribed.take(2);
    assert.deepEqual(opened.map(({ channel }) => channel).sort(), ["news", "weather"]);
    const weather = opened.find(({ channel }) => channel === "weather");
    assert.deepEqual(decode(weather?.data), { unit: "mm" });
    const { id, user, info, channelInfo } = onlyMember(server, "weather");
    assert.deepEqual([user, info, channelInfo], ["u1", '{"name":"Ada"}', '{"seat":1}']);
    assert.equal(id, onlyClient(server).id);

    await publish(server, "news", "1");
    assert.equal(data(await publications.next()), "1");
    const connecting = listen(client, "connecting");
    proxy.cut();
    await publish(server, "news", "2");
    await publish(server, "weather", "3");
    await connecting.next();
    proxy.refuses = false;
    const again = await subscribed.take(2);
    assert.deepEqual(again.map(({ recovered }) => recovered), [true, true]);
    const missed = (await publications.take(2)).map((
      publication,
    ) => [publication.channel, data(publication)]);
    assert.deepEqual(missed.sort(), [["news", "2"], ["weather", "3"]]);
  });

  test("stays off a channel it is taken off with 2000, and comes back after 2500 and 2501", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    const subscription = await subscribe(client, "news");
    const inboxes = {
      subscribing: listenTo(subscription, "subscribing"),
      subscribed: listenTo(subscription, "subscribed"),
      unsubscribed: listenTo(subscription, "unsubscribed"),
    };
    const control = onlyClient(server).control;
    for (const [code, reason] of [[2500, "insufficient state"], [2501, "subscription expired"]] as const) {
      assert.equal(control?.unsubscribe("news", code, reason), true);
      assert.deepEqual(await inboxes.subscribing.next(), { channel: "news", code, reason });
      await inboxes.subscribed.next();
    }
    control?.unsubscribe("news", 2000, "server unsubscribe");
    assert.deepEqual(await inboxes.unsubscribed.next(), {
      channel: "news",
      code: 2000,
      reason: "server unsubscribe",
    });
    assert.deepEqual(await client.presenceStats("news"), { numClients: 0, numUsers: 0 });
    assert.equal(subscription.state, "unsubscribed");
  });

  test("is subscribed and unsubscribed by the server", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    const [subscribed, publications, unsubscribed] = [
      listen(client, "subscribed"),
      listen(client, "publication"),
      listen(client, "unsubscribed"),
    ];
    const control = onlyClient(server).control;
    await control?.subscribe("news", { data: { kind: "json", text: '{"why":"you asked"}' } });
    const context = await subscribed.next();
    assert.deepEqual([context.channel, decode(context.data)], ["news", { why: "you asked" }]);
    await post(server, "/news", "1");
    assert.equal(data(await publications.next()), "1");
    control?.unsubscribe("news", 2000, "enough");
    assert.equal((await unsubscribed.next()).channel, "news");
  });

  test("comes back after a disconnect below 3500, and stays away from 3500 on", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    for (
      const [code, comesBack] of [[3000, true], [3010, true], [3503, false], [4000, true], [
        4500,
        false,
      ]] as const
    ) {
      const client = await clients.connect();
      const [connected, connecting, disconnected] = [
        listen(client, "connected"),
        listen(client, "connecting"),
        listen(client, "disconnected"),
      ];
      onlyClient(server).control?.disconnect(code, "as you like");
      const expected = { code, reason: "as you like" };
      if (comesBack) {
        assert.deepEqual(await connecting.next(), expected);
        await connected.next();
        onlyClient(server).control?.disconnect(3503, "enough");
        await disconnected.next();
      } else {
        assert.deepEqual(await disconnected.next(), expected);
        assert.equal(client.state, "disconnected");
      }
      assert.equal(server.app.hub.clientCount, 0);
    }
  });

  test("gets what is sent to it alone", async () => {
    await using server = await startApp();
    using clients = new Clients(variant, server);
    const client = await clients.connect();
    const messages = listen(client, "message");
    await post(server, `/@${onlyClient(server).id}`, "psst");
    assert.equal(data(await messages.next()), "psst");
  });
}

/**
 * The promises that take seconds to see, of all variants at once: expired tokens are replaced, others in good time
 * before they expire, and pings are answered.
 */
export function testRefreshing(variants: readonly ClientVariant[]): void {
  Deno.test("Clients over every transport replace their tokens in time and answer pings", async () => {
    await using server = await startKeyedApp([], "--ping-interval", "1", "--pong-timeout", "1");
    const creations: Promise<string>[] = [];
    await Promise.all(variants.map((variant) => checkRefreshing(server, variant, creations)));
    // A client may have asked for one more just before it was closed.
    await Promise.all(creations);
    assert.equal(server.logger.find("token refused").length, 2 * variants.length);
  });
}

/** @param creations is given the tokens that are made for the client */
async function checkRefreshing(
  server: TestApp,
  variant: ClientVariant,
  creations: Promise<string>[],
): Promise<void> {
  using clients = new Clients(variant, server);
  const channel = variant.name.replaceAll(" ", "_");
  const [tokens, subscriptionTokens] = [new Inbox<string>(), new Inbox<string>()];
  const createFor = (inbox: Inbox<string>, claims: Record<string, unknown>) => async () => {
    // It is good for half a second at least, as it counts in whole ones.
    const creation = createToken({ ...claims, exp: Math.ceil(Date.now() / 1_000 + 0.5) });
    creations.push(creation);
    const token = await creation;
    inbox.add(token);
    return token;
  };
  const expired = { exp: secondsFromNow(-10) };
  const client = clients.create({
    token: await createToken({ sub: "u1", ...expired }),
    getToken: createFor(tokens, { sub: "u1" }),
  });
  const [connected, connecting] = [listen(client, "connected"), listen(client, "connecting")];
  client.connect();
  await connected.next();

  const claims = { sub: "u1", channel, info: { seat: 7 } };
  const subscription = client.newSubscription(channel, {
    minResubscribeDelay: 10,
    token: await createToken({ ...claims, ...expired }),
    getToken: createFor(subscriptionTokens, claims),
  });
  const [errors, subscribed] = [listenTo(subscription, "error"), listenTo(subscription, "subscribed")];
  subscription.subscribe();
  assert.equal((await errors.next()).error.code, 109, variant.name);
  await subscribed.next();
  assert.equal(onlyMember(server, channel).channelInfo, '{"seat":7}');

  // One each for those that had expired, two to refresh: by then a ping that was not answered had ended it.
  await Promise.all([tokens.take(3), subscriptionTokens.take(3)]);
  assert.deepEqual((await subscription.history({ limit: 1 })).publications, []);
  assert.deepEqual([client.state, subscription.state], ["connected", "subscribed"], variant.name);
  assert.deepEqual(
    [connected.unread, subscribed.unread, connecting.unread.length],
    [[], [], 1],
    variant.name,
  );

  const denied = client.newSubscription("other");
  const unsubscribed = listenTo(denied, "unsubscribed");
  denied.subscribe();
  assert.equal((await unsubscribed.next()).code, 103, variant.name);
}

/** Publishes where HTTP would ask for a token. */
async function publish({ app }: TestApp, channel: string, text: string): Promise<void> {
  await app.hub.publish({ channel, payload: { kind: "text", text } });
}

function onlyMember({ app }: TestApp, channel: string) {
  const [member, ...others] = app.hub.presence.list(channel);
  assert(member !== undefined && others.length === 0);
  return member;
}

function newestMember({ app }: TestApp, channel: string) {
  const member = app.hub.presence.list(channel).at(-1);
  assert(member !== undefined);
  return member;
}
