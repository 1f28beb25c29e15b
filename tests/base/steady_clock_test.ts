/** Tests the clock for deadlines: it counts what passes, and no jump of the system's clock. */
import assert from "node:assert/strict";
import { createSteadyClock } from "../../lib/base/steady_clock.ts";
import { FakeClock } from "../fakes/clock.ts";

Deno.test("createSteadyClock() counts steps forwards and none backwards", () => {
  const clock = new FakeClock();
  const steady = createSteadyClock(clock.now);
  const start = steady();
  assert.equal(start, clock.now());
  clock.advance(5);
  assert.equal(steady() - start, 5_000);
  clock.advance(-1_800);
  assert.equal(steady() - start, 5_000);
  clock.advance(2);
  assert.equal(steady() - start, 7_000);
});

Deno.test("createSteadyClock() over the system's clock ignores that it is set", () => {
  const realNow = Date.now;
  const real = realNow();
  const steady = createSteadyClock();
  try {
    for (const jump of [-1_800_000, 365 * 24 * 3_600_000]) {
      Date.now = () => real + jump;
      assert.ok(Math.abs(steady() - real) < 60_000, "whole milliseconds since 1970, as before");
      assert.ok(Number.isSafeInteger(steady()));
    }
  } finally {
    Date.now = realNow;
  }
});
