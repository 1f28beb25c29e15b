/** MQTT.js against both doors, in 3.1.1 and 5: what clients rely on. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import type { IClientOptions } from "mqtt";
import { connect, startMqtt } from "./app.ts";

const VERSIONS = [4, 5] as const;
const DOORS = ["tcp", "ws"] as const;

for (const protocolVersion of VERSIONS) {
  for (const door of DOORS) {
    const options: IClientOptions & { door: typeof door } = { door, protocolVersion };

    Deno.test(`MQTT ${protocolVersion} over ${door}: each QoS arrives once, in order`, async () => {
      await using app = await startMqtt();
      await using reader = await connect(app, options);
      await using writer = await connect(app, options);
      await reader.client.subscribeAsync("sensors/#", { qos: 2 });
      for (const qos of [0, 1, 2] as const) {
        for (let i = 0; i < 20; i++) await writer.client.publishAsync(`sensors/a/${qos}`, `${i}`, { qos });
        for (let i = 0; i < 20; i++) {
          const { topic, text, packet } = await reader.next();
          assert.deepEqual([topic, text, packet.qos, packet.retain], [
            `sensors/a/${qos}`,
            `${i}`,
            qos,
            false,
          ]);
        }
      }
      assert.equal(reader.waiting, 0);
    });

    Deno.test(`MQTT ${protocolVersion} over ${door}: HTTP and MQTT are on the same channels`, async () => {
      await using app = await startMqtt();
      await using client = await connect(app, options);
      await client.client.subscribeAsync("kitchen/lamp", { qos: 1 });
      const response = await fetch(`${app.url}/kitchen/lamp`, { method: "POST", body: "on" });
      assert.equal(response.status, 200);
      await response.body?.cancel();
      assert.equal((await client.next()).text, "on");
    });

    Deno.test(`MQTT ${protocolVersion} over ${door}: a session gets what came while it was away`, async () => {
      await using app = await startMqtt();
      const session: IClientOptions = {
        ...options,
        clientId: "sleeper",
        clean: false,
        ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
      };
      await using writer = await connect(app, options);
      {
        await using reader = await connect(app, session);
        await reader.client.subscribeAsync("news/+", { qos: 1 });
        await writer.client.publishAsync("news/a", "0", { qos: 1 });
        assert.equal((await reader.next()).text, "0");
        await reader.client.endAsync();
      }
      for (let i = 1; i <= 300; i++) await writer.client.publishAsync("news/a", `${i}`, { qos: 1 });
      await using reader = await connect(app, session);
      for (let i = 1; i <= 300; i++) assert.equal((await reader.next()).text, `${i}`);
    });
  }

  Deno.test(`MQTT ${protocolVersion}: the retained message comes first, and an empty one clears it`, async () => {
    await using app = await startMqtt();
    await using writer = await connect(app, { protocolVersion });
    await writer.client.publishAsync("lamp/a", "on", { retain: true, qos: 1 });
    await (await fetch(`${app.url}/lamp/b?retain`, { method: "POST", body: "off" })).body?.cancel();
    await using reader = await connect(app, { protocolVersion });
    await reader.client.subscribeAsync("lamp/+", { qos: 1 });
    const got = [await reader.next(), await reader.next()];
    assert.deepEqual(got.map(({ topic, text, packet }) => [topic, text, packet.retain]).sort(), [
      ["lamp/a", "on", true],
      ["lamp/b", "off", true],
    ]);
    await writer.client.publishAsync("lamp/a", "", { retain: true, qos: 1 });
    assert.deepEqual([(await reader.next()).packet.retain], [false]);
    await reader.client.unsubscribeAsync("lamp/+");
    await reader.client.subscribeAsync("lamp/#", { qos: 1 });
    assert.equal((await reader.next()).topic, "lamp/b");
    assert.equal(reader.waiting, 0);
  });

  Deno.test(`MQTT ${protocolVersion}: a retained message that an operator removes is retained no more`, async () => {
    await using app = await startMqtt();
    await using writer = await connect(app, { protocolVersion });
    await writer.client.publishAsync("lamp/a", "on", { retain: true, qos: 1 });
    await writer.client.publishAsync("lamp/b", "off", { retain: true, qos: 1 });
    const { messages } = await (await fetch(`${app.url}/lamp/a?since=0`)).json();
    const response = await fetch(`${app.url}/lamp/a?id=${messages[0].id}`, { method: "DELETE" });
    assert.equal((await response.json()).removed, 1);
    await using reader = await connect(app, { protocolVersion });
    await reader.client.subscribeAsync("lamp/+", { qos: 1 });
    assert.equal((await reader.next()).topic, "lamp/b");
    assert.equal(reader.waiting, 0);
  });

  Deno.test(`MQTT ${protocolVersion}: a will is published for a client that breaks off, not for one that ends`, async () => {
    await using app = await startMqtt();
    await using reader = await connect(app, { protocolVersion });
    await reader.client.subscribeAsync("wills/#");
    for (const broken of [false, true]) {
      const will = { topic: `wills/${broken}`, payload: Buffer.from("gone"), qos: 1 as const, retain: false };
      const { client } = await connect(app, { protocolVersion, will });
      if (broken) client.stream.destroy();
      await client.endAsync(broken);
    }
    assert.equal((await reader.next()).topic, "wills/true");
    assert.equal(reader.waiting, 0);
  });

  Deno.test(`MQTT ${protocolVersion}: a second connection takes the client id over`, async () => {
    await using app = await startMqtt();
    await using first = await connect(app, { protocolVersion, clientId: "twin" });
    const closed = new Promise((resolve) => first.client.once("close", () => resolve(true)));
    await using second = await connect(app, { protocolVersion, clientId: "twin" });
    assert.equal(await closed, true);
    assert.equal(second.client.connected, true);
  });

  Deno.test(`MQTT ${protocolVersion}: topics that begin with $ are refused`, async () => {
    await using app = await startMqtt();
    await using client = await connect(app, { protocolVersion });
    await assert.rejects(client.client.subscribeAsync("$SYS/#"));
  });
}

Deno.test("MQTT 5: properties travel with the message, and to HTTP as text", async () => {
  await using app = await startMqtt();
  await using reader = await connect(app, { protocolVersion: 5 });
  await using writer = await connect(app, { protocolVersion: 5 });
  await reader.client.subscribeAsync("x", { qos: 1, properties: { subscriptionIdentifier: 7 } });
  const properties = {
    contentType: "text/plain",
    responseTopic: "answers",
    correlationData: Buffer.from([1, 2]),
    userProperties: { a: ["1", "2"], b: "3" },
    messageExpiryInterval: 100,
  };
  await writer.client.publishAsync("x", "hello", { qos: 1, properties });
  const { text, packet } = await reader.next();
  assert.equal(text, "hello");
  const { userProperties, subscriptionIdentifier, ...rest } = packet.properties ?? {};
  assert.deepEqual({ ...userProperties }, { a: ["1", "2"], b: "3" });
  assert.equal(subscriptionIdentifier, 7);
  assert.equal(rest.contentType, "text/plain");
  assert.equal(rest.responseTopic, "answers");
  assert.deepEqual(rest.correlationData, Buffer.from([1, 2]));
  assert.equal(rest.messageExpiryInterval, 100);
});

Deno.test("MQTT 5: a shared subscription divides the messages", async () => {
  await using app = await startMqtt();
  await using a = await connect(app, { protocolVersion: 5 });
  await using b = await connect(app, { protocolVersion: 5 });
  await using writer = await connect(app, { protocolVersion: 5 });
  for (const { client } of [a, b]) await client.subscribeAsync("$share/g/jobs/+", { qos: 1 });
  for (let i = 0; i < 10; i++) await writer.client.publishAsync("jobs/x", `${i}`, { qos: 1 });
  const got = [];
  for (let i = 0; i < 5; i++) got.push((await a.next()).text, (await b.next()).text);
  assert.deepEqual(got.map(Number).sort((x, y) => x - y), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.deepEqual([a.waiting, b.waiting], [0, 0]);
});

Deno.test("MQTT 5: a client without no-local hears itself, one with it does not", async () => {
  await using app = await startMqtt();
  await using client = await connect(app, { protocolVersion: 5 });
  await client.client.subscribeAsync("a", { qos: 0, nl: true });
  await client.client.subscribeAsync("b", { qos: 0 });
  await client.client.publishAsync("a", "1", { qos: 1 });
  await client.client.publishAsync("b", "2", { qos: 1 });
  assert.equal((await client.next()).topic, "b");
});

Deno.test("MQTT: a rule that does not allow publishing refuses with 0x87, or ends a 3.1.1 client", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(
    rules,
    JSON.stringify([{ channels: "read", allowAnonymous: ["subscribe"] }]),
  );
  await using app = await startMqtt(
    "--rules",
    rules,
    "RAINDROPS_TOKEN_SECRET=secretsecretsecretsecretsecretsecret",
    "RAINDROPS_API_KEYS=key-of-an-operator",
  );
  await Deno.remove(rules);
  await using five = await connect(app, { protocolVersion: 5 });
  await five.client.subscribeAsync("read");
  await assert.rejects(five.client.publishAsync("read", "no", { qos: 1 }), { code: 0x87 });
  await using four = await connect(app, { protocolVersion: 4 });
  await assert.rejects(four.client.subscribeAsync("other"));
  const closed = new Promise((resolve) => four.client.once("close", () => resolve(true)));
  four.client.publish("read", "no", { qos: 1 }, () => {});
  assert.equal(await closed, true);
  await assert.rejects(connect(app, { username: "apikey", password: "wrong" }));
  await using operator = await connect(app, { username: "apikey", password: "key-of-an-operator" });
  await operator.client.publishAsync("read", "yes", { qos: 1 });
  assert.equal((await five.next()).text, "yes");
});

Deno.test("MQTT 5: a session whose messages are gone is told with the next one", async () => {
  const rules = await Deno.makeTempFile();
  await Deno.writeTextFile(rules, JSON.stringify([{ channels: "short", history: { messages: 10 } }]));
  await using app = await startMqtt("--rules", rules);
  await Deno.remove(rules);
  const session = {
    protocolVersion: 5,
    clientId: "late",
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  } as const;
  await using writer = await connect(app, { protocolVersion: 5 });
  {
    await using reader = await connect(app, session);
    await reader.client.subscribeAsync("short", { qos: 1 });
    await reader.client.endAsync();
  }
  for (let i = 1; i <= 100; i++) await writer.client.publishAsync("short", `${i}`, { qos: 1 });
  const page = await (await fetch(`${app.url}/short?since=earliest`)).json();
  await using reader = await connect(app, session);
  const first = await reader.next();
  assert.ok(Number(first.text) > 1);
  assert.deepEqual({ ...first.packet.properties?.userProperties }, { "raindrops-gap": page.messages[0].id });
  assert.equal((await reader.next()).packet.properties?.userProperties, undefined);
  assert.equal((await app.logger.reach("mqtt session has a gap", 1)).length, 1);
});

Deno.test("MQTT 5: a client with no-local does not get its own messages after a reconnect either", async () => {
  await using app = await startMqtt();
  const session = {
    protocolVersion: 5,
    clientId: "own",
    clean: false,
    properties: { sessionExpiryInterval: 60 },
  } as const;
  {
    await using client = await connect(app, session);
    await client.client.subscribeAsync("talk", { qos: 1, nl: true });
    await client.client.publishAsync("talk", "mine", { qos: 1 });
    await client.client.endAsync();
  }
  await using writer = await connect(app, { protocolVersion: 5 });
  await writer.client.publishAsync("talk", "yours", { qos: 1 });
  await using client = await connect(app, session);
  assert.equal((await client.next()).text, "yours");
});
