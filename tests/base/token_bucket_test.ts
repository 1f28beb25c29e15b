/** The bucket behind every rate: its burst, its rate, and that it never gives more than both together. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { TokenBucket } from "../../lib/base/token_bucket.ts";

Deno.test("TokenBucket.take() gives its burst at once, then as much as its rate, and says how long to wait", () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 3 }, 0);
  assert.deepEqual([1, 2, 3].map(() => bucket.take(0)), [0, 0, 0]);
  assert.equal(bucket.take(0), 500);
  assert.equal(bucket.take(250), 250);
  assert.equal(bucket.take(500), 0);
  assert.equal(bucket.take(500), 500, "what was refused took nothing, and gave nothing");
});

Deno.test("TokenBucket.isFull() is true again once it has not been used for a while", () => {
  const bucket = new TokenBucket({ perSecond: 2, burst: 3 }, 0);
  assert.ok(bucket.isFull(0));
  bucket.take(0);
  assert.ok(!bucket.isFull(499));
  assert.ok(bucket.isFull(500));
  bucket.take(500);
  bucket.giveBack();
  assert.ok(bucket.isFull(500));
});

Deno.test("TokenBucket.take() never gives more than the burst and what the rate adds, whenever it is asked", () => {
  const rate = fc.record({
    perSecond: fc.integer({ min: 1, max: 100 }),
    burst: fc.integer({ min: 1, max: 50 }),
  });
  fc.assert(fc.property(rate, fc.array(fc.nat(300), { maxLength: 300 }), (rate, pauses) => {
    const bucket = new TokenBucket(rate, 0);
    let now = 0;
    let given = 0;
    for (const pause of pauses) {
      now += pause;
      if (bucket.take(now) === 0) given++;
    }
    assert.ok(given <= rate.burst + now / 1_000 * rate.perSecond + 1e-6);
  }));
});
