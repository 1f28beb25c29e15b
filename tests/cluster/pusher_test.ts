/** Pusher clients on two nodes of one JetStream: the official libraries see one server. */
import assert from "node:assert/strict";
import { NATS_SERVER } from "../nats_cluster.ts";
import { APP, OfficialClient, openServerLibrary, RawPusher, sign } from "../protocols/pusher/pusher_app.ts";
import { WebhookReceiver } from "../protocols/pusher/webhook_receiver.ts";
import { findSender, Nodes, post } from "./nodes.ts";

const USERS = {
  ann: { user_id: "ann", user_info: { name: "Ann" } },
  ben: { user_id: "ben", user_info: { name: "Ben" } },
};

/** The members of a presence channel, as a client sees them come and go. */
class Watch {
  readonly changes: string[] = [];
  #wake = () => {};

  constructor(channel: { bind(event: string, callback: (member: { id: string }) => void): unknown }) {
    channel.bind("pusher:member_added", ({ id }) => this.#add(`+${id}`));
    channel.bind("pusher:member_removed", ({ id }) => this.#add(`-${id}`));
  }

  #add(change: string): void {
    this.changes.push(change);
    this.#wake();
  }

  /** Resolves when so many changes have come. */
  async reach(count: number): Promise<readonly string[]> {
    while (this.changes.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
    return this.changes;
  }
}

/** The next frame that carries a message. */
async function readMessage(client: RawPusher): Promise<{ data: string; id: string }> {
  while (true) {
    const frame = JSON.parse(await client.read());
    if (frame.event === "message") return frame;
  }
}

Deno.test(
  { name: "Pusher clients on two nodes (nats-server)", ignore: NATS_SERVER === undefined },
  async (t) => {
    await using receiver = new WebhookReceiver();
    const reach = (name: string, count: number) => receiver.until(() => receiver.named(name).length >= count);
    const apps = await Deno.makeTempFile();
    await Deno.writeTextFile(
      apps,
      JSON.stringify([{ ...APP, subscriptionCounts: true, webhooks: [receiver.url] }]),
    );
    await using nodes = await Nodes.start({ nodes: 2, natsServers: 1, flags: ["--pusher-apps", apps] });
    await using _ = { [Symbol.asyncDispose]: () => Deno.remove(apps) };
    const [a, b] = nodes.servers;
    assert(a !== undefined && b !== undefined);
    // Who comes and goes before a node sends is not told.
    await findSender(nodes.servers);

    await t.step("see each other on a presence channel, each user once", async () => {
      await using ann = new OfficialClient(a, { user: USERS.ann });
      const channel = await ann.subscribe("presence-room");
      await waitForPresenceOf("presence-room", 1);
      const watch = new Watch(channel);
      {
        await using ben = new OfficialClient(b, { user: USERS.ben });
        const theirs = await ben.subscribe("presence-room") as unknown as {
          members: { count: number; get(id: string): unknown };
        };
        assert.equal(theirs.members.count, 2);
        assert.deepEqual(theirs.members.get("ann"), { id: "ann", info: { name: "Ann" } });
        assert.deepEqual(await watch.reach(1), ["+ben"]);
        // Connections of a user who is there, on either node, are nothing new; the last one to leave is told.
        await using again = new OfficialClient(a, { user: USERS.ben });
        await again.subscribe("presence-room");
        await using third = new OfficialClient(b, { user: USERS.ann });
        await third.subscribe("presence-room");
        await waitForPresenceOf("presence-room", 4);
        for (const server of [a, b]) {
          const users = await openServerLibrary(server).get({ path: "/channels/presence-room/users" });
          assert.deepEqual(
            ((await users.json()) as { users: { id: string }[] }).users.map(({ id }) => id).sort(),
            ["ann", "ben"],
          );
          const info = await openServerLibrary(server).get({
            path: "/channels/presence-room",
            params: { info: "user_count,subscription_count" },
          });
          assert.deepEqual(await info.json(), { occupied: true, user_count: 2, subscription_count: 4 });
        }
      }
      assert.deepEqual(await watch.reach(2), ["+ben", "-ben"]);
      await reach("member_removed", 1);
      assert.deepEqual(
        receiver.events.filter(({ name }) => name.startsWith("member_")).map((
          { name, user_id },
        ) => [name, user_id]),
        [["member_added", "ann"], ["member_added", "ben"], ["member_removed", "ben"]],
      );
      assert.equal(receiver.events.filter(({ name }) => name === "channel_occupied").length, 1);
    });

    await t.step(
      "get events and client events of the other node, the sender and the excluded do not",
      async () => {
        await using one = new OfficialClient(a, { user: USERS.ann });
        await using two = new OfficialClient(b, { user: USERS.ben });
        const mine = await one.subscribe("private-orders");
        const theirs = await two.subscribe("private-orders");
        await waitForPresenceOf("private-orders", 2);
        for (const event of ["client-paid", "excluded"]) {
          mine.bind(
            event,
            () => assert.fail(`${event} to its sender`),
          );
        }
        const paid = two.next(theirs, "client-paid");
        assert.ok(mine.trigger("client-paid", { id: 7 }));
        assert.deepEqual(await paid, { id: 7 });
        const excluded = two.next(theirs, "excluded");
        await openServerLibrary(b).trigger("private-orders", "excluded", 1, {
          socket_id: await one.connected(),
        });
        assert.equal(await excluded, 1);
        const last = one.next(mine, "last");
        await openServerLibrary(b).trigger("private-orders", "last", 2);
        assert.equal(await last, 2);
      },
    );

    await t.step("get the cached event of the other node, and the miss", async () => {
      await using client = new OfficialClient(b);
      await client.next(client.pusher.subscribe("private-cache-weather"), "pusher:cache_miss");
      client.pusher.unsubscribe("private-cache-weather");
      await openServerLibrary(a).trigger("private-cache-weather", "now", { mm: 2 });
      assert.deepEqual(
        await client.next(client.pusher.subscribe("private-cache-weather"), "now"),
        { mm: 2 },
      );
      await reach("cache_miss", 1);
    });

    await t.step("are counted together", async () => {
      await using client = await RawPusher.connect(a);
      client.send("pusher:subscribe", { channel: "counted" });
      await client.read();
      assert.match(await client.read(), /subscription_count\\":1/);
      await using other = await RawPusher.connect(b);
      other.send("pusher:subscribe", { channel: "counted" });
      assert.match(await client.read(), /subscription_count\\":2/);
      const { channels } = await (await openServerLibrary(b).get({ path: "/channels" })).json() as {
        channels: Record<string, unknown>;
      };
      assert.ok("counted" in channels);
    });

    await t.step("resume on the other node by since", async () => {
      await using client = await RawPusher.connect(a);
      client.send("pusher:subscribe", { channel: "resumed", since: "latest" });
      const { id } = JSON.parse(JSON.parse(await client.read()).data);
      await post(`${a.url}/resumed`, "one");
      const { id: first } = await readMessage(client);
      await post(`${b.url}/resumed`, "two");
      for (const [since, texts] of [[id, ["one", "two"]], [first, ["two"]]] as const) {
        await using resumed = await RawPusher.connect(b);
        resumed.send("pusher:subscribe", { channel: "resumed", since });
        for (const text of texts) assert.equal(JSON.parse((await readMessage(resumed)).data), text);
      }
    });

    await t.step("are ended by the app through either node, wherever they signed in", async () => {
      const clients = await Promise.all([a, b].map((server) => RawPusher.connect(server)));
      const user_data = '{"id":"carl"}';
      for (const client of clients) {
        client.send("pusher:signin", { user_data, auth: sign(`${client.socketId}::user::${user_data}`) });
        assert.match(await client.read(), /signin_success/);
      }
      assert.equal((await openServerLibrary(a).terminateUserConnections("carl")).status, 200);
      for (const client of clients) assert.equal((await client.socket.closed).code, 4009);
    });

    await t.step("are told of the members of a node that is killed", async () => {
      await using ann = new OfficialClient(a, { user: USERS.ann });
      const channel = await ann.subscribe("presence-crash");
      const watch = new Watch(channel);
      const ben = await RawPusher.connect(b);
      const channel_data = JSON.stringify(USERS.ben);
      const auth = sign(`${ben.socketId}:presence-crash:${channel_data}`);
      ben.send("pusher:subscribe", { channel: "presence-crash", auth, channel_data });
      assert.deepEqual(await watch.reach(1), ["+ben"]);
      await b.kill();
      assert.deepEqual(await watch.reach(2), ["+ben", "-ben"]);
      await ben.socket.closed;
      await reach("member_removed", 2);
      await b.start();
    });

    /** Resolves when both nodes see so many connections on a private channel, which takes the app's signature to ask. */
    async function waitForPresenceOf(channel: string, count: number): Promise<void> {
      for (const server of [a!, b!]) {
        while (true) {
          const response = await openServerLibrary(server).get({
            path: `/channels/${channel}`,
            params: { info: "subscription_count" },
          });
          if (((await response.json()) as { subscription_count: number }).subscription_count >= count) break;
        }
      }
    }
  },
);
