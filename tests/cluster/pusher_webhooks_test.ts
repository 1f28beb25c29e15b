/** Pusher's webhooks of two nodes on one JetStream: one of them sends, and the other goes on when that one is killed. */
import assert from "node:assert/strict";
import { testWithNats } from "../engines/jetstream/fixture.ts";
import { APP, RawPusher, sign } from "../protocols/pusher/pusher_app.ts";
import { WebhookReceiver } from "../protocols/pusher/webhook_receiver.ts";
import type { ServerProcess } from "../server_process.ts";
import { findSender, Nodes } from "./nodes.ts";

async function join(server: ServerProcess, channel: string, user: string): Promise<RawPusher> {
  const client = await RawPusher.connect(server);
  const channel_data = JSON.stringify({ user_id: user });
  const auth = sign(`${client.socketId}:${channel}:${channel_data}`);
  client.send("pusher:subscribe", { channel, auth, channel_data });
  while (!/subscription_succeeded/.test(await client.read()));
  return client;
}

testWithNats(
  "Two nodes tell each webhook of Pusher once, and a node that is killed leaves none untold",
  async () => {
    await using receiver = new WebhookReceiver();
    const apps = await Deno.makeTempFile();
    await Deno.writeTextFile(apps, JSON.stringify([{ ...APP, webhooks: [receiver.url] }]));
    await using nodes = await Nodes.start({ nodes: 2, natsServers: 1, flags: ["--pusher-apps", apps] });
    const sender = await findSender(nodes.servers);
    const survivor = nodes.servers.find((server) => server !== sender);
    assert(survivor !== undefined);
    const doomed = await Promise.all(["ann", "ben"].map((user) => join(sender, "presence-room", user)));
    await using carl = await join(survivor, "presence-room", "carl");
    await using dora = await join(survivor, "presence-room", "dora");
    await receiver.until(() => receiver.named("member_added").length >= 4);
    assert.equal(receiver.named("channel_occupied").length, 1);
    // From here on nothing is taken, and the node that sends is killed with all that it has to tell.
    receiver.status = 503;
    carl.send("client-one", "1", "presence-room");
    const { requests } = receiver;
    await receiver.until(() => receiver.requests > requests);
    dora.send("client-two", "2", "presence-room");
    await using late = await join(survivor, "presence-late", "eve");
    await sender.kill();
    await Promise.all(doomed.map((client) => client.socket.closed));
    receiver.status = 200;
    await receiver.until(() => receiver.named("member_removed").length >= 2);
    await receiver.until(() => receiver.named("client_event").length >= 2);
    assert.deepEqual(receiver.named("client_event").map(({ event }) => event).sort(), [
      "client-one",
      "client-two",
    ]);
    assert.deepEqual(
      receiver.named("member_removed").map(({ user_id }) => user_id).sort(),
      ["ann", "ben"],
    );
    assert.deepEqual(
      receiver.named("channel_occupied").map(({ channel }) => channel),
      ["presence-room", "presence-late"],
    );
    assert.deepEqual(
      receiver.named("member_added").map(({ user_id }) => user_id).sort(),
      ["ann", "ben", "carl", "dora", "eve"],
    );
    late.socket.webSocket.close();
    await receiver.until(() => receiver.named("channel_vacated").length > 0);
    assert.deepEqual(receiver.named("channel_vacated").map(({ channel }) => channel), ["presence-late"]);
    await Deno.remove(apps);
  },
);
