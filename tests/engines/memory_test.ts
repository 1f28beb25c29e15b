/** Runs the suite of the Log port on the memory engine, and tests what only that engine promises. */
import assert from "node:assert/strict";
import { selectChannel } from "../../lib/core/channel.ts";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { createDraft } from "../fakes/message.ts";
import { ManualSchedule } from "../fakes/schedule.ts";
import { testLog } from "../suites/log_suite.ts";

testLog("MemoryEngine", (options) => Promise.resolve(new MemoryEngine(options)));

Deno.test("MemoryEngine.append() stores what came in one turn in one batch", async () => {
  const loop = new ManualSchedule();
  await using log = new MemoryEngine({ rules: new Rules(), schedule: loop.schedule });
  const batches: number[] = [];
  log.onStored = (messages) => batches.push(messages.length);
  const receipts = ["a", "b", "c"].map((text) => log.append(createDraft(text)));
  assert.equal(loop.waiting, 1);
  assert.deepEqual(batches, []);
  loop.run();
  assert.deepEqual(batches, [3]);
  await Promise.all(receipts);
  assert.equal(loop.waiting, 0, "nothing is scheduled while idle");
});

Deno.test("MemoryEngine stores what waits before it is disposed, whether the turn ends or not", async () => {
  const loop = new ManualSchedule();
  const log = new MemoryEngine({ rules: new Rules(), schedule: loop.schedule });
  const receipt = log.append(createDraft("a"));
  await log[Symbol.asyncDispose]();
  assert.equal((await receipt).offset, 1);
});

Deno.test("MemoryEngine starts every life with an epoch of its own", async () => {
  await using one = new MemoryEngine({ rules: new Rules() });
  await using two = new MemoryEngine({ rules: new Rules() });
  await two.append(createDraft("a"));
  assert.notEqual(one.top.epoch, two.top.epoch);
  const selector = selectChannel("news");
  const page = await two.read({ selector, after: { kind: "id", ...one.top }, limit: 10 });
  assert.equal(page.kind, "gap");
});
