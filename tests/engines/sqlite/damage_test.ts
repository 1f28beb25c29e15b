/** Tests what the SQLite engine does with a file in which bytes have changed: it says so, and keeps what is intact. */
import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { selectChannel } from "../../../lib/core/channel.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { Draft } from "../../../lib/core/message.ts";
import { createDraft } from "../../fakes/message.ts";
import { readAll, readTexts, TemporaryDirectory } from "./fixture.ts";

const NEWS = selectChannel("news");

/** Flips a bit in the only place where the file has a text. */
async function damage(path: string, text: string): Promise<void> {
  const bytes = await Deno.readFile(path);
  const needle = new TextEncoder().encode(text);
  const places: number[] = [];
  for (let at = 0; at <= bytes.length - needle.length; at++) {
    if (needle.every((byte, i) => bytes[at + i] === byte)) places.push(at);
  }
  assert.equal(places.length, 1);
  bytes[places[0]! + 3]! ^= 1;
  await Deno.writeFile(path, bytes);
}

const PRECIOUS: readonly [string, Partial<Draft>][] = [
  ["a text", { payload: { kind: "text", text: "precious" } }],
  ["JSON", { payload: { kind: "json", text: '"precious"' } }],
  ["bytes", { payload: { kind: "bytes", bytes: new TextEncoder().encode("precious") } }],
  ["an event", { event: "precious" }],
  ["a sender", { from: { id: "id1", name: "precious" } }],
];

for (const [what, part] of PRECIOUS) {
  Deno.test(`SqliteEngine leaves a message out in which ${what} changed in the file, tells of a gap and logs it`, async () => {
    await using directory = new TemporaryDirectory();
    const before = directory.open();
    await before.append(createDraft("a"));
    await before.append({ ...createDraft("b"), ...part });
    await before.append(createDraft("c"));
    await before[Symbol.asyncDispose]();
    await damage(directory.file(), "precious");
    await using log = directory.open();
    for (let i = 0; i < 2; i++) {
      assert.equal((await readAll(log)).kind, "gap");
      const resumed = await log.read({ selector: NEWS, after: { kind: "offset", offset: 1 }, limit: 10 });
      assert.equal(resumed.kind, "gap");
      assert.deepEqual(resumed.messages.map(({ offset }) => offset), [3]);
      assert.deepEqual(await readTexts(log), ["a", "c"]);
    }
    const after = await log.read({ selector: NEWS, after: { kind: "offset", offset: 2 }, limit: 10 });
    assert.equal(after.kind, "complete");
    assert.deepEqual(
      directory.logger.entries.map((
        { level, event, fields },
      ) => [level, event, fields.channel, fields.offset]),
      [["error", "stored message is damaged and left out", "news", 2]],
      "once, however often it is read",
    );
    assert.equal((await log.append(createDraft("d"))).offset, 4);
  });
}

Deno.test("SqliteEngine reads every kind of message back intact, odd text included", async () => {
  await using directory = new TemporaryDirectory();
  const drafts = ["", "\0", "a\0b", "\ud800", "🌧", "\ufeffx"].map((text) =>
    createDraft(text, { event: text, from: { id: text, name: text, user: text, info: text }, socketId: text })
  );
  const log = directory.open();
  for (const draft of drafts) await log.append(draft);
  await log[Symbol.asyncDispose]();
  await using again = directory.open();
  assert.equal((await readAll(again)).messages.length, drafts.length);
  assert.deepEqual(directory.logger.entries, []);
});

for (const [where, page] of [["schema", 0], ["first table", 2], ["second table", 3]] as const) {
  Deno.test(`openSqliteEngine() says how to go on when the ${where} is damaged`, async () => {
    await using directory = new TemporaryDirectory();
    const log = directory.open();
    for (let i = 0; i < 200; i++) await log.append(createDraft("x".repeat(200), { channel: `c${i}` }));
    await log[Symbol.asyncDispose]();
    const bytes = await Deno.readFile(directory.file());
    // Page 1 maps pages to their parents. Page 0 begins with the header of the file, the others with the header of the page.
    const start = page === 0 ? 100 : page * 4_096;
    bytes.fill(0xff, start, start + 300);
    await Deno.writeFile(directory.file(), bytes);
    assert.throws(() => directory.open(), (error) => {
      assert.ok(error instanceof MessagingError);
      assert.match(
        error.message,
        /^Cannot open the database ".*": the file is damaged \(.*\); restore the latest backup, or .*sqlite3 .*"\.recover"/,
      );
      return true;
    });
  });
}

Deno.test("SqliteEngine writes the checksums that files of all versions have, in batches of any mixture", async () => {
  await using directory = new TemporaryDirectory();
  const parts: Partial<Draft>[] = [
    { payload: { kind: "text", text: "a \ud83d\ude00" } },
    { payload: { kind: "json", text: "[1]" } },
    { payload: { kind: "bytes", bytes: new Uint8Array([0, 255]) } },
    { payload: { kind: "text", text: "\ude00 \0" } },
    { event: "e" },
    { from: { id: "i", name: "\ud83d" } },
    { socketId: "s" },
    { properties: { qos: 1 } },
    { ttl: 60 },
  ];
  const drafts = Array.from({ length: 60 }, (_, i) => ({ ...createDraft("x"), ...parts[i % parts.length] }));
  const log = directory.open();
  await Promise.all(drafts.map((draft) => log.append(draft)));
  assert.deepEqual((await readAll(log)).messages.map(({ offset }) => offset), drafts.map((_, i) => i + 1));
  await log[Symbol.asyncDispose]();
  using database = new DatabaseSync(directory.file());
  const rows = database.prepare("SELECT time, expires, checksum FROM messages ORDER BY sequence").all();
  drafts.forEach(({ payload, event, from, socketId, properties, ttl }, i) => {
    const fields = [payload.kind, i + 1, i + 1, rows[i]!.time, event, from?.id, from?.name?.toWellFormed()];
    const more = properties === undefined ? [] : [JSON.stringify(properties)];
    const head = crc32(JSON.stringify([...fields, undefined, undefined, socketId, ...more]));
    assert.equal(rows[i]!.checksum, crc32(payload.kind === "bytes" ? payload.bytes : payload.text, head));
    assert.equal(rows[i]!.expires !== null, ttl !== undefined);
  });
});
