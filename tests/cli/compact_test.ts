/** The compact task: an old file shrinks and goes on shrinking, and a file in use or of others is left alone. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { readTexts, TemporaryDirectory } from "../engines/sqlite/fixture.ts";

async function compact(file: string): Promise<{ readonly code: number; readonly text: string }> {
  const script = new URL("../../lib/cli/compact.ts", import.meta.url).href;
  const args = ["run", "--no-prompt", "--allow-all", script, file];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  return { code, text: new TextDecoder().decode(code === 0 ? stdout : stderr).trim() };
}

/** Turns a file into one as version 0.1 made it: it keeps its free pages for ever. */
function makeOld(file: string): void {
  const database = new DatabaseSync(file);
  database.exec("PRAGMA auto_vacuum = NONE; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
}

Deno.test("deno task compact makes an old file small, loses nothing, and has it shrink by itself from then on", async () => {
  await using directory = new TemporaryDirectory();
  const fill = async (log: ReturnType<TemporaryDirectory["open"]>) => {
    const text = "x".repeat(10_000);
    await Promise.all(
      Array.from({ length: 500 }, () => log.append({ channel: "big", payload: { kind: "text", text } })),
    );
    await log.clear("big");
    log.sweep();
  };
  const first = directory.open();
  const kept = await first.append({ channel: "news", payload: { kind: "text", text: "kept" } });
  await first[Symbol.asyncDispose]();
  makeOld(directory.file());

  const old = directory.open();
  await fill(old);
  await old[Symbol.asyncDispose]();
  const { size: large } = await Deno.stat(directory.file());
  assert.ok(large > 5_000_000, "an old file does not shrink");

  const { code, text } = await compact(directory.file());
  assert.equal(code, 0, text);
  const { size: small } = await Deno.stat(directory.file());
  assert.ok(small < 100_000, `${small} bytes`);
  assert.ok(text.endsWith(`: ${large} bytes before, ${small} after`), text);

  const log = directory.open();
  assert.deepEqual(await readTexts(log), ["kept"]);
  assert.equal(log.top.epoch, kept.epoch);
  await fill(log);
  await log[Symbol.asyncDispose]();
  assert.ok((await Deno.stat(directory.file())).size < 2_000_000, "it has become a new one");
});

Deno.test("deno task compact refuses what is in use, damaged, of others or not there, and says what to do", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open();
  await log.append({ channel: "news", payload: { kind: "text", text: "kept" } });
  assert.deepEqual(await compact(directory.file()), {
    code: 1,
    text: `${directory.file()} is in use: stop the server first`,
  });
  const other = directory.file("other.db");
  const database = new DatabaseSync(other);
  database.exec("CREATE TABLE mine (a)");
  database.close();
  assert.match((await compact(other)).text, /is no file of Raindrops$/);
  await Deno.writeTextFile(directory.file("text.db"), "no database".repeat(1_000));
  assert.match((await compact(directory.file("text.db"))).text, /is damaged, or no database/);
  assert.match((await compact(directory.file("none.db"))).text, /^There is no file/);
  await assert.rejects(Deno.stat(directory.file("none.db")), Deno.errors.NotFound);
});
