/** The channel page in real browsers: what is said, in every form, and what was said before. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Download, Page } from "playwright";
import { expect } from "playwright/test";
import { openAs, post, readStored, shownMessages, write } from "./channel_page.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

/** A picture that needs room. */
async function drawTall(page: Page): Promise<Uint8Array<ArrayBuffer>> {
  await page.setViewportSize({ width: 200, height: 300 });
  return new Uint8Array(await page.screenshot());
}

/** A picture of one pixel. */
const PNG = Uint8Array.fromBase64(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==",
);

site.test("Pages of a channel talk, each under its name, with sockets and curl among them", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/square", "Anna", "Ben");
  const socket = new WebSocket(`${server.socketUrl}/square?name=Zoe`);
  await new Promise((resolve) => socket.onopen = resolve);
  assert(anna && ben);

  await write(anna, "good morning");
  await expect(shownMessages(ben)).toHaveText(["good morning"]);
  await write(ben, "hello Anna");
  await expect(shownMessages(anna)).toHaveText(["good morning", "hello Anna"]);
  socket.send("from a socket");
  await expect(shownMessages(ben)).toHaveText(["good morning", "hello Anna", "from a socket"]);
  await curl("-d", "from curl", `${server.url}/square`);
  await curl("-d", "from curl by name", `${server.url}/square?name=Carl`);
  const texts = ["good morning", "hello Anna", "from a socket", "from curl", "from curl by name"];
  for (const [page, names] of [[anna, ["you", "Ben"]], [ben, ["Anna", "you"]]] as const) {
    // After a reload it is all history, and says the same.
    for (const reloads of [false, true]) {
      if (reloads) await page.reload();
      await expect(shownMessages(page)).toHaveText(texts);
      await expect(page.locator(".message .who")).toHaveText([...names, "Zoe", "Carl"]);
      await expect(page.locator(".message.mine")).toHaveCount(1);
    }
  }
  socket.close();
});

site.test("Enter sends, Shift and Enter begin a new line, blanks are not sent", async ({ open, server }) => {
  const [page] = await openAs(open, "/lines", "Anna");
  assert(page);
  const box = page.getByLabel("Message", { exact: true });
  await box.pressSequentially("first");
  await box.press("Shift+Enter");
  await box.pressSequentially("second");
  await box.press("Enter");
  await expect(box).toHaveValue("");
  await expect(shownMessages(page)).toHaveText(["first\nsecond"], { useInnerText: true });
  await box.fill(" \n ");
  await box.press("Enter");
  await box.fill("by the button");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(shownMessages(page)).toHaveCount(2);
  assert.deepEqual(await readStored(`${server.url}/lines`), ["first\nsecond", "by the button"]);
});

site.test("Every kind of content is shown as what it is, live and as history", async ({ open, server }) => {
  const url = `${server.url}/kinds`;
  const [page] = await openAs(open, "/kinds", "Anna");
  assert(page);
  const value = { station: "Florida", wind: { speed: 4 } };
  await post(url, "see https://example.org/rain?mm=4, please");
  await post(`${url}?event=measured`, JSON.stringify({ data: value }), "application/json");
  await post(url, PNG, "image/png");
  await post(url, new Uint8Array([0, 1, 2, 250]), "application/octet-stream");
  await post(url, "[]", "application/json");
  for (const reloads of [false, true]) {
    if (reloads) await page.reload();
    const messages = page.locator("#messages > .message");
    await expect(messages).toHaveCount(5);
    const link = messages.nth(0).getByRole("link");
    await expect(link).toHaveAttribute("href", "https://example.org/rain?mm=4");
    await expect(link).toHaveAttribute("rel", /noopener/);

    await expect(messages.nth(1).locator(".event")).toHaveText("measured");
    const wind = messages.nth(1).locator("details details");
    await expect(wind.locator("summary")).toHaveText("wind: { speed: 4 }", { useInnerText: true });
    await expect(wind.getByText("speed: 4", { exact: true })).toBeHidden();
    await wind.locator("summary").press("Enter");
    await expect(wind.getByText("speed: 4", { exact: true })).toBeVisible();

    const picture = messages.nth(2).getByRole("img");
    await expect(picture).toHaveJSProperty("naturalWidth", 1);
    const downloading: Promise<Download> = page.waitForEvent("download");
    await messages.nth(3).getByRole("link", { name: "Save 4 bytes" }).click();
    const saved: string = await (await downloading).path();
    assert.deepEqual([...await readFile(saved)], [0, 1, 2, 250]);
    await expect(messages.nth(4)).toContainText("[]");
  }
});

