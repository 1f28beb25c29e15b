/** Runs the suite of the Log port on the SQLite engine, and tests what of it outlives the process. */
import assert from "node:assert/strict";
import { selectChannel } from "../../../lib/core/channel.ts";
import type { Log } from "../../../lib/core/log.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { createDraft } from "../../fakes/message.ts";
import { testLog } from "../../suites/log_suite.ts";
import { readAll, readTexts, runChild, TemporaryDirectory } from "./fixture.ts";

testLog("SqliteEngine", (options) => {
  const directory = new TemporaryDirectory();
  const log = directory.open(options);
  const dispose = log[Symbol.asyncDispose].bind(log);
  return Promise.resolve(Object.assign<Log, Partial<Log>>(log, {
    async [Symbol.asyncDispose]() {
      await dispose();
      await directory[Symbol.asyncDispose]().catch(() => {}); // Disposed twice by one test.
    },
  }));
});

Deno.test("SqliteEngine goes on with all channels it has, though a restart allows fewer", async () => {
  await using directory = new TemporaryDirectory();
  const first = directory.open();
  for (const channel of ["a", "b", "c"]) await first.append(createDraft("1", { channel }));
  await first[Symbol.asyncDispose]();
  await using second = directory.open({ maxChannels: 1 });
  for (const channel of ["a", "b", "c"]) {
    assert.equal((await second.append(createDraft("2", { channel }))).offset, 2);
  }
  await assert.rejects(second.append(createDraft("1", { channel: "d" })), { code: "too_many_channels" });
});

Deno.test("SqliteEngine goes on after a restart where it was", async () => {
  await using directory = new TemporaryDirectory();
  const { now } = new FakeClock();
  const first = directory.open({ now });
  await first.append(createDraft("a", { event: "e", from: { id: "id1", name: "John" }, socketId: "s1" }));
  await first.append(createDraft("x", { channel: "other" }));
  await first.append(createDraft("b"));
  const before = await readAll(first);
  const { top } = first;
  await first[Symbol.asyncDispose]();

  await using second = directory.open({ now });
  assert.deepEqual(second.top, top);
  assert.deepEqual(await readAll(second), before, "epoch, ids, offsets, times and messages are the same");
  const receipt = await second.append(createDraft("c"));
  assert.deepEqual([receipt.epoch, receipt.offset, receipt.sequence], [top.epoch, 3, 4]);
  assert.deepEqual(directory.logger.entries, []);
});

Deno.test("SqliteEngine gives no offset and no id twice, though the newest messages are gone at a restart", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const first = directory.open({ now: clock.now });
  for (const text of ["a", "b"]) await first.append(createDraft(text));
  const last = await first.append(createDraft("c", { ttl: 1 }));
  clock.advance(2);
  const other = await first.append(createDraft("x", { channel: "other" }));
  first.sweep();
  await first.clear("other");
  await first[Symbol.asyncDispose]();
  assert.deepEqual(
    directory.query("SELECT max(sequence) AS top FROM messages"),
    [{ top: 2 }].map(nullPrototype),
  );

  clock.advance(-60);
  await using second = directory.open({ now: clock.now });
  assert.equal(second.top.sequence, other.sequence);
  const page = await second.read({
    selector: selectChannel("news"),
    after: { kind: "offset", offset: last.offset - 1 },
    limit: 10,
  });
  assert.equal(page.kind, "gap", "what was removed is still known to be missing");
  assert.equal(page.position.offset, last.offset);
  const next = await second.append(createDraft("d"));
  assert.deepEqual([next.offset, next.sequence], [last.offset + 1, other.sequence + 1]);
  assert.ok(next.time >= other.time, "time does not run backwards over a restart");
  assert.equal((await second.append(createDraft("y", { channel: "other" }))).offset, other.offset + 1);
});

