/** Paging through one channel's history, forwards and backwards, over the real memory log. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MAX_HISTORY_MESSAGES, readHistory } from "../../lib/core/history.ts";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";

async function openLog(count: number): Promise<MemoryEngine> {
  const log = new MemoryEngine({ rules: new Rules([]) });
  await Promise.all(
    Array.from(
      { length: count },
      (_, i) => log.append({ channel: "news", payload: { kind: "text", text: String(i + 1) } }),
    ),
  );
  return log;
}

Deno.test("readHistory() pages backwards through exactly what it pages forwards through", async () => {
  await using log = await openLog(50);
  const page = async (reverse: boolean, limit: number) => {
    const seen: number[] = [];
    for (let offset = reverse ? 51 : 0;;) {
      const { messages, position } = await readHistory(log, {
        channel: "news",
        limit,
        since: { offset },
        reverse,
      });
      assert.equal(position.offset, 50);
      seen.push(...messages.map((message) => message.offset));
      offset = messages.at(-1)?.offset ?? 0;
      if (messages.length < limit || (reverse && offset === 1)) return seen;
    }
  };
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 60 }), async (limit) => {
    const forwards = await page(false, limit);
    assert.deepEqual(forwards, Array.from({ length: 50 }, (_, i) => i + 1));
    assert.deepEqual((await page(true, limit)).reverse(), forwards);
  }));
});

Deno.test("readHistory() gives the position alone for a limit of 0, and no more than one read holds", async () => {
  await using log = await openLog(MAX_HISTORY_MESSAGES + 5);
  const read = (limit: number, reverse = false) =>
    readHistory(log, { channel: "news", limit, since: undefined, reverse });
  assert.deepEqual((await read(0)).messages, []);
  assert.equal((await read(0)).position.offset, MAX_HISTORY_MESSAGES + 5);
  for (const limit of [-1, 1_000_000]) {
    assert.equal((await read(limit)).messages.length, MAX_HISTORY_MESSAGES);
  }
  assert.deepEqual((await read(2)).messages.map(({ offset }) => offset), [1, 2]);
  const last = MAX_HISTORY_MESSAGES + 5;
  assert.deepEqual((await read(2, true)).messages.map(({ offset }) => offset), [last, last - 1]);
});
