/** Tests that the SQLite engine's file does not keep what the rules and ttls do not. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Receipt } from "../../../lib/core/log.ts";
import type { SqliteEngine } from "../../../lib/engines/sqlite/engine.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { createDraft } from "../../fakes/message.ts";
import { readAll, readTexts, TemporaryDirectory } from "./fixture.ts";

function append(log: SqliteEngine, count: number, channel = "news"): Promise<unknown> {
  return Promise.all(Array.from({ length: count }, (_, i) => log.append(createDraft(`${i}`, { channel }))));
}

/** How many rows the file holds, once the log is closed. */
function countRows(directory: TemporaryDirectory, table = "messages"): unknown {
  return directory.query(`SELECT count(*) AS rows FROM ${table}`)[0]?.rows;
}

/** Resolves after so many turns of the event loop, each with the timers that long work rests by. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

Deno.test("SqliteEngine removes what is too much by itself, within a few turns", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open({ entries: [{ channels: "news", history: { messages: 100 } }] });
  await append(log, 5_000);
  await append(log, 50, "other");
  await turns(20);
  const page = await readAll(log);
  assert.equal(page.messages.length, 100);
  assert.equal(page.messages[0]?.offset, 4_901);
  await log[Symbol.asyncDispose]();
  assert.equal(countRows(directory), 150);
});

Deno.test("SqliteEngine keeps up with a channel that is written to without a pause", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open({ entries: [{ channels: "news", history: { messages: 100 } }] });
  let most = 0;
  for (let i = 0; i < 100; i++) {
    await append(log, 1_000);
    most = Math.max(most, (await readAll(log)).messages.length);
  }
  assert.ok(most < 10_000, `${most} were stored at once`);
});

Deno.test("SqliteEngine removes what is too old, of every channel", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const entries = [{ channels: "brief", history: { seconds: 60 } }];
  const log = directory.open({ now: clock.now, entries });
  await append(log, 1_200, "brief");
  await append(log, 10, "long");
  clock.advance(30);
  await append(log, 3, "brief");
  clock.advance(40);
  log.sweep();
  assert.equal((await readAll(log, "brief")).messages.length, 3);
  await log[Symbol.asyncDispose]();
  assert.equal(countRows(directory), 13);

  clock.advance(24 * 3_600);
  const again = directory.open({ now: clock.now, entries });
  again.sweep();
  await again[Symbol.asyncDispose]();
  assert.equal(countRows(directory), 0);
});

Deno.test("SqliteEngine removes expired messages and forgotten keys", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const log = directory.open({ now: clock.now });
  await Promise.all(
    Array.from({ length: 1_200 }, (_, i) => log.append(createDraft(`${i}`, { ttl: 1 + i % 2 }))),
  );
  await log.append(createDraft("stays", { idempotencyKey: "k" }));
  clock.advance(1);
  log.sweep();
  assert.equal((await readAll(log)).messages.length, 601);
  clock.advance(300);
  log.sweep();
  assert.deepEqual(await readTexts(log), ["stays"]);
  await log[Symbol.asyncDispose]();
  assert.deepEqual([countRows(directory), countRows(directory, "receipts")], [1, 0]);
});

Deno.test("SqliteEngine tells of a gap alike before and after what is due is removed", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const entries = [{ channels: "brief", history: { seconds: 60 } }];
  await using log = directory.open({ now: clock.now, entries });
  await append(log, 5, "brief"); // 1 to 5
  await append(log, 5); // 6 to 10
  clock.advance(59);
  await log.append(createDraft("ttl", { ttl: 1 })); // 11
  await append(log, 5); // 12 to 16
  clock.advance(2);
  const { epoch } = log.top;
  const brief = selectChannel("brief");
  const news = selectChannel("news");
  const both = selectPatterns(["brief", "news"]);
  const cases = [
    [brief, 0, "gap"],
    [brief, 4, "gap"],
    [brief, 5, "complete"],
    [news, 0, "gap"],
    [news, 10, "gap"],
    [news, 11, "complete"],
    [both, 4, "gap"],
    [both, 10, "gap"],
    [both, 11, "complete"],
  ] as const;
  for (const swept of [false, true]) {
    if (swept) log.sweep();
    for (const [selector, sequence, kind] of cases) {
      const after: Cursor = { kind: "id", epoch, sequence };
      const page = await log.read({ selector, after, limit: 1 });
      assert.equal(page.kind, kind, `${selector.key} after ${sequence}${swept ? ", swept" : ""}`);
    }
    assert.equal((await readAll(log)).messages.length, 10);
    const latest = await log.read({ selector: both, after: { kind: "latest" }, limit: 8 });
    assert.deepEqual(latest.messages.map(({ sequence }) => sequence), [8, 9, 10, 12, 13, 14, 15, 16]);
  }
});

Deno.test("SqliteEngine tells a reader of pages once of what comes of age between them, removed or not", async () => {
  for (let sweeps = 0; sweeps < 8; sweeps++) {
    await using directory = new TemporaryDirectory();
    const clock = new FakeClock();
    const entries = [{ channels: "brief", history: { seconds: 60 } }];
    await using log = directory.open({ now: clock.now, entries });
    await append(log, 10);
    await append(log, 10, "brief");
    clock.advance(30);
    await append(log, 10, "brief");
    clock.advance(40);
    const selector = selectPatterns(["brief", "news"]);
    const read = (after: Cursor) => log.read({ selector, after, limit: 3 });
    const first = await read({ kind: "earliest" });
    if (sweeps & 1) log.sweep();
    const second = await read(first.next);
    assert.equal(second.kind, "complete", "what was of age before the first page is no loss to its reader");
    clock.advance(40);
    if (sweeps & 2) log.sweep();
    const third = await read(second.next);
    assert.equal(third.kind, "gap");
    if (sweeps & 4) log.sweep();
    const fourth = await read(third.next);
    assert.equal(fourth.kind, "complete", "it has been told");
    assert.equal(fourth.more, false);
    const foreign = await read({ kind: "id", epoch: log.top.epoch, sequence: 3 });
    assert.equal(foreign.kind, "gap", "another reader has not");
  }
});

Deno.test("SqliteEngine tells a reader of pages nothing new when it removes what nobody could read any more", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const entries = [{ channels: "news", history: { messages: 100 } }];
  await using log = directory.open({ now: clock.now, entries });
  await append(log, 10, "calm");
  await Promise.all(Array.from({ length: 90 }, () => log.append(createDraft("", { ttl: 1 }))));
  clock.advance(2);
  const selector = selectPatterns(["calm", "news"]);
  const first = await log.read({ selector, after: { kind: "earliest" }, limit: 3 });
  await append(log, 50);
  log.sweep();
  const second = await log.read({ selector, after: first.next, limit: 3 });
  assert.equal(second.kind, "complete");
});

Deno.test("SqliteEngine tells a reader of pages of a loss whose newest messages had expired", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const entries = [{ channels: "news", history: { messages: 100 } }];
  await using log = directory.open({ now: clock.now, entries });
  await append(log, 10, "calm");
  await append(log, 20);
  await Promise.all(Array.from({ length: 80 }, () => log.append(createDraft("", { ttl: 1 }))));
  clock.advance(2);
  const selector = selectPatterns(["calm", "news"]);
  const first = await log.read({ selector, after: { kind: "earliest" }, limit: 3 });
  await append(log, 50);
  log.sweep();
  const second = await log.read({ selector, after: first.next, limit: 3 });
  assert.equal(second.kind, "gap");
});

Deno.test("SqliteEngine.clear() of many messages lets others have their turn, and spares what comes meanwhile", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await append(log, 3_000);
  const announced: number[] = [];
  log.onStored = (messages) => announced.push(...messages.map(({ sequence }) => sequence));
  const clearing = log.clear("news");
  const late = log.append(createDraft("late"));
  assert.equal(await clearing, 3_000);
  assert.deepEqual(announced, [3_001]);
  assert.equal((await late).offset, 3_001);
  assert.deepEqual(await readTexts(log), ["late"]);
});

Deno.test("SqliteEngine returns the space of removed messages to the file system", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  const append = () =>
    Promise.all(Array.from({ length: 2_000 }, (_, i) => log.append(createDraft(`${i}`.padEnd(4_000, "x")))));
  await append();
  await append();
  await log.append(createDraft("kept", { channel: "other" }));
  await log.clear("news");
  log.sweep();
  await log[Symbol.asyncDispose]();
  const { size } = await Deno.stat(directory.file());
  assert.ok(size < 2 * 1024 * 1024, `${size} bytes are left of 16 MB`);
  await using again = directory.open();
  assert.deepEqual(await readTexts(again, "other"), ["kept"]);
  assert.equal((await again.append(createDraft("next"))).offset, 4_001);
});

for (const maxTombstones of [100, 1]) {
  Deno.test(`SqliteEngine gives no offset, sequence or id of a forgotten channel again after a restart (${maxTombstones} tombstones)`, async () => {
    await using directory = new TemporaryDirectory();
    const clock = new FakeClock();
    const options = { now: clock.now, forgetAfter: 60_000, maxTombstones };
    const first = directory.open(options);
    const receipts: Receipt[] = [];
    for (const name of ["a", "b", "c", "c", "c"]) {
      receipts.push(await first.append(createDraft("x", { channel: name })));
    }
    const last = receipts[4]!;
    for (const name of ["a", "b", "c"]) await first.clear(name);
    // The newest of all is taken back: nothing that is stored tells of it.
    const back = await first.append(createDraft("x", { channel: "c" }));
    await first.remove("c", back);
    clock.advance(61);
    first.sweep();
    assert.deepEqual([...first.listStored()], []);
    await first[Symbol.asyncDispose]();
    const names = directory.query("SELECT name FROM channels");
    assert.deepEqual(names, [], "the file has no names of them");
    assert.ok(directory.query("SELECT * FROM forgotten").length <= maxTombstones);

    await using second = directory.open(options);
    assert.deepEqual(second.top, { epoch: back.epoch, sequence: back.sequence });
    const page = (after: Cursor) => second.read({ selector: selectChannel("c"), after, limit: 10 });
    assert.equal((await page({ kind: "offset", offset: last.offset - 1 })).kind, "gap");
    assert.equal((await page({ kind: "id", epoch: last.epoch, sequence: last.sequence - 1 })).kind, "gap");
    assert.equal((await page({ kind: "time", time: last.time })).kind, "gap");
    assert.equal((await page({ kind: "id", epoch: last.epoch, sequence: last.sequence })).kind, "complete");
    const next = await second.append(createDraft("y", { channel: "c" }));
    assert.ok(next.offset > back.offset && next.sequence > back.sequence && next.time >= back.time);
    await second[Symbol.asyncDispose]();
    const [row] = directory.query("SELECT id FROM channels");
    assert.equal(row?.id, 4, "a read under way may have the ids of forgotten ones");
    await using third = directory.open(options);
    const { kind, position } = await third.read({
      selector: selectChannel("c"),
      after: { kind: "offset", offset: 1 },
      limit: 10,
    });
    assert.deepEqual([kind, position.offset], ["gap", next.offset]);
  });
}
