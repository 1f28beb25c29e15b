/** Long lists are encoded and sorted in slices, and come out as they would at once. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeInSlices, sortInSlices } from "../../lib/base/sliced.ts";

/** Keeps the thread busy. */
function work(milliseconds: number): void {
  for (const end = performance.now() + milliseconds; performance.now() < end;);
}

/** How many turns of the event loop others have while something goes on. */
async function countTurns(run: () => Promise<unknown>): Promise<number> {
  let turns = 0;
  let isDone = false;
  const running = run().finally(() => isDone = true);
  do {
    await new Promise((resolve) => setTimeout(resolve, 0));
    turns++;
  } while (!isDone);
  await running;
  return turns;
}

Deno.test("encodeInSlices() encodes each item, in order", async () => {
  await fc.assert(fc.asyncProperty(fc.array(fc.string(), { maxLength: 300 }), async (texts) => {
    assert.deepEqual(await encodeInSlices(texts, (text) => text + "!"), texts.map((text) => text + "!"));
  }));
});

Deno.test("encodeInSlices() lets others go between items that are many, or large", async () => {
  for (const [count, size, milliseconds] of [[2_000, 1, 0.05], [10, 64 * 1024, 10]] as const) {
    const turns = await countTurns(() =>
      encodeInSlices(Array(count).keys(), () => {
        work(milliseconds);
        return "x".repeat(size);
      })
    );
    assert.ok(turns >= 5, `${turns} turns for ${count} items`);
  }
});

Deno.test("encodeInSlices() encodes the few items of a small answer in one turn", async () => {
  let turns = 0;
  const counting = setImmediate(() => turns++);
  await encodeInSlices(["a", "b"], (text) => text);
  assert.equal(turns, 0);
  clearImmediate(counting);
});

Deno.test("sortInSlices() sorts as sort() does, and leaves what it is given", async () => {
  const item = fc.record({ key: fc.nat(50), tie: fc.nat() });
  const compare = (a: { key: number }, b: { key: number }) => a.key - b.key;
  await fc.assert(
    fc.asyncProperty(fc.array(item, { maxLength: 5_000, size: "max" }), async (items) => {
      const before = [...items];
      assert.deepEqual(await sortInSlices(items, compare), items.toSorted(compare));
      assert.deepEqual(items, before);
    }),
    { numRuns: 50 },
  );
});

Deno.test("sortInSlices() lets others go while it sorts, and while it merges", async () => {
  const items = Array.from({ length: 4_000 }, (_, i) => (i * 7_919) % 4_001);
  let comparisons = 0;
  const turns = await countTurns(() =>
    sortInSlices(items, (a, b) => {
      if (++comparisons % 50 === 0) work(0.3);
      return a - b;
    })
  );
  assert.ok(turns >= 10, `${turns} turns`);
});
