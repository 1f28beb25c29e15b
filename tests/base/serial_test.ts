/** Tasks that wait for each other. */
import assert from "node:assert/strict";
import { Serial } from "../../lib/base/serial.ts";

Deno.test("Serial.run() runs tasks one at a time, in order, past those that fail", async () => {
  const serial = new Serial();
  const log: string[] = [];
  const task = (name: string, fails = false) => async () => {
    log.push(`${name} starts`);
    await new Promise((resolve) => setImmediate(resolve));
    log.push(`${name} ends`);
    if (fails) throw new Error(name);
    return name;
  };
  const results = Promise.allSettled([
    serial.run(task("a")),
    serial.run(task("b", true)),
    serial.run(task("c")),
  ]);
  assert.equal(serial.waiting, 3);
  assert.deepEqual((await results).map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
  assert.deepEqual(log, ["a", "b", "c"].flatMap((name) => [`${name} starts`, `${name} ends`]));
  assert.equal(serial.waiting, 0);
});
