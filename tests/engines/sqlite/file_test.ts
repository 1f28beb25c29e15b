/** Tests what can be wrong with the SQLite engine's file: each is refused at opening, in one clear line. */
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { MessagingError } from "../../../lib/core/errors.ts";
import { openSqliteFile } from "../../../lib/engines/sqlite/file.ts";
import { MIGRATIONS } from "../../../lib/engines/sqlite/schema.ts";
import { createDraft } from "../../fakes/message.ts";
import { readTexts, runChild, TemporaryDirectory } from "./fixture.ts";
import { mayMount, mountTemporary } from "./mount.ts";

/** Asserts that the file is refused with a line that matches, and is left as it is. */
function assertRefused(directory: TemporaryDirectory, pattern: RegExp, path = directory.file()): void {
  assert.throws(() => directory.open({ path }), (error) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, "log_unavailable");
    assert.match(error.message, pattern);
    assert.ok(error.message.startsWith(`Cannot open the database "${path}": `), error.message);
    const [, other = ""] = / --engine sqlite:(.*)$/.exec(error.message) ?? [];
    assert.ok(other === "PATH" || other === join(dirname(path), "second.db"), error.message);
    assert.ok(!error.message.includes("\n"));
    return true;
  });
}

Deno.test("openSqliteEngine() creates the file and its directories", async () => {
  await using directory = new TemporaryDirectory();
  const path = directory.file("a/b/log.db");
  await directory.open({ path })[Symbol.asyncDispose]();
  assert.ok((await Deno.stat(path)).isFile);
});

Deno.test("openSqliteEngine() takes an empty file", async () => {
  await using directory = new TemporaryDirectory();
  await Deno.writeFile(directory.file(), new Uint8Array());
  await using log = directory.open();
  assert.equal((await log.append(createDraft("a"))).offset, 1);
});

Deno.test("openSqliteEngine() refuses a file that this process has open", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await log.append(createDraft("a"));
  assertRefused(directory, /another process has it open; stop that one/);
  await log.append(createDraft("b"));
  assert.deepEqual(await readTexts(log), ["a", "b"]);
});

Deno.test("openSqliteEngine() refuses a file that another process has open, and takes it afterwards", async () => {
  await using directory = new TemporaryDirectory();
  const url = `sqlite:${directory.file()}`;
  const log = directory.open();
  const [line = ""] = await runChild([url, "0"], 1);
  assert.match(
    line,
    /^refused Cannot open the database ".*": another process has it open; stop that one, or name/,
  );
  await log[Symbol.asyncDispose]();
  assert.deepEqual(await runChild([url, "0"], 9), [`open ${log.top.epoch}`]);
});

for (const [what, bytes] of [["short text", 5], ["long text", 100_000]] as const) {
  Deno.test(`openSqliteEngine() refuses a file that is no database: ${what}`, async () => {
    await using directory = new TemporaryDirectory();
    await Deno.writeTextFile(directory.file(), "a".repeat(bytes));
    assertRefused(directory, /the file is not a database; move it away/);
    assert.equal(await Deno.readTextFile(directory.file()), "a".repeat(bytes));
  });
}

