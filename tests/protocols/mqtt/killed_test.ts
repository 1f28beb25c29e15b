/** What a killed server owes its MQTT clients once it is up again: wills, and the count of sessions. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { startServer } from "../../server_process.ts";
import { connectTo } from "./app.ts";

Deno.test("Wills of clients whose server is killed are published by its next start, in SQLite", async () => {
  const directory = await Deno.makeTempDir();
  await using server = await startServer({ flags: ["--engine", `sqlite:${directory}/log.db`] });
  const door = `${server.socketUrl}/mqtt`;
  const will = (topic: string, willDelayInterval?: number) => ({
    topic,
    payload: Buffer.from("gone"),
    qos: 1 as const,
    retain: false,
    ...(willDelayInterval === undefined ? {} : { properties: { willDelayInterval } }),
  });
  const lasting = {
    protocolVersion: 5,
    clean: false,
    properties: { sessionExpiryInterval: 600 },
  } as const;
  {
    await using reader = await connectTo(door, { ...lasting, clientId: "reader" });
    await reader.client.subscribeAsync("wills/#", { qos: 1 });
    await using _old = await connectTo(door, { will: will("wills/old") });
    await using _delayed = await connectTo(door, {
      ...lasting,
      clientId: "d",
      will: will("wills/delayed", 1),
    });
    await using _back = await connectTo(door, { ...lasting, clientId: "b", will: will("wills/back", 600) });
    // The delay ends with the session, which ends with its connection.
    await using _bare = await connectTo(door, { protocolVersion: 5, will: will("wills/bare", 600) });
    await using regular = await connectTo(door, { will: will("wills/regular") });
    await regular.client.endAsync();
    await server.kill();
  }
  await server.start();
  await using back = await connectTo(door, { ...lasting, clientId: "b" });
  await back.client.endAsync();
  await using reader = await connectTo(door, { ...lasting, clientId: "reader" });
  const topics = [];
  for (let i = 0; i < 3; i++) topics.push((await reader.next()).topic);
  assert.deepEqual(topics.sort(), ["wills/bare", "wills/delayed", "wills/old"]);
  await reader.client.publishAsync("wills/none", "", { qos: 1 });
  assert.equal((await reader.next()).topic, "wills/none");
  await server.stop();
  await Deno.remove(directory, { recursive: true });
});

Deno.test("Sessions of before a kill count against the limit", async () => {
  const directory = await Deno.makeTempDir();
  await using server = await startServer({
    flags: ["--engine", `sqlite:${directory}/log.db`, "--mqtt-max-sessions", "1"],
  });
  const door = `${server.socketUrl}/mqtt`;
  const session = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 600 } } as const;
  {
    await using _first = await connectTo(door, { ...session, clientId: "first" });
    await server.kill();
  }
  await server.start();
  await assert.rejects(connectTo(door, { ...session, clientId: "second" }), { code: 0x97 });
  await using first = await connectTo(door, { ...session, clientId: "first" });
  // An expiry of 0 ends the session: there is room for another.
  await first.client.endAsync(false, { properties: { sessionExpiryInterval: 0 } });
  await using _second = await connectTo(door, { ...session, clientId: "second" });
  await server.stop();
  await Deno.remove(directory, { recursive: true });
});
