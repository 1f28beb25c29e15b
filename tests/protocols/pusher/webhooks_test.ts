/** Pusher's webhooks: what is told, signed, told again to a receiver that failed, and after a restart. */
import assert from "node:assert/strict";
import { APP, OfficialClient, openServerLibrary, RawPusher, sign, startPusherApps } from "./pusher_app.ts";
import { WebhookReceiver } from "./webhook_receiver.ts";

async function join(client: RawPusher, channel: string, channel_data?: string): Promise<void> {
  const text = [client.socketId, channel, channel_data].filter((part) => part !== undefined).join(":");
  client.send("pusher:subscribe", { channel, auth: sign(text), channel_data });
  assert.match(await client.read(), /subscription_succeeded/);
}

Deno.test("what happens on channels is posted, signed, and posted again after a failure", async () => {
  await using receiver = new WebhookReceiver();
  receiver.status = 500;
  await using server = await startPusherApps([{ ...APP, webhooks: [receiver.url] }]);
  await using client = new OfficialClient(server, { user: { user_id: "1" } });
  await client.subscribe("presence-a");
  await receiver.until(() => receiver.requests > 0);
  receiver.status = 200;
  await receiver.until(() => receiver.named("member_added").length > 0);
  assert.deepEqual(receiver.events.map(({ name }) => name), ["channel_occupied", "member_added"]);
  assert.equal(server.logger.find("webhook failed").length, 1);
  assert.ok(!JSON.stringify(server.logger.entries).includes(APP.secret));
});

Deno.test("each kind of event is told to the letter, and who comes back soon was never away", async () => {
  await using receiver = new WebhookReceiver();
  await using server = await startPusherApps([
    { ...APP, subscriptionCounts: true, webhooks: [receiver.url] },
  ]);
  const readUntil = async (count: number) => {
    await receiver.until(() => receiver.events.length >= count);
    return receiver.events.splice(0);
  };
  await using client = await RawPusher.connect(server);
  await join(client, "presence-a", '{"user_id":"1"}');
  assert.deepEqual(await readUntil(2), [
    { name: "channel_occupied", channel: "presence-a" },
    { name: "member_added", channel: "presence-a", user_id: "1" },
  ]);
  client.send("client-x", { a: 1 }, "presence-a");
  assert.deepEqual(await readUntil(1), [{
    name: "client_event",
    channel: "presence-a",
    event: "client-x",
    data: '{"a":1}',
    socket_id: client.socketId,
    user_id: "1",
  }]);
  // Gone and back: neither is told.
  client.send("pusher:unsubscribe", { channel: "presence-a" });
  await join(client, "presence-a", '{"user_id":"1"}');
  await join(client, "cache-a");
  assert.deepEqual(await readUntil(3), [
    { name: "channel_occupied", channel: "cache-a" },
    { name: "subscription_count", channel: "cache-a", subscription_count: 1 },
    { name: "cache_miss", channel: "cache-a" },
  ]);
  client.send("pusher:unsubscribe", { channel: "presence-a" });
  assert.deepEqual(await readUntil(2), [
    { name: "member_removed", channel: "presence-a", user_id: "1" },
    { name: "channel_vacated", channel: "presence-a" },
  ]);
});

Deno.test("who comes and goes while a receiver fails is told of both, in order", async () => {
  await using receiver = new WebhookReceiver();
  receiver.status = 503;
  await using server = await startPusherApps([{ ...APP, webhooks: [receiver.url] }]);
  await using stays = await RawPusher.connect(server);
  await join(stays, "presence-a", '{"user_id":"ann"}');
  await receiver.until(() => receiver.requests > 0);
  {
    await using goes = await RawPusher.connect(server);
    await join(goes, "presence-a", '{"user_id":"ben"}');
    await join(goes, "public");
  }
  // Absences are told after three seconds, in the order in which they began.
  const webhook = async () => (await (await fetch(`${server.url}/_inspect/webhooks`)).json()).webhooks[0];
  while ((await webhook()).waiting < 4);
  receiver.status = 200;
  await receiver.until(() => receiver.events.length >= 6);
  assert.deepEqual(
    receiver.events.map((
      { name, channel, user_id },
    ) => [name, channel, ...user_id === undefined ? [] : [user_id]]),
    [
      ["channel_occupied", "presence-a"],
      ["member_added", "presence-a", "ann"],
      ["member_added", "presence-a", "ben"],
      ["channel_occupied", "public"],
      ["member_removed", "presence-a", "ben"],
      ["channel_vacated", "public"],
    ],
  );
});

