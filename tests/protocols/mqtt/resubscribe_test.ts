/** Subscribing again to the same filter loses no message (MQTT 5 section 3.8.4, MQTT-3.8.4-4), as MQTT 3.1.1 has it too. */
import assert from "node:assert/strict";
import type { IClientOptions } from "mqtt";
import { connect, startMqtt } from "./app.ts";

const LASTING = { clean: false, clientId: "reader" };

const SESSIONS: Readonly<Record<string, IClientOptions>> = {
  "a 3.1.1 session": { protocolVersion: 4, ...LASTING },
  "a session": { protocolVersion: 5, properties: { receiveMaximum: 2 } },
  "a lasting session": {
    protocolVersion: 5,
    ...LASTING,
    properties: { receiveMaximum: 2, sessionExpiryInterval: 60 },
  },
};
const CASES = Object.entries(SESSIONS).flatMap(([name, options]) =>
  ["news", "$share/group/news"].map((filter) => ({ name, options, filter }))
);

for (const { name, options, filter } of CASES) {
  Deno.test(`MQTT: ${name} that subscribes to ${filter} again loses nothing of what is on its way`, async () => {
    await using app = await startMqtt();
    await using reader = await connect(app, options);
    await using writer = await connect(app, { protocolVersion: 5 });
    const subscribe = () => reader.client.subscribeAsync(filter, { qos: 1 });
    await subscribe();
    const texts: string[] = [];
    for (let round = 0; round < 5; round++) {
      const batch = Array.from({ length: 20 }, (_, i) => `${round}.${i}`);
      texts.push(...batch, "end");
      await Promise.all([
        subscribe(),
        ...[...batch, "end"].map((text) => writer.client.publishAsync("news", text, { qos: 1 })),
      ]);
    }
    const got: string[] = [];
    while (got.length < texts.length) got.push((await reader.next()).text);
    assert.deepEqual(got, texts);
  });
}

// As clients of Paho do it that subscribe in their handler of the connection.
Deno.test("MQTT: a session that is taken up and subscribes again gets what came meanwhile, once", async () => {
  await using app = await startMqtt();
  await using writer = await connect(app);
  {
    await using reader = await connect(app, LASTING);
    await reader.client.subscribeAsync("news/#", { qos: 1 });
  }
  const texts = Array.from({ length: 700 }, (_, i) => String(i));
  await Promise.all(texts.map((text) => writer.client.publishAsync("news/a", text, { qos: 1 })));
  await using reader = await connect(app, LASTING);
  const granted = await reader.client.subscribeAsync("news/#", { qos: 1 });
  assert.deepEqual(granted.map(({ qos }) => qos), [1]);
  await writer.client.publishAsync("news/a", "last", { qos: 1 });
  const got: string[] = [];
  while (got.length < 701) got.push((await reader.next()).text);
  assert.deepEqual(got, [...texts, "last"]);
});

Deno.test("MQTT: a subscription that is replaced has the new terms at once, and its retained messages come again", async () => {
  await using app = await startMqtt();
  await using client = await connect(app, { protocolVersion: 5 });
  await client.client.publishAsync("news", "kept", { retain: true, qos: 1 });
  for (const qos of [0, 1] as const) {
    await client.client.subscribeAsync("news", { qos, nl: qos === 1 });
    const { text, packet } = await client.next();
    assert.deepEqual([text, packet.retain, packet.qos], ["kept", true, qos]);
  }
  await client.client.publishAsync("news", "mine", { qos: 1 });
  const response = await fetch(`${app.url}/news`, { method: "POST", body: "another's" });
  await response.body?.cancel();
  const { text, packet } = await client.next();
  assert.deepEqual([text, packet.qos], ["another's", 1]);
  assert.equal(client.waiting, 0);
});

Deno.test("MQTT: a session that raises a subscription from QoS 0 gets what comes from then on, not what it missed", async () => {
  await using app = await startMqtt();
  await using writer = await connect(app);
  {
    await using reader = await connect(app, LASTING);
    await reader.client.subscribeAsync("news", { qos: 0 });
  }
  await writer.client.publishAsync("news", "missed", { qos: 1 });
  {
    await using reader = await connect(app, LASTING);
    await reader.client.subscribeAsync("news", { qos: 1 });
  }
  await writer.client.publishAsync("news", "kept", { qos: 1 });
  await using reader = await connect(app, LASTING);
  assert.equal((await reader.next()).text, "kept");
});

Deno.test("MQTT: a session gets live retained messages once, also with Retain As Published", async () => {
  await using app = await startMqtt();
  await using writer = await connect(app);
  const lasting: IClientOptions = {
    protocolVersion: 5,
    ...LASTING,
    properties: { sessionExpiryInterval: 60 },
  };
  {
    await using reader = await connect(app, lasting);
    await reader.client.subscribeAsync("lamps/+", { qos: 2, rap: true });
    await writer.client.publishAsync("lamps/a", "on", { qos: 2, retain: true });
    const { text, packet } = await reader.next();
    assert.deepEqual([text, packet.retain], ["on", true]);
    // The handshake of QoS 2 is over once a later one is answered.
    await reader.client.subscribeAsync("elsewhere", { qos: 0 });
  }
  await writer.client.publishAsync("lamps/a", "off", { qos: 2, retain: true });
  await using reader = await connect(app, lasting);
  assert.equal((await reader.next()).text, "off");
  assert.equal(reader.waiting, 0);
});