Deno.test("openSqliteEngine() refuses another program's database and leaves it alone", async () => {
  for (
    const sql of [
      "CREATE TABLE birds (name TEXT)",
      "PRAGMA application_id = 42",
      "PRAGMA user_version = 1",
    ]
  ) {
    await using directory = new TemporaryDirectory();
    directory.query(sql);
    const before = await Deno.readFile(directory.file());
    assertRefused(directory, /it is another program's database/);
    assert.deepEqual(await Deno.readFile(directory.file()), before);
  }
});

Deno.test("openSqliteEngine() refuses a database of a newer version", async () => {
  await using directory = new TemporaryDirectory();
  await directory.open()[Symbol.asyncDispose]();
  directory.query(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
  assertRefused(
    directory,
    /a newer Raindrops wrote it \(schema \d+, this one knows \d+\); start that version/,
  );
});

Deno.test("openSqliteEngine() refuses a directory", async () => {
  await using directory = new TemporaryDirectory();
  assertRefused(directory, /make sure that it is a file/, directory.path);
});

Deno.test("openSqliteEngine() refuses a path below a file", async () => {
  await using directory = new TemporaryDirectory();
  await Deno.writeTextFile(directory.file("file"), "");
  for (const path of ["file/log.db", "file/data/log.db"]) {
    assertRefused(directory, /its directory ".*" cannot be created; create it/, directory.file(path));
  }
});

Deno.test("openSqliteEngine() names the permission it lacks", async () => {
  await using directory = new TemporaryDirectory();
  const [line = ""] = await runChild([`sqlite:${directory.file()}`, "0"], 1, [
    `--allow-read=${directory.path}`,
  ]);
  const { path } = directory;
  assert.match(line, /^refused Cannot open the database /);
  assert.ok(line.includes(`start with --allow-read=${path} --allow-write=${path}, or name`), line);
});

Deno.test("openSqliteEngine() needs no permission but for its directory, which may be missing", async () => {
  await using directory = new TemporaryDirectory();
  const data = join(directory.path, "data");
  const lines = await runChild([`sqlite:${data}/log.db`], 3, [
    `--allow-read=${data}`,
    `--allow-write=${data}`,
  ]);
  assert.match(lines[0] ?? "", /^open /);
  assert.match(lines[1] ?? "", /^stored /);
});

Deno.test({
  name: "openSqliteEngine() refuses a file system that may only be read (runs where tests may mount one)",
  ignore: !mayMount,
  async fn() {
    await using directory = new TemporaryDirectory();
    await using mount = await mountTemporary(directory.path, "size=2m");
    const path = directory.file();
    assert.equal(mount.path, directory.path);
    await directory.open()[Symbol.asyncDispose]();
    await mount.remount("ro");
    assertRefused(directory, /make sure that it is a file, writable, in a writable directory/, path);
    assertRefused(directory, /make sure that it is a file/, directory.file("new.db"));
    await mount.remount("rw");
  },
});

Deno.test({
  name: "openSqliteEngine() refuses a full disk (runs where tests may mount one)",
  ignore: !mayMount,
  async fn() {
    await using directory = new TemporaryDirectory();
    await using _mount = await mountTemporary(directory.path, "size=16k");
    assert.throws(() => directory.open(), (error) => {
      assert.ok(error instanceof MessagingError);
      assert.equal(error.code, "log_full");
      assert.match(error.message, /^Cannot open the database ".*": its disk is full; free some space/);
      return true;
    });
  },
});

Deno.test("openSqliteFile() takes the steps from an older version, once and all or none", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  await log.append(createDraft("a"));
  await log[Symbol.asyncDispose]();
  const [path, logger] = [directory.file(), directory.logger];
  const added = "CREATE TABLE added (x INTEGER) STRICT; INSERT INTO added VALUES (1)";

  const broken = [...MIGRATIONS, added, "NO SQL"];
  assert.throws(() => openSqliteFile({ path, logger, migrations: broken }), /Cannot open the database/);
  assert.deepEqual(directory.query("SELECT name FROM sqlite_schema WHERE name = 'added'"), []);
  await directory.open()[Symbol.asyncDispose]();

  const migrations = [...MIGRATIONS, added];
  for (let i = 0; i < 2; i++) openSqliteFile({ path, logger, migrations })[Symbol.dispose]();
  assert.equal(directory.query("SELECT x FROM added").length, 1);
  assert.equal(directory.query("PRAGMA user_version")[0]?.user_version, migrations.length);
  assert.equal(directory.query("SELECT sequence FROM messages").length, 1);
  assertRefused(directory, /a newer Raindrops wrote it/);
});
