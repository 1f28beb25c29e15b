/** The simulator finds every planted fault, and prints a schedule that people can read. */
import assert from "node:assert/strict";
import { hunt, MOST_SCHEDULES, plant, readSource } from "./mutate.ts";
import { MUTANTS } from "./mutants.ts";

/** A shrunk schedule has at most so many steps. */
const MOST_STEPS = 15;

for (const mutant of MUTANTS) {
  Deno.test(`A planted fault is found within ${MOST_SCHEDULES} schedules: ${mutant.name}`, async () => {
    plant(await readSource(mutant), mutant);
    const { found, output } = await hunt(mutant);
    assert.ok(found, output);
    const steps = output.split("\n").filter((line) => /^ {2}\+\d+ ms/.test(line));
    assert.ok(steps.length >= 1 && steps.length <= MOST_STEPS, `the schedule is short\n${output}`);
  });
}

Deno.test("A mutant whose text is gone is named", () => {
  const [mutant] = MUTANTS;
  assert.throws(() => plant("something else", mutant!), /skip the hold.*is stale.*0 times/s);
});
