/** Pusher on three workers: one server to its clients, and to the application that its webhooks tell. */
import assert from "node:assert/strict";
import { RawClient } from "../protocols/centrifuge/app.ts";
import {
  APP,
  openServerLibrary,
  RawPusher,
  sign,
  startPusherApp,
  startPusherApps,
} from "../protocols/pusher/pusher_app.ts";
import { WebhookReceiver } from "../protocols/pusher/webhook_receiver.ts";

/** Enough connections that each of three workers has some, but for one case in a million. */
const MANY = 15;
const WORKERS = ["--workers", "3"];

function subscribe(client: RawPusher, channel: string, user?: string): void {
  const channel_data = user === undefined ? undefined : JSON.stringify({ user_id: user });
  const text = [client.socketId, channel, channel_data].filter((part) => part !== undefined).join(":");
  client.send("pusher:subscribe", { channel, auth: sign(text), channel_data });
}

async function readFrame(client: RawPusher): Promise<{ event: string; channel?: string }> {
  return JSON.parse(await client.read());
}

Deno.test("Workers tell each webhook of Pusher once, wherever the clients are", async () => {
  await using receiver = new WebhookReceiver();
  await using server = await startPusherApps(
    [{ ...APP, subscriptionCounts: true, webhooks: [receiver.url] }],
    ...WORKERS,
  );
  const clients = await Promise.all(Array.from({ length: MANY }, () => RawPusher.connect(server)));
  for (const [i, client] of clients.entries()) {
    subscribe(client, "presence-room", `u${i % 5}`);
    subscribe(client, "public");
  }
  const members = () => receiver.named("member_added").map(({ user_id }) => user_id);
  await receiver.until(() => members().length >= 5);
  for (const client of clients) {
    let left = 2;
    while (left > 0) if ((await readFrame(client)).event.endsWith("subscription_succeeded")) left--;
    client.send("client-hello", { from: client.socketId }, "presence-room");
  }
  await receiver.until(() => receiver.named("client_event").length >= MANY);
  assert.deepEqual(members().sort(), ["u0", "u1", "u2", "u3", "u4"]);
  const hellos = receiver.named("client_event").map(({ socket_id }) => socket_id);
  assert.deepEqual(hellos.sort(), clients.map(({ socketId }) => socketId).sort());
  assert.deepEqual(
    receiver.named("channel_occupied").map(({ channel }) => channel).sort(),
    ["presence-room", "public"],
  );
  await receiver.until(() => receiver.named("subscription_count").at(-1)?.subscription_count === MANY);
  await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  await receiver.until(() => receiver.named("channel_vacated").length >= 2);
  assert.deepEqual(receiver.named("member_removed").map(({ user_id }) => user_id).sort(), members().sort());
  assert.equal(receiver.named("channel_vacated").length, 2);
});

Deno.test("Workers answer a subscription before they tell anything of its channel", async () => {
  await using server = await startPusherApps([{ ...APP, subscriptionCounts: true }], ...WORKERS);
  const channels = ["cache-a", "private-cache-a", "presence-cache-a", "presence-a", "public"];
  // Others come and go all the time, on all workers.
  let isOver = false;
  const churn = Array.from({ length: 4 }, async (_, i) => {
    await using client = await RawPusher.connect(server);
    while (!isOver) {
      for (const channel of channels) {
        subscribe(client, channel, channel.startsWith("presence-") ? `c${i}` : undefined);
      }
      for (const channel of channels) client.send("pusher:unsubscribe", { channel });
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  });
  for (let round = 0; round < 12; round++) {
    await using client = await RawPusher.connect(server);
    for (const channel of channels) {
      subscribe(client, channel, channel.startsWith("presence-") ? "me" : undefined);
    }
    const answered = new Set<string>();
    while (answered.size < channels.length) {
      const { event, channel = "" } = await readFrame(client);
      if (event === "pusher_internal:subscription_succeeded") answered.add(channel);
      else assert.ok(answered.has(channel), `${event} on ${channel} came before the answer`);
    }
  }
  isOver = true;
  await Promise.all(churn);
});

Deno.test("Workers name everybody who was answered before to whoever asks who is there", async () => {
  await using server = await startPusherApp(...WORKERS);
  await using stack = new AsyncDisposableStack();
  const users: string[] = [];
  for (let i = 0; i < MANY; i++) {
    const client = stack.use(await RawPusher.connect(server));
    users.push(`u${i}`);
    subscribe(client, "presence-room", `u${i}`);
    const { event, data } = await client.read().then(JSON.parse);
    assert.equal(event, "pusher_internal:subscription_succeeded");
    assert.deepEqual(JSON.parse(data).presence.ids, users);
    const path = "/channels/presence-room/users";
    const { users: listed } = await (await openServerLibrary(server).get({ path })).json() as {
      users: { id: string }[];
    };
    assert.deepEqual(listed.map(({ id }) => id), users);
  }
});

Deno.test("Workers name everybody who was answered before on plain channels and to Centrifuge clients", async () => {
  await using server = await startPusherApp(...WORKERS);
  await using stack = new AsyncDisposableStack();
  for (let i = 1; i <= MANY; i++) {
    const client = stack.use(await RawClient.connect(server));
    await client.call("subscribe", { channel: "room" });
    const { presence_stats } = await client.call("presence_stats", { channel: "room" });
    assert.equal(presence_stats.num_clients, i);
    const asking = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
    const answer = await fetch(`${server.url}/room?presence`, { client: asking });
    assert.equal((await answer.json()).connections, i);
    asking.close();
  }
});
