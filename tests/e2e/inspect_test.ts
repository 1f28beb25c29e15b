/** The inspector as whoever runs the server uses it: it agrees with what others do in pages of their own. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { TestSocket } from "../test_socket.ts";
import { expectAccessible } from "./axe.ts";
import { shownMessages } from "./channel_page.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

/** Opens the inspector and waits until it shows something. */
async function expectOpen(page: Page): Promise<void> {
  await expectLive(page);
  await expect(page.locator("#watch")).toBeVisible();
}

/** The row of a table whose head is a name. */
function rowOf(page: Page, table: string, name: string) {
  const head = page.getByRole("rowheader", { name, exact: true });
  return page.locator(`#${table}-rows`).getByRole("row").filter({ has: head });
}

/** The number in front of "in all" below a plot. */
async function readTotal(page: Page, plot: string): Promise<number> {
  return parseInt((await page.locator(`#${plot}-note`).innerText()).replaceAll(",", ""));
}

site.test("The inspector's numbers agree with what pages and publishers do", async ({ server, open }) => {
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  const before = {
    published: await readTotal(inspector, "published"),
    delivered: await readTotal(inspector, "delivered"),
  };
  await expect(inspector.locator("#connections-value")).toHaveText("0");
  const page = await open("/agree/a");
  await expectLive(page);
  await using socket = await TestSocket.open(`${server.socketUrl}/agree/a?name=Anna`);
  const texts = ["drip", "drop", "drip again"];
  for (const text of texts) await curl("-d", text, `${server.url}/agree/a`);
  await curl("-d", "elsewhere", `${server.url}/agree/b`);
  for (const text of texts) assert.equal(await socket.next(), text);
  await expect(shownMessages(page)).toHaveText(texts);

  await expect(inspector.locator("#connections-value")).toHaveText("2");
  await inspector.getByPlaceholder("Filter by name").fill("agree/");
  const row = rowOf(inspector, "channel", "agree/a");
  await expect(row.getByRole("cell").nth(0)).toHaveText("2");
  await expect(row.getByRole("cell").nth(2)).toHaveText("3");
  await expect(row.getByRole("cell").nth(3)).toContainText("drip again");
  await expect(rowOf(inspector, "channel", "agree/b").getByRole("cell").nth(0)).toHaveText("0");
  await expect.poll(() => readTotal(inspector, "published")).toBe(before.published + 4);
  await expect.poll(() => readTotal(inspector, "delivered")).toBe(before.delivered + 6);
  await expect(inspector.locator("#latency-value")).toHaveText(/^[\d.]+ ms$/);
});

site.test("One channel is watched as it lives: its readers, its messages, and what is published to it", async ({ server, open }) => {
  await curl("-d", "from before", `${server.url}/watched`);
  await using anna = await TestSocket.open(`${server.socketUrl}/watched?name=Anna`);
  const page = await open("/watched");
  await expectLive(page);
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  await rowOf(inspector, "channel", "watched").getByRole("button").click();
  await expect(inspector.locator("#channel-title")).toBeFocused();
  const tail = inspector.locator("#tail li");
  await expect(tail).toHaveCount(1);
  await expect(tail.first()).toContainText("from before");
  await expect(inspector.locator("#reader-rows").getByRole("row")).toHaveCount(2);
  await expect(rowOf(inspector, "reader", "Anna")).toContainText("plain");

  anna.send("said by Anna");
  await expect(tail.nth(1)).toContainText("said by Anna");
  await expect(tail.nth(1)).toContainText("Anna");
  await expect(inspector.getByLabel("Channel", { exact: true })).toHaveValue("watched");
  await inspector.getByLabel("Message", { exact: true }).fill("<b>from above</b>");
  await inspector.getByRole("button", { name: "Publish" }).click();
  await expect(inspector.locator("#publish-result")).toHaveText("Published to watched, 2 subscribers.");
  await expect(shownMessages(page).last()).toHaveText("<b>from above</b>");
  await expect(tail.nth(2)).toContainText("<b>from above</b>");
  assert.equal(await anna.next(), "<b>from above</b>");

  await inspector.reload();
  await expect(inspector.locator("#channel-title")).toHaveText("watched");
  await inspector.locator("#channel").getByRole("button", { name: "Close" }).click();
  await expect(inspector.locator("#channel")).toBeHidden();
});

