/** What a restart of the server keeps: sessions with their positions, retained messages, and QoS 2 packet ids. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { connect, RawClient, startMqtt } from "./app.ts";

Deno.test("Sessions, retained messages and unreleased packet ids outlive the server, in SQLite", async () => {
  const folder = await Deno.makeTempDir();
  const engine = ["--engine", `sqlite:${join(folder, "raindrops.db")}`];
  const session = { clientId: "sleeper", clean: false };
  // CONNECT of client "q" with clean=0, and a QoS 2 PUBLISH of "once" to "q2" with packet id 5.
  const connectPacket = "100d 0004 4d515454 04 00 0078 0001 71";
  const publish = (first: string) => `${first}0a 0002 7132 0005 6f6e6365`;
  try {
    {
      await using app = await startMqtt(...engine);
      {
        await using reader = await connect(app, session);
        await reader.client.subscribeAsync("news", { qos: 1 });
        await reader.client.endAsync();
      }
      await using writer = await connect(app);
      await writer.client.publishAsync("news", "1", { qos: 1 });
      await writer.client.publishAsync("state", "on", { qos: 1, retain: true });
      using raw = await RawClient.open(app);
      await raw.send(connectPacket + publish("34"));
      assert.equal(await raw.read(8), "2002000050020005");
    }
    await using app = await startMqtt(...engine);
    using raw = await RawClient.open(app);
    await raw.send(connectPacket + publish("3c") + "62020005");
    assert.equal(await raw.read(12), "200201005002000570020005");
    const history = await (await fetch(`${app.url}/q2?since=earliest&limit=10`)).text();
    assert.equal(history.split("once").length, 2, history);
    await using reader = await connect(app, session);
    assert.equal((await reader.next()).text, "1");
    await reader.client.subscribeAsync("state", { qos: 1 });
    const { text, packet } = await reader.next();
    assert.deepEqual([text, packet.retain], ["on", true]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
