/** The official pusher-js and the official server library against the server: every kind of channel, end to end. */
import assert from "node:assert/strict";
import Echo from "laravel-echo";
import { TestSocket } from "../../test_socket.ts";
import { OfficialClient, openServerLibrary, startPusherApp } from "./pusher_app.ts";

Deno.test("pusher-js gets what the server library triggers on public, private and presence channels", async () => {
  await using server = await startPusherApp();
  await using client = new OfficialClient(server, { user: { user_id: "1", user_info: { name: "John" } } });
  const library = openServerLibrary(server);
  for (const name of ["news", "private-orders", "presence-room"]) {
    const channel = await client.subscribe(name);
    const event = client.next(channel, "created");
    const response = await library.trigger(name, "created", { id: 1, text: "ä" });
    assert.equal(response.status, 200);
    assert.deepEqual(await response.json(), {});
    assert.deepEqual(await event, { id: 1, text: "ä" }, name);
  }
});

Deno.test("a trigger reaches plain sockets and documents, and a POST reaches pusher-js as message", async () => {
  await using server = await startPusherApp();
  await using client = new OfficialClient(server);
  await using plain = await TestSocket.open(`${server.socketUrl}/news`);
  const channel = await client.subscribe("news");
  await openServerLibrary(server).trigger("news", "created", { a: 1 });
  assert.equal(await plain.next(), '{"a":1}');
  const message = client.next(channel, "message");
  await (await fetch(`${server.url}/news`, { method: "POST", body: "it rains" })).body?.cancel();
  assert.equal(await message, "it rains");
  const named = client.next(channel, "weather");
  await (await fetch(`${server.url}/news?event=weather`, {
    method: "POST",
    body: '{"mm":12}',
    headers: { "content-type": "application/json" },
  })).body?.cancel();
  assert.deepEqual(await named, { mm: 12 });
  const { messages } = await (await fetch(`${server.url}/news?since=earliest`)).json();
  assert.deepEqual(messages.map(({ event, data }: { event?: string; data: unknown }) => [event, data]), [
    ["created", { a: 1 }],
    [undefined, "it rains"],
    ["weather", { mm: 12 }],
  ]);
});

Deno.test("the connection that a trigger names by its socket id does not get it, others do", async () => {
  await using server = await startPusherApp();
  await using one = new OfficialClient(server);
  await using two = new OfficialClient(server);
  const mine = await one.subscribe("news");
  const theirs = await two.subscribe("news");
  const library = openServerLibrary(server);
  let excluded = 0;
  mine.bind("a", () => excluded++);
  const other = two.next(theirs, "a");
  await library.trigger("news", "a", 1, { socket_id: await one.connected() });
  await other;
  const last = one.next(mine, "b");
  await library.trigger("news", "b", 2);
  await last;
  assert.equal(excluded, 0);
});

Deno.test("client events reach all others on private and presence channels, with the user on presence channels", async () => {
  await using server = await startPusherApp();
  await using one = new OfficialClient(server, { user: { user_id: "1" } });
  await using two = new OfficialClient(server, { user: { user_id: "2" } });
  for (const name of ["private-room", "presence-room"]) {
    const mine = await one.subscribe(name);
    const theirs = await two.subscribe(name);
    mine.bind("client-typing", () => assert.fail("the sender gets its own event"));
    const received = new Promise<unknown[]>((resolve) =>
      theirs.bind("client-typing", (data: unknown, metadata: unknown) => resolve([data, metadata]))
    );
    assert.ok(mine.trigger("client-typing", { at: 3 }));
    const metadata = name === "presence-room" ? { user_id: "1" } : {};
    assert.deepEqual(await received, [{ at: 3 }, metadata]);
  }
});

Deno.test("members come and leave once for each user, however many connections they have", async () => {
  await using server = await startPusherApp();
  await using watcher = new OfficialClient(server, { user: { user_id: "w" } });
  // deno-lint-ignore no-explicit-any -- members are only of presence channels
  const channel = await watcher.subscribe("presence-room") as any;
  const changes: string[] = [];
  channel.bind("pusher:member_added", ({ id, info }: { id: string; info: unknown }) => {
    changes.push(`+${id} ${JSON.stringify(info)}`);
  });
  channel.bind("pusher:member_removed", ({ id }: { id: string }) => changes.push(`-${id}`));
  const added = watcher.next(channel, "pusher:member_added");
  const john = { user_id: "john", user_info: { name: "John" } };
  {
    await using one = new OfficialClient(server, { user: john });
    await one.subscribe("presence-room");
    await using two = new OfficialClient(server, { user: john });
    // deno-lint-ignore no-explicit-any -- as above
    const second = await two.subscribe("presence-room") as any;
    assert.equal(second.members.count, 2);
    assert.deepEqual(second.members.get("john"), { id: "john", info: { name: "John" } });
    assert.equal(second.members.me.id, "john");
    await added;
  }
  if (!changes.includes("-john")) await watcher.next(channel, "pusher:member_removed");
  assert.deepEqual(changes, ['+john {"name":"John"}', "-john"]);
  assert.equal(channel.members.count, 1);
});

