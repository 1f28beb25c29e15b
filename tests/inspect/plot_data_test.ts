/** What the plots of the inspector draw: no line leads through time of which nothing is known. */
import assert from "node:assert/strict";
import { alignSamples, findLonely } from "../../static/inspect/plot_data.ts";

const value = (sample: { readonly value?: number }) => sample.value;

Deno.test("Samples that come every second are one line, a second without a value cuts it", () => {
  const samples = [{ time: 1_000, value: 1 }, { time: 2_000 }, { time: 3_010, value: 3 }];
  assert.deepEqual(alignSamples(samples, [value]), [[1, 2, 3.01], [1, null, 3]]);
});

Deno.test("Line is cut where the server or this page slept, in every column", () => {
  const samples = [{ time: 1_000, value: 1 }, { time: 61_000, value: 2 }];
  assert.deepEqual(alignSamples(samples, [value, () => 7]), [[1, 31, 61], [1, null, 2], [7, null, 7]]);
});

Deno.test("Values that stand alone are found, those of lines are not", () => {
  assert.deepEqual(findLonely([1, null, 2, 3, null, null, 4]), [0, 6]);
  assert.deepEqual(findLonely([5]), [0]);
  assert.deepEqual(findLonely([null, 0, null]), [1]);
  assert.deepEqual(findLonely([]), []);
});
