/** Waiting for what clients send: what comes in time comes through, what does not is given up, no timer stays. */
import assert from "node:assert/strict";
import { withTimeout } from "../../lib/http/timeout.ts";

const late = () => new Error("too late");

Deno.test("withTimeout() passes on what comes in time, errors too, and leaves no timer behind", async () => {
  assert.equal(await withTimeout(60, Promise.resolve(1), late), 1);
  await assert.rejects(withTimeout(60, Promise.reject(new TypeError("broken")), late), TypeError);
  const slow = Promise.withResolvers<number>();
  const others = [1, 2, 3].map((value) => withTimeout(60, Promise.resolve(value), late));
  const last = withTimeout(60, slow.promise, late);
  assert.deepEqual(await Promise.all(others), [1, 2, 3]);
  slow.resolve(4);
  assert.equal(await last, 4);
});

Deno.test("withTimeout() gives up when the time is over, on that alone, and hears no error that follows", async () => {
  const never = Promise.withResolvers<never>();
  const slow = Promise.withResolvers<number>();
  const patient = withTimeout(60, slow.promise, late);
  await assert.rejects(withTimeout(0.01, never.promise, late), /too late/);
  never.reject(new Error("nobody listens"));
  slow.resolve(1);
  assert.equal(await patient, 1);
});
