/** Tests backups of the SQLite engine's file while it is written to, and what becomes of them when they are used. */
import assert from "node:assert/strict";
import { selectChannel } from "../../../lib/core/channel.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { SqliteLog } from "../../../lib/engines/sqlite/log.ts";
import { createDraft } from "../../fakes/message.ts";
import { readTexts, runChild, TemporaryDirectory } from "./fixture.ts";

/** Takes a backup into a file of the directory, doing something after each chunk. */
async function copy(
  directory: TemporaryDirectory,
  log: SqliteLog,
  between: () => Promise<unknown> = () => Promise.resolve(),
): Promise<string> {
  const path = directory.file("backup.db");
  const { size, stream } = await log.openBackup();
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  for await (const chunk of stream) {
    await file.write(chunk);
    await between();
  }
  assert.equal((await file.stat()).size, size);
  return path;
}

/** Enough messages that a backup has several chunks. */
async function fill(log: SqliteLog, count = 2_000): Promise<string[]> {
  const texts = Array.from({ length: count }, (_, i) => `${i} ${"x".repeat(500)}`);
  await Promise.all(texts.map((text) => log.append(createDraft(text))));
  return texts;
}

Deno.test("a backup under load has every message acknowledged before it began, and is whole", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  const before = await fill(log);
  const during: string[] = [];
  const path = await copy(directory, log, async () => {
    const text = `during ${during.length} ${"y".repeat(60_000)}`;
    during.push(text);
    await log.append(createDraft(text));
    if (during.length === 2) {
      assert.equal(await log.clear("news"), before.length + 2, "the writer may remove, too");
    }
  });
  assert.ok(during.length > 3, "several chunks");
  const check = directory.query("PRAGMA integrity_check", "backup.db");
  assert.deepEqual(check.map((row) => row.integrity_check), ["ok"]);
  await using restored = directory.open({ path });
  assert.deepEqual(await readTexts(restored), before);
  assert.deepEqual(await readTexts(log), during.slice(2));
});

Deno.test("a backup that is used has a new epoch, keeps its messages, and tells everybody of a gap", async () => {
  for (const synchronous of ["normal", "full"] as const) {
    await using directory = new TemporaryDirectory();
    await using log = directory.open({ synchronous });
    await log.append(createDraft("a"));
    const path = await copy(directory, log);
    const known = await log.append(createDraft("b"));

    await using restored = directory.open({ path, synchronous });
    const { epoch } = restored.top;
    assert.notEqual(epoch, known.epoch);
    assert.deepEqual(
      directory.logger.entries.map(({ event, fields }) => `${event}: ${fields.reason}`),
      ["engine has a new epoch: the file is a backup: later messages are not in it"],
    );
    assert.equal((await restored.append(createDraft("c"))).offset, 2, "offsets go on");
    const page = await restored.read({
      selector: selectChannel("news"),
      after: { kind: "id", epoch: known.epoch, sequence: known.sequence },
      limit: 10,
    });
    assert.equal(page.kind, "gap");
    assert.equal(page.messages.length, 2);
    await restored[Symbol.asyncDispose]();
    await using again = directory.open({ path, synchronous });
    assert.equal(again.top.epoch, epoch, "it is a log like any other from then on");
  }
});

Deno.test("a log that was backed up keeps its epoch", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  const { epoch } = await log.append(createDraft("a"));
  await copy(directory, log);
  await directory.kill(log);
  await using after = directory.open();
  assert.equal(after.top.epoch, epoch);
  assert.deepEqual(await readTexts(after), ["a"]);
});

Deno.test("a log stays closed to other processes after a backup", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await log.append(createDraft("a"));
  await copy(directory, log);
  await copy(directory, log);
  const [line = ""] = await runChild([`sqlite:${directory.file()}`, "0"], 1);
  assert.match(line, /^refused .*another process has it open/);
});

Deno.test("openBackup() makes one copy at a time, and the next once that was taken or given up", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await fill(log);
  const { stream } = await log.openBackup();
  await assert.rejects(log.openBackup(), (error) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, "log_unavailable");
    assert.match(error.message, /Another backup is under way/);
    return true;
  });
  await stream.cancel();
  await copy(directory, log);
});

Deno.test("a log's file stays as it is during a backup, and takes what was written meanwhile afterwards", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await fill(log);
  const { size, stream } = await log.openBackup();
  const reader = stream.getReader();
  await reader.read();
  // More than SQLite gathers otherwise.
  await fill(log, 20_000);
  assert.equal((await Deno.stat(directory.file())).size, size);
  await reader.cancel();
  await fill(log, 1);
  assert.ok((await Deno.stat(directory.file())).size > 5 * size);
});

Deno.test("closing a log breaks a backup off, and loses nothing", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  const texts = await fill(log);
  const { stream } = await log.openBackup();
  const reader = stream.getReader();
  await reader.read();
  await log.append(createDraft("last"));
  await log[Symbol.asyncDispose]();
  await assert.rejects(async () => {
    while (!(await reader.read()).done);
  }, /The engine was closed during the backup/);
  await using after = directory.open();
  assert.deepEqual(await readTexts(after), [...texts, "last"]);
});
