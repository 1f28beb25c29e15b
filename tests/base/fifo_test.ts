import assert from "node:assert/strict";
import fc from "fast-check";
import { Fifo } from "../../lib/base/fifo.ts";

Deno.test("Fifo is an array from which the first items are taken", () => {
  // A number is pushed, undefined stands for taking one.
  fc.assert(fc.property(fc.array(fc.option(fc.nat(), { nil: undefined })), (steps) => {
    const fifo = new Fifo<number>();
    const model: number[] = [];
    for (const step of steps) {
      if (step === undefined) assert.equal(fifo.shift(), model.shift());
      else {
        fifo.push(step);
        model.push(step);
      }
      assert.equal(fifo.length, model.length);
    }
  }));
});
