/** The timer that requests of a target share: each has its full time, and none has more. */
import assert from "node:assert/strict";
import { type Attempt, Deadlines } from "../../lib/hooks/deadlines.ts";

const MILLISECONDS = 30;

async function untilAborted({ signal }: Attempt): Promise<number> {
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  return performance.now();
}

Deno.test("What takes too long is ended, not before its time, also when the timer was set for another one", async () => {
  const stop = new AbortController();
  const deadlines = new Deadlines(MILLISECONDS, stop.signal);
  const finished = deadlines.begin();
  const first = deadlines.begin();
  deadlines.finish(finished);
  let second: Attempt | undefined;
  let endOfSecond: Promise<number> | undefined;
  while (second === undefined) {
    await new Promise((resolve) => setImmediate(resolve));
    // Begun while the timer runs for the first.
    if (performance.now() < first.deadline - MILLISECONDS / 2) continue;
    second = deadlines.begin();
    endOfSecond = untilAborted(second);
  }
  assert.ok(await untilAborted(first) >= first.deadline);
  assert.ok(first.isLate);
  deadlines.finish(first);
  assert.ok(await endOfSecond! >= second.deadline);
  assert.ok(second.isLate);
  deadlines.finish(second);
  assert.ok(!finished.signal.aborted);
  // With nothing under way no timer runs: the next one sets it again.
  const third = deadlines.begin();
  assert.ok(await untilAborted(third) >= third.deadline);
  stop.abort();
});

Deno.test("When the server stops, all that is under way ends, and none of it is late", () => {
  const stop = new AbortController();
  const deadlines = new Deadlines(MILLISECONDS, stop.signal);
  const attempts = [deadlines.begin(), deadlines.begin()];
  stop.abort();
  for (const { signal, isLate } of attempts) assert.deepEqual([signal.aborted, isLate], [true, false]);
});
