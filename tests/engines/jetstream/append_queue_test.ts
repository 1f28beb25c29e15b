/** The line of what was handed in: what is sent when, again, and in which order it leaves. */
import assert from "node:assert/strict";
import { MessagingError } from "../../../lib/core/errors.ts";
import { AppendQueue, type Entry } from "../../../lib/engines/jetstream/append_queue.ts";
import { createDraft } from "../../fakes/message.ts";

/** A line, the numbers it sent, and the names of entries that were rejected. */
function openLine() {
  const sent: number[] = [];
  const rejected: string[] = [];
  const stream = { reached: 0 };
  const line = new AppendQueue((_, number) => void sent.push(number), () => stream.reached);
  const add = (name: string, kind: Entry["kind"] = "messages", bytes = 100) =>
    line.add({
      kind,
      channel: name,
      drafts: [createDraft(name)],
      time: 0,
      bytes,
      settle: () => {},
      reject: (error) => void rejected.push(`${name} ${error.code}`),
    });
  return { line, stream, sent, rejected, add, [Symbol.dispose]: () => line[Symbol.dispose]() };
}

Deno.test("AppendQueue sends each record once while it is open, and what waits as it opens", () => {
  using bench = openLine();
  bench.add("a");
  bench.line.pump();
  assert.deepEqual(bench.sent, []);
  bench.line.open();
  bench.add("b");
  bench.line.pump();
  bench.line.pump();
  assert.deepEqual(bench.sent, [1, 2]);
});

Deno.test("AppendQueue sends again, in order, what it has no answer for, when the server is back", () => {
  using bench = openLine();
  bench.line.open();
  for (const name of ["a", "b", "c", "d"]) bench.add(name);
  bench.line.pump();
  bench.line.take(1);
  bench.line.acknowledge(3, { kind: "stored", record: 1 });
  bench.line.shut();
  bench.add("e");
  bench.line.pump();
  bench.line.open();
  assert.deepEqual(bench.sent.slice(4), [2, 4, 5]);
});

Deno.test("AppendQueue delivers what is not stored once everything before it has come back", () => {
  using bench = openLine();
  bench.line.open();
  bench.add("a");
  bench.add("b", "transient");
  bench.add("c", "transient");
  bench.add("d");
  bench.add("e", "transient");
  bench.line.pump();
  assert.deepEqual(bench.sent, [1, 4], "which needs no sending");
  assert.deepEqual(bench.line.takeReady(), []);
  bench.line.take(1);
  assert.deepEqual(bench.line.takeReady().map(({ channel }) => channel), ["b", "c"]);
  bench.line.take(4);
  bench.line.shut();
  assert.deepEqual(bench.line.takeReady(), [], "not to this node alone");
  bench.line.open();
  assert.deepEqual(bench.line.takeReady().map(({ channel }) => channel), ["e"]);
  assert.ok(bench.line.isEmpty);
});

Deno.test("AppendQueue rejects what the server refused, and lets the rest go on", () => {
  using bench = openLine();
  bench.line.open();
  bench.add("a");
  bench.add("b");
  bench.line.pump();
  bench.line.acknowledge(1, { kind: "refused", error: new MessagingError("log_full", "full") });
  assert.deepEqual(bench.rejected, ["a log_full"]);
  assert.equal(bench.line.take(1), undefined);
  assert.equal(bench.line.take(2)?.entry.channel, "b");
});

Deno.test("AppendQueue keeps no more in flight than 8 MB, and no more waiting than 64", () => {
  using bench = openLine();
  bench.line.open();
  for (let i = 0; i < 12; i++) bench.add(`${i}`, "messages", 1024 * 1024);
  bench.line.pump();
  assert.deepEqual(bench.sent, [1, 2, 3, 4, 5, 6, 7, 8]);
  bench.line.take(1);
  bench.line.pump();
  assert.equal(bench.sent.at(-1), 9);
  assert.equal(bench.line.refusal?.code, undefined);
  for (let i = 0; i < 53; i++) bench.add("x", "messages", 1024 * 1024);
  assert.equal(bench.line.refusal?.code, "log_unavailable");
  bench.line.take(2);
  assert.equal(bench.line.refusal?.code, undefined);
});

Deno.test("AppendQueue gives up what was sent, and keeps what was not", () => {
  using bench = openLine();
  bench.line.open();
  bench.add("a");
  bench.line.pump();
  bench.line.shut();
  bench.add("b");
  bench.line.abandon();
  assert.deepEqual(bench.rejected, ["a log_unavailable"]);
  bench.line.open();
  assert.deepEqual(bench.sent, [1, 2]);
});

Deno.test("AppendQueue rejects what the server said was stored once the stream goes past it", async () => {
  using bench = openLine();
  bench.line.open();
  bench.add("lost");
  bench.add("late");
  bench.line.pump();
  bench.line.acknowledge(1, { kind: "stored", record: 7 });
  bench.line.acknowledge(2, { kind: "stored", record: 8 });
  bench.stream.reached = 7;
  const drained = bench.line.drained();
  while (bench.rejected.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(bench.rejected, ["lost log_unavailable"]);
  bench.line.take(2);
  await drained;
});

Deno.test("AppendQueue sends again what failed, and still knows when it was sent", async () => {
  using bench = openLine();
  const before = performance.now();
  bench.line.open();
  bench.add("a");
  bench.line.pump();
  bench.line.acknowledge(1, { kind: "failed" });
  while (bench.sent.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  bench.line.acknowledge(1, { kind: "failed" });
  const { sent = 0 } = bench.line.take(1) ?? {};
  assert.ok(sent >= before);
});

Deno.test("AppendQueue.drained() resolves once nothing waits", async () => {
  using bench = openLine();
  await bench.line.drained();
  bench.line.open();
  bench.add("a");
  const drained = bench.line.drained();
  bench.line.take(1);
  await drained;
});
