/** Tests the SQLite engine's index of channels: whatever is entered late, every read has every message. */
import assert from "node:assert/strict";
import type { SqliteEngine } from "../../../lib/engines/sqlite/engine.ts";
import { openSqliteFile } from "../../../lib/engines/sqlite/file.ts";
import { MIGRATIONS } from "../../../lib/engines/sqlite/schema.ts";
import { createDraft } from "../../fakes/message.ts";
import { KEEP_ALL, readAll, readTexts, TemporaryDirectory } from "./fixture.ts";

const CHANNELS = ["a", "b", "c"];

/** Appends messages to three channels in turn, many in a batch, and reads nothing. */
async function fill(log: SqliteEngine, count: number): Promise<void> {
  const drafts = Array.from({ length: count }, (_, i) => createDraft(`${i}`, { channel: CHANNELS[i % 3]! }));
  for (let i = 0; i < count; i += 100) {
    await Promise.all(drafts.slice(i, i + 100).map((draft) => log.append(draft)));
  }
}

async function assertWhole(log: SqliteEngine, count: number): Promise<void> {
  for (const [i, channel] of CHANNELS.entries()) {
    const expected = Array.from({ length: count }, (_, j) => `${j}`).filter((_, j) => j % 3 === i);
    assert.deepEqual(await readTexts(log, channel), expected);
  }
}

function countEntries(directory: TemporaryDirectory): unknown {
  return directory.query("SELECT count(*) AS entries FROM channel_index")[0]?.entries;
}

Deno.test("SqliteEngine reads what was stored since the last read, each time", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  for (let i = 1; i <= 5; i++) {
    await log.append(createDraft(`${i}`));
    assert.deepEqual(await readTexts(log), ["1", "2", "3", "4", "5"].slice(0, i));
  }
});

Deno.test("SqliteEngine that is killed with entries missing in its index has all messages afterwards", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  await fill(log, 300);
  await directory.kill(log);
  assert.equal(countEntries(directory), 0, "nothing has asked for them");
  const again = directory.open();
  assert.equal(again.findStored("a")?.stored, 100);
  await assertWhole(again, 300);
  assert.equal((await again.append(createDraft("next", { channel: "a" }))).offset, 101);
  await again[Symbol.asyncDispose]();
  assert.equal(countEntries(directory), 300);
});

Deno.test("SqliteEngine enters messages that nobody reads as soon as they are many", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  await fill(log, 6_000);
  await log[Symbol.asyncDispose]();
  // Retention enters what there is each second, should this take so long.
  assert.ok(Number(countEntries(directory)) >= 6_000 - 4_096);
  await using again = directory.open();
  await assertWhole(again, 6_000);
});

Deno.test("SqliteEngine that flushes each commit enters messages with it", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open({ synchronous: "full" });
  await fill(log, 10);
  await directory.kill(log);
  assert.equal(countEntries(directory), 10);
});

Deno.test("SqliteEngine removes messages that are entered, and those that are not", async () => {
  await using directory = new TemporaryDirectory();
  const entries = [{ channels: "b", history: { messages: 10 } }, KEEP_ALL];
  const log = directory.open({ entries });
  await fill(log, 300);
  const [first] = (await readAll(log, "a")).messages;
  const last = await log.append(createDraft("last", { channel: "a" }));
  const short = await log.append(createDraft("short", { channel: "a", ttl: 0 }));
  for (const { epoch, sequence } of [first!, last]) assert.ok(await log.remove("a", { epoch, sequence }));
  assert.equal(await log.clear("c"), 100);
  log.sweep();
  await log[Symbol.asyncDispose]();
  assert.equal(countEntries(directory), 99 + 10);
  const gone = directory.query(
    `SELECT * FROM channel_index WHERE sequence IN (${first!.sequence}, ${last.sequence}, ${short.sequence})`,
  );
  assert.deepEqual(gone, []);
  await using again = directory.open({ entries });
  assert.deepEqual(CHANNELS.map((channel) => again.findStored(channel)?.stored), [99, 10, 0]);
});

Deno.test("SqliteEngine enters what is stored after the newest messages were removed and a restart", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  await fill(log, 30);
  const { epoch, sequence } = (await readAll(log, "c")).messages.at(-1)!;
  assert.ok(await log.remove("c", { epoch, sequence }));
  assert.equal(await log.clear("b"), 10);
  await log[Symbol.asyncDispose]();
  const again = directory.open();
  await again.append(createDraft("next", { channel: "b" }));
  await directory.kill(again);
  assert.equal(directory.query("SELECT sequence FROM indexed")[0]?.sequence, sequence - 2);
  await using last = directory.open();
  assert.deepEqual(await readTexts(last, "b"), ["next"]);
});

Deno.test("SqliteEngine makes its index anew when a rescued file has lost a part of it", async () => {
  for (
    const damage of [
      "DELETE FROM channel_index WHERE sequence % 7 = 0",
      "DELETE FROM indexed",
      "DELETE FROM channel_index; DELETE FROM indexed",
    ]
  ) {
    await using directory = new TemporaryDirectory();
    const log = directory.open();
    await fill(log, 300);
    await assertWhole(log, 300);
    await log[Symbol.asyncDispose]();
    for (const sql of damage.split(";")) directory.query(sql);
    await using again = directory.open();
    await assertWhole(again, 300);
  }
});

Deno.test("SqliteEngine takes over the messages of a file that has an index of the old kind", async () => {
  await using directory = new TemporaryDirectory();
  const before = MIGRATIONS.findIndex((sql) => sql.includes("DROP INDEX messages_by_channel"));
  const { path, logger } = { path: directory.file(), logger: directory.logger };
  openSqliteFile({ path, logger, migrations: MIGRATIONS.slice(0, before) })[Symbol.dispose]();
  directory.query("INSERT INTO life VALUES ('old', 1, 'normal', NULL)");
  directory.query("INSERT INTO channels (id, name) VALUES (1, 'a'), (2, 'b')");
  const now = Date.now();
  directory.query(
    `INSERT INTO messages (sequence, channel, offset, time, kind, data)
      VALUES (1, 1, 1, ${now}, 0, '0'), (2, 2, 1, ${now}, 0, '1'), (4, 1, 2, ${now}, 0, '2')`,
  );
  await using log = directory.open();
  await log.append(createDraft("3", { channel: "a" }));
  const all = [];
  for (const channel of ["a", "b"]) {
    for (const { sequence, offset } of (await readAll(log, channel)).messages) all.push([sequence, offset]);
  }
  assert.deepEqual(all, [[1, 1], [4, 2], [5, 3], [2, 1]]);
});

Deno.test("SqliteDatabase.transact() refuses a transaction in a transaction, which would end the outer one", async () => {
  await using directory = new TemporaryDirectory();
  using database = openSqliteFile({ path: directory.file(), logger: directory.logger });
  assert.throws(() => database.transact(() => database.transact(() => {})), TypeError);
  database.transact(() => {});
});
