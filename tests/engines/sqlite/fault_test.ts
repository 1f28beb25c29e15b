/** Tests the SQLite engine on a disk without room: nothing acknowledged that is not stored, and no need to restart. */
import assert from "node:assert/strict";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { Receipt } from "../../../lib/core/log.ts";
import type { Message } from "../../../lib/core/message.ts";
import type { SqliteEngine } from "../../../lib/engines/sqlite/engine.ts";
import { createDraft } from "../../fakes/message.ts";
import { KEEP_ALL, readAll, readTexts, TemporaryDirectory } from "./fixture.ts";
import { mayMount, mountTemporary } from "./mount.ts";

const TEXT = "x".repeat(1_000);
/** Larger than what a failed batch leaves free. */
const LARGE = TEXT.repeat(200);

/** Appends, ten drafts a turn, until a turn is refused. Returns the receipts of those that were stored. */
async function fill(log: SqliteEngine, channel = "news"): Promise<Receipt[]> {
  const receipts: Receipt[] = [];
  while (true) {
    const drafts = Array.from({ length: 10 }, () => createDraft(TEXT, { channel }));
    const results = await Promise.allSettled(drafts.map((draft) => log.append(draft)));
    const refused = results.filter((result) => result.status === "rejected");
    if (refused.length === 0) {
      receipts.push(...results.flatMap((result) => result.status === "fulfilled" ? [result.value] : []));
      continue;
    }
    assert.equal(refused.length, drafts.length, "a turn is stored as a whole or not at all");
    for (const { reason } of refused) assertFull(reason);
    return receipts;
  }
}

function assertFull(error: unknown): true {
  assert.ok(error instanceof MessagingError);
  assert.equal(error.code, "log_full");
  assert.match(error.message, /disk .* is full; free some space/);
  assert.ok(error.cause instanceof Error);
  return true;
}

function events(directory: TemporaryDirectory): string[] {
  return directory.logger.entries.map(({ level, event }) => `${level} ${event}`);
}

Deno.test("SqliteEngine on a full disk refuses appends, reads on, and works again once there is room", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open({ maxPages: 64 });
  const announced: Message[] = [];
  log.onStored = (messages) => void announced.push(...messages);
  await log.append(createDraft(TEXT, { channel: "keep" }));
  const receipts = await fill(log);
  assert.ok(receipts.length > 0);

  const { top } = log;
  await assert.rejects(log.append(createDraft(LARGE)), assertFull);
  await assert.rejects(log.append(createDraft(LARGE, { channel: "new" })), assertFull);
  assert.equal(announced.length, receipts.length + 1, "nothing refused was announced");
  assert.deepEqual(log.top, top);
  const page = await readAll(log);
  assert.deepEqual(page.messages.map(({ sequence }) => sequence), receipts.map(({ sequence }) => sequence));
  assert.equal(page.position.offset, receipts.length);
  assert.deepEqual(events(directory), ["error engine write failed"], "one line, however many are refused");
  assert.match(log.checkReady() ?? "", /disk .* is full/);

  assert.equal(await log.clear("news"), receipts.length);
  assert.equal(log.checkReady(), undefined, "it finds out by itself that there is room");
  const next = await log.append(createDraft("room"));
  assert.deepEqual([next.offset, next.sequence], [receipts.length + 1, top.sequence + 1], "no holes");
  assert.equal((await log.append(createDraft("a", { channel: "new" }))).offset, 1);
  assert.deepEqual(events(directory), ["error engine write failed", "info engine writes again"]);
  await fill(log);
  assert.equal(events(directory).length, 3, "the next failure has a line of its own");
  await log[Symbol.asyncDispose]();

  await using again = directory.open();
  assert.deepEqual((await readTexts(again)).slice(0, 1), ["room"]);
  assert.deepEqual(await readTexts(again, "keep"), [TEXT]);
});

Deno.test("SqliteEngine on a full disk delivers what needs no storing", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open({ maxPages: 64 });
  await fill(log);
  const announced: Message[] = [];
  log.onStored = (messages) => void announced.push(...messages);
  const [ephemeral, stored, direct, keyed] = await Promise.allSettled([
    log.append(createDraft("ephemeral", { ephemeral: true })),
    log.append(createDraft(LARGE)),
    log.append(createDraft("direct", { to: "id1" })),
    log.append(createDraft("keyed", { ephemeral: true, idempotencyKey: "k" })),
  ]);
  assert.equal(ephemeral.status, "fulfilled");
  assert.equal(stored.status, "rejected");
  assert.equal(direct.status, "fulfilled");
  assert.equal(keyed.status, "rejected", "a key that is not remembered is no key");
  assert.deepEqual(announced.map(({ payload }) => payload), [
    { kind: "text", text: "ephemeral" },
    { kind: "text", text: "direct" },
  ]);
});

