/** What maps promise where several threads have a copy of each: they agree, and none decides by what it has not heard. */
import assert from "node:assert/strict";
import { Hub } from "../../../lib/core/hub.ts";
import type { Log } from "../../../lib/core/log.ts";
import { ChannelMaps } from "../../../lib/core/maps/maps.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { openWorkerEngine } from "../../../lib/engines/worker/engine.ts";
import { EngineHost } from "../../../lib/engines/worker/host.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { HeldWorker } from "../../fakes/held_worker.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { createDraft } from "../../fakes/message.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

const rules = new Rules([{ channels: "**", history: { messages: 10 } }]);
const logger = new RecordingLogger();
const limits = { maxMapKeys: 10, maxAllMapKeys: 10, maxMapBytes: 10_000 };

function openHub(log: Log): Hub {
  const maps = new ChannelMaps({ log, rules, logger, limits, state: log.state ?? new MemoryState() });
  return new Hub({ log, rules, logger, maxMessageBytes: 1_000, maps });
}

for (const from of ["a worker", "the thread of the engine"]) {
  Deno.test(`Clearing a channel from ${from} empties its map in all threads, without any history left`, async () => {
    const clock = new FakeClock();
    await using host = new EngineHost({ log: new MemoryEngine({ rules, now: clock.now }) });
    const [one, two] = [new MessageChannel(), new MessageChannel()];
    for (const { port1 } of [one, two]) host.attach(port1);
    await using first = await openWorkerEngine(one.port2);
    await using second = await openWorkerEngine(two.port2);
    const hubs = [host.log, first, second].map(openHub);
    const [main, worker] = hubs as [Hub, Hub];
    await worker.publish(createDraft("1", { channel: "map", properties: { key: "k" } }));
    // A day is what history keeps unless rules say else.
    clock.advance(24 * 60 * 60 + 1);
    await main.publish(createDraft("2", { channel: "other" }));
    const told: number[] = [];
    const removals: unknown[] = [];
    for (const [i, hub] of hubs.entries()) {
      const map = await hub.maps.find("map");
      assert.equal(map.size, 1);
      map.watch(() => told.push(i));
      hub.observeRemovals((removal) => removals.push(removal));
    }
    assert.equal(await (from === "a worker" ? worker : main).clear("map"), 0);
    for (const log of [first, second]) await log.state.read("nothing");
    for (const hub of hubs) assert.equal((await hub.maps.find("map")).size, 0);
    assert.deepEqual(told.sort(), [0, 1, 2]);
    assert.deepEqual(removals, [], "where nothing was removed nobody else is told");
    for (const hub of hubs) await hub.maps[Symbol.asyncDispose]();
  });
}

Deno.test("A key that another thread has set is found although word of it is on its way still", async () => {
  await using worker = await HeldWorker.open();
  const { maps } = worker.hub;
  assert.equal(await maps.has("map", "k"), false);
  await worker.hold();
  await worker.store("1", { channel: "map", properties: { key: "k" } });
  const answers = ["k", "other"].map((key) => maps.has("map", key));
  const first = await Promise.race([
    answers[0],
    new Promise((resolve) => setImmediate(() => resolve("waits"))),
  ]);
  assert.equal(first, "waits", "it decides by what the engine says");
  await worker.release();
  assert.deepEqual(await Promise.all(answers), [true, false]);
});
