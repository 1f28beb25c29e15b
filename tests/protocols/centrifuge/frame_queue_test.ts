/** The order in which frames are read, and who waits for a large one. */
import assert from "node:assert/strict";
import { nextSlice } from "../../../lib/base/slices.ts";
import { FrameQueue } from "../../../lib/protocols/centrifuge/frame_queue.ts";
import { MAX_COMMAND_BYTES } from "../../../lib/protocols/centrifuge/frame_size.ts";

const LARGE = "x".repeat(MAX_COMMAND_BYTES + 1);

function openQueue() {
  const read: string[] = [];
  const queue = new FrameQueue((frame) => read.push(frame.length > 10 ? "large" : String(frame)));
  return { read, queue };
}

Deno.test("FrameQueue reads small frames at once", () => {
  const { read, queue } = openQueue();
  for (const frame of ["1", "2"]) queue.add(frame);
  assert.deepEqual(read, ["1", "2"]);
});

Deno.test("FrameQueue reads each large frame in a slice of its own, and all in order", async () => {
  const { read, queue } = openQueue();
  for (const frame of ["1", LARGE, "2", "3", LARGE, "4"]) queue.add(frame);
  assert.deepEqual(read, ["1"]);
  await nextSlice();
  assert.deepEqual(read, ["1", "large", "2", "3"]);
  queue.add("5");
  await nextSlice();
  assert.deepEqual(read, ["1", "large", "2", "3", "large", "4", "5"]);
  queue.add("6");
  assert.equal(read.at(-1), "6");
});

Deno.test("FrameQueue reads everything at once when too much waits, and goes on", async () => {
  const { read, queue } = openQueue();
  for (let i = 0; i < 70; i++) queue.add(LARGE);
  assert.ok(read.length >= 60);
  const before = read.length;
  for (let i = before; i < 70; i++) await nextSlice();
  await nextSlice();
  assert.equal(read.length, 70);
  queue.add("end");
  assert.equal(read.at(-1), "end");
});

Deno.test("FrameQueue.clear() forgets what waits", async () => {
  const { read, queue } = openQueue();
  queue.add(LARGE);
  queue.clear();
  await nextSlice();
  queue.add("1");
  assert.deepEqual(read, ["1"]);
});