site.test("A client is found, shown and disconnected by a button, and nobody else is", async ({ server, open }) => {
  await using anna = await TestSocket.open(`${server.socketUrl}/parting?name=Anna&id=anna-1`);
  await using ben = await TestSocket.open(`${server.socketUrl}/parting?name=Ben`);
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  await inspector.getByPlaceholder("Id, name, user, address").fill("anna-1");
  await expect(inspector.locator("#client-count")).toHaveText("1 client");
  await rowOf(inspector, "client", "Anna").getByRole("button").press("Enter");
  const dialog = inspector.getByRole("dialog", { name: "Anna" });
  for (const fact of ["anna-1", "plain", "127.0.0.1", "parting"]) {
    await expect(dialog.getByRole("definition").filter({ hasText: fact })).not.toHaveCount(0);
  }
  await dialog.getByRole("button", { name: "Disconnect" }).click();
  await expect(dialog.getByRole("status")).toHaveText("Disconnected.");
  assert.deepEqual(await anna.closed, { code: 4403, reason: "Disconnected by an operator" });
  await dialog.press("Escape");
  await expect(dialog).toBeHidden();
  await expect(inspector.locator("#client-count")).toHaveText("0 clients");
  assert.equal(ben.webSocket.readyState, WebSocket.OPEN);
});

site.test("Refusals appear as they happen, each with its reason", async ({ server, open }) => {
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  await curl("-d", "no", `${server.url}/_mine`);
  await curl("-d", "no", `${server.url}/@nobody`);
  const lines = inspector.locator("#refusals li");
  await expect(lines.filter({ hasText: "bad_channel" }).first()).toContainText("POST /_mine: ");
  await expect(lines.filter({ hasText: "no_such_client" }).first()).toContainText(
    'No client has the id "nobody"',
  );
  await expect(inspector.locator("#refusal-count")).toContainText("1 no_such_client");
});

site.test("Channels are sorted by their heads, by keyboard too, and paged", async ({ server, open }) => {
  for (let i = 10; i < 22; i++) await curl("-d", "x", `${server.url}/pages/${i}`);
  await curl("-d", "x", `${server.url}/pages/15`);
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  await inspector.getByPlaceholder("Filter by name").fill("pages/");
  const count = inspector.locator("#channel-count");
  const first = inspector.locator("#channel-rows").getByRole("rowheader").first();
  await expect(count).toHaveText("1 to 10 of 12");
  await inspector.getByRole("button", { name: "Stored" }).click();
  await expect(inspector.getByRole("columnheader", { name: "Stored" })).toHaveAttribute(
    "aria-sort",
    "descending",
  );
  await expect(first).toHaveText("pages/15");
  const byName = inspector.getByRole("button", { name: "Channel", exact: true });
  await byName.press("Enter");
  await expect(first).toHaveText("pages/10");
  await byName.press("Enter");
  await expect(first).toHaveText("pages/21");
  await inspector.getByRole("button", { name: "Next" }).click();
  await expect(count).toHaveText("11 to 12 of 12");
  await expect(first).toHaveText("pages/11");
  await expect(inspector.getByRole("button", { name: "Next" })).toBeDisabled();
});

site.test("Where there is a key, the page is empty until it is given, and only this tab remembers it", async ({ open }) => {
  const key = "a-key-of-sixteen-characters";
  await using server = await startServer({ env: { RAINDROPS_API_KEYS: key } });
  const inspector = await open(`${server.url}/_inspect`);
  await expect(inspector.getByRole("alert")).toHaveText(/The inspector needs a key/);
  await expect(inspector.locator("#watch")).toBeHidden();
  const box = inspector.getByLabel("API key");
  await box.fill("wrong");
  await box.press("Enter");
  await expect(inspector.getByRole("alert")).toHaveText("That is not one of the server's keys.");
  await box.fill(key);
  await box.press("Enter");
  await expectOpen(inspector);
  await inspector.reload();
  await expectOpen(inspector);
  assert.ok(!inspector.url().includes(key));
  await expect(server.line(/inspector needs a key/)).resolves.not.toContain(key);
  const other = await open(`${server.url}/_inspect`);
  await expect(other.getByRole("button", { name: "Open the inspector" })).toBeVisible();
});

site.test("axe finds nothing on the inspector, and nothing sticks out at 320 pixels", async ({ server, open }) => {
  await using anna = await TestSocket.open(`${server.socketUrl}/axe?name=Anna`);
  anna.send("one");
  await curl("-d", "no", `${server.url}/_mine`);
  const inspector = await open("/_inspect#channel=axe");
  await expectOpen(inspector);
  await expect(rowOf(inspector, "reader", "Anna")).toBeVisible();
  await expect(inspector.locator("#refusals li").first()).toBeVisible();
  await expectAccessible(inspector, "wide");
  await inspector.setViewportSize({ width: 320, height: 800 });
  await expectAccessible(inspector, "at 320 px");
  assert.equal(await inspector.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  await rowOf(inspector, "client", "Anna").getByRole("button").click();
  await expect(inspector.getByRole("dialog")).toContainText("Address");
  await expectAccessible(inspector, "with a client's details");
});
