/** Looks for barriers with axe. The tests of pages ask it. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import type { Page } from "playwright";

const AXE = await Deno.readTextFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"));

/** Fails with every barrier axe finds, in both colour schemes. */
export async function expectAccessible(page: Page, name: string): Promise<void> {
  // Colours are judged at rest.
  await page.emulateMedia({ reducedMotion: "reduce" });
  if (await page.evaluate("typeof axe") === "undefined") await page.evaluate(AXE);
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const results: {
      violations: { id: string; help: string; nodes: { html: string; failureSummary: string }[] }[];
    } = await page.evaluate("axe.run()");
    const barriers = results.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${
        nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join("\n")
      }`
    );
    assert.deepEqual(barriers, [], `${name} (${colorScheme})`);
  }
}
