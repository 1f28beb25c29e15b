/** What `deno task bench --help` and `deno task` say of each entry is understood without the others. */
import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { SCENARIOS } from "./scenarios/mod.ts";

const REFERS = /\b(?:the same|as above|as before|ditto|likewise)\b/i;

Deno.test("The summary of each scenario stands alone, and differs from the others", () => {
  const summaries = SCENARIOS.map(({ summary }) => summary);
  assert.deepEqual(summaries.filter((summary) => REFERS.test(summary)), []);
  assert.equal(new Set(summaries).size, SCENARIOS.length);
  assert.equal(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length);
});

Deno.test("The description of each task stands alone", () => {
  const tasks: Record<string, string | { readonly description: string }> = config.tasks;
  const descriptions = Object.values(tasks).map((task) => typeof task === "string" ? "" : task.description);
  assert.deepEqual(descriptions.filter((description) => REFERS.test(description)), []);
});
