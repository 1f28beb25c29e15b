/** The search panel of the channel page: finding by text, event and sender, going there, jumping to a time, exports. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectAccessible } from "./axe.ts";
import { post, shownMessages } from "./channel_page.ts";
import { expectLive, Site, type Visit } from "./site.ts";

const site = new Site();

const panel = (page: Page) => page.locator("#search");
const found = (page: Page) => page.locator("#search .message > :last-child");

async function fill({ server }: Visit, channel: string): Promise<void> {
  await post(`${server.url}/${channel}?name=Ada&event=weather`, "Rain in <b>Bergen</b>");
  for (let number = 1; number <= 90; number++) {
    await post(`${server.url}/${channel}?name=Ben`, `line ${number}`);
  }
  await post(`${server.url}/${channel}?name=Ada`, "More rain");
}

site.test("Search finds what is stored, the newest first, and leads to it in place", async (visit) => {
  await fill(visit, "sought");
  const page = await visit.open("/sought?name=Anna");
  await expectLive(page);
  await page.getByRole("button", { name: "Search" }).click();
  const text = panel(page).getByLabel("Text to find");
  await expect(text).toBeFocused();
  await text.fill("RAIN");
  await text.press("Enter");
  await expect(found(page)).toHaveText(["More rain", "Rain in <b>Bergen</b>"]);
  await expect(panel(page).getByRole("status")).toHaveText("2 messages found");
  await expectAccessible(page, "search");
  await page.setViewportSize({ width: 320, height: 640 });
  await expectAccessible(page, "search at 320 px");
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  await page.setViewportSize({ width: 1280, height: 720 });
  await panel(page).getByRole("link", { name: "Show in place" }).last().click();
  await expect(panel(page)).toBeHidden();
  await expect(page.locator(".pointed-at")).toContainText("Rain in <b>Bergen</b>");
  await expect(shownMessages(page).nth(1)).toHaveText("line 1");
  await expect(page.getByRole("button", { name: "To the newest messages" })).toBeVisible();
});

site.test("Search chooses by event and sender, goes on where it stopped, and says when nothing is found", async (visit) => {
  await fill(visit, "chosen");
  const page = await visit.open("/chosen?name=Anna");
  await expectLive(page);
  await page.getByRole("button", { name: "Search" }).click();
  const status = panel(page).getByRole("status");
  await panel(page).getByLabel("Event").fill("weather");
  await page.keyboard.press("Enter");
  await expect(status).toHaveText("1 message found");
  await panel(page).getByLabel("Event").fill("");
  await panel(page).getByLabel("Sender").fill("Ben");
  await page.keyboard.press("Enter");
  await expect(status).toHaveText("50 messages found");
  await panel(page).getByRole("button", { name: "Search further" }).click();
  await expect(status).toHaveText("90 messages found");
  await expect(panel(page).getByRole("button", { name: "Search further" })).toBeHidden();
  await expect(found(page).last()).toHaveText("line 1");
  await panel(page).getByLabel("Text to find").fill("snow");
  await page.keyboard.press("Enter");
  await expect(status).toHaveText("Nothing found.");
  await page.keyboard.press("Escape");
  await expect(panel(page)).toBeHidden();
  await expect(page.getByRole("button", { name: "Search" })).toBeFocused();
});

site.test("q in the address of a page opens its search", async (visit) => {
  await fill(visit, "asked");
  const page = await visit.open("/asked?q=bergen&from=Ada");
  await expectLive(page);
  await expect(found(page)).toHaveText(["Rain in <b>Bergen</b>"]);
  await expect(panel(page).getByLabel("Sender")).toHaveValue("Ada");
});

site.test("A pattern is searched too, and says which channel each message is of", async (visit) => {
  await post(`${visit.server.url}/many/a`, "needle in a");
  await post(`${visit.server.url}/many/b`, "needle in b");
  const page = await visit.open("/many/*?q=needle");
  await expectLive(page);
  await expect(found(page)).toHaveText(["needle in a", "needle in b"]);
  await expect(page.locator("#search .where")).toHaveText(["/many/a", "/many/b"]);
});

site.test("A time leads to what was said from then on", async (visit) => {
  await fill(visit, "timed");
  const page = await visit.open("/timed?name=Anna", { timezoneId: "UTC" });
  await expectLive(page);
  await page.getByRole("button", { name: "Search" }).click();
  await panel(page).getByLabel("From").fill("2020-01-01T12:00");
  await panel(page).getByRole("button", { name: "Go there" }).click();
  await expect(page.locator(".pointed-at")).toContainText("Rain in <b>Bergen</b>");
  await page.getByRole("button", { name: "Search" }).click();
  await panel(page).getByLabel("From").fill("2090-01-01T12:00");
  await panel(page).getByRole("button", { name: "Go there" }).click();
  // Later than the server's clock: it answers from the beginning, or says that there is nothing.
  await expect(panel(page)).toBeHidden();
});

site.test("The history is saved as NDJSON and CSV, as far as it is filtered", async (visit) => {
  await fill(visit, "saved");
  const page = await visit.open("/saved?name=Anna");
  await expectLive(page);
  await page.getByRole("button", { name: "Search" }).click();
  const save = async (name: string) => {
    const download = page.waitForEvent("download");
    await panel(page).getByRole("button", { name }).click();
    const file = await download;
    return [file.suggestedFilename(), await readFile(await file.path(), "utf8")] as const;
  };
  const [name, lines] = await save("Save as NDJSON");
  assert.equal(name, "saved.ndjson");
  assert.equal(lines.trimEnd().split("\n").length, 92);
  await panel(page).getByLabel("Sender").fill("Ada");
  const [csvName, csv] = await save("Save as CSV");
  assert.equal(csvName, "saved.csv");
  assert.equal(csv.trimEnd().split("\r\n").length, 3);
  assert.match(csv, /Rain in <b>Bergen<\/b>/);
});
