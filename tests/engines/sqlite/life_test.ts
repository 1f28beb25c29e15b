/** Tests when a log of the SQLite engine starts a new epoch: whenever acknowledged messages may be lost. */
import assert from "node:assert/strict";
import { selectChannel } from "../../../lib/core/channel.ts";
import type { SqliteLogOptions } from "../../../lib/engines/sqlite/log.ts";
import { readBootTime } from "../../../lib/engines/sqlite/life.ts";
import { createDraft } from "../../fakes/message.ts";
import { readTexts, TemporaryDirectory } from "./fixture.ts";

const BOOT = Date.UTC(2026, 0, 1);
const REBOOT = BOOT + 60_000;

interface Case {
  readonly name: string;
  readonly first: Pick<SqliteLogOptions, "synchronous"> & { readonly boot: number | undefined };
  readonly second: Pick<SqliteLogOptions, "synchronous"> & { readonly boot: number | undefined };
  readonly clean: boolean;
  readonly renewed: boolean;
}

const CASES: readonly Case[] = [
  {
    name: "keeps its epoch when it was closed, whatever became of the machine",
    first: { boot: BOOT },
    second: { boot: REBOOT },
    clean: true,
    renewed: false,
  },
  {
    name: "keeps its epoch when only the process was killed",
    first: { boot: BOOT },
    second: { boot: BOOT + 1_500 },
    clean: false,
    renewed: false,
  },
  {
    name: "has a new epoch when it was not closed and the machine was started since",
    first: { boot: BOOT },
    second: { boot: REBOOT },
    clean: false,
    renewed: true,
  },
  {
    name: "keeps its epoch through a power cut with synchronous=full",
    first: { boot: BOOT, synchronous: "full" },
    second: { boot: REBOOT, synchronous: "full" },
    clean: false,
    renewed: false,
  },
  {
    name: "goes by how the file was written before, not by how it will be",
    first: { boot: BOOT, synchronous: "normal" },
    second: { boot: REBOOT, synchronous: "full" },
    clean: false,
    renewed: true,
  },
  {
    name: "has a new epoch when it was not closed and nobody can tell whether the machine was started since",
    first: { boot: BOOT },
    second: { boot: undefined },
    clean: false,
    renewed: true,
  },
  {
    name: "has a new epoch when it was not closed and nobody could tell when the machine had been started",
    first: { boot: undefined },
    second: { boot: BOOT },
    clean: false,
    renewed: true,
  },
];

for (const { name, first, second, clean, renewed } of CASES) {
  Deno.test(`SqliteLog ${name}`, async () => {
    await using directory = new TemporaryDirectory();
    const before = directory.open({ ...first, bootTime: () => first.boot });
    const { epoch } = await before.append(createDraft("a"));
    if (clean) await before[Symbol.asyncDispose]();
    else await directory.kill(before);

    await using after = directory.open({ ...second, bootTime: () => second.boot });
    assert.equal(after.top.epoch !== epoch, renewed);
    assert.deepEqual(await readTexts(after), ["a"], "what is there is kept");
    assert.equal((await after.append(createDraft("b"))).offset, 2, "offsets go on");
    const page = await after.read({
      selector: selectChannel("news"),
      after: { kind: "id", epoch, sequence: 1 },
      limit: 10,
    });
    assert.equal(page.kind, renewed ? "gap" : "complete");
    assert.deepEqual(
      directory.logger.entries.map(({ level, event }) => `${level} ${event}`),
      renewed ? ["warn engine has a new epoch"] : [],
    );
  });
}

Deno.test("SqliteLog has a new epoch after a power cut, though it was closed in order the time before", async () => {
  await using directory = new TemporaryDirectory();
  await directory.open({ bootTime: () => BOOT })[Symbol.asyncDispose]();
  const second = directory.open({ bootTime: () => BOOT });
  const { epoch } = await second.append(createDraft("a"));
  await directory.kill(second);
  await using third = directory.open({ bootTime: () => REBOOT });
  assert.notEqual(third.top.epoch, epoch);
});

Deno.test("SqliteLog keeps its new epoch from then on", async () => {
  await using directory = new TemporaryDirectory();
  const first = directory.open({ bootTime: () => BOOT });
  await first.append(createDraft("a"));
  await directory.kill(first);
  const second = directory.open({ bootTime: () => REBOOT });
  const { epoch } = second.top;
  await second.append(createDraft("b"));
  await directory.kill(second);
  await using third = directory.open({ bootTime: () => REBOOT });
  assert.equal(third.top.epoch, epoch);
});

Deno.test("two logs that start empty have different epochs", async () => {
  await using one = new TemporaryDirectory();
  await using other = new TemporaryDirectory();
  await using first = one.open();
  await using second = other.open();
  assert.notEqual(first.top.epoch, second.top.epoch);
});

Deno.test("readBootTime() is in the past and stays the same", () => {
  const [first, second] = [readBootTime(), readBootTime()];
  assert.ok(first !== undefined && second !== undefined);
  assert.ok(first < Date.now());
  assert.ok(Math.abs(second - first) < 5_000);
});
