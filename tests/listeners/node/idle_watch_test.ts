/** The watch over idle sockets: everything is looked at once a period, nothing after it was deleted. */
import assert from "node:assert/strict";
import { IdleWatch } from "../../../lib/listeners/node/idle_watch.ts";

Deno.test("IdleWatch looks at each item once a period, and at none that was deleted", async () => {
  const looks = new Map<number, number>();
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = new IdleWatch<number>(160, (item) => {
    looks.set(item, (looks.get(item) ?? 0) + 1);
    // An item may leave while it is looked at.
    if (item % 2 === 0) watch.delete(item);
    if (looks.get(99) === 3) resolve();
  });
  for (let i = 0; i < 100; i++) watch.add(i);
  watch.delete(1);
  await promise;
  watch.stop();
  for (let i = 0; i < 100; i++) {
    const count = looks.get(i) ?? 0;
    if (i === 1) assert.equal(count, 0);
    else if (i % 2 === 0) assert.equal(count, 1);
    else assert.ok(count === 3 || count === 2, `${i} was looked at ${count} times`);
  }
});
