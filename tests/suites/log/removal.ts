/** What is cleared and taken back. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { ALL, assertGap, draft, EARLIEST, NEWS, payloadText, readAll, type TestLog, texts } from "./bench.ts";

export function testRemoval(test: TestLog): void {
  test("clear() empties a channel, whose offsets go on", async ({ log }) => {
    for (let i = 1; i <= 3; i++) await log.append(draft("news", i));
    await log.append(draft("other", "a"));
    assert.equal(await log.clear("news"), 3);
    assert.deepEqual(texts(await readAll(log, "news")), []);
    assert.deepEqual(texts(await readAll(log, "other")), ["a"]);
    const page = await log.read({ selector: NEWS, after: { kind: "offset", offset: 1 }, limit: ALL });
    assertGap(page);
    assert.equal(page.position.offset, 3);
    assert.equal(
      (await log.read({ selector: NEWS, after: { kind: "offset", offset: 3 }, limit: ALL })).kind,
      "complete",
    );
    assert.equal((await log.append(draft("news", "b"))).offset, 4);
    assert.equal(await log.clear("news"), 1);
    assert.equal(await log.clear("news"), 0);
    assert.equal(await log.clear("unknown"), 0);
  });

  test("clear() removes what was appended before it and keeps what comes after", async (bench) => {
    const { log, announced } = bench;
    const before = log.append(draft("news", "before"));
    const cleared = log.clear("news");
    const after = log.append(draft("news", "after"));
    assert.deepEqual([(await before).offset, await cleared, (await after).offset], [1, 1, 2]);
    assert.deepEqual(texts(await readAll(log, "news")), ["after"]);
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), ["before", "after"]);
  });

  test("remove() takes one message back: its offset stays empty, and nobody is told of a gap", async (bench) => {
    const { log, removals } = bench;
    const receipts = [];
    for (let i = 1; i <= 4; i++) receipts.push(await log.append(draft("news", i)));
    await log.append(draft("other", "a"));
    const { epoch, sequence } = receipts[1]!;
    assert.equal(await log.remove("news", { epoch, sequence }), true);
    assert.deepEqual(texts(await readAll(log, "news")), ["1", "3", "4"]);
    assert.deepEqual(removals, [{ kind: "message", channel: "news", epoch, sequence, offset: 2 }]);
    const { time } = receipts[0]!;
    for (
      const after of [
        { kind: "offset", offset: 1 },
        { kind: "id", epoch, sequence },
        { kind: "id", epoch, sequence: sequence - 1 },
      ] as const
    ) {
      const page = await log.read({ selector: NEWS, after, limit: ALL });
      assert.deepEqual([page.kind, texts(page)], ["complete", ["3", "4"]]);
    }
    assert.equal(
      (await log.read({ selector: NEWS, after: { kind: "time", time }, limit: ALL })).kind,
      "complete",
    );
    assert.deepEqual(texts(await readAll(log, "other")), ["a"]);
    // The newest, too: its offset is not given again.
    assert.equal(await log.remove("news", receipts[3]!), true);
    assert.equal((await log.append(draft("news", 5))).offset, 5);
    assert.deepEqual(texts(await readAll(log, "news")), ["1", "3", "5"]);
    const { position, messages } = await log.read({ selector: NEWS, after: { kind: "latest" }, limit: 2 });
    assert.deepEqual([position.offset, messages.map(({ offset }) => offset)], [5, [3, 5]]);
  });

  test("remove() answers false for what the channel does not have, and tells nobody", async (bench) => {
    const { log, clock, removals } = bench;
    const { epoch, sequence } = await log.append(draft("news", 1));
    const brief = await log.append({ ...draft("news", 2), ttl: 1 });
    clock.advance(2);
    for (
      const [channel, id] of [
        ["other", { epoch, sequence }],
        ["unknown", { epoch, sequence }],
        ["news", { epoch: "another", sequence }],
        ["news", { epoch, sequence: sequence + 100_000 }],
        ["news", { epoch, sequence: 0 }],
        ["news", brief],
      ] as const
    ) assert.equal(await log.remove(channel, id), false, `${channel} ${id.sequence}`);
    assert.equal(await log.remove("news", { epoch, sequence }), true);
    assert.equal(await log.remove("news", { epoch, sequence }), false);
    assert.equal(removals.length, 1);
  });

  test("remove() of a message just appended comes after its announcement", async ({ log, events }) => {
    const { epoch, sequence } = await log.append(draft("news", 1));
    const second = log.append(draft("news", 2));
    const removed = log.remove("news", { epoch, sequence });
    await log.append(draft("news", 3));
    assert.deepEqual([(await second).offset, await removed], [2, true]);
    assert.deepEqual(events, ["1", "2", "removed 1", "3"]);
  });

  test("A gap is told of whatever else was taken back around it", async ({ log, clock }) => {
    const receipts = [];
    for (let i = 1; i <= 3; i++) receipts.push(await log.append(draft("news", i)));
    receipts.push(await log.append({ ...draft("news", 4), ttl: 1 }));
    receipts.push(await log.append(draft("news", 5)));
    await log.remove("news", receipts[1]!);
    clock.advance(2);
    const kinds = async () => {
      const pages = [0, 1, 2, 3, 4].map((offset) =>
        log.read({ selector: NEWS, after: { kind: "offset", offset }, limit: ALL })
      );
      return (await Promise.all(pages)).map(({ kind }) => kind).join(" ");
    };
    assert.equal(await kinds(), "gap gap gap gap complete");
    await log.remove("news", receipts[4]!);
    assert.equal(await kinds(), "gap gap gap gap complete");
    await log.clear("news");
    assert.equal(await kinds(), "gap gap gap gap complete");
  });

  test("A page whose reading goes on leaves out what was taken back meanwhile", async ({ log }) => {
    const receipts = [];
    for (let i = 1; i <= 6; i++) receipts.push(await log.append(draft("news", i)));
    const first = await log.read({ selector: NEWS, after: EARLIEST, limit: 2 });
    await log.remove("news", receipts[4]!);
    await log.remove("news", receipts[0]!);
    const second = await log.read({ selector: NEWS, after: first.next, limit: 2 });
    assert.deepEqual([second.kind, texts(second)], ["complete", ["3", "4"]]);
    const third = await log.read({ selector: NEWS, after: second.next, limit: 2 });
    assert.deepEqual([third.kind, texts(third)], ["complete", ["6"]]);
  });

  test("onCleared is called where clear() has nothing to remove, in order", async ({ log, cleared, events }) => {
    await log.append(draft("news", 1));
    await log.clear("news");
    await log.clear("news");
    await log.clear("unknown");
    await log.append(draft("news", 2));
    const { epoch } = log.top;
    assert.deepEqual(cleared.map(({ sequence: _, ...removal }) => removal), [
      { kind: "all", channel: "news", epoch, offset: 1 },
      { kind: "all", channel: "unknown", epoch, offset: 0 },
    ]);
    assert.deepEqual(events, ["1", "removed 1", "cleared 1", "cleared 0", "2"]);
  });

  test("onRemoved is called with what clear() empties, up to its newest message", async ({ log, removals }) => {
    await log.clear("news");
    await log.append(draft("news", 1));
    const { epoch } = await log.append(draft("news", 2));
    await log.clear("news");
    await log.clear("news");
    assert.deepEqual(removals.map(({ sequence: _, ...removal }) => removal), [
      { kind: "all", channel: "news", epoch, offset: 2 },
    ]);
    const { sequence } = await log.append(draft("news", 3));
    assert.ok(sequence > removals[0]!.sequence);
  });
}
