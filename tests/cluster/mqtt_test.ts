/** MQTT on several nodes: sessions go where their client goes, and wills outlive their node. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IDisconnectPacket } from "mqtt";
import { NATS_SERVER } from "../nats_cluster.ts";
import { connectTo } from "../protocols/mqtt/app.ts";
import { TestSocket } from "../test_socket.ts";
import { Nodes } from "./nodes.ts";

Deno.test({ name: "MQTT on two nodes (nats-server)", ignore: NATS_SERVER === undefined }, async (t) => {
  await using nodes = await Nodes.start({ nodes: 2, natsServers: 1 });
  const [a, b] = nodes.servers;
  assert(a !== undefined && b !== undefined);
  const door = ({ socketUrl }: { readonly socketUrl: string }) => `${socketUrl}/mqtt`;

  for (const sessionExpiryInterval of [0, 600]) {
    await t.step(
      `takes a client over from the other node (session expiry ${sessionExpiryInterval})`,
      async () => {
        const session = {
          protocolVersion: 5,
          clientId: `mover-${sessionExpiryInterval}`,
          clean: false,
          properties: { sessionExpiryInterval },
        } as const;
        await using writer = await connectTo(door(b), { protocolVersion: 5 });
        await using first = await connectTo(door(a), session);
        const ended = new Promise<IDisconnectPacket>((resolve) => first.client.once("disconnect", resolve));
        await first.client.subscribeAsync("moves/#", { qos: 1 });
        await writer.client.publishAsync("moves/a", "1", { qos: 1 });
        assert.equal((await first.next()).text, "1");
        await using second = await connectTo(door(b), session);
        assert.equal((await ended).reasonCode, 0x8e);
        await writer.client.publishAsync("moves/a", "2", { qos: 1 });
        if (sessionExpiryInterval === 0) await second.client.subscribeAsync("moves/#", { qos: 1 });
        await writer.client.publishAsync("moves/a", "3", { qos: 1 });
        for (const text of sessionExpiryInterval === 0 ? ["3"] : ["2", "3"]) {
          assert.equal((await second.next()).text, text);
        }
      },
    );
  }

  await t.step("stores a QoS 2 message once that comes again by another node, until PUBREL", async () => {
    const open = async (server: { readonly socketUrl: string }) => {
      const socket = await TestSocket.open(door(server), { protocols: ["mqtt"] });
      const ask = async (hex: string) => {
        socket.send(Uint8Array.fromHex(hex));
        const answer = await socket.next();
        return typeof answer === "string" ? answer : answer.toHex();
      };
      // CONNECT of client "q" with clean=0.
      const connack = await ask("100d00044d515454040000780001" + "71");
      return { connack, ask, [Symbol.asyncDispose]: () => socket[Symbol.asyncDispose]() };
    };
    // QoS 2 PUBLISH of "once" to "q2" with packet id 5.
    const publish = (first: string) => `${first}0a000271320005` + "6f6e6365";
    const count = async () => {
      const response = await fetch(`${b.url}/q2?since=earliest`);
      return (await response.json()).messages.length;
    };
    await using first = await open(a);
    assert.equal(first.connack, "20020000");
    assert.equal(await first.ask(publish("34")), "50020005");
    await using second = await open(b);
    assert.equal(second.connack, "20020100");
    assert.equal(await second.ask(publish("3c")), "50020005");
    assert.equal(await count(), 1);
    assert.equal(await second.ask("62020005"), "70020005");
    assert.equal(await second.ask(publish("34")), "50020005");
    assert.equal(await count(), 2);
  });

  await t.step("keeps the session and publishes the will when its node is killed", async () => {
    await using reader = await connectTo(door(b));
    await reader.client.subscribeAsync("wills/#", { qos: 1 });
    const session = { clientId: "orphan", clean: false } as const;
    const will = (topic: string) => ({ topic, payload: Buffer.from("gone"), qos: 1 as const, retain: false });
    {
      await using orphan = await connectTo(door(a), { ...session, will: will("wills/back") });
      await orphan.client.subscribeAsync("news", { qos: 2 });
      await using _other = await connectTo(door(a), { will: will("wills/away") });
      await a.kill();
    }
    await reader.client.publishAsync("news", "kept", { qos: 2 });
    await using orphan = await connectTo(door(b), session);
    // Its connection ended without a word.
    assert.equal((await reader.next()).topic, "wills/back");
    assert.equal((await orphan.next()).text, "kept");
    await b.line(/node gone/);
    assert.equal((await reader.next()).topic, "wills/away");
    assert.equal(reader.waiting, 0);
  });
});
