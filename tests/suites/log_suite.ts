/**
 * What every log engine promises, as tests: `testLog("MemoryEngine", open)` registers all of them for one engine.
 * Engines may keep a little more than a rule's count (a tenth, and what came since they last looked), never less.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesSelector, selectChannel, selectPatterns } from "../../lib/core/channel.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import type { Cursor, Log, LogPage, Receipt } from "../../lib/core/log.ts";
import { type Draft, formatId, type Message, type Payload } from "../../lib/core/message.ts";
import { type RuleEntry, Rules } from "../../lib/core/rules.ts";
import { FakeClock } from "../fakes/clock.ts";

export interface OpenLogOptions {
  readonly rules: Rules;
  readonly now: () => number;
  readonly maxChannels?: number;
}

/** Opens an empty log. What it leaves on disk is the opener's to remove when the log is disposed. */
export type OpenLog = (options: OpenLogOptions) => Promise<Log>;

/** More than any test stores. */
const ALL = 10_000;
const EARLIEST: Cursor = { kind: "earliest" };
const NEWS = selectChannel("news");
const EVERYTHING = selectPatterns(["**"]);

/** A log under test, with its clock and everything it announced. */
interface Bench extends AsyncDisposable {
  readonly log: Log;
  readonly clock: FakeClock;
  readonly batches: (readonly Message[])[];
  readonly announced: Message[];
}

/** Asserts where a page says to read on. */
function assertNext({ next }: LogPage, { epoch, sequence }: Log["top"]): void {
  assert.deepEqual({ kind: next.kind, epoch: next.epoch, sequence: next.sequence }, {
    kind: "id",
    epoch,
    sequence,
  });
}

