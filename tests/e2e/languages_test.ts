/** The snippets of static/docs/languages.md for a page, as they stand there but for the server's address, in Chromium. */
import assert from "node:assert/strict";
import type { Browser, Page } from "playwright";
import { expect } from "playwright/test";
import { openBrowser } from "../browser.ts";
import { createToken, startKeyedApp } from "../protocols/centrifuge/app.ts";
import { startApp, type TestApp } from "../test_app.ts";

const PAGE = await Deno.readTextFile(new URL("../../static/docs/languages.md", import.meta.url));
const ADDRESS = "localhost:8000";

let browser: Browser;
Deno.test.beforeAll(async () => {
  browser = await openBrowser();
});
Deno.test.afterAll(() => browser.close());

function findBlock(text: string, { port }: TestApp): string {
  const [block] = [...PAGE.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map(([, code]) => code ?? "")
    .filter((code) => code.startsWith(`// ${text}, in a page\n`));
  assert.ok(block !== undefined && block.includes(ADDRESS));
  return block.replaceAll(ADDRESS, `127.0.0.1:${port}`);
}

/** Opens a page of the server, and what its console says. */
async function openPage(
  { url }: TestApp,
): Promise<{ readonly page: Page; readonly said: readonly string[] }> {
  const page = await (await browser.newContext()).newPage();
  const said: string[] = [];
  page.on("console", (message) => said.push(message.text()));
  await page.goto(`${url}/_docs`);
  return { page, said };
}

// The browser outlives the tests: Playwright reads from its pipes in between.
const options = { sanitizeOps: false, sanitizeResources: false };

Deno.test(
  "Browser: the snippet that subscribes shows what the one that publishes sends",
  options,
  async () => {
    await using server = await startApp();
    const { page, said } = await openPage(server);
    await page.evaluate(`(async () => { ${findBlock("subscribe", server)}
    await new Promise((resolve) => events.addEventListener("begin", resolve)); })()`);
    await page.evaluate(`(async () => { ${findBlock("publish", server)} })()`);
    await expect.poll(() => said).toContain("it rains");
    await page.context().close();
  },
);

Deno.test(
  "Browser: the snippet with a token publishes and subscribes where both take one",
  options,
  async () => {
    await using server = await startKeyedApp();
    const { page, said } = await openPage(server);
    const token = await createToken({ sub: "ann", grants: { news: ["subscribe", "publish", "history"] } });
    const code = findBlock("with a token", server);
    // It reads for ever.
    await page.evaluate(`void (async (token) => { ${code} })(${JSON.stringify(token)})`);
    await expect.poll(() => said).toContain("it rains");
    await page.context().close();
  },
);
