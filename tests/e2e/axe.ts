/** Looks for barriers with axe. The tests of pages ask it. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import type { Page } from "playwright";

const AXE = await Deno.readTextFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"));

/** What axe is asked of a page: all that it knows, and the rules that look at colours once more in the dark. */
const SCHEMES = {
  light: { resultTypes: ["violations"] },
  dark: { resultTypes: ["violations"], runOnly: ["color-contrast", "link-in-text-block"] },
} as const;

/** Fails with every barrier axe finds, in both colour schemes or, at another width, which changes no colour, in one. */
export async function expectAccessible(
  page: Page,
  name: string,
  schemes: readonly (keyof typeof SCHEMES)[] = ["light", "dark"],
): Promise<void> {
  // Colours are judged at rest.
  await page.emulateMedia({ reducedMotion: "reduce" });
  if (await page.evaluate("typeof axe") === "undefined") await page.evaluate(AXE);
  for (const colorScheme of schemes) {
    const options = JSON.stringify(SCHEMES[colorScheme]);
    await page.emulateMedia({ colorScheme });
    const results: {
      violations: { id: string; help: string; nodes: { html: string; failureSummary: string }[] }[];
    } = await page.evaluate(`axe.run(${options})`);
    const barriers = results.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${
        nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join("\n")
      }`
    );
    assert.deepEqual(barriers, [], `${name} (${colorScheme})`);
  }
}