/** Registers the tests of the Log port for one engine. */
export function testLog(name: string, open: OpenLog): void {
  const test = (
    promise: string,
    body: (bench: Bench) => Promise<void>,
    rules: readonly RuleEntry[] = [],
    options: Pick<OpenLogOptions, "maxChannels"> = {},
  ) =>
    Deno.test(`${name}.${promise}`, async () => {
      await using bench = await openBench(open, rules, options);
      await body(bench);
    });

  test("state.write() succeeds for one of two writers of the same revision", async ({ log }) => {
    const { state } = log;
    assert.ok(state !== undefined);
    assert.equal(await state.read("a"), undefined);
    const first = await state.write("a", "1", 0);
    assert.ok(first !== undefined && first > 0);
    assert.equal(await state.write("a", "other", 0), undefined);
    const second = await state.write("a", "2\u00e9", first);
    assert.ok(second !== undefined && second !== first);
    assert.equal(await state.write("a", "late", first), undefined);
    assert.deepEqual(await state.read("a"), { value: "2\u00e9", revision: second });
    assert.ok(await state.write("b", "other key", 0));
    assert.deepEqual(await state.read("a"), { value: "2\u00e9", revision: second });
  });

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

  test("read() returns payloads, event and sender as they were published", async ({ log, announced }) => {
    const payloads: Payload[] = [
      { kind: "text", text: "" },
      { kind: "text", text: "line\nline\r\n\ttab \0 nul \u202e right-to-left 🌧️ ☔" },
      { kind: "json", text: '{"a":[1,2,{"b":null}],"__proto__":"x"}' },
      { kind: "json", text: "null" },
      { kind: "json", text: '"text"' },
      { kind: "json", text: "12345678901234567890.0" },
      { kind: "bytes", bytes: new Uint8Array() },
      { kind: "bytes", bytes: Uint8Array.from({ length: 256 }, (_, i) => i) },
    ];
    for (const payload of payloads) {
      await log.append({ channel: "news", payload, event: "é vent", from: { id: "id1", name: "J🌧hn" } });
    }
    await log.append({ ...draft("news", "a"), from: { id: "id1" } });
    await log.append(draft("news", "b"));
    const { messages } = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    for (const [i, payload] of payloads.entries()) {
      assert.deepEqual(messages[i]?.payload, payload);
      assert.equal(messages[i]?.event, "é vent");
      assert.deepEqual(messages[i]?.from, { id: "id1", name: "J🌧hn" });
    }
    assert.deepEqual(messages.at(-2)?.from, { id: "id1" });
    assert.equal(messages.at(-1)?.from, undefined);
    assert.equal(messages.at(-1)?.event, undefined);
    assert.deepEqual(messages, announced, "stored and live messages are the same");
  });

  test("read() returns the socket a message came on, so that replays leave its sender out", async ({ log }) => {
    await log.append({ ...draft("news", "a"), socketId: "s1" });
    await log.append(draft("news", "b"));
    const { messages } = await readAll(log, "news");
    assert.deepEqual(messages.map((message) => message.socketId), ["s1", undefined]);
  });

  test("read() finds a channel that was never written to empty and complete", async ({ log }) => {
    await log.append(draft("other", "a"));
    for (
      const after of [
        EARLIEST,
        { kind: "latest" },
        { kind: "offset", offset: 0 },
        { kind: "time", time: 0 },
        { kind: "id", epoch: log.top.epoch, sequence: 0 },
      ] satisfies Cursor[]
    ) {
      const page = await log.read({ selector: NEWS, after, limit: 10 });
      assert.equal(page.kind, "complete", after.kind);
      assert.deepEqual(page.messages, []);
      assert.deepEqual(page.position, { epoch: log.top.epoch, offset: 0 });
      assertNext(page, log.top);
      assert.equal(page.more, false);
    }
  });

  test("read() starts after each kind of cursor", async ({ log, clock }) => {
    const receipts: Receipt[] = [];
    for (const text of ["a", "b", "c", "d"]) {
      receipts.push(await log.append(draft("news", text)));
      await log.append(draft("other", text));
      clock.advance(10);
    }
    const [, b, c] = receipts as [Receipt, Receipt, Receipt, Receipt];
    const epoch = log.top.epoch;
    const cases: readonly [Cursor, string[]][] = [
      [EARLIEST, ["a", "b", "c", "d"]],
      [{ kind: "id", epoch, sequence: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "id", epoch, sequence: b.sequence }, ["c", "d"]],
      [{ kind: "id", epoch, sequence: b.sequence + 1 }, ["c", "d"]],
      [{ kind: "id", epoch, sequence: log.top.sequence }, []],
      [{ kind: "offset", offset: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "offset", offset: 2 }, ["c", "d"]],
      [{ kind: "offset", offset: 2, epoch }, ["c", "d"]],
      [{ kind: "offset", offset: 4 }, []],
      [{ kind: "time", time: 0 }, ["a", "b", "c", "d"]],
      [{ kind: "time", time: c.time }, ["c", "d"]],
      [{ kind: "time", time: c.time + 1 }, ["d"]],
      [{ kind: "time", time: clock.now() }, []],
      [{ kind: "latest" }, ["a", "b", "c", "d"]],
    ];
    for (const [after, expected] of cases) {
      const page = await log.read({ selector: NEWS, after, limit: ALL });
      assert.deepEqual(texts(page), expected, JSON.stringify(after));
      assert.equal(page.kind, "complete");
      assert.equal(page.more, false);
      assert.deepEqual(page.position, { epoch, offset: 4 });
      assertNext(page, log.top);
    }
  });

  test("read() from latest holds the newest messages, oldest first", async ({ log }) => {
    for (let i = 0; i < 10; i++) await log.append(draft(i % 2 === 0 ? "news" : "other", i));
    const latest = (limit: number, selector = NEWS) =>
      log.read({ selector, after: { kind: "latest" }, limit });
    assert.deepEqual(texts(await latest(2)), ["6", "8"]);
    assert.deepEqual(texts(await latest(3, EVERYTHING)), ["7", "8", "9"]);
    assert.deepEqual(texts(await latest(0)), []);
    const page = await latest(1);
    assert.equal(page.kind, "complete");
    assert.equal(page.more, false, "older messages are not more to come");
    assertNext(page, log.top);
  });

  test("read() stays within the limit and says whether there is more", async ({ log }) => {
    for (let i = 0; i < 5; i++) await log.append(draft("news", i));
    const read = (limit: number) => log.read({ selector: NEWS, after: EARLIEST, limit });
    assert.deepEqual([texts(await read(4)), (await read(4)).more], [["0", "1", "2", "3"], true]);
    assert.deepEqual([(await read(5)).messages.length, (await read(5)).more], [5, false]);
    assert.deepEqual([(await read(6)).messages.length, (await read(6)).more], [5, false]);
    const none = await read(0);
    assert.deepEqual([none.messages.length, none.more, none.position.offset], [0, true, 5]);
    assert.equal((await log.read({ selector: NEWS, after: none.next, limit: ALL })).messages.length, 5);
  });

  test("read() ends a page with the message that brings it to its bytes", async ({ log }) => {
    for (let i = 0; i < 6; i++) await log.append(draft("news", String(i).repeat(100)));
    const read = async (maxBytes: number, after: Cursor = EARLIEST) => {
      const page = await log.read({ selector: NEWS, after, limit: ALL, maxBytes });
      return [texts(page).map((text) => text[0]).join(""), page.more];
    };
    assert.deepEqual(await read(1), ["0", true]);
    assert.deepEqual(await read(200), ["01", true]);
    assert.deepEqual(await read(201), ["012", true]);
    assert.deepEqual(await read(600), ["012345", false]);
    assert.deepEqual(await read(201, { kind: "latest" }), ["345", false]);
    const selector = selectPatterns(["news", "other"]);
    const page = await log.read({ selector, after: EARLIEST, limit: ALL, maxBytes: 150 });
    assert.deepEqual([page.messages.length, page.more, page.next.sequence], [
      2,
      true,
      page.messages[1]?.sequence,
    ]);
  });

  test("read() page by page calls no gap what was gone before the first page", async ({ log, clock }) => {
    for (let i = 0; i < 20; i++) await log.append(draft("calm", i));
    for (let i = 0; i < 20; i++) await log.append(draft("busy", i));
    await log.append({ ...draft("calm", "short"), ttl: 1 });
    await log.clear("busy");
    clock.advance(2_000);
    await log.append(draft("calm", "last"));
    const selector = selectPatterns(["calm", "busy"]);
    let after: Cursor = EARLIEST;
    const seen: string[] = [];
    for (let more = true; more;) {
      const page: LogPage = await log.read({ selector, after, limit: 3 });
      assert.equal(page.kind, "complete");
      seen.push(...texts(page));
      ({ more, next: after } = page);
    }
    assert.deepEqual(seen, [...Array.from({ length: 20 }, (_, i) => `${i}`), "last"]);
    const { epoch } = log.top;
    assertGap(await log.read({ selector, after: { kind: "id", epoch, sequence: 5 }, limit: 3 }));
  });

  test("read() page by page tells of what is removed between its pages, once", async ({ log }) => {
    for (let i = 0; i < 10; i++) await log.append(draft("calm", i));
    for (let i = 0; i < 10; i++) await log.append(draft("busy", i));
    const selector = selectPatterns(["calm", "busy"]);
    const first = await log.read({ selector, after: EARLIEST, limit: 3 });
    assert.equal(first.kind, "complete");
    await log.clear("busy");
    const second = await log.read({ selector, after: first.next, limit: 3 });
    assertGap(second);
    assert.deepEqual(texts(second), ["3", "4", "5"]);
    const third = await log.read({ selector, after: second.next, limit: ALL });
    assert.equal(third.kind, "complete");
    assert.deepEqual(texts(third), ["6", "7", "8", "9"]);
  });

  test("read() of a pattern or a list is in sequence order over all its channels", async ({ log }) => {
    const names = ["a/1", "b", "a/2", "c", "a/1/x", "b", "a/2", "a/1"];
    for (const [i, channel] of names.entries()) await log.append(draft(channel, i));
    const read = async (...patterns: string[]) =>
      texts(await log.read({ selector: selectPatterns(patterns), after: EARLIEST, limit: ALL }));
    assert.deepEqual(await read("a/*"), ["0", "2", "6", "7"]);
    assert.deepEqual(await read("a/**"), ["0", "2", "4", "6", "7"]);
    assert.deepEqual(await read("b", "c"), ["1", "3", "5"]);
    assert.deepEqual(await read("b", "a/*", "a/1"), ["0", "1", "2", "5", "6", "7"]);
    assert.deepEqual(await read("**"), names.map((_, i) => `${i}`));
    assert.deepEqual(await read("*"), ["1", "3", "5"]);
    const page = await log.read({ selector: selectPatterns(["b", "c"]), after: EARLIEST, limit: ALL });
    assert.deepEqual(page.position, { epoch: log.top.epoch, offset: 0 });
  });

  test("read() tells channels apart that differ in case or in characters a query could mistake", async (bench) => {
    const { log } = bench;
    const names = ["News", "news", "new_", "new.", "(new)", "new'", "NEWS", "new~s"];
    for (const name of names) await log.append(draft(name, name));
    for (const name of names) assert.deepEqual(texts(await readAll(log, name)), [name]);
  });

  for (const patterns of [["news"], ["a/*"], ["news", "a/**"], ["**"]]) {
    test(`read() page by page misses nothing of ${patterns} while it grows`, async ({ log }) => {
      const selector = selectPatterns(patterns);
      const channels = ["news", "a/1", "a/2", "b"];
      for (let i = 0; i < 40; i++) await log.append(draft(channels[i % 4]!, i));
      const seen: string[] = [];
      let after = EARLIEST;
      for (let i = 40; i < 200; i++) {
        const page = await log.read({ selector, after, limit: 3 });
        assert.equal(page.kind, "complete");
        assert.ok(page.messages.length <= 3);
        seen.push(...texts(page));
        after = page.next;
        if (!page.more) break;
        if (i < 60) await log.append(draft(channels[i % 4]!, i));
      }
      const expected = await log.read({ selector, after: EARLIEST, limit: ALL });
      assert.deepEqual(seen, texts(expected));
    });
  }

  test("read() and onStored agree: what is readable is announced and the other way round", async (bench) => {
    const { log, announced } = bench;
    const pages: Promise<LogPage>[] = [];
    const record = log.onStored;
    log.onStored = (messages) => {
      record(messages);
      assert.equal(log.top.sequence, messages.at(-1)?.sequence);
      pages.push(log.read({ selector: NEWS, after: EARLIEST, limit: ALL }));
    };
    const pending = Array.from({ length: 20 }, (_, i) => log.append(draft("news", i)));
    const early = await log.read({ selector: NEWS, after: EARLIEST, limit: ALL });
    assert.deepEqual(
      texts(early),
      announced.map((m) => payloadText(m.payload)).slice(0, early.messages.length),
    );
    await Promise.all(pending);
    await log.append(draft("news", 20));
    assert.ok(pages.length >= 2);
    const lengths = (await Promise.all(pages)).map((page) => page.messages.length);
    assertIncreasing(lengths);
    assert.equal(lengths.at(-1), 21);
  });

  test("top is the last announced id", async ({ log, announced }) => {
    assert.equal(log.top.sequence, 0);
    assert.match(log.top.epoch, /^[A-Za-z0-9]+$/, "an epoch splits from its sequence at the dash");
    const pending = log.append(draft("news", "a"));
    assert.equal(log.top.sequence, announced.length);
    await pending;
    assert.deepEqual(log.top, { epoch: announced[0]?.epoch, sequence: announced[0]?.sequence });
  });

  test("read() of a cursor the engine cannot have given is one gap, then all that is stored", async (bench) => {
    const { log, clock } = bench;
    await log.append(draft("other", "before"));
    for (const text of ["a", "b", "c", "d", "e"]) await log.append(draft("news", text));
    await log.append(draft("other", "after"));
    const { epoch, sequence } = log.top;
    const year = 365 * 24 * 3_600_000;
    const listForeign = ({ epoch, sequence } = log.top): readonly Cursor[] => [
      { kind: "id", epoch: "other", sequence: 1 },
      { kind: "id", epoch: "other", sequence },
      { kind: "id", epoch: "", sequence: 0 },
      { kind: "id", epoch, sequence: sequence + 1 },
      { kind: "id", epoch, sequence: 999_999_999_999_999 },
      { kind: "offset", offset: 0, epoch: "other" },
      { kind: "offset", offset: 3, epoch: "other" },
      { kind: "offset", offset: 999, epoch: "other" },
      { kind: "offset", offset: 6 },
      { kind: "offset", offset: 6, epoch },
      { kind: "offset", offset: 999_999_999_999_999 },
      { kind: "time", time: clock.now() + 60_000 },
      { kind: "time", time: clock.now() + 100 * year },
    ];
    const [first] = (await readAll(log, "news")).messages;
    for (const after of listForeign()) {
      const kinds: string[] = [];
      const read: string[] = [];
      for (let next: Cursor = after, more = true; more;) {
        const page = await log.read({ selector: NEWS, after: next, limit: 2 });
        kinds.push(page.kind);
        read.push(...texts(page));
        if (page.kind === "gap") assert.equal(page.earliest, formatId(epoch, first!.sequence));
        assert.deepEqual(page.position, { epoch, offset: 5 });
        ({ next, more } = page);
      }
      assert.deepEqual(read, ["a", "b", "c", "d", "e"], JSON.stringify(after));
      assert.deepEqual(kinds, ["gap", "complete", "complete"], JSON.stringify(after));

      const empty = await log.read({ selector: selectChannel("empty"), after, limit: 2 });
      assert.deepEqual([empty.messages, empty.more], [[], false]);
      assertNext(empty, { epoch, sequence });
      assertGap(empty);
      assert.equal(empty.earliest, formatId(epoch, 0), "which is of no other channel");
      if (after.kind === "offset") continue;
      const all = await log.read({ selector: EVERYTHING, after, limit: ALL });
      assertGap(all);
      assert.deepEqual(texts(all), ["before", "a", "b", "c", "d", "e", "after"]);
    }
    await log.clear("news");
    for (const after of listForeign()) {
      const page = await log.read({ selector: NEWS, after, limit: 2 });
      assertGap(page);
      assert.deepEqual([page.messages, page.more], [[], false]);
      const [, id = ""] = page.earliest.split("-");
      const next = await log.read({
        selector: NEWS,
        after: { kind: "id", epoch, sequence: Number(id) },
        limit: 2,
      });
      assert.equal(next.kind, "complete", "nothing that was ever here is after it");
    }
  });

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

  Deno.test(`${name} agrees with a list of all messages, whatever is appended, cleared, aged and read`, async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(arbitraryStep, { minLength: 5, maxLength: 40 }), async (steps) => {
        await using bench = await openBench(open, [
          { channels: "a/*", history: { messages: 4, seconds: 100 } },
          { channels: "b", history: { messages: 20, seconds: 30 } },
        ]);
        for (const step of steps) await takeStep(bench, step);
      }),
      { numRuns: 100 },
    );
  });
}

