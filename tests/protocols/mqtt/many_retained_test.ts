/** Subscriptions to more retained messages than fit into one queue, and messages that are removed while they wait. */
import assert from "node:assert/strict";
import type { Message } from "../../../lib/core/message.ts";
import type { Delivery, MqttSubscription } from "../../../lib/protocols/mqtt/delivery.ts";
import { HeldMessages } from "../../../lib/protocols/mqtt/held.ts";
import { openSlowly } from "../../../lib/protocols/mqtt/slow_opening.ts";
import { connect, type MqttApp, startMqtt } from "./app.ts";

async function retain({ app: { hub } }: MqttApp, count: number, text: string) {
  return await Promise.all(Array.from({ length: count }, (_, i) =>
    hub.publish({
      channel: `lamps/${i}`,
      payload: { kind: "text", text },
      properties: { retain: true },
    })));
}

Deno.test("whoever subscribes to more retained messages than may wait gets all of them, then what is live", async () => {
  const limits = ["--max-queue-messages", "100", "--max-queue-bytes", "200000"];
  for (const qos of [0, 1, 2] as const) {
    for (const protocolVersion of [4, 5] as const) {
      await using server = await startMqtt(...limits);
      await retain(server, 600, "x".repeat(1_000));
      await using client = await connect(server, { protocolVersion });
      await client.client.subscribeAsync({ "lamps/+": { qos }, "news": { qos } });
      await server.app.hub.publish({ channel: "lamps/7", payload: { kind: "text", text: "live" } });
      await server.app.hub.publish({ channel: "news", payload: { kind: "text", text: "too" } });
      const seen: string[] = [];
      for (let i = 0; i < 602; i++) seen.push((await client.next()).text);
      assert.equal(seen.slice(0, 600).filter((text) => text.length === 1_000).length, 600);
      assert.deepEqual(seen.slice(600).sort(), ["live", "too"]);
    }
  }
});

Deno.test("many wildcards over many retained messages hold up nobody", async () => {
  await using server = await startMqtt("--mqtt-max-retained", "20000");
  await retain(server, 20_000, "on");
  await using client = await connect(server);
  let [longest, last] = [0, performance.now()];
  const timer = setInterval(() => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }, 1);
  await client.client.subscribeAsync(Array.from({ length: 200 }, (_, i) => `+/${i}x`));
  // Answered when they are all done.
  await client.client.unsubscribeAsync("+/0x");
  clearInterval(timer);
  // At once they would take a second.
  assert.ok(longest < 300, `${longest} ms`);
});

Deno.test("a message that is removed while a client's window is full is not sent", async () => {
  await using server = await startMqtt();
  const { hub } = server.app;
  await using client = await connect(server, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
  let acknowledge: (() => void) | undefined;
  const texts: string[] = [];
  const third = Promise.withResolvers<void>();
  client.client.handleMessage = ({ payload }, done) => {
    texts.push(payload.toString());
    if (texts.length === 1) acknowledge = done;
    else {
      done();
      if (texts.at(-1) === "c") third.resolve();
    }
  };
  await client.client.subscribeAsync("news", { qos: 1 });
  const post = async (text: string) =>
    await hub.publish({ channel: "news", payload: { kind: "text", text }, properties: { qos: 1 } });
  await post("a");
  const { epoch, sequence } = await post("b");
  await post("c");
  assert.equal(await hub.remove("news", { epoch, sequence }), true);
  while (acknowledge === undefined) await new Promise((resolve) => setTimeout(resolve, 1));
  acknowledge();
  await third.promise;
  assert.deepEqual(texts, ["a", "c"]);
});

Deno.test("a retained message that is removed while the ones before it are being sent is not sent", async () => {
  await using server = await startMqtt("--workers", "1");
  const { hub } = server.app;
  const receipts = await retain(server, 600, "x".repeat(1_000));
  await using client = await connect(server);
  // Its socket is full until the test says otherwise.
  const { socket } = [...hub.clients][0]!;
  const [full, drained] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  socket.drained = () => {
    full.resolve();
    return drained.promise;
  };
  await client.client.subscribeAsync({ "lamps/+": { qos: 1 }, "news": { qos: 1 } });
  await full.promise;
  for (const i of [0, 300, 599]) {
    const { epoch, sequence } = receipts[i]!;
    assert.equal(await hub.remove(`lamps/${i}`, { epoch, sequence }), true);
  }
  drained.resolve();
  await hub.publish({ channel: "news", payload: { kind: "text", text: "end" }, properties: { qos: 1 } });
  const seen = new Set<string>();
  for (let i = 0; i < 598; i++) seen.add((await client.next()).topic);
  assert.deepEqual(["news", "lamps/0", "lamps/1", "lamps/300", "lamps/599"].map((topic) => seen.has(topic)), [
    true,
    false,
    true,
    false,
    false,
  ]);
});

function createMessage(channel: string, sequence: number): Message {
  const none = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  return {
    channel,
    payload: { kind: "text", text: "on" },
    epoch: "e",
    offset: 1,
    sequence,
    time: 1,
    ...none,
  };
}

Deno.test("openSlowly() sends no copy of what comes live, and not what is removed while it looks for others", async () => {
  const subscription = { filter: "lamps/+" } as unknown as MqttSubscription;
  const sent: string[] = [];
  const held = new Map<MqttSubscription, HeldMessages>();
  await openSlowly([{ subscription, sendsRetained: true }], {
    socket: { drained: () => Promise.resolve() },
    delivery: {
      offerRetained: (_: MqttSubscription, messages: readonly Message[]) =>
        sent.push(...messages.map(({ channel }) => `${channel} retained`)),
    } as unknown as Delivery,
    held,
    hold(subscription) {
      const messages = new HeldMessages({ messages: 100, bytes: 10_000 });
      held.set(subscription, messages);
      return messages;
    },
    open: () => {},
    isOpen: () => true,
    receive: (_, messages, areRetained) => {
      sent.push(...messages.map(({ channel }) => `${channel} ${areRetained ? "retained" : "live"}`));
      return true;
    },
    findRetained: (_, found) => {
      found.push(createMessage("a", 1), createMessage("b", 2));
      held.get(subscription)?.takeBack(({ channel }) => channel === "a");
      held.get(subscription)?.add([createMessage("c", 3)]);
      found.push(createMessage("c", 3), createMessage("d", 4));
      return Promise.resolve(found);
    },
  });
  assert.deepEqual(sent, ["b retained", "d retained", "c live"]);
});
