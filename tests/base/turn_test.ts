/** One flush a turn, in order, with everything that was added during it. */
import assert from "node:assert/strict";
import { Turn } from "../../lib/base/turn.ts";
import { ManualSchedule } from "../fakes/schedule.ts";
import { readOwnLiveBytes } from "../live_memory.ts";

function openTurn() {
  const loop = new ManualSchedule();
  const flushed: number[][] = [];
  return { loop, flushed, turn: new Turn<number>((items) => flushed.push(items), loop.schedule) };
}

Deno.test("Turn.add() hands over what was added during a turn in one go, in order", () => {
  const { loop, flushed, turn } = openTurn();
  for (const item of [1, 2, 3]) turn.add(item);
  assert.equal(loop.waiting, 1, "one task for all");
  assert.deepEqual(flushed, []);
  loop.run();
  assert.deepEqual(flushed, [[1, 2, 3]]);
  assert.equal(loop.waiting, 0, "nothing is scheduled while idle");
  turn.add(4);
  loop.run();
  assert.deepEqual(flushed, [[1, 2, 3], [4]]);
});

Deno.test("Turn.add() during a flush belongs to the next turn", () => {
  const loop = new ManualSchedule();
  const flushed: number[][] = [];
  const turn = new Turn<number>((items) => {
    flushed.push(items);
    if (items[0] === 1) turn.add(2);
  }, loop.schedule);
  turn.add(1);
  loop.run();
  assert.deepEqual(flushed, [[1]]);
  loop.run();
  assert.deepEqual(flushed, [[1], [2]]);
});

Deno.test("Turn.flush() hands over at once, and nothing twice", () => {
  const { loop, flushed, turn } = openTurn();
  turn.flush();
  turn.add(1);
  turn.flush();
  turn.flush();
  assert.deepEqual(flushed, [[1]]);
  turn.add(2);
  loop.run();
  assert.deepEqual(flushed, [[1], [2]]);
});

Deno.test("Turn ends with the turn of the event loop when nothing else is said", async () => {
  const flushed: number[][] = [];
  const turn = new Turn<number>((items) => flushed.push(items));
  turn.add(1);
  await Promise.resolve();
  turn.add(2);
  assert.deepEqual(flushed, []);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(flushed, [[1, 2]]);
});

/** Keeps the thread busy for longer than batches may follow each other. */
function work(): void {
  for (const end = performance.now() + 4; performance.now() < end;);
}

Deno.test("Turn hands over no more than it may at once, in order, and lets sockets have their turn", async () => {
  const flushed: number[][] = [];
  const done = Promise.withResolvers<void>();
  const turn = new Turn<number>(
    (items) => {
      flushed.push(items);
      work();
      // What comes meanwhile is last.
      if (flushed.length === 2) turn.add(8);
      if (items.includes(8)) done.resolve();
    },
    setImmediate,
    3,
  );
  for (let i = 1; i <= 7; i++) turn.add(i);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(flushed, [[1, 2, 3]]);
  await done.promise;
  assert.deepEqual(flushed, [[1, 2, 3], [4, 5, 6], [7, 8]]);
});

Deno.test("Turn hands over the batches of a turn together as long as that is quick", () => {
  const loop = new ManualSchedule();
  const flushed: number[][] = [];
  const turn = new Turn<number>((items) => flushed.push(items), loop.schedule, 3);
  for (let i = 1; i <= 7; i++) turn.add(i);
  loop.run();
  assert.deepEqual(flushed, [[1, 2, 3], [4, 5, 6], [7]]);
});

Deno.test("Turn.flush() hands over all that is left of a large batch, and nothing follows", async () => {
  const flushed: number[][] = [];
  const turn = new Turn<number>(
    (items) => {
      flushed.push(items);
      work();
    },
    setImmediate,
    3,
  );
  for (let i = 1; i <= 7; i++) turn.add(i);
  await new Promise((resolve) => setImmediate(resolve));
  turn.flush();
  assert.deepEqual(flushed, [[1, 2, 3], [4, 5, 6, 7]]);
  turn.add(8);
  await new Promise((resolve) => setTimeout(resolve, 0));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(flushed.slice(2), [[8]]);
});

Deno.test("Turn keeps nothing that it has handed over, however long more comes than one batch takes", async () => {
  const size = 100_000;
  const count = 1_000;
  let added = 0;
  let handedOver = 0;
  const done = Promise.withResolvers<void>();
  const before = readOwnLiveBytes();
  let most = 0;
  const add = () => {
    if (added++ < count) turn.add(new Uint8Array(size));
  };
  const turn = new Turn<Uint8Array>(
    () => {
      if (++handedOver % 250 === 0) most = Math.max(most, readOwnLiveBytes() - before);
      add();
      if (handedOver === count) done.resolve();
    },
    setImmediate,
    1,
  );
  for (let i = 0; i < 10; i++) add();
  await done.promise;
  assert.ok(most < 100 * size, `${most} bytes are alive`);
});
