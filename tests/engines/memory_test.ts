/** Runs the suite of the Log port on the memory engine, and tests what only that engine promises. */
import assert from "node:assert/strict";
import { selectChannel } from "../../lib/core/channel.ts";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryLog } from "../../lib/engines/memory.ts";
import { createDraft } from "../fakes/message.ts";
import { ManualSchedule } from "../fakes/schedule.ts";
import { testLog } from "../suites/log_suite.ts";

testLog("MemoryLog", (options) => Promise.resolve(new MemoryLog(options)));

Deno.test("MemoryLog.append() stores what came in one turn in one batch", async () => {
  const loop = new ManualSchedule();
  await using log = new MemoryLog({ rules: new Rules(), schedule: loop.schedule });
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

Deno.test("MemoryLog stores what waits before it is disposed, whether the turn ends or not", async () => {
  const loop = new ManualSchedule();
  const log = new MemoryLog({ rules: new Rules(), schedule: loop.schedule });
  const receipt = log.append(createDraft("a"));
  await log[Symbol.asyncDispose]();
  assert.equal((await receipt).offset, 1);
});

Deno.test("MemoryLog starts every life with an epoch of its own", async () => {
  await using one = new MemoryLog({ rules: new Rules() });
  await using two = new MemoryLog({ rules: new Rules() });
  await two.append(createDraft("a"));
  assert.notEqual(one.top.epoch, two.top.epoch);
  const selector = selectChannel("news");
  const page = await two.read({ selector, after: { kind: "id", ...one.top }, limit: 10 });
  assert.equal(page.kind, "gap");
});
