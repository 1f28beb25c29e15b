/** Retained messages that are published by POST, across kills: what was acknowledged is retained. */
import assert from "node:assert/strict";
import { startServer } from "../../server_process.ts";
import { connectTo } from "../mqtt/app.ts";

const KILLS = 8;
const CHANNELS = Array.from({ length: 96 }, (_, i) => `lamps/${i}`);
/** Acknowledged messages between two kills. */
const STEP = 600;

Deno.test(`What POST with retain acknowledged is retained although the server is killed ${KILLS} times`, async () => {
  const directory = await Deno.makeTempDir();
  await using server = await startServer({
    flags: ["--engine", `sqlite:${directory}/log.db`, "--log-level", "warn"],
  });
  /** The newest message of each channel that was acknowledged. */
  const confirmed = new Map<string, number>();
  let next = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    let left = STEP;
    const { promise: enough, resolve } = Promise.withResolvers<void>();
    const publishers = CHANNELS.map(async (channel) => {
      while (true) {
        const number = ++next;
        try {
          const { ok, body } = await fetch(`${server.url}/${channel}?retain`, {
            method: "POST",
            body: String(number),
          });
          await body?.cancel();
          if (!ok) return;
        } catch {
          // The kill ends every publisher.
          return;
        }
        confirmed.set(channel, number);
        if (--left === 0) resolve();
      }
    });
    await enough;
    await server.kill();
    await Promise.all(publishers);
    await server.start();
    await using reader = await connectTo(`${server.socketUrl}/mqtt`);
    await reader.client.subscribeAsync("lamps/#", { qos: 1 });
    const retained = new Map<string, number>();
    while (confirmed.keys().some((channel) => !retained.has(channel))) {
      // Rejects when a message does not come.
      const { topic, text } = await reader.next();
      retained.set(topic, Number(text));
    }
    for (const [channel, number] of confirmed) {
      assert.ok(
        retained.get(channel)! >= number,
        `${channel}: ${retained.get(channel)} instead of ${number}`,
      );
    }
  }
  await Deno.remove(directory, { recursive: true });
});