Deno.test("each app tells of its own channels, at all of its URLs", async () => {
  await using receivers = new AsyncDisposableStack();
  const [one, two, other] = [1, 2, 3].map(() => receivers.use(new WebhookReceiver()));
  assert(one !== undefined && two !== undefined && other !== undefined);
  await using server = await startPusherApps([
    { ...APP, webhooks: [one.url, two.url, two.url] },
    { id: "app2", key: "key2", secret: "secret-of-app-2", webhooks: [other.url] },
  ]);
  await using client = await RawPusher.connect(server);
  await join(client, "cache-a");
  await Promise.all([one, two].map((receiver) => receiver.until(() => receiver.events.length >= 2)));
  const told = [{ name: "channel_occupied", channel: "cache-a" }, { name: "cache_miss", channel: "cache-a" }];
  assert.deepEqual([one.events, two.events, other.requests], [told, told, 0]);
  // Operators see them beside the others, and can pause them.
  const { webhooks } = await (await fetch(`${server.url}/_inspect/webhooks`)).json();
  assert.equal(webhooks.length, 3);
  assert.deepEqual(
    webhooks.map(({ url, channels }: { url: string; channels: string[] }) => [url, ...channels]),
    [[one.url, "app1/**"], [two.url, "app1/**"], [other.url, "app2/**"]],
  );
});

Deno.test("what a receiver has not taken comes after a restart, and who came back meanwhile is not told again", async () => {
  await using receiver = new WebhookReceiver();
  const directory = await Deno.makeTempDir();
  const start = () =>
    startPusherApps([{ ...APP, webhooks: [receiver.url] }], "--engine", `sqlite:${directory}/log.db`);
  {
    await using server = await start();
    await using client = await RawPusher.connect(server);
    await join(client, "presence-a", '{"user_id":"1"}');
    await receiver.until(() => receiver.named("member_added").length > 0);
    receiver.status = 503;
    await join(client, "private-cache-a");
    client.send("client-x", "1", "presence-a");
    const { requests } = receiver;
    await receiver.until(() => receiver.requests > requests);
    // The event is stored when the next answer has come.
    client.send("pusher:ping", {});
    while (!/pong/.test(await client.read()));
  }
  receiver.events.length = 0;
  await using server = await start();
  await using client = await RawPusher.connect(server);
  await join(client, "presence-a", '{"user_id":"1"}');
  receiver.status = 200;
  await receiver.until(() => receiver.named("client_event", "cache_miss").length >= 2);
  assert.deepEqual(receiver.named("channel_occupied"), [
    { name: "channel_occupied", channel: "private-cache-a" },
  ]);
  assert.deepEqual(receiver.named("member_added", "member_removed", "channel_vacated"), []);
  await Deno.remove(directory, { recursive: true });
});

Deno.test("the official library refuses a webhook whose body was changed", () => {
  const library = openServerLibrary({ port: 1 });
  const body = '{"time_ms":1,"events":[]}';
  const headers = {
    "content-type": "application/json",
    "x-pusher-key": APP.key,
    "x-pusher-signature": sign(body).slice(APP.key.length + 1),
  };
  assert.ok(library.webhook({ headers, rawBody: body }).isValid());
  assert.ok(!library.webhook({ headers, rawBody: body.replace("1", "2") }).isValid());
});
