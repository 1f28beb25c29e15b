/** Subscriptions to more retained messages than fit into one queue, and messages that are removed while they wait. */
import assert from "node:assert/strict";
import { connect, type MqttApp, startMqtt } from "./app.ts";

async function retain({ app: { hub } }: MqttApp, count: number, text: string): Promise<void> {
  await Promise.all(Array.from({ length: count }, (_, i) =>
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
