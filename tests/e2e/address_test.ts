/** What the address of a channel page says beside the channel: where to begin, how much, and which message. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { post, shownMessages, shownRows, write } from "./channel_page.ts";
import { expectLive, Site, type Visit } from "./site.ts";

const site = new Site();

async function fill({ server }: Visit, channel: string, count: number): Promise<readonly { id: string }[]> {
  const receipts = [];
  for (let number = 1; number <= count; number++) {
    receipts.push(await post(`${server.url}/${channel}`, `entry ${number}`));
  }
  return receipts;
}

const entries = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => `entry ${first + i}`);

const away = (page: Page) => page.getByRole("button", { name: "To the newest messages" });

site.test("since in the address begins there, limit says with how many messages", async (visit) => {
  await fill(visit, "begin", 80);
  const cases: readonly [string, readonly string[]][] = [
    ["?since=70", entries(71, 80)],
    ["?since=earliest", entries(1, 80)],
    ["?limit=3", entries(78, 80)],
    ["?since=1h&name=Anna", entries(1, 80)],
    ["?since=10&limit=5", entries(11, 15)],
    ["?limit=nonsense", entries(31, 80)],
  ];
  for (const [query, expected] of cases) {
    const page = await visit.open(`/begin${query}`);
    await expectLive(page);
    await expect(shownMessages(page)).toHaveText([...expected]);
    await page.context().close();
  }
});

site.test("since and limit in the address of a pattern begin there, too, and what follows comes", async (visit) => {
  await fill(visit, "several/a", 5);
  const page = await visit.open("/several/*?limit=2");
  await expectLive(page);
  await expect(shownRows(page)).toHaveText(entries(4, 5).toReversed());
  const earlier = await visit.open("/several/*?since=1h");
  await expectLive(earlier);
  await expect(shownRows(earlier)).toHaveText(entries(1, 5).toReversed());
  await post(`${visit.server.url}/several/b`, "entry 6");
  await expect(shownRows(earlier)).toHaveText(entries(1, 6).toReversed());
});

site.test("A since that nobody understands is said, and the newest messages are shown", async (visit) => {
  await fill(visit, "misread", 2);
  const page = await visit.open("/misread?since=soon");
  await expectLive(page);
  await expect(page.getByRole("alert").first()).toContainText("since=soon is not understood");
  await expect(shownMessages(page)).toHaveText(entries(1, 2));
});

site.test("A page that begins earlier reads on by scrolling, up to what is live", async (visit) => {
  await fill(visit, "onward", 300);
  const page = await visit.open("/onward?since=10&limit=30&name=Anna");
  await expectLive(page);
  await expect(shownMessages(page)).toHaveText(entries(11, 40));
  await expect(away(page)).toBeVisible();
  // What is said meanwhile waits where it belongs.
  await post(`${visit.server.url}/onward`, "entry 301");
  await expect(page.getByRole("button", { name: "1 new message" })).toBeVisible();
  await expect(shownMessages(page)).toHaveCount(30);
  await page.locator("#scroller").hover();
  await page.mouse.wheel(0, 100_000);
  await expect(shownMessages(page)).toHaveText(entries(11, 240));
  await page.mouse.wheel(0, 100_000);
  await expect(shownMessages(page)).toHaveText(entries(11, 301));
  await expect(page.locator(".gap")).toHaveCount(0);
  await post(`${visit.server.url}/onward`, "entry 302");
  await expect(shownMessages(page).last()).toHaveText("entry 302");
});

site.test("The way back leads to the newest messages, and writing does, too", async (visit) => {
  await fill(visit, "back", 120);
  const page = await visit.open("/back?since=0&limit=20&name=Anna");
  await expectLive(page);
  await away(page).click();
  await expect(shownMessages(page)).toHaveText(entries(71, 120));
  await expect(away(page)).toBeHidden();
  await page.reload();
  await expectLive(page);
  await write(page, "here I am");
  await expect(shownMessages(page).last()).toHaveText("here I am");
  await expect(shownMessages(page).last()).toBeInViewport();
});

site.test("A permalink shows its message with what surrounds it, marked and focused", async (visit) => {
  const receipts = await fill(visit, "link", 200);
  const page = await visit.open(`/link#${receipts[59]!.id}`);
  await expectLive(page);
  await expect(page.locator(".pointed-at")).toHaveText(/entry 60$/);
  await expect(page.locator(".pointed-at")).toBeInViewport();
  await expect(page.locator(".pointed-at")).toBeFocused();
  await expect(page.getByText("entry 55", { exact: true })).toHaveCount(1);
  await expect(away(page)).toBeVisible();
  // Another one of the same page, by its address.
  await page.evaluate(`location.hash = "${receipts[199]!.id}"`);
  await expect(page.locator(".pointed-at")).toHaveText(/entry 200$/);
  await page.evaluate(`location.hash = "${receipts[100]!.id}"`);
  await expect(page.locator(".pointed-at")).toHaveText(/entry 101$/);
  const shown = await shownMessages(page).allTextContents();
  assert.equal(new Set(shown).size, shown.length);
});

site.test("A permalink whose message is gone says so, and shows the newest", async (visit) => {
  const [first] = await fill(visit, "gone", 3);
  await (await fetch(`${visit.server.url}/gone?id=${first!.id}`, { method: "DELETE" })).body?.cancel();
  for (const hash of [first!.id, "other-7"]) {
    const page = await visit.open(`/gone#${hash}`);
    await expectLive(page);
    await expect(page.locator("#notice")).toContainText("not kept any more");
    await expect(shownMessages(page)).toHaveText(entries(2, 3));
  }
});
