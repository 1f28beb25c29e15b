/** What is kept, how long, and what a reader is told of the rest. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Receipt } from "../../../lib/core/log.ts";
import { formatId } from "../../../lib/core/message.ts";
import type { RuleEntry } from "../../../lib/core/rules.ts";
import {
  ALL,
  assertGap,
  type Bench,
  draft,
  EARLIEST,
  EVERYTHING,
  NEWS,
  range,
  readAll,
  type TestLog,
  texts,
} from "./bench.ts";

export function testRetention(test: TestLog): void {
  const tenOfNews: RuleEntry[] = [{ channels: "news", history: { messages: 10 } }];
  test("append() keeps as many messages as the rule says, and little more", async ({ log }) => {
    for (let i = 1; i <= 100; i++) await log.append(draft("news", i));
    for (let i = 1; i <= 30; i++) await log.append(draft("other", i));
    const { messages, position } = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    assert.ok(messages.length >= 10 && messages.length <= 12, `${messages.length} are kept`);
    assert.deepEqual(messages.map((m) => m.offset), range(101 - messages.length, 100));
    assert.equal(position.offset, 100);
    assert.equal(
      (await readAll(log, "other")).messages.length,
      30,
      "rules of one channel leave others alone",
    );
  }, tenOfNews);

  test("append() of more than the rule keeps in one turn keeps the newest", async ({ log }) => {
    await Promise.all(range(1, 100).map((i) => log.append(draft("news", i))));
    await log.append(draft("news", 101));
    const { messages } = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    assert.ok(messages.length >= 10 && messages.length <= 12, `${messages.length} are kept`);
    assert.equal(messages.at(-1)?.offset, 101);
  }, tenOfNews);

  test("read() of what retention overtook is a gap for each cursor, and complete after it", async (bench) => {
    const { log, clock } = bench;
    const receipts: Receipt[] = [];
    for (let i = 1; i <= 50; i++) {
      receipts.push(await log.append(draft("news", i)));
      await log.append(draft("other", i));
      clock.advance(1);
    }
    const first = (await readAll(log, "news")).messages[0]!;
    const lost = receipts[first.offset - 2]!;
    const { epoch } = log.top;
    const gaps: readonly Cursor[] = [
      { kind: "id", epoch, sequence: 0 },
      { kind: "id", epoch, sequence: lost.sequence - 1 },
      { kind: "offset", offset: 0 },
      { kind: "offset", offset: lost.offset - 1 },
      { kind: "offset", offset: lost.offset - 1, epoch },
      { kind: "time", time: 0 },
      { kind: "time", time: lost.time },
    ];
    for (const after of gaps) {
      for (const selector of [NEWS, selectPatterns(["news", "ops"])]) {
        if (after.kind === "offset" && selector !== NEWS) continue;
        const page = await log.read({ selector, after, limit: 5 });
        assertGap(page);
        assert.equal(page.messages[0]?.offset, first.offset);
        assert.equal(page.messages.length, 5);
        assert.equal(page.earliest, formatId(epoch, first.sequence));
      }
      if (after.kind === "offset") continue;
      assertGap(await log.read({ selector: EVERYTHING, after, limit: 5 }));
      const other = await log.read({ selector: selectPatterns(["other", "ops"]), after, limit: 5 });
      assert.equal(other.kind, "complete", "what is gone elsewhere is no gap here");
    }
    const complete: readonly Cursor[] = [
      EARLIEST,
      { kind: "latest" },
      { kind: "id", epoch, sequence: lost.sequence },
      { kind: "offset", offset: lost.offset },
      { kind: "offset", offset: lost.offset, epoch },
      { kind: "time", time: lost.time + 1 },
      { kind: "time", time: first.time },
    ];
    for (const after of complete) {
      const page = await log.read({ selector: NEWS, after, limit: ALL });
      assert.equal(page.kind, "complete", JSON.stringify(after));
      assert.equal(page.messages[0]?.offset, first.offset);
    }
  }, tenOfNews);

  test("append() keeps messages as long as the rule says", async ({ log, clock }) => {
    await log.append(draft("news", "old"));
    clock.advance(40);
    await log.append(draft("news", "young"));
    await log.append(draft("other", "old"));
    clock.advance(40);
    await log.append(draft("news", "new"));
    assert.deepEqual(texts(await readAll(log, "news")), ["young", "new"]);
    assert.deepEqual(texts(await readAll(log, "other")), ["old"]);
    assertGap(await log.read({ selector: NEWS, after: { kind: "offset", offset: 0 }, limit: ALL }));
    clock.advance(3_600);
    assert.deepEqual(
      texts(await readAll(log, "news")),
      [],
      "nothing outlives its time for want of a publisher",
    );
    const page = await readAll(log, "news");
    assert.equal(page.position.offset, 3);
  }, [{ channels: "news", history: { seconds: 60 } }]);

  const HOUR = 3_600;
  const jumps: readonly [string, readonly number[]][] = [
    ["is set back 30 minutes", [-HOUR / 2]],
    ["is set back a year", [-365 * 24 * HOUR]],
    ["was years ahead for one append", [20 * 365 * 24 * HOUR, -20 * 365 * 24 * HOUR]],
    ["goes back, and ahead again", [-HOUR, 2 * HOUR, -HOUR]],
  ];
  for (const [name, steps] of jumps) {
    const jump = async ({ log, clock }: Bench) => {
      await log.append(draft("other", "before"));
      for (const step of steps) {
        clock.advance(step);
        await log.append(draft("other", "between"));
      }
    };
    test(`append() of a message with a ttl ends with that when the clock ${name}`, async (bench) => {
      const { log, clock } = bench;
      await jump(bench);
      await log.append({ ...draft("news", "a"), ttl: 2 });
      await log.append({ ...draft("news", "b"), ttl: 60 });
      clock.advance(1);
      assert.deepEqual(texts(await readAll(log, "news")), ["a", "b"]);
      clock.advance(2);
      assert.deepEqual(texts(await readAll(log, "news")), ["b"]);
      clock.advance(60);
      assert.deepEqual(texts(await readAll(log, "news")), []);
      assertGap(await log.read({ selector: NEWS, after: { kind: "offset", offset: 1 }, limit: ALL }));
    });

    test(`append() before the clock ${name} keeps its ttl`, async (bench) => {
      const { log, clock } = bench;
      if (steps.some((step) => step > 0)) return;
      await log.append({ ...draft("news", "a"), ttl: 10 });
      clock.advance(4);
      await jump(bench);
      clock.advance(4);
      assert.deepEqual(texts(await readAll(log, "news")), ["a"]);
      clock.advance(4);
      assert.deepEqual(texts(await readAll(log, "news")), []);
    });

    test(`append() keeps messages as long as the rule says when the clock ${name}`, async (bench) => {
      const { log, clock } = bench;
      await jump(bench);
      await log.append(draft("news", "a"));
      clock.advance(40);
      await log.append(draft("news", "b"));
      assert.deepEqual(texts(await readAll(log, "news")), ["a", "b"]);
      clock.advance(40);
      assert.deepEqual(texts(await readAll(log, "news")), ["b"]);
      clock.advance(40);
      assert.deepEqual(texts(await readAll(log, "news")), []);
    }, [{ channels: "news", history: { seconds: 60 } }]);

    test(`append() knows a key for 5 minutes when the clock ${name}`, async (bench) => {
      const { log, clock } = bench;
      await jump(bench);
      for (const ephemeral of [false, true]) {
        const keyed = { ...draft("news", "a"), idempotencyKey: `k${ephemeral}`, ephemeral };
        await log.append(keyed);
        clock.advance(290);
        assert.equal((await log.append(keyed)).duplicate, true);
        clock.advance(20);
        assert.equal((await log.append(keyed)).duplicate, false);
      }
    });
  }

  test("read() returns no message beyond its ttl", async ({ log, clock }) => {
    await log.append(draft("news", "a"));
    const brief = await log.append({ ...draft("news", "b"), ttl: 5 });
    await log.append({ ...draft("news", "c"), ttl: 50 });
    const before: Cursor = { kind: "offset", offset: 1 };
    const after: Cursor = { kind: "offset", offset: 2 };
    clock.advance(4);
    assert.equal((await log.read({ selector: NEWS, after: before, limit: ALL })).kind, "complete");
    assert.deepEqual(texts(await readAll(log, "news")), ["a", "b", "c"]);
    clock.advance(2);
    assert.deepEqual(texts(await readAll(log, "news")), ["a", "c"]);
    assert.deepEqual(
      texts(await log.read({ selector: EVERYTHING, after: { kind: "latest" }, limit: 2 })),
      ["a", "c"],
    );
    assertGap(await log.read({ selector: NEWS, after: before, limit: ALL }));
    assertGap(await log.read({ selector: NEWS, after: { kind: "time", time: brief.time }, limit: ALL }));
    assert.equal((await log.read({ selector: NEWS, after, limit: ALL })).kind, "complete");
    clock.advance(60);
    assert.deepEqual(texts(await readAll(log, "news")), ["a"]);
    assert.equal((await log.append(draft("news", "d"))).offset, 4);
  });
}