type Step =
  | { readonly kind: "append"; readonly channels: readonly string[]; readonly ttl: number | undefined }
  | { readonly kind: "clear"; readonly channel: string }
  | { readonly kind: "advance"; readonly seconds: number }
  | {
    readonly kind: "read";
    readonly patterns: readonly string[];
    readonly cursor: Cursor["kind"];
    readonly fraction: number;
    readonly limit: number;
  };

const arbitraryChannel = fc.constantFrom("a/1", "a/2", "b", "c");
const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      channels: fc.array(arbitraryChannel, { minLength: 1, maxLength: 4 }),
      ttl: fc.option(fc.constantFrom(1, 20), { nil: undefined, freq: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const), channel: arbitraryChannel }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), seconds: fc.integer({ min: 1, max: 40 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("read" as const),
      patterns: fc.constantFrom(["a/1"], ["b"], ["a/*"], ["a/1", "b"], ["**"], ["none"]),
      cursor: fc.constantFrom(
        "earliest" as const,
        "latest" as const,
        "id" as const,
        "offset" as const,
        "time" as const,
      ),
      fraction: fc.double({ min: 0, max: 1, noNaN: true }),
      limit: fc.integer({ min: 1, max: 8 }),
    }),
  },
);

async function takeStep({ log, clock, announced }: Bench, step: Step): Promise<void> {
  if (step.kind === "append") {
    const { ttl } = step;
    const drafts = step.channels.map((channel, i) => draft(channel, announced.length + i));
    await Promise.all(drafts.map((each) => log.append(ttl === undefined ? each : { ...each, ttl })));
    return;
  }
  if (step.kind === "clear") return void await log.clear(step.channel);
  if (step.kind === "advance") return clock.advance(step.seconds);

  const selector = selectPatterns(step.patterns);
  if (step.cursor === "offset" && selector.channel === undefined) return;
  const kept = await log.read({ selector, after: EARLIEST, limit: ALL });
  assert.equal(kept.kind, "complete");
  const ever = announced.filter((message) => matchesSelector(selector, message.channel));
  const after = chooseCursor(step.cursor, step.fraction, log, ever);
  const page = await log.read({ selector, after, limit: step.limit });
  const isAfter = (message: Message) =>
    after.kind === "id"
      ? message.sequence > after.sequence
      : after.kind === "offset"
      ? message.offset > after.offset
      : after.kind === "time"
      ? message.time >= after.time
      : true;
  const isGone = (message: Message) => !kept.messages.some((other) => other.sequence === message.sequence);
  const expected = kept.messages.filter(isAfter);
  const limited = after.kind === "latest" ? expected.slice(-step.limit) : expected.slice(0, step.limit);
  const sequences = (messages: readonly Message[]) => messages.map((message) => message.sequence);
  assert.deepEqual(
    sequences(page.messages),
    sequences(limited),
    "the page holds what is kept after the cursor",
  );
  assertIncreasing(sequences(page.messages));
  assert.equal(page.more, after.kind !== "latest" && expected.length > step.limit);
  assert.equal(page.next.sequence, page.more ? limited.at(-1)?.sequence : log.top.sequence);
  if (selector.channel !== undefined) assert.equal(page.position.offset, ever.at(-1)?.offset ?? 0);
  const isGap = after.kind !== "earliest" && after.kind !== "latest" && ever.filter(isAfter).some(isGone);
  assert.equal(page.kind, isGap ? "gap" : "complete", "a gap means that messages after the cursor are gone");
}

