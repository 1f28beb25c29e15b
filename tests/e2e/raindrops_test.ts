/** The raindrops example in real browsers, watered by the real curl. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("curl falls on two raindrops pages at once", async ({ open, server }) => {
  const [left, right] = [await open("/_examples/raindrops"), await open("/_examples/raindrops")];
  await expectLive(left);
  await expectLive(right);

  assert.equal(await curl("-d", "it rains", `${server.url}/`), "Cool thanks");
  await expect(left.locator("#raindrops .raindrop")).toHaveText(["it rains"]);
  await expect(right.locator("#raindrops .raindrop")).toHaveText(["it rains"]);
  await curl("-H", "content-type: application/json", "-d", '{"data":"and again"}', `${server.url}/`);
  await expect(left.locator("#raindrops .raindrop")).toHaveText(["it rains", "and again"]);
  await expect(right.locator("#raindrops .raindrop")).toHaveText(["it rains", "and again"]);
});

site.test("curl to @id1 reaches that page, the other stays dry", async ({ open, server }) => {
  const wet = await open("/_examples/raindrops?channel=garden&id=id1");
  const dry = await open("/_examples/raindrops?channel=garden");
  await expectLive(wet);
  await expectLive(dry);
  // The page shows the very command to try.
  await expect(wet.locator("code.command")).toHaveText(`curl -d 'only you' ${server.url}/@id1`);

  await curl("-d", "only you", `${server.url}/@id1`);
  await expect(wet.locator(".raindrop")).toHaveText(["only you"]);
  // What comes later to both shows that the first one never came to the other.
  await curl("-d", "everyone", `${server.url}/garden`);
  await expect(wet.locator(".raindrop")).toHaveText(["only you", "everyone"]);
  await expect(dry.locator(".raindrop")).toHaveText(["everyone"]);
});

site.test("Raindrops page keeps as many drops as fit, the newest", async ({ open, server }) => {
  const page = await open("/_examples/raindrops?channel=flood", { reducedMotion: "reduce" });
  await expectLive(page);
  for (let number = 1; number <= 100; number++) await curl("-d", `drop ${number}`, `${server.url}/flood`);
  await expect(page.locator(".raindrop").last()).toHaveText("drop 100");
  assert(await page.locator(".raindrop").count() < 100);
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
});