Deno.test("SqliteEngine keeps what was taken back away over a restart, and gives its offset to nobody", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const first = directory.open({ now: clock.now });
  for (const text of ["a", "b", "c"]) await first.append(createDraft(text));
  clock.advance(10);
  const last = await first.append(createDraft("d"));
  assert.equal(await first.remove("news", last), true);
  const [, second] = (await readAll(first)).messages;
  assert.equal(await first.remove("news", second!), true);
  await first[Symbol.asyncDispose]();
  assert.deepEqual(directory.query("SELECT count(*) AS count FROM messages"), [nullPrototype({ count: 2 })]);

  clock.advance(-60);
  await using again = directory.open({ now: clock.now });
  assert.deepEqual(await readTexts(again), ["a", "c"]);
  assert.equal(again.top.sequence, last.sequence);
  const selector = selectChannel("news");
  const page = await again.read({ selector, after: { kind: "offset", offset: 0 }, limit: 10 });
  assert.deepEqual([page.kind, page.position.offset], ["complete", 4]);
  const next = await again.append(createDraft("e"));
  assert.deepEqual([next.offset, next.sequence], [5, last.sequence + 1]);
  assert.ok(next.time >= last.time, "time does not run backwards over a restart");
});

Deno.test("SqliteEngine knows idempotency keys after a restart, for their 5 minutes", async () => {
  await using directory = new TemporaryDirectory();
  const clock = new FakeClock();
  const draft = createDraft("a", { idempotencyKey: "key \0 1" });
  const first = directory.open({ now: clock.now });
  const receipt = await first.append(draft);
  await first[Symbol.asyncDispose]();

  await using second = directory.open({ now: clock.now });
  assert.deepEqual(await second.append(draft), { ...receipt, duplicate: true });
  assert.equal((await second.append({ ...draft, idempotencyKey: "key \0 2" })).duplicate, false);
  clock.advance(301);
  second.sweep();
  assert.equal((await second.append(draft)).duplicate, false);
  assert.deepEqual(await readTexts(second), ["a", "a", "a"]);
});

Deno.test("SqliteEngine that is killed while it appends has all it acknowledged, in order, without holes", async () => {
  await using directory = new TemporaryDirectory();
  const epochs = new Set<string>();
  const acknowledged = new Map<number, number>();
  for (const lines of [2, 5, 30, 100]) {
    for (const line of await runChild([`sqlite:${directory.file()}`], lines)) {
      const [event, ...rest] = line.split(" ");
      if (event === "open") epochs.add(rest.join());
      else {
        assert.equal(event, "stored", line);
        for (const pair of rest) {
          const [offset, sequence] = pair.split(":").map(Number);
          assert.ok(!acknowledged.has(sequence!), `id ${sequence} was given twice`);
          acknowledged.set(sequence!, offset!);
        }
      }
    }
  }
  await using log = directory.open();
  assert.deepEqual([...epochs], [log.top.epoch], "a killed process loses nothing, so the epoch stays");
  assert.ok(acknowledged.size >= 4 * 8);
  const stored = new Map<number, number>();
  for (const channel of ["even", "odd"]) {
    const { messages } = await readAll(log, channel);
    assert.deepEqual(messages.map(({ offset }) => offset), messages.map((_, i) => i + 1));
    for (const { sequence, offset } of messages) stored.set(sequence, offset);
  }
  for (const [sequence, offset] of acknowledged) assert.equal(stored.get(sequence), offset);
});

Deno.test("SqliteEngine.append() in one turn is one transaction", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  const batches: number[] = [];
  log.onStored = (messages) => void batches.push(messages.length);
  await Promise.all(Array.from({ length: 100 }, (_, i) => log.append(createDraft(`${i}`))));
  assert.deepEqual(batches, [100]);
});

Deno.test("SqliteEngine.read() of several channels far apart lets others have their turn, and misses nothing", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  const fill = (count: number) =>
    Promise.all(Array.from({ length: count }, () => log.append(createDraft("", { channel: "filler" }))));
  await log.append(createDraft("first"));
  await fill(40_000);
  await log.append(createDraft("second", { channel: "ops" }));
  const announced: number[] = [];
  log.onStored = (messages) => announced.push(...messages.map(({ sequence }) => sequence));
  const reading = log.read({
    selector: { key: "news ops", channel: undefined, patterns: [["news"], ["ops"]] },
    after: { kind: "earliest" },
    limit: 10,
  });
  const late = log.append(createDraft("third"));
  const page = await reading;
  assert.deepEqual(announced, [(await late).sequence], "the append did not wait for the read");
  assert.deepEqual(page.messages.map(({ payload }) => payload), [
    { kind: "text", text: "first" },
    { kind: "text", text: "second" },
    { kind: "text", text: "third" },
  ]);
  assert.equal(page.next.sequence, log.top.sequence);
});

/** As rows come from SQLite. */
function nullPrototype<T extends object>(row: T): T {
  return Object.assign(Object.create(null), row);
}