function chooseCursor(kind: Cursor["kind"], fraction: number, log: Log, ever: readonly Message[]): Cursor {
  const { epoch, sequence } = log.top;
  const some = ever[Math.floor(fraction * (ever.length - 1))];
  switch (kind) {
    case "id":
      return { kind, epoch, sequence: Math.round(fraction * sequence) };
    case "offset":
      return { kind, offset: Math.round(fraction * (ever.at(-1)?.offset ?? 0)) };
    case "time":
      return { kind, time: (some?.time ?? 0) + (fraction > 0.5 ? 1 : 0) };
    default:
      return { kind };
  }
}

async function openBench(
  open: OpenLog,
  rules: readonly RuleEntry[],
  options: Pick<OpenLogOptions, "maxChannels"> = {},
): Promise<Bench> {
  const clock = new FakeClock();
  const log = await open({ rules: new Rules(rules), now: clock.now, ...options });
  const batches: (readonly Message[])[] = [];
  const announced: Message[] = [];
  log.onStored = (messages) => {
    batches.push(messages);
    announced.push(...messages);
  };
  return {
    log,
    clock,
    batches,
    announced,
    [Symbol.asyncDispose]: () => Promise.resolve(log[Symbol.asyncDispose]()),
  };
}

function draft(channel: string, text: string | number): Draft {
  return { channel, payload: { kind: "text", text: `${text}` } };
}

function readAll(log: Log, channel: string): Promise<LogPage> {
  return log.read({ selector: selectChannel(channel), after: EARLIEST, limit: ALL });
}

function payloadText(payload: Payload): string {
  return payload.kind === "bytes" ? "(bytes)" : payload.text;
}

function texts(page: LogPage): string[] {
  return page.messages.map((message) => payloadText(message.payload));
}

function pick(of: Receipt | Message | undefined) {
  return { epoch: of?.epoch, offset: of?.offset, sequence: of?.sequence, time: of?.time };
}

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

function assertGap(page: LogPage): asserts page is LogPage & { kind: "gap" } {
  assert.equal(page.kind, "gap");
}

function assertIncreasing(values: readonly number[]): void {
  for (let i = 1; i < values.length; i++) {
    assert.ok(values[i]! > values[i - 1]!, `${values[i - 1]} then ${values[i]} is not in order`);
  }
}
