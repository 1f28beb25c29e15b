/** Appending: what is announced, when, and once for a key. Part of `log_suite.ts`. */
import assert from "node:assert/strict";
import { MessagingError } from "../../../lib/core/errors.ts";
import {
  ALL,
  assertIncreasing,
  draft,
  EARLIEST,
  NEWS,
  openBench,
  type OpenLog,
  payloadText,
  pick,
  readAll,
  type TestLog,
  texts,
} from "./bench.ts";

export function testAppend(test: TestLog, open: OpenLog): void {
  test("append() announces each message once, in sequence order, before it resolves", async (bench) => {
    const { log, announced, batches } = bench;
    let resolved = 0;
    const receipts = await Promise.all(Array.from({ length: 50 }, async (_, i) => {
      const receipt = await log.append(draft(`c${i % 3}`, i));
      assert.equal(resolved++, i, "receipts come in the order of the calls");
      assert.ok(
        announced.some((message) => message.sequence === receipt.sequence),
        "announced before receipt",
      );
      return receipt;
    }));
    assert.deepEqual(announced.map((m) => m.sequence), receipts.map((r) => r.sequence));
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), receipts.map((_, i) => `${i}`));
    assert.ok(batches.every((batch) => batch.length > 0), "no empty batch is announced");
    assertIncreasing(announced.map((m) => m.sequence));
  });

  test("append() stamps a message as its receipt says", async ({ log, clock, announced }) => {
    const receipt = await log.append(draft("news", "a"));
    const [message] = announced;
    assert.deepEqual(pick(message), { ...pick(receipt), time: clock.now() });
    assert.equal(message?.channel, "news");
  });

  test("append() never lets time run backwards", async ({ log, clock, announced }) => {
    const first = await log.append(draft("news", "a"));
    clock.advance(-60);
    const second = await log.append(draft("news", "b"));
    assert.ok(second.time >= first.time);
    assert.deepEqual(announced.map((m) => m.time), [first.time, second.time]);
  });

  test("append() announces what is to be delivered only, in line, and stores none of it", async (bench) => {
    const { log, announced } = bench;
    const receipts = await Promise.all([
      log.append(draft("news", "a")),
      log.append({ ...draft("news", "b"), ephemeral: true }),
      log.append({ ...draft("news", "c"), to: "id1", socketId: "s1" }),
      log.append(draft("news", "d")),
    ]);
    assert.deepEqual(receipts.map((r) => r.offset), [1, 0, 0, 2]);
    assert.deepEqual(receipts.slice(1, 3).map((r) => r.sequence), [0, 0]);
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), ["a", "b", "c", "d"]);
    assert.deepEqual(announced.map((m) => m.to), [undefined, undefined, "id1", undefined]);
    assert.deepEqual(announced.map((m) => m.offset), [1, 0, 0, 2]);
    assert.equal(announced[2]?.socketId, "s1");
    assert.deepEqual(texts(await readAll(log, "news")), ["a", "d"]);
  });

  test("append() keeps no trace of a channel that only delivers", async ({ log }) => {
    await log.append({ ...draft("news", "a"), ephemeral: true });
    const page = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    assert.equal(page.kind, "complete");
    assert.equal(page.position.offset, 0);
    assert.equal(log.top.sequence, 0);
  });

  test("append() stores a key once within 5 minutes and answers with the first receipt", async (bench) => {
    const { log, clock, announced } = bench;
    const first = await log.append({ ...draft("news", "a"), idempotencyKey: "k" });
    clock.advance(299);
    await log.append(draft("news", "between"));
    const again = await log.append({ ...draft("news", "a"), idempotencyKey: "k" });
    assert.deepEqual(again, { ...first, duplicate: true });
    assert.equal(announced.length, 2);
    assert.deepEqual(texts(await readAll(log, "news")), ["a", "between"]);
  });

  test("append() knows a key per channel", async ({ log }) => {
    await log.append({ ...draft("news", "a"), idempotencyKey: "k" });
    const other = await log.append({ ...draft("other", "a"), idempotencyKey: "k" });
    const another = await log.append({ ...draft("news", "a"), idempotencyKey: "l" });
    assert.deepEqual([other.duplicate, another.duplicate], [false, false]);
    assert.equal(another.offset, 2);
  });

  test("append() knows a key within one turn", async ({ log, announced }) => {
    const [first, second] = await Promise.all([
      log.append({ ...draft("news", "a"), idempotencyKey: "k" }),
      log.append({ ...draft("news", "a"), idempotencyKey: "k" }),
    ]);
    assert.deepEqual(second, { ...first, duplicate: true });
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), ["a"]);
    assert.equal((await log.append(draft("news", "c"))).offset, 2, "a duplicate takes no offset");
  });

  test("append() forgets a key after 5 minutes, repeats or not", async ({ log, clock }) => {
    await log.append({ ...draft("news", "a"), idempotencyKey: "k" });
    clock.advance(200);
    await log.append({ ...draft("news", "a"), idempotencyKey: "k" });
    clock.advance(101);
    const third = await log.append({ ...draft("news", "c"), idempotencyKey: "k" });
    assert.equal(third.duplicate, false);
    assert.equal(third.offset, 2);
    assert.deepEqual(texts(await readAll(log, "news")), ["a", "c"]);
  });

  test("append() delivers a transient draft with a key once", async ({ log, announced }) => {
    await log.append({ ...draft("news", "a"), idempotencyKey: "k", ephemeral: true });
    const again = await log.append({ ...draft("news", "a"), idempotencyKey: "k", ephemeral: true });
    assert.equal(again.duplicate, true);
    assert.equal(announced.length, 1);
  });

  test("append() refuses a key that comes again with another message", async ({ log, announced }) => {
    const keyed = { ...draft("news", "a"), idempotencyKey: "k", fingerprint: "a" };
    const first = await log.append(keyed);
    assert.deepEqual(await log.append(keyed), { ...first, duplicate: true });
    const others = [
      { ...keyed, payload: draft("news", "b").payload, fingerprint: "b" },
      { ...keyed, ephemeral: true },
      { ...keyed, to: "someone" },
    ];
    for (const other of others) {
      await assert.rejects(() => log.append(other), { name: "MessagingError", code: "key_reused" });
    }
    const between = log.append({ ...keyed, idempotencyKey: "l" });
    const refused = log.append({ ...keyed, idempotencyKey: "l", fingerprint: "b" });
    await assert.rejects(refused, { code: "key_reused" }, "within one turn");
    assert.equal((await between).offset, 2);
    assert.equal((await log.append(draft("news", "c"))).offset, 3, "what was refused takes no offset");
    assert.deepEqual(announced.map((m) => payloadText(m.payload)), ["a", "a", "c"]);
  });

  test("append() lets no stored message vanish behind the key of a transient one", async ({ log }) => {
    for (const transient of [{ ephemeral: true }, { to: "someone" }]) {
      const key = { idempotencyKey: JSON.stringify(transient), fingerprint: "a" };
      await log.append({ ...draft("news", "a"), ...key, ...transient });
      await assert.rejects(() => log.append({ ...draft("news", "a"), ...key }), { code: "key_reused" });
    }
    assert.equal((await log.append(draft("news", "b"))).offset, 1);
  });

  test("append() rejects with log_unavailable once the log is disposed", async () => {
    const bench = await openBench(open, []);
    const pending = bench.log.append(draft("news", "in flight"));
    await bench[Symbol.asyncDispose]();
    assert.equal((await pending).offset, 1, "what was handed in before is stored");
    await assert.rejects(
      async () => await bench.log.append(draft("news", "late")),
      (error) => error instanceof MessagingError && error.code === "log_unavailable",
    );
  });
}
