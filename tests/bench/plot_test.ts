import assert from "node:assert/strict";
import { chooseTicks, drawPlot } from "./plot.ts";

Deno.test("chooseTicks() reaches around the values in steps of 1, 2 and 5", () => {
  assert.deepEqual(chooseTicks(0.7, 31), [0.5, 1, 2, 5, 10, 20, 50]);
  assert.deepEqual(chooseTicks(1, 10), [1, 2, 5, 10]);
});

Deno.test("drawPlot() has a row for each contender and a dot for each value that was measured", () => {
  const svg = drawPlot({
    title: "a & b",
    unit: "<x>",
    legend: ["1", "16"],
    rows: [{ name: "one", values: [1, 20], isOwn: true }, {
      name: "two",
      values: [undefined, 3],
      isOwn: false,
    }],
  });
  assert.equal(svg.match(/class="dot\d"/g)?.length, 2 + 3);
  assert.match(svg, /class="own"[^>]*>one</);
  assert.match(svg, /a &amp; b/);
  assert.match(svg, /prefers-color-scheme: dark/);
  assert.doesNotMatch(svg, /NaN|undefined|Infinity/);
});