Deno.test("SqliteEngine on a full disk forgets channels, keys and markers of what it refused", async () => {
  await using directory = new TemporaryDirectory();
  await using log = directory.open({ maxPages: 64 });
  await fill(log);
  const draft = createDraft(LARGE, { channel: "new", idempotencyKey: "k" });
  const marked = { ...createDraft(LARGE, { channel: "marked" }), marker: "mark" };
  await assert.rejects(log.append(draft), assertFull);
  await assert.rejects(log.append(marked), assertFull);
  assert.equal(await log.state.read("mark"), undefined);
  await log.clear("news");
  const receipt = await log.append(draft);
  assert.deepEqual([receipt.offset, receipt.duplicate], [1, false]);
  await log.clear("new");
  assert.equal((await log.append(marked)).duplicate, false);
});

Deno.test("SqliteEngine on a full disk removes what the rules no longer keep", async () => {
  await using directory = new TemporaryDirectory();
  const entries = [{ channels: "news", history: { messages: 10 } }, KEEP_ALL];
  await using log = directory.open({ maxPages: 64, entries });
  await fill(log, "other");
  await log.clear("other");
  // More than fits, were it all kept.
  for (let i = 0; i < 100; i++) {
    await Promise.all(Array.from({ length: 5 }, () => log.append(createDraft(TEXT))));
    log.sweep();
  }
  assert.equal((await readAll(log)).position.offset, 500);
});

for (const synchronous of ["normal", "full"] as const) {
  Deno.test({
    name: `SqliteEngine on a disk that is really full recovers by itself, synchronous=${synchronous} ` +
      "(runs where tests may mount one)",
    ignore: !mayMount,
    async fn() {
      await using directory = new TemporaryDirectory();
      await using _mount = await mountTemporary(directory.path, "size=24m");
      const ballast = ["1", "2", "3"].map((name) => directory.file(name));
      for (const path of ballast) await Deno.writeFile(path, new Uint8Array(5 * 1024 * 1024));
      let stored = 0;
      {
        await using log = directory.open({ synchronous });
        stored += (await fill(log)).length;
        assert.equal((await readAll(log)).messages.length, stored, "readers read on");

        await Deno.remove(ballast[0]!);
        const more = await fill(log);
        assert.ok(more.length > 100, "room that others make is used");
        stored += more.length;

        // Removing takes room, too, where SQLite has not yet moved what was written last into its file.
        await Deno.remove(ballast[1]!);
        assert.equal(await log.clear("news"), stored);
        const others = await fill(log, "other");
        assert.ok(others.length > 100, "room that clear() makes is used");
        assert.equal((await readAll(log, "other")).messages.length, others.length);
      }
      await Deno.remove(ballast[2]!);
      await using log = directory.open({ synchronous });
      assert.equal((await readAll(log)).position.offset, stored);
      assert.equal((await readAll(log, "other")).messages.at(-1)?.sequence, log.top.sequence);
    },
  });
}

Deno.test({
  name:
    "SqliteEngine on a disk that others filled goes on in the room it has (runs where tests may mount one)",
  ignore: !mayMount,
  async fn() {
    await using directory = new TemporaryDirectory();
    await using _mount = await mountTemporary(directory.path, "size=8m");
    const entries = [{ channels: "news", history: { messages: 100 } }];
    const appendSome = async (log: SqliteEngine) => {
      const drafts = Array.from({ length: 10 }, () => createDraft(TEXT));
      const [result] = await Promise.allSettled(drafts.map((draft) => log.append(draft)));
      return result?.status === "fulfilled";
    };
    {
      await using log = directory.open({ entries });
      // Leaves room in the file.
      for (let i = 0; i < 500; i++) await log.append(createDraft(TEXT, { channel: "other" }));
      await log.clear("other");
    }
    await using log = directory.open({ entries });
    // Less than SQLite moves to its file by itself.
    for (let i = 0; i < 20; i++) assert.ok(await appendSome(log));
    await assert.rejects(Deno.writeFile(directory.file("ballast"), new Uint8Array(8 * 1024 * 1024)));
    let stored = 0;
    for (let i = 0; i < 500; i++) stored += Number(await appendSome(log));
    assert.ok(stored > 400, `${stored} of 500 turns were stored`);
  },
});

Deno.test("SqliteEngine that is disposed rejects reads and clears with log_unavailable", async () => {
  await using directory = new TemporaryDirectory();
  const log = directory.open();
  await log[Symbol.asyncDispose]();
  for (const attempt of [() => readAll(log), () => log.clear("news")]) {
    await assert.rejects(
      attempt,
      (error) => error instanceof MessagingError && error.code === "log_unavailable",
    );
  }
});
