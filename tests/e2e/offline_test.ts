/** Every page that holds a connection says so when the browser is offline, and comes back by itself. */
import { expect } from "playwright/test";
import { post } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const PAGES = [
  "/",
  "/tunnel",
  "/tunnel/*",
  "/_inspect",
  "/_examples/hello",
  "/_examples/chat",
  "/_examples/raindrops",
  "/_examples/cursors",
];

const site = new Site();

for (const path of PAGES) {
  site.test(`${path} says that the browser is offline, and reconnects when it is not`, async ({ open }) => {
    const page = await open(path);
    if (path.endsWith("/cursors")) {
      await page.getByLabel("Your name").fill("Anna");
      await page.getByRole("button", { name: "Join" }).click();
    }
    await expectLive(page);
    await page.context().setOffline(true);
    await expect(page.locator("#state")).toHaveText(
      /^Disconnected: you are offline\. (Next try in \d+ s\.)?/,
    );
    await expect(page.locator("#state")).toHaveAttribute("data-state", "waiting");
    await page.context().setOffline(false);
    await expectLive(page);
  });
}

site.test("Page of a pattern shows what was published while it was offline, once", async ({ open, server }) => {
  const page = await open("/missed/*");
  await expectLive(page);
  await post(`${server.url}/missed/a`, "before");
  await expect(page.locator("#rows .data")).toHaveText(["before"]);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("offline");
  await post(`${server.url}/missed/a`, "meanwhile");
  await post(`${server.url}/missed/b`, "meanwhile, elsewhere");
  await page.context().setOffline(false);
  await expect(page.locator("#rows .data")).toHaveText(["meanwhile, elsewhere", "meanwhile", "before"]);
  await post(`${server.url}/missed/a`, "after");
  await expect(page.locator("#rows .data")).toHaveCount(4);
});
