/** Counts by name. */
import assert from "node:assert/strict";
import { Tally } from "../../lib/base/tally.ts";

Deno.test("Tally counts by name, forgets names of which there is none, and goes below nothing", () => {
  const tally = new Tally();
  for (const name of ["a", "b", "a"]) tally.add(name);
  assert.deepEqual([tally.size, tally.count("a"), tally.count("b"), tally.count("c")], [2, 2, 1, 0]);
  for (const name of ["b", "c", "c", "a"]) tally.remove(name);
  tally.add("c");
  assert.deepEqual([tally.size, tally.count("a"), tally.count("b"), tally.count("c")], [2, 1, 0, 1]);
});
