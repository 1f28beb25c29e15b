/** What one does with a message: copy it, see it as it is stored, link to it, delete it; and pages that others delete from. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { openAs, post, readStored, shownMessages, write } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

async function openMenu(page: Page, text: string): Promise<void> {
  await page.locator("#messages > .message").filter({ hasText: text }).hover();
  await page.getByRole("button", { name: `More about: ${text}` }).click();
  await expect(page.getByRole("menu")).toBeVisible();
}

const pick = (page: Page, name: string) => page.getByRole("menuitem", { name, exact: true }).click();

site.test("A message is copied, shown as it is stored, and linked to", async ({ open, server }) => {
  const { id } = await post(`${server.url}/menu?name=Ben&event=said`, "**old** <b>news</b>");
  const context = { permissions: ["clipboard-read", "clipboard-write"] };
  const page = await open("/menu?name=Anna", context);
  await expectLive(page);
  await openMenu(page, "**old**");
  await expectAccessible(page, "menu");
  await pick(page, "Copy");
  await expect(page.locator("#toast")).toHaveText("Copied");
  const clipboard = () => page.evaluate<string>("navigator.clipboard.readText()");
  assert.equal(await clipboard(), "**old** <b>news</b>");

  await openMenu(page, "**old**");
  await pick(page, "As it is stored");
  const raw = page.getByRole("dialog", { name: "The message as it is" });
  const json = JSON.parse(await raw.locator("pre").textContent() ?? "");
  assert.deepEqual([json.id, json.event, json.data], [id, "said", "**old** <b>news</b>"]);
  await expectAccessible(page, "raw");
  await page.keyboard.press("Escape");

  // One that came live, whose id the page has to ask for.
  await write(page, "fresh");
  await openMenu(page, "fresh");
  await pick(page, "Copy link");
  await expect(page.locator("#toast")).toHaveText("Link copied");
  const link = await clipboard();
  assert.match(link, /\/menu#[0-9a-z]+-\d+$/);
  const other = await open(link);
  await expect(other.locator(".pointed-at")).toContainText("fresh");
});

site.test("A deleted message is gone for everybody at once, and leaves no line behind", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/clean", "Anna", "Ben");
  assert(anna && ben);
  const pattern = await open("/*");
  await expectLive(pattern);
  for (const text of ["one", "two", "three"]) await write(anna, text);
  await expect(shownMessages(ben)).toHaveText(["one", "two", "three"]);
  await openMenu(ben, "two");
  await pick(ben, "Delete…");
  const dialog = ben.getByRole("dialog", { name: "Delete this message" });
  await expect(dialog.locator("blockquote")).toHaveText("two");
  await expectAccessible(ben, "delete dialog");
  await dialog.getByRole("button", { name: "Keep it" }).click();
  await expect(shownMessages(ben)).toHaveText(["one", "two", "three"]);
  await openMenu(ben, "two");
  await pick(ben, "Delete…");
  await dialog.getByRole("button", { name: "Delete" }).click();
  for (const page of [anna, ben]) {
    await expect(shownMessages(page)).toHaveText(["one", "three"]);
    await expect(page.locator(".gap")).toHaveCount(0);
  }
  await expect(pattern.locator("#rows").getByText("two", { exact: true })).toHaveCount(0);
  await expect(pattern.locator("#rows").getByText("three", { exact: true })).toHaveCount(1);
  assert.deepEqual(await readStored(`${server.url}/clean`), ["one", "three"]);
});

site.test("Clearing a channel empties its open pages, and what is written goes on", async ({ open, server }) => {
  const [anna] = await openAs(open, "/emptied", "Anna");
  assert(anna);
  for (const text of ["one", "two"]) await write(anna, text);
  await expect(shownMessages(anna)).toHaveCount(2);
  await (await fetch(`${server.url}/emptied`, { method: "DELETE" })).body?.cancel();
  await expect(shownMessages(anna)).toHaveCount(0);
  await expect(anna.locator("#quiet")).toBeVisible();
  await write(anna, "three");
  await expect(shownMessages(anna)).toHaveText(["three"]);
  await expect(anna.locator(".gap")).toHaveCount(0);
});

site.test("What was deleted while a page was away is gone when it is back", async ({ open, server }) => {
  const page = await open("/away?name=Anna");
  await expectLive(page);
  const ids: string[] = [];
  for (const text of ["one", "two", "three"]) ids.push((await post(`${server.url}/away`, text)).id);
  await expect(shownMessages(page)).toHaveCount(3);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("Next try in");
  await (await fetch(`${server.url}/away?id=${ids[1]}`, { method: "DELETE" })).body?.cancel();
  await page.context().setOffline(false);
  await expectLive(page);
  await expect(shownMessages(page)).toHaveText(["one", "three"]);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("Next try in");
  await (await fetch(`${server.url}/away`, { method: "DELETE" })).body?.cancel();
  await page.context().setOffline(false);
  await expectLive(page);
  await expect(shownMessages(page)).toHaveCount(0);
});

site.test("Messages are reached by keyboard: one stop of the Tab key, arrows between them", async ({ open, server }) => {
  for (const text of ["one", "two", "three"]) await post(`${server.url}/arrows`, text);
  const page = await open("/arrows?name=Anna");
  await expectLive(page);
  await page.locator("#scroller").focus();
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "More about: three" })).toBeFocused();
  await page.keyboard.press("ArrowUp");
  await expect(page.getByRole("button", { name: "More about: two" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("menuitem", { name: "Copy", exact: true })).toBeFocused();
  await page.keyboard.press("End");
  await expect(page.getByRole("menuitem", { name: "Delete…" })).toBeFocused();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("menu")).toBeHidden();
  await expect(page.getByRole("button", { name: "More about: two" })).toBeFocused();
  await page.keyboard.press("Tab");
  await expect(page.locator("#attach")).toBeFocused();
});

site.test("Deleting is offered to operators alone", async ({ open }) => {
  const key = "an-api-key-of-enough-letters";
  await using rules = await writeRules();
  await using server = await startServer({
    env: { RAINDROPS_API_KEYS: key, RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes" },
    flags: ["--rules", rules.path],
  });
  const headers = { "x-api-key": key };
  await (await fetch(`${server.url}/open/room`, { method: "POST", body: "hello", headers })).body?.cancel();
  const page = await open(`${server.url}/open/room`);
  await expectLive(page);
  await openMenu(page, "hello");
  await expect(page.getByRole("menuitem")).toHaveText(["Copy", "Copy link", "As it is stored"]);
});

async function writeRules(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await Deno.makeTempFile();
  const rule = { channels: "open/*", allowAnonymous: ["subscribe", "history", "presence"] };
  await Deno.writeTextFile(path, JSON.stringify([rule]));
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path) };
}
