import assert from "node:assert/strict";
import { type Figure, median, percentile, takeMedians } from "./measure.ts";

Deno.test("percentile() is the smallest value that so many percent do not exceed", () => {
  const values = Array.from({ length: 1_000 }, (_, i) => i + 1);
  assert.equal(percentile(values, 50), 500);
  assert.equal(percentile(values, 99), 990);
  assert.equal(percentile(values, 99.9), 999);
  assert.equal(percentile(values, 100), 1_000);
  assert.equal(percentile([7], 1), 7);
  assert.ok(Number.isNaN(percentile([], 50)));
});

Deno.test("takeMedians() puts the runs of each label together", () => {
  const figure = (label: string, value: number): Figure => ({ label, value, unit: "/s" });
  const medians = takeMedians([[figure("a", 1), figure("b", 10)], [figure("a", 5)], [figure("a", 2)]]);
  assert.deepEqual([...medians.values()].map(({ value }) => value), [2, 10]);
  assert.equal(median([1, 2, 3, 10]), 2.5);
});
