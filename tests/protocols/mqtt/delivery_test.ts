/** What waits for one MQTT client. */
import assert from "node:assert/strict";
import { Delivery, type MqttSubscription, type Outgoing } from "../../../lib/protocols/mqtt/delivery.ts";
import type { Message } from "../../../lib/core/message.ts";

const createSubscription = (filter: string) => ({ filter, qos: 1 }) as unknown as MqttSubscription;

function createOutgoing(subscription: MqttSubscription | undefined, i: number): Outgoing {
  const none = { event: undefined, from: undefined, socketId: undefined, to: undefined };
  const message: Message = {
    channel: "a",
    payload: { kind: "text", text: `message ${i}.` },
    epoch: "e",
    offset: i,
    sequence: i,
    time: 0,
    ...none,
  };
  return { message, subscription, qos: 1, retain: false };
}

Deno.test("Delivery.drop() drops what waits for some subscriptions, and sends the rest in order", async () => {
  const sent: string[] = [];
  const delivery = new Delivery({
    version: 4,
    receiveMaximum: 1,
    maxPacketBytes: 1_000,
    aliasMaximum: 0,
    limits: { messages: 100, bytes: 10_000 },
    isPersistent: () => false,
    send: (packets) => sent.push(...packets.map((bytes) => new TextDecoder().decode(bytes))),
    save: () => Promise.resolve(),
    saveLater: () => {},
    fail: (error) => assert.fail(String(error)),
  }, new Map());
  delivery.start();
  const [a, b, c] = ["a", "b", "c"].map(createSubscription);
  delivery.offer([a, b, c, undefined, a, b, c].map(createOutgoing));
  // The first is on its way.
  delivery.drop(new Set([a!, c!]));
  for (let id = 1; id <= 4; id++) await delivery.acknowledge("puback", id, 0);
  assert.deepEqual(sent.map((text) => /message \d/.exec(text)?.[0]), [
    "message 0",
    "message 1",
    "message 3",
    "message 5",
  ]);
});