site.test("Older messages come a page at a time by their button, which keeps the focus", async ({ open, server }) => {
  const url = `${server.url}/diary`;
  for (let number = 1; number <= 320; number++) await post(url, `entry ${number}`);
  const page = await open("/diary");
  await expectLive(page);
  await expect(shownMessages(page)).toHaveCount(50);
  await expect(shownMessages(page).last()).toBeInViewport();
  const older = page.getByRole("button", { name: "Show older messages" });
  // It comes into sight with the focus, which is scrolling up: the first page comes by itself.
  await older.focus();
  await expect(shownMessages(page)).toHaveCount(250);
  // What was on top is still in sight: what came lies above it.
  await expect(page.getByText("entry 271", { exact: true })).toBeInViewport();
  await expect(older).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.locator("#older")).toHaveText("This is where it began.");
  await expect(page.locator("#scroller")).toBeFocused();
  await expect(shownMessages(page)).toHaveText(Array.from({ length: 320 }, (_, i) => `entry ${i + 1}`));
  await expect(page.locator(".gap")).toHaveCount(0);
});

site.test("Older messages come by scrolling up, and what is read stays where it is", async ({ open, server }) => {
  const url = `${server.url}/roll`;
  for (let number = 1; number <= 270; number++) await post(url, `entry ${number}`);
  const page = await open("/roll");
  await expectLive(page);
  await expect(shownMessages(page)).toHaveCount(50);
  const first = page.getByText("entry 221", { exact: true });
  const scroller = page.locator("#scroller");
  await scroller.hover();
  await page.mouse.wheel(0, -100_000);
  await expect(shownMessages(page)).toHaveCount(250);
  await expect(first).toBeInViewport();
  // Whoever goes on scrolling comes to the beginning.
  await page.mouse.wheel(0, -100_000);
  await expect(page.locator("#older")).toHaveText("This is where it began.");
  await expect(shownMessages(page)).toHaveCount(270);
});

site.test("What is written on /echo comes back", async ({ open }) => {
  const [page] = await openAs(open, "/echo", "Anna");
  assert(page);
  await write(page, "hello?");
  await expect(shownMessages(page)).toHaveText(["hello?"]);
  await expect(page.locator("#outbox .message")).toHaveCount(0);
});

site.test("Whoever reads further up is left there, and told what comes", async ({ open, server }) => {
  const url = `${server.url}/reading`;
  for (let number = 1; number <= 40; number++) await post(url, `line ${number}`);
  const [page] = await openAs(open, "/reading", "Anna");
  assert(page);
  await page.locator("#scroller").evaluate((element) => element.scrollTop = 0);
  await expect(page.getByText("line 1", { exact: true })).toBeInViewport();
  await post(url, "something new");
  const more = page.getByRole("button", { name: "1 new message" });
  await expect(more).toBeVisible();
  await expect(page.getByText("line 1", { exact: true })).toBeInViewport();
  await more.click();
  await expect(shownMessages(page).last()).toBeInViewport();
  await expect(shownMessages(page).last()).toHaveText("something new");
  await expect(more).toBeHidden();
});

site.test("Pictures that are loaded late do not push the newest message out of sight", async ({ open, server }) => {
  const tall = await drawTall(await open("/robots.txt"));
  await post(`${server.url}/album`, "first");
  await post(`${server.url}/album`, tall, "image/png");
  await post(`${server.url}/album`, "last");
  for (const height of [700, 400]) {
    const page = await open("/album", { viewport: { width: 400, height } });
    await expect(page.getByRole("img", { name: /^Picture/ })).toHaveJSProperty("naturalHeight", 300);
    await expect(page.getByText("last", { exact: true })).toBeInViewport();
  }
});

site.test("A thousand messages at once leave the page in order, bounded and at hand", async ({ open, server }) => {
  const [page] = await openAs(open, "/burst", "Anna");
  assert(page);
  // How often the list is laid out anew, however many messages come.
  await page.evaluate(`
    globalThis.changes = 0;
    new MutationObserver(() => changes++).observe(document.querySelector("#messages"), { childList: true })`);
  const texts = Array.from({ length: 1_000 }, (_, i) => `drop ${i + 1}`);
  const commands = texts.map((data) => ({ publish: { channel: "burst", data } }));
  const response = await fetch(`${server.url}/api/batch`, {
    method: "POST",
    body: JSON.stringify({ commands }),
  });
  assert.equal((await response.json()).replies.length, 1_000);
  await write(page, "still here");
  await expect(shownMessages(page).last()).toHaveText("still here");
  const shown = await shownMessages(page).allTextContents();
  assert(shown.length <= 500, `${shown.length} messages are shown`);
  assert.deepEqual(shown, [...texts, "still here"].slice(-shown.length));
  const changes = Number(await page.evaluate("changes"));
  assert(changes < 500, `the list changed ${changes} times`);
  assert(await page.locator(".drop").count() <= 20);
  await expect(page.getByRole("button", { name: "Show older messages" })).toBeAttached();
});
