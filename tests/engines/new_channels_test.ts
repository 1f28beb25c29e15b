/** Reads of a pattern during which a channel comes: nothing of it is missed, and what it has lost already is told. */
import assert from "node:assert/strict";
import { selectPatterns } from "../../lib/core/channel.ts";
import type { Cursor, Log } from "../../lib/core/log.ts";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { createDraft } from "../fakes/message.ts";
import { ManualSchedule } from "../fakes/schedule.ts";
import { TemporaryDirectory } from "./sqlite/fixture.ts";

const ALL = selectPatterns(["**"]);
/** The fewest messages that surely lose some. */
const MANY = 60;

interface Bench {
  readonly log: Log;
  /** Stores so many messages, at once, and removes what is too much. */
  store(channel: string, count: number): void;
}

/** Runs a test on each engine. Of each channel but `kept/*` the newest five messages are kept. */
function test(promise: string, body: (bench: Bench) => Promise<void>): void {
  const entries = [{ channels: "kept/*" }, { channels: "**", history: { messages: 5 } }];
  const openBench = (loop: ManualSchedule, log: Log & { sweep?(): void }): Bench => ({
    log,
    store(channel, count) {
      for (let i = 0; i < count; i++) void log.append(createDraft(`${channel} ${i}`, { channel }));
      while (loop.waiting > 0) loop.run();
      log.sweep?.();
    },
  });
  Deno.test(`The memory engine ${promise}`, async () => {
    const loop = new ManualSchedule();
    await using log = new MemoryEngine({ rules: new Rules(entries), schedule: loop.schedule });
    await body(openBench(loop, log));
  });
  Deno.test(`The sqlite engine ${promise}`, async () => {
    const loop = new ManualSchedule();
    await using directory = new TemporaryDirectory();
    await using log = directory.open({ entries, schedule: loop.schedule });
    await body(openBench(loop, log));
  });
}

/** Reads on to the end; during the first read something happens. Returns what was read and what was told, in order. */
async function readAll(log: Log, after: Cursor, meanwhile: () => void): Promise<string[]> {
  const read: string[] = [];
  for (let isFirst = true;; isFirst = false) {
    const reading = log.read({ selector: ALL, after, limit: 10 });
    if (isFirst) meanwhile();
    const page = await reading;
    if (page.kind === "gap") read.push("gap");
    for (const { payload } of page.messages) read.push(payload.kind === "text" ? payload.text : "");
    after = page.next;
    if (!isFirst && !page.more) return read;
  }
}

test("tells once of what a channel has lost that came while a page was read", async ({ log, store }) => {
  store("ops", 1);
  store("news", 1);
  const start = { kind: "id", epoch: log.top.epoch, sequence: 1 } as const;
  const read = await readAll(log, start, () => store("other", MANY));
  assert.deepEqual(read.filter((text) => text === "gap"), ["gap"]);
  const firstOfOther = read.findIndex((text) => text.startsWith("other"));
  assert.ok(firstOfOther > read.indexOf("gap"), `${read}`);
  assert.equal(read.at(-1), `other ${MANY - 1}`);
});

test("misses no message of a channel that comes while it counts what a told gap has left", async ({ log, store }) => {
  // What it has lost lies behind a message that is kept.
  store("kept/old", 1);
  store("news", MANY);
  const page = await log.read({
    selector: ALL,
    after: { kind: "id", epoch: log.top.epoch, sequence: 0 },
    limit: 1,
  });
  assert.ok(page.kind === "gap" && page.resume.told !== undefined);
  const read = await readAll(log, { kind: "id", ...page.resume }, () => store("kept/new", 3));
  assert.deepEqual(read.slice(-3), ["kept/new 0", "kept/new 1", "kept/new 2"]);
});
