/** Deadlines near and far, and those that were moved or cleared. */
import assert from "node:assert/strict";
import { Deadline } from "../../lib/base/deadline.ts";

Deno.test("Deadline.set() runs its task when the moment has come, and at once when it has passed", async () => {
  const deadline = new Deadline();
  const moment = Date.now() + 20;
  await new Promise<void>((resolve) => deadline.set(moment, resolve));
  assert.ok(Date.now() >= moment);
  await new Promise<void>((resolve) => deadline.set(0, resolve));
});

Deno.test("Deadline.set() does not take a moment beyond the runtime's longest timer for now", async () => {
  const deadline = new Deadline();
  let ran = false;
  deadline.set(Date.now() + 2 ** 33, () => ran = true);
  const later = new Deadline();
  await new Promise<void>((resolve) => later.set(Date.now() + 20, resolve));
  assert.equal(ran, false);
  deadline.clear();
});

Deno.test("Deadline.set() anew replaces what was set, and clear() forgets it", async () => {
  const deadline = new Deadline();
  let ran = "";
  deadline.set(0, () => ran += "first");
  await new Promise<void>((resolve) => {
    deadline.set(0, () => {
      ran += "second";
      resolve();
    });
  });
  deadline.set(0, () => ran += "third");
  deadline.clear();
  await new Promise<void>((resolve) => new Deadline().set(Date.now() + 5, resolve));
  assert.equal(ran, "second");
});
