/** Histograms: what falls into which bucket, and how well percentiles are told from that. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { DURATION_BOUNDS, estimatePercentile, Histogram } from "../../lib/base/histogram.ts";

Deno.test("Histogram.observe() counts a duration in the first bucket whose bound it does not exceed", () => {
  const histogram = new Histogram();
  histogram.observe(0);
  histogram.observe(1);
  histogram.observe(1.01);
  histogram.observe(1_000_000);
  histogram.observe(-5);
  const at = (bound: number) => histogram.counts[DURATION_BOUNDS.indexOf(bound)];
  assert.deepEqual([at(1 / 16), at(1), at(2), histogram.counts.at(-1)], [2, 1, 1, 1]);
  assert.deepEqual([histogram.count, histogram.sum], [5, 1_000_002.01]);
});

Deno.test("estimatePercentile() is in the bucket of the true percentile", () => {
  const durations = fc.array(fc.double({ min: 0, max: 20_000, noNaN: true }), { minLength: 1 });
  fc.assert(fc.property(durations, fc.constantFrom(0.01, 0.5, 0.9, 0.99, 1), (values, fraction) => {
    const histogram = new Histogram();
    for (const value of values) histogram.observe(value);
    const sorted = values.toSorted((a, b) => a - b);
    const exact = sorted[Math.ceil(fraction * sorted.length) - 1] ?? 0;
    const estimate = estimatePercentile(histogram.counts, fraction) ?? -1;
    const top = DURATION_BOUNDS.at(-1) ?? 0;
    const bucketOf = (value: number) => DURATION_BOUNDS.findIndex((bound) => value <= bound);
    assert.equal(bucketOf(estimate), bucketOf(Math.min(exact, top)));
  }));
  assert.equal(estimatePercentile(new Histogram().counts, 0.5), undefined);
});
