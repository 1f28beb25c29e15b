/** The line of what was handed in: what is sent when, again, and in which order it leaves. */
import assert from "node:assert/strict";
import { MessagingError } from "../../../lib/core/errors.ts";
import { AppendQueue, type Entry } from "../../../lib/engines/jetstream/append_queue.ts";
import { createDraft } from "../../fakes/message.ts";

/** A line, the numbers it sent, and the names of entries that were rejected. */
function openQueue() {
  const sent: number[] = [];
  const rejected: string[] = [];
  const stream = { applied: 0 };
  const queue = new AppendQueue((_, number) => void sent.push(number), () => stream.applied);
  const add = (name: string, kind: Entry["kind"] = "messages", bytes = 100) =>
    queue.add({
      kind,
      channel: name,
      drafts: [createDraft(name)],
      time: 0,
      clock: 0,
      bytes,
      settle: () => {},
      reject: (error) => void rejected.push(`${name} ${error.code}`),
    });
  return { queue, stream, sent, rejected, add, [Symbol.dispose]: () => queue[Symbol.dispose]() };
}

Deno.test("AppendQueue sends each record once while it is open, and what waits as it opens", () => {
  using bench = openQueue();
  bench.add("a");
  bench.queue.pump();
  assert.deepEqual(bench.sent, []);
  bench.queue.resume();
  bench.add("b");
  bench.queue.pump();
  bench.queue.pump();
  assert.deepEqual(bench.sent, [1, 2]);
});

Deno.test("AppendQueue sends again, in order, what it has no answer for, when the server is back", () => {
  using bench = openQueue();
  bench.queue.resume();
  for (const name of ["a", "b", "c", "d"]) bench.add(name);
  bench.queue.pump();
  bench.queue.take(1);
  bench.queue.acknowledge(3, { kind: "stored", record: 1 });
  bench.queue.pause();
  bench.add("e");
  bench.queue.pump();
  bench.queue.resume();
  assert.deepEqual(bench.sent.slice(4), [2, 4, 5]);
});

Deno.test("AppendQueue delivers what is not stored once everything before it has come back", () => {
  using bench = openQueue();
  bench.queue.resume();
  bench.add("a");
  bench.add("b", "transient");
  bench.add("c", "transient");
  bench.add("d");
  bench.add("e", "transient");
  bench.queue.pump();
  assert.deepEqual(bench.sent, [1, 4], "which needs no sending");
  assert.deepEqual(bench.queue.takeReadyTransients(), []);
  bench.queue.take(1);
  assert.deepEqual(bench.queue.takeReadyTransients().map(({ channel }) => channel), ["b", "c"]);
  bench.queue.take(4);
  bench.queue.pause();
  assert.deepEqual(bench.queue.takeReadyTransients(), [], "not to this node alone");
  bench.queue.resume();
  assert.deepEqual(bench.queue.takeReadyTransients().map(({ channel }) => channel), ["e"]);
  assert.ok(bench.queue.isEmpty);
});

Deno.test("AppendQueue rejects what the server refused, and lets the rest go on", () => {
  using bench = openQueue();
  bench.queue.resume();
  bench.add("a");
  bench.add("b");
  bench.queue.pump();
  bench.queue.acknowledge(1, { kind: "refused", error: new MessagingError("log_full", "full") });
  assert.deepEqual(bench.rejected, ["a log_full"]);
  assert.equal(bench.queue.take(1), undefined);
  assert.equal(bench.queue.take(2)?.entry.channel, "b");
});

Deno.test("AppendQueue keeps no more in flight than 8 MB, and no more waiting than 64", () => {
  using bench = openQueue();
  bench.queue.resume();
  for (let i = 0; i < 12; i++) bench.add(`${i}`, "messages", 1024 * 1024);
  bench.queue.pump();
  assert.deepEqual(bench.sent, [1, 2, 3, 4, 5, 6, 7, 8]);
  bench.queue.take(1);
  bench.queue.pump();
  assert.equal(bench.sent.at(-1), 9);
  assert.equal(bench.queue.refusal?.code, undefined);
  for (let i = 0; i < 53; i++) bench.add("x", "messages", 1024 * 1024);
  assert.equal(bench.queue.refusal?.code, "log_unavailable");
  bench.queue.take(2);
  assert.equal(bench.queue.refusal?.code, undefined);
});

Deno.test("AppendQueue gives up what was sent, and keeps what was not", () => {
  using bench = openQueue();
  bench.queue.resume();
  bench.add("a");
  bench.queue.pump();
  bench.queue.pause();
  bench.add("b");
  bench.queue.rejectSent();
  assert.deepEqual(bench.rejected, ["a log_unavailable"]);
  bench.queue.resume();
  assert.deepEqual(bench.sent, [1, 2]);
});

Deno.test("AppendQueue rejects what the server said was stored once the stream goes past it", async () => {
  using bench = openQueue();
  bench.queue.resume();
  bench.add("lost");
  bench.add("late");
  bench.queue.pump();
  bench.queue.acknowledge(1, { kind: "stored", record: 7 });
  bench.queue.acknowledge(2, { kind: "stored", record: 8 });
  bench.stream.applied = 7;
  const drained = bench.queue.drained();
  while (bench.rejected.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(bench.rejected, ["lost log_unavailable"]);
  bench.queue.take(2);
  await drained;
});

Deno.test("AppendQueue sends again what failed, and still knows when it was sent", async () => {
  using bench = openQueue();
  const before = performance.now();
  bench.queue.resume();
  bench.add("a");
  bench.queue.pump();
  bench.queue.acknowledge(1, { kind: "failed" });
  while (bench.sent.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
  bench.queue.acknowledge(1, { kind: "failed" });
  const { sent = 0 } = bench.queue.take(1) ?? {};
  assert.ok(sent >= before);
});

Deno.test("AppendQueue.drained() resolves once nothing waits", async () => {
  using bench = openQueue();
  await bench.queue.drained();
  bench.queue.resume();
  bench.add("a");
  const drained = bench.queue.drained();
  bench.queue.take(1);
  await drained;
});
