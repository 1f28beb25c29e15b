/** The chat example in real browsers. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Chat pages get what one of them sends, the sender does not get it back", async ({ open }) => {
  const pages = [await open("/_examples/chat"), await open("/_examples/chat"), await open("/_examples/chat")];
  const received = pages.map(() => [] as string[]);
  for (const [i, page] of pages.entries()) {
    // What crosses the wire, whatever the page makes of it: its socket is the next one after a reload.
    page.on("websocket", (socket) => {
      socket.on("framereceived", ({ payload }) => received[i]?.push(String(payload)));
    });
    await page.reload();
    await expectLive(page);
  }
  const [first, second, third] = pages as [Page, Page, Page];

  await say(first, "one");
  await expect(second.locator("#messages li")).toHaveText(["one"]);
  await expect(third.locator("#messages li")).toHaveText(["one"]);
  await say(second, "two");
  await expect(first.locator("#messages li")).toHaveText(["one", "two"]);
  await expect(third.locator("#messages li")).toHaveText(["one", "two"]);
  await say(third, "three");
  for (const page of pages) await expect(page.locator("#messages li")).toHaveText(["one", "two", "three"]);

  await expect(first.locator(".mine")).toHaveText(["one"]);
  await expect(second.locator(".mine")).toHaveText(["two"]);
  await expect(third.locator(".mine")).toHaveText(["three"]);
  assert.deepEqual(received, [["two", "three"], ["one", "three"], ["one", "two"]]);
});

site.test("Chat page signs with its name, and asks the server under it", async ({ open }) => {
  const [anna, ben] = [await open("/_examples/chat"), await open("/_examples/chat?name=Ben")];
  await anna.getByLabel("Your name").fill("Anna");
  await anna.getByRole("button", { name: "Use this name" }).click();
  await anna.waitForURL("**/chat?name=Anna");
  await expectLive(anna);
  await expectLive(ben);

  await say(anna, "good morning");
  await expect(ben.locator("#messages li")).toHaveText(["Anna: good morning"]);
  await expect(anna.locator(".mine")).toHaveText(["good morning"]);
  await say(anna, "/who");
  await expect(anna.locator("#messages li").last()).toHaveText(/^(?=.*\bAnna\b)(?=.*\bBen\b)/);
  await say(anna, "/time");
  await expect(anna.locator("#messages li").last()).toHaveText(/\d\d:\d\d/);
  await say(anna, "/help");
  await expect(anna.locator("#messages li").last()).toContainText("/who");
  await say(ben, "still here");
  await expect(anna.locator("#messages li").last()).toHaveText("Ben: still here");
  await expect(ben.locator("#messages li")).toHaveText(["Anna: good morning", "still here"]);
});

async function say(page: Page, text: string): Promise<void> {
  await page.locator("#box").fill(text);
  await page.locator("#box").press("Enter");
}
