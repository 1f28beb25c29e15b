/** The home page can be installed, and whoever comes back while the server is away is told so. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site({ isWhole: true });

const READY = "navigator.serviceWorker.ready.then(({ active }) => active.state)";

site.test("Browser finds nothing that keeps the home page from being installed", async ({ open, server }) => {
  const page = await open("/");
  await expectLive(page);
  const session = await page.context().newCDPSession(page);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // A window without history of its own cannot install anything, whatever the page is.
  const errors = installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito");
  assert.deepEqual(errors, []);
  const { errors: inManifest, url } = await session.send("Page.getAppManifest");
  assert.deepEqual(inManifest, []);
  const response = await fetch(url);
  assert.equal(response.headers.get("content-type"), "application/manifest+json");
  const { icons, start_url, scope } = await response.json();
  assert.deepEqual([start_url, scope], ["/", "/"]);
  for (const { src, sizes, type } of icons) {
    const icon = await fetch(new URL(src, server.url));
    assert.equal(icon.headers.get("content-type"), type);
    const bytes = new DataView(await icon.arrayBuffer());
    // Width and height of a PNG (its section 11.2.1).
    if (type === "image/png") assert.equal(`${bytes.getUint32(16)}x${bytes.getUint32(20)}`, sizes);
  }
});

site.test("Without the server a page says so, and goes on by itself when it is back", async ({ open }) => {
  await using server = await startServer();
  const page = await open(server.url);
  await page.evaluate(READY);
  await page.reload();
  await expectLive(page);
  await server.kill();
  await page.goto(`${server.url}/news`);
  await expect(page.locator("h1")).toHaveText("The server was not reached");
  await expect(page.getByRole("status")).toContainText("You are online, but the server does not answer");
  await expect(page.getByRole("button", { name: "Colours:" })).toBeVisible();
  await expectAccessible(page, "offline page");
  await page.setViewportSize({ width: 320, height: 640 });
  await expectAccessible(page, "offline page at 320 px");
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  await server.start();
  await expect(page.locator("h1")).toHaveText("news", { timeout: 15_000 });
  await expectLive(page);
});

site.test("Service worker keeps its page and its parts, and nothing of any channel", async ({ open, server }) => {
  const page = await open("/");
  await page.evaluate(READY);
  for (const path of ["/news", "/news?since=earliest", "/_docs", "/"]) await page.goto(server.url + path);
  const kept = await page.evaluate<string[]>(`(async () => {
    const urls = [];
    for (const name of await caches.keys()) {
      for (const { url } of await (await caches.open(name)).keys()) urls.push(new URL(url).pathname);
    }
    return urls;
  })()`);
  assert.deepEqual(kept.map((path) => path.replace(/[0-9a-f]{12}\//, "")).sort(), [
    "/_offline",
    "/_static/favicon.svg",
    "/_static/offline.ts",
    "/_static/rain.svg",
    "/_static/style.css",
    "/_static/theme.ts",
  ]);
  // What the server says is shown, also when it says no.
  const response = await page.goto(`${server.url}/_docs/nothing`);
  assert.equal(response?.status(), 404);
  await expect(page.locator("h1")).toHaveText("There is nothing here");
});