Deno.test("cache channels give the last event to new subscribers, or say that there is none", async () => {
  await using server = await startPusherApp();
  await using client = new OfficialClient(server);
  for (const name of ["cache-weather", "private-cache-weather"]) {
    const miss = client.next(client.pusher.subscribe(name), "pusher:cache_miss");
    await miss;
    client.pusher.unsubscribe(name);
    const library = openServerLibrary(server);
    await library.trigger(name, "old", 1);
    await library.trigger(name, "now", { mm: 2 });
    assert.deepEqual(await client.next(client.pusher.subscribe(name), "now"), { mm: 2 });
  }
});

// The client's socket library keeps a timer for its closing handshake a moment longer than the connection.
const CLOSING = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "who signs in gets the events to its user, and is disconnected for good when the app says so",
  CLOSING,
  async () => {
    await using server = await startPusherApp();
    await using client = new OfficialClient(server);
    await client.connected();
    const success = client.next(client.pusher, "pusher:signin_success");
    client.pusher.signin();
    await success;
    const library = openServerLibrary(server);
    const event = client.next(client.pusher.user, "note");
    // The client subscribes to its user's channel after the sign-in.
    const stored = client.next(client.pusher.user.serverToUserChannel!, "pusher:subscription_succeeded");
    if (!client.pusher.user.serverToUserChannel!.subscribed) await stored;
    await library.sendToUser("ann", "note", { text: "for you" });
    assert.deepEqual(await event, { text: "for you" });
    const failed = client.next(client.pusher.connection, "disconnected");
    const response = await library.terminateUserConnections("ann");
    assert.equal(response.status, 200);
    await failed;
    assert.equal(client.states.at(-1), "disconnected", "code 4009 is final");
  },
);

Deno.test("pusher-js gives up for an unknown app, and for a private channel that is not signed", async () => {
  await using server = await startPusherApp();
  await using stranger = new OfficialClient(server, { key: "unknown" });
  const error = await stranger.next(stranger.pusher.connection, "error");
  assert.equal(error.error.data.code, 4001);
  await using client = new OfficialClient(server);
  // deno-lint-ignore no-explicit-any -- a handler that signs for another socket
  (client.pusher.config as any).channelAuthorizer = (_: unknown, callback: (...args: unknown[]) => void) =>
    callback(null, { auth: "key1:0000" });
  await assert.rejects(client.subscribe("private-orders"), /AuthError/);
});

Deno.test("Laravel Echo listens, whispers and sees who is there, with pusher-js as its connector", async () => {
  await using server = await startPusherApp();
  await using one = new OfficialClient(server, { user: { user_id: "1", user_info: { name: "Ann" } } });
  await using two = new OfficialClient(server, { user: { user_id: "2", user_info: { name: "Ben" } } });
  const [mine, theirs] = [one, two].map(({ pusher }) => new Echo({ broadcaster: "pusher", client: pusher }));
  assert.ok(mine !== undefined && theirs !== undefined);
  const here = new Promise<unknown>((resolve) => mine.join("room").here(resolve));
  assert.deepEqual(await here, [{ name: "Ann" }]);
  const joining = new Promise<unknown>((resolve) => mine.join("room").joining(resolve));
  const whisper = new Promise<unknown>((resolve) => mine.join("room").listenForWhisper("typing", resolve));
  const others = theirs.join("room");
  await new Promise((resolve) => others.here(resolve));
  assert.deepEqual(await joining, { name: "Ben" });
  others.whisper("typing", { at: 1 });
  assert.deepEqual(await whisper, { at: 1 });
  const shipped = new Promise<unknown>((resolve) => mine.join("room").listen(".order.shipped", resolve));
  await openServerLibrary(server).trigger("presence-room", "order.shipped", { id: 7 });
  assert.deepEqual(await shipped, { id: 7 });
});
