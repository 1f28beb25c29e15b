/** The manual in a browser: code names this server, is copied with one click, and the search finds sections. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { Site } from "./site.ts";

const site = new Site();

site.test("Code of the manual names this server and is copied whole", async ({ open, server }) => {
  const page = await open("/_docs/start", { permissions: ["clipboard-read", "clipboard-write"] });
  const block = page.locator(".block", { hasText: "it rains" });
  await block.getByRole("button", { name: /^Copy/ }).click();
  await expect(block.getByRole("button")).toHaveText("Copied");
  const { host } = new URL(server.url);
  assert.equal(
    await page.evaluate("navigator.clipboard.readText()"),
    `curl -d 'it rains' http://${host}/news`,
  );
  await page.goto(`${server.url}/_docs/websocket`);
  await expect(page.locator(".block").first()).toContainText(`new WebSocket("ws://${host}/news`);
  // What a proxy passes requests on to is not the address that this browser knows.
  await page.goto(`${server.url}/_docs/running`);
  await expect(page.locator(".block", { hasText: "proxy_pass" })).toContainText("http://127.0.0.1:8000;");
});

site.test("The search finds sections by their words and leads to the first with Enter", async ({ open }) => {
  const page = await open("/_docs");
  const box = page.getByRole("searchbox");
  await box.fill("restore backup");
  await expect(page.locator("#results a").first()).toHaveText(/Backup and restore/);
  await expect(page.locator("#pages")).toBeHidden();
  await box.fill("xyzzy");
  await expect(page.locator("#found")).toHaveText("0 sections");
  await box.fill("idempotency-key repeat");
  await expect(page.locator("#results a").first()).toBeVisible();
  await box.press("Enter");
  await expect(page).toHaveURL(/\/_docs\/channels#repeat-a-request-safely$/);
});

site.test("Flags and variables of the settings stand whole in their lines where there is room", async ({ open }) => {
  const page = await open("/_docs/configuration");
  await page.setViewportSize({ width: 1_200, height: 900 });
  const table = page.locator(".table", { hasText: "--port N" }).first();
  const lines = await table.locator("td:first-child code").evaluateAll((codes) =>
    codes.map((code) => code.getClientRects().length)
  );
  assert.ok(lines.length > 100);
  assert.deepEqual([...new Set(lines)], [1]);
  assert.ok(
    await table.evaluate((element) => element.scrollWidth <= element.clientWidth),
    "nothing is cut off",
  );
});
