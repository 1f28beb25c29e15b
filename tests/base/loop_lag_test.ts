/** The event loop's lag: a turn that takes long is noticed. */
import assert from "node:assert/strict";
import { Histogram } from "../../lib/base/histogram.ts";
import { LoopLag } from "../../lib/base/loop_lag.ts";

Deno.test("LoopLag counts the time by which a blocked loop is late", async () => {
  const lag = new Histogram();
  using _watch = new LoopLag(lag);
  const counted = Promise.withResolvers<void>();
  const observe = lag.observe.bind(lag);
  lag.observe = (milliseconds) => {
    observe(milliseconds);
    counted.resolve();
  };
  const end = performance.now() + 300;
  while (performance.now() < end);
  await counted.promise;
  assert.ok(lag.sum >= 150, `a loop that was blocked for 300 ms is ${lag.sum} ms late`);
});
