/** Channels: their offsets, names and number, and when they are forgotten. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Receipt } from "../../../lib/core/log.ts";
import type { Draft } from "../../../lib/core/message.ts";
import type { RuleEntry } from "../../../lib/core/rules.ts";
import {
  ALL,
  assertGap,
  assertIncreasing,
  type Bench,
  draft,
  EARLIEST,
  EVERYTHING,
  payloadText,
  readAll,
  sweep,
  type TestLog,
  texts,
} from "./bench.ts";

export function testChannels(test: TestLog): void {
  test("append() counts a channel's offsets from 1 without holes", async ({ log }) => {
    for (let i = 1; i <= 5; i++) {
      const receipt = await log.append(draft("news", i));
      assert.equal(receipt.offset, i);
      assert.equal(receipt.epoch, log.top.epoch);
      assert.equal(receipt.duplicate, false);
    }
    assert.equal((await log.append(draft("other", 1))).offset, 1);
    assert.equal((await log.append(draft("news", 6))).offset, 6);
  });

  test("listStored() counts what is stored in each channel, and checkReady() has no complaint", async ({ log }) => {
    for (const channel of ["a", "b", "a"]) await log.append(draft(channel, 1));
    await log.append({ ...draft("never", 1), ephemeral: true });
    await log.clear("b");
    assert.equal(log.checkReady?.(), undefined);
    // The port leaves it to engines whether they can tell.
    if (log.listStored === undefined) return;
    assert.deepEqual([...log.listStored()].sort((one, other) => one.channel < other.channel ? -1 : 1), [
      { channel: "a", offset: 2, stored: 2 },
      { channel: "b", offset: 1, stored: 0 },
    ]);
    assert.deepEqual(log.findStored?.("a"), { channel: "a", offset: 2, stored: 2 });
    assert.equal(log.findStored?.("never"), undefined);
  });

  test("append() and read() keep channels apart by their names, in whatever script they are", async (bench) => {
    const { log, announced } = bench;
    const names = [
      "café",
      "cafe",
      "新闻",
      "my room",
      "my",
      "room",
      "my/room",
      "a.b",
      "a b",
      "🌧/❤️",
      "新".repeat(85),
    ];
    for (const [i, name] of names.entries()) {
      assert.equal((await log.append(draft(name, i))).offset, 1, name);
      await log.append({ ...draft(name, `key ${i}`), idempotencyKey: '["","k"]' });
      assert.ok((await log.append({ ...draft(name, `key ${i}`), idempotencyKey: '["","k"]' })).duplicate);
      await log.append({ ...draft(name, `transient ${i}`), ephemeral: true });
    }
    for (const [i, name] of names.entries()) {
      assert.deepEqual(texts(await readAll(log, name)), [`${i}`, `key ${i}`], name);
      const own = announced.filter(({ channel }) => channel === name);
      assert.equal(own.length, 3, name);
    }
    const list = await log.read({ selector: selectPatterns(["my", "room"]), after: EARLIEST, limit: ALL });
    assert.deepEqual(list.messages.map(({ channel }) => channel), ["my", "my", "room", "room"]);
    const pattern = await log.read({ selector: selectPatterns(["🌧/*"]), after: EARLIEST, limit: ALL });
    assert.equal(pattern.messages.length, 2);
    await log.clear("my room");
    assert.equal((await readAll(log, "my room")).messages.length, 0);
    assert.equal((await readAll(log, "my")).messages.length, 2);
  });

  test("append() gives drafts of one turn consecutive offsets, in the order of the calls", async ({ log }) => {
    const receipts = await Promise.all(
      Array.from({ length: 200 }, (_, i) => log.append(draft(i % 2 === 0 ? "even" : "odd", i))),
    );
    for (const channel of ["even", "odd"]) {
      const offsets = receipts.filter((_, i) => (i % 2 === 0 ? "even" : "odd") === channel).map((r) =>
        r.offset
      );
      assert.deepEqual(offsets, Array.from({ length: 100 }, (_, i) => i + 1));
    }
    assertIncreasing(receipts.map((receipt) => receipt.sequence));
    assert.deepEqual(texts(await readAll(log, "even")), Array.from({ length: 100 }, (_, i) => `${i * 2}`));
  });

  const limited = async ({ log, announced }: Bench) => {
    const drafts: Draft[] = [
      draft("a", 1),
      { ...draft("c", "ephemeral"), ephemeral: true },
      draft("b", 1),
      { ...draft("c", "refused"), idempotencyKey: "key" },
      draft("a", 2),
      draft("d", "refused"),
    ];
    const outcomes = await Promise.allSettled(drafts.map((draft) => log.append(draft)));
    const refused = outcomes.flatMap((outcome, i) =>
      outcome.status === "rejected" ? [[i, outcome.reason.code]] : []
    );
    assert.deepEqual(refused, [[3, "too_many_channels"], [5, "too_many_channels"]]);
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), ["1", "ephemeral", "1", "2"]);
    await log.clear("a");
    await assert.rejects(log.append(draft("c", "refused")), { code: "too_many_channels" });
    assert.equal((await log.append(draft("a", 3))).offset, 3);
    assert.deepEqual((await readAll(log, "c")).messages, []);
    assert.equal((await log.read({ selector: EVERYTHING, after: EARLIEST, limit: ALL })).messages.length, 2);
  };
  test(
    "append() beyond maxChannels refuses the first message of a new channel, and that alone",
    limited,
    [],
    {
      maxChannels: 2,
    },
  );

  const DAY = 86_400;
  const keptAWeek: RuleEntry[] = [{ channels: "**", history: { seconds: 7 * DAY } }];
  const forgetting = { maxChannels: 3, forgetAfter: DAY * 1_000 };
  test(
    "A channel without messages is forgotten a day after its last, and makes room for another",
    async ({ log, clock }) => {
      for (const name of ["news", "brief", "kept"]) await log.append(draft(name, 1));
      await log.append({ ...draft("brief", 2), ttl: 5 });
      await log.clear("news");
      assert.equal((await log.append(draft("news", 2))).offset, 2);
      await log.clear("news");
      await sweep(log);
      await assert.rejects(log.append(draft("other", 1)), { code: "too_many_channels" });
      clock.advance(DAY + 1);
      await sweep(log);
      assert.equal((await log.append(draft("other", 1))).offset, 1);
      await assert.rejects(log.append(draft("another", 1)), { code: "too_many_channels" });
      assert.deepEqual(texts(await readAll(log, "brief")), ["1"]);
      assert.deepEqual(texts(await readAll(log, "kept")), ["1"]);
      const all = await log.read({ selector: EVERYTHING, after: EARLIEST, limit: ALL });
      assert.deepEqual(texts(all), ["1", "1", "1"]);
      if (log.listStored === undefined) return;
      assert.equal(log.findStored?.("news"), undefined);
      assert.deepEqual([...log.listStored()].map(({ channel }) => channel).sort(), [
        "brief",
        "kept",
        "other",
      ]);
    },
    keptAWeek,
    forgetting,
  );

  for (const maxTombstones of [100_000, 1]) {
    const kept = maxTombstones > 1 ? "each" : "few";
    test(
      `No position of a forgotten channel is mistaken, with ${kept} remembered apart`,
      async ({ log, clock }) => {
        const { epoch } = log.top;
        const before = await log.append(draft("before", 1));
        clock.advance(1);
        const receipts: Receipt[] = [];
        for (let i = 1; i <= 4; i++) receipts.push(await log.append(draft("n/1", i)));
        await log.clear("n/1");
        // The newest of all, so that nothing else tells which offsets and sequences were given.
        for (const name of ["x", "y"]) {
          await log.append(draft(name, 1));
          await log.clear(name);
        }
        for (let i = 5; i <= 6; i++) receipts.push(await log.append(draft("n/1", i)));
        await log.remove("n/1", receipts[5]!);
        await log.remove("n/1", receipts[4]!);
        clock.advance(DAY + 1);
        await sweep(log);
        await log.append(draft("before", 2));
        assert.equal(log.findStored?.("n/1"), undefined);
        assert.ok(log.top.sequence > receipts[5]!.sequence);

        const one = selectChannel("n/1");
        const last = receipts[3]!;
        const lost: readonly Cursor[] = [
          ...[0, 1, 2, 3].map((offset): Cursor => ({ kind: "offset", offset })),
          { kind: "offset", offset: 3, epoch },
          { kind: "id", epoch, sequence: before.sequence },
          { kind: "id", epoch, sequence: last.sequence - 1 },
          { kind: "time", time: last.time },
          { kind: "offset", offset: 99 },
          { kind: "offset", offset: 99, epoch: "other" },
        ];
        const assertGaps = async (expected: readonly string[]) => {
          for (const after of lost) {
            for (const selector of [one, selectPatterns(["n/1", "ops"]), selectPatterns(["n/*"])]) {
              if (after.kind === "offset" && selector !== one) continue;
              const page = await log.read({ selector, after, limit: ALL });
              assert.deepEqual([page.kind, texts(page)], ["gap", expected], JSON.stringify(after));
              assertGap(page);
              const sequence = Number(page.earliest.split("-")[1]) - expected.length;
              const next = await log.read({ selector, after: { kind: "id", epoch, sequence }, limit: ALL });
              assert.deepEqual([next.kind, texts(next)], ["complete", expected], "no gap is told of twice");
            }
          }
          const after: Cursor = { kind: "id", epoch, sequence: before.sequence };
          const others = await log.read({ selector: selectPatterns(["before", "ops"]), after, limit: ALL });
          if (maxTombstones > 1) {
            assert.equal(others.kind, "complete", "what is gone elsewhere is no gap here");
          }
        };
        await assertGaps([]);
        const { position, next } = await log.read({ selector: one, after: { kind: "latest" }, limit: ALL });
        assert.ok(position.offset >= 6);
        const back = await log.append(draft("n/1", 7));
        assert.equal(back.offset, position.offset + 1);
        const kept: readonly Cursor[] = [
          next,
          { kind: "id", epoch, sequence: receipts[5]!.sequence },
          { kind: "offset", ...position },
        ];
        for (const after of kept) {
          const page = await log.read({ selector: one, after, limit: ALL });
          assert.deepEqual([page.kind, texts(page)], ["complete", ["7"]], JSON.stringify(after));
        }
        await assertGaps(["7"]);
      },
      keptAWeek,
      { ...forgetting, maxChannels: 9, maxTombstones },
    );
  }
}
