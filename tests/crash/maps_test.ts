/** Servers that are killed while keys are set and removed: every key that was confirmed is there afterwards. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { Clients } from "../suites/centrifuge_clients.ts";
import { callApi, Mirror, readMap } from "../suites/maps.ts";
import { VARIANTS } from "../protocols/centrifuge/variants.ts";
import { type ServerProcess, startServer } from "../server_process.ts";

const KILLS = 5;
/** Each publisher has keys of its own. */
const PUBLISHERS = 4;
const KEYS = 8;

/** What is known of a key: the last number that was confirmed, and the last one that was sent; 0 removes it. */
interface Known {
  confirmed: number | undefined;
  sent: number | undefined;
}

for (const flags of [[], ["--workers", "2"]]) {
  Deno.test(`A server killed ${KILLS} times keeps every confirmed key (${flags.join(" ") || "one thread"})`, async () => {
    const folder = await Deno.makeTempDir();
    const rules = join(folder, "rules.json");
    // The history alone would not tell.
    await Deno.writeTextFile(rules, JSON.stringify([{ channels: "map", history: { messages: 3 } }]));
    const engine = `sqlite:${join(folder, "maps.db")}`;
    try {
      await using server = await startServer({ flags: ["--engine", engine, "--rules", rules, ...flags] });
      using clients = new Clients(VARIANTS[0]!, server);
      const mirror = new Mirror(await clients.connect(), "map", (data) => data, { pageSize: 3 });
      await mirror.subscribe();
      const known = new Map<string, Known>();
      for (let kill = 0; kill < KILLS; kill++) {
        await publishUntilKilled(server, known, kill);
        await server.start();
        const values = await readMap(server.url, "map");
        for (const [key, { confirmed, sent }] of known) {
          const value = values[key] ?? 0;
          assert.ok(value === confirmed || value === sent, `${key} is ${value}, not ${confirmed} or ${sent}`);
          known.set(key, { confirmed: Number(value), sent: Number(value) });
        }
        for (const key of Object.keys(values)) assert.ok(known.has(key), `Nobody set ${key}`);
      }
      await callApi(server.url, "map_publish", { channel: "map", key: "end", data: 1 });
      await mirror.until((values) => values.has("end"));
      assert.deepEqual(Object.entries(mirror.entries), Object.entries(await readMap(server.url, "map")));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** Sets and removes keys until the server is killed, which is when every publisher has had enough confirmed. */
async function publishUntilKilled(server: ServerProcess, known: Map<string, Known>, round: number) {
  let confirmed = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const publish = async (publisher: number) => {
    for (let i = 1;; i++) {
      const key = `p${publisher}-${i % KEYS}`;
      const value = i % 5 === 0 ? 0 : 1_000_000 * (round + 1) + i;
      const entry = known.get(key) ?? { confirmed: 0, sent: 0 };
      known.set(key, entry);
      entry.sent = value;
      try {
        const request = { channel: "map", key, ...(value === 0 ? {} : { data: value }) };
        await callApi(server.url, value === 0 ? "map_remove" : "map_publish", request);
      } catch {
        return;
      }
      entry.confirmed = value;
      if (++confirmed === 100) resolve();
    }
  };
  const publishers = Array.from({ length: PUBLISHERS }, (_, publisher) => publish(publisher));
  await promise;
  await server.kill();
  await Promise.all(publishers);
}
