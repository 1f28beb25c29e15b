/** A page across a restart of the server, and what it shows meanwhile. */
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Pages survive a server restart and show their state meanwhile", async ({ open }) => {
  await using server = await startServer();
  const chat = await open(`${server.url}/_examples/chat`);
  const channel = await open(`${server.url}/weather`);
  const hello = await open(`${server.url}/_examples/hello`);
  for (const page of [chat, channel, hello]) await expectLive(page);

  await server.stop();
  for (const page of [chat, channel, hello]) {
    await expect(page.locator("#state")).toHaveText(/^Disconnected.* Next try in \d+ s\.$/);
  }
  // 1012 is "service restart".
  await expect(hello.locator("#log li").first()).toHaveText("Disconnected: 1012");
  await expect(hello.locator("#log li", { hasText: "Error" }).first()).toBeVisible();
  // What is written while nobody listens stays in the box.
  await chat.locator("#box").fill("are you back?");
  await chat.locator("#box").press("Enter");
  await expect(chat.locator("#box")).toHaveValue("are you back?");
  await expect(chat.locator("#messages li")).toHaveCount(0);

  await server.start();
  for (const page of [chat, channel, hello]) {
    await expect(page.locator("#state")).toHaveText("Live", { timeout: 20_000 });
  }
  await chat.locator("#box").press("Enter");
  await expect(chat.locator(".mine")).toHaveText(["are you back?"]);
  await curl("-d", "yes", `${server.url}/chat`);
  await expect(chat.locator("#messages li")).toHaveText(["are you back?", "yes"]);
});

site.test("Page survives a crash of the server", async ({ open }) => {
  await using server = await startServer();
  const page = await open(`${server.url}/_examples/raindrops`);
  await expectLive(page);
  await server.kill();
  await expect(page.locator("#state")).toContainText("Next try in");
  await server.start();
  await expect(page.locator("#state")).toHaveText("Live", { timeout: 20_000 });
  await curl("-d", "it rains again", `${server.url}/`);
  await expect(page.locator(".raindrop")).toHaveText(["it rains again"]);
});

site.test("Page tries again at once when the browser says it is online", async ({ open }) => {
  await using server = await startServer();
  const page = await open(`${server.url}/_examples/chat`);
  await expectLive(page);
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  await server.stop();
  await expect(page.locator("#state")).toContainText("Next try in");
  await server.start();
  // The page's clock stands still, so only the event can make it try.
  await page.evaluate("dispatchEvent(new Event('online'))");
  await expectLive(page);
});
