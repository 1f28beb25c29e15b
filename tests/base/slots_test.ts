import assert from "node:assert/strict";
import { Slots } from "../../lib/base/slots.ts";

Deno.test("Slots runs so many tasks at a time, in the order of the calls, also after one has failed", async () => {
  const slots = new Slots(2);
  const started: number[] = [];
  const ends = Array.from({ length: 5 }, () => Promise.withResolvers<number>());
  const results = ends.map(({ promise }, i) =>
    slots.run(() => {
      started.push(i);
      return promise;
    })
  );
  assert.deepEqual(started, [0, 1]);
  ends[1]!.reject(new Error("away"));
  await assert.rejects(results[1]!, /away/);
  assert.deepEqual(started, [0, 1, 2]);
  ends[2]!.resolve(2);
  assert.equal(await results[2], 2);
  ends[0]!.resolve(0);
  await results[0];
  assert.deepEqual(started, [0, 1, 2, 3, 4]);
  for (const i of [3, 4]) ends[i]!.resolve(i);
  assert.deepEqual(await Promise.all(results.slice(3)), [3, 4]);
  // All places are free again.
  assert.equal(await slots.run(() => Promise.resolve("next")), "next");
});
