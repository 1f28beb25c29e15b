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
  await expect(inspector.locator("#latency-value")).toHaveText(/^[\d.]+ (µs|ms)$/);
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
  await inspector.getByLabel("Message", { exact: true }).fill("<b>from above</b>");
  await inspector.getByRole("button", { name: "Publish" }).click();
  await expect(inspector.locator("#publish-result")).toHaveText("Published to watched, 2 subscribers.");
  await expect(shownMessages(page).last()).toHaveText("<b>from above</b>");
  await expect(tail.nth(2)).toContainText("<b>from above</b>");
  assert.equal(await anna.next(), "<b>from above</b>");

  await inspector.reload();
  await expect(inspector.locator("#channel-title")).toHaveText("watched");
  await expect(rowOf(inspector, "channel", "watched")).toHaveAttribute("aria-current", "true");
  await inspector.locator("#channel").getByRole("button", { name: "Close" }).click();
  await expect(inspector.locator("#channel")).toBeHidden();
  await expect(rowOf(inspector, "channel", "watched").getByRole("button")).toBeFocused();
  await inspector.keyboard.press("Enter");
  await inspector.keyboard.press("Escape");
  await expect(inspector.locator("#channel")).toBeHidden();

  await inspector.getByPlaceholder("Filter by name").fill("/not/there");
  await inspector.getByRole("button", { name: "Open not/there" }).click();
  await inspector.getByLabel("Message", { exact: true }).fill("first");
  await inspector.getByRole("button", { name: "Publish" }).click();
  await expect(inspector.locator("#publish-result")).toHaveText("Published to not/there, 0 subscribers.");
  await expect(rowOf(inspector, "channel", "not/there")).toHaveAttribute("aria-current", "true");
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

site.test("A long text shows its beginning and, when asked to, all of it", async ({ server, open }) => {
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  await inspector.setViewportSize({ width: 360, height: 720 });
  await curl("-d", "no", `${server.url}/${"drop".repeat(20)}%3F`);
  await curl("-d", Array.from({ length: 30 }, (_, i) => `line ${i}`).join("\n"), `${server.url}/tall`);
  await rowOf(inspector, "channel", "tall").getByRole("button").click();
  for (const lines of ["#refusals li", "#tail li"]) {
    const line = inspector.locator(lines).filter({ hasText: /line 29|Try "drop/ })
      .first();
    const text = line.locator(".text > span");
    const hidden = () => text.evaluate((element) => element.scrollHeight - element.clientHeight);
    assert(await hidden() > 0, `${lines} is folded`);
    await line.getByRole("button", { name: "Show all" }).click();
    assert.equal(await hidden(), 0, "unfolded");
    await expectAccessible(inspector, `${lines} unfolded`);
    await line.getByRole("button", { name: "Show less" }).click();
    assert(await hidden() > 0, `${lines} is folded again`);
  }
});

site.test("Equal refusals are one line, which counts them", async ({ server, open }) => {
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  for (let i = 0; i < 5; i++) await curl("-d", "no", `${server.url}/_again`);
  await curl("-d", "no", `${server.url}/_other`);
  const lines = inspector.locator("#refusals li");
  await expect(lines.filter({ hasText: "/_again" })).toHaveCount(1);
  await expect(lines.filter({ hasText: "/_again" })).toContainText("5 times");
  await expect(lines.filter({ hasText: "/_other" })).not.toContainText("times");
  await expect(lines.first()).toContainText("/_other");
  await curl("-d", "no", `${server.url}/_again`);
  await expect(lines.first()).toContainText("/_again");
  await expect(lines.first()).toContainText("6 times");
});

site.test("Axes of counts have whole numbers, also where hardly anything happens", async ({ open, server }) => {
  await using _ = await TestSocket.open(`${server.socketUrl}/axes`);
  const page = await open("/robots.txt");
  await page.addInitScript(`{
    const { fillText } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
      const title = this.canvas.closest("figure").querySelector("h2").textContent;
      ((globalThis.marks ??= {})[title] ??= []).push(text);
      return fillText.call(this, text, ...rest);
    };
  }`);
  await page.goto(`${server.url}/_inspect`);
  await expectOpen(page);
  await expect.poll(() => page.evaluate("Object.keys(globalThis.marks ?? {}).length")).toBe(6);
  await curl("-d", "one", `${server.url}/axes`);
  await expect(page.locator("#latency-value")).toHaveText(/^[\d.]+ (µs|ms)$/);
  const marks = await page.evaluate<Record<string, string[]>>("marks");
  for (const title of ["Connections", "Messages in, a second", "Deliveries a second"]) {
    assert.deepEqual(marks[title]?.filter((mark) => !/^[\d,]+K?$/.test(mark)), [], title);
  }
});

site.test("Headings stand over their columns, channels above the charts", async ({ server, open }) => {
  await curl("-d", "x", `${server.url}/heads`);
  const inspector = await open("/_inspect");
  await expectOpen(inspector);
  const row = rowOf(inspector, "channel", "heads");
  await expect(row).toBeVisible();
  const heads = inspector.locator("#channel-heads th");
  const edge = (selector: string) =>
    `(() => { const range = document.createRange(); range.selectNodeContents(${selector});
      const box = range.getBoundingClientRect(); return [box.left, box.right]; })()`;
  for (let i = 0; i < await heads.count(); i++) {
    const head = `document.querySelectorAll("#channel-heads th")[${i}]`;
    const cell = `document.querySelector("#channel-rows tr").cells[${i}]`;
    const [[left, right], [cellLeft, cellRight]] = [
      await inspector.evaluate<number[]>(edge(`(${head}.querySelector("button") ?? ${head})`)),
      await inspector.evaluate<number[]>(edge(`(${cell}.querySelector("button") ?? ${cell})`)),
    ] as [[number, number], [number, number]];
    const isNumber = await heads.nth(i).getAttribute("class") === "number";
    assert(Math.abs(isNumber ? right - cellRight : left - cellLeft) < 2, `column ${i}`);
  }
  const [table, plots] = [
    await inspector.locator("#channel-rows").boundingBox(),
    await inspector.locator("#plots").boundingBox(),
  ];
  assert(table !== null && plots !== null && table.y + table.height < plots.y);
});

site.test("On a phone every column is to be read, under its name", async ({ server, open }) => {
  await using _ = await TestSocket.open(`${server.socketUrl}/phone?name=Anna`);
  await curl("-d", "It rains so much that nobody can see the end of the line", `${server.url}/phone`);
  await curl("-d", "later", `${server.url}/phone?delay=1h`);
  const inspector = await open("/_inspect#channel=phone", { viewport: { width: 320, height: 640 } });
  await expectOpen(inspector);
  await expect(rowOf(inspector, "reader", "Anna")).toBeVisible();
  await expect(inspector.locator("#scheduled")).toBeVisible();
  await expect(rowOf(inspector, "channel", "phone")).toContainText("the end of the line");
  const cut = await inspector.evaluate<string[]>(
    `[...document.querySelectorAll(".inspector td, .inspector th")]
    .filter((cell) => cell.checkVisibility({ visibilityProperty: true }) && cell.closest("thead") === null)
    .filter((cell) => cell.scrollWidth > cell.clientWidth + 1 || cell.getBoundingClientRect().right > innerWidth)
    .map((cell) => cell.textContent)`,
  );
  assert.deepEqual(cut, []);
  const labels = await inspector.evaluate<string[]>(`[...document.querySelector("#channel-rows tr").cells]
    .slice(1).map((cell) => getComputedStyle(cell, "::before").content)`);
  assert.deepEqual(labels, ['"Subscribers"', '"Messages a second"', '"Stored"', '"Last message"']);
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

for (
  const [table, label, path] of [
    ["channel", "Filter by name", "/_inspect/channels"],
    ["client", "Id, name, user, address", "/_inspect/clients"],
  ] as const
) {
  site.test(`What was typed last filters the table of ${table}s, however late other answers come`, async ({ server, open }) => {
    await using _early = await TestSocket.open(`${server.socketUrl}/early-drop?name=early-drop`);
    await using _late = await TestSocket.open(`${server.socketUrl}/late-drop?name=late-drop`);
    const inspector = await open("/_inspect");
    await expectOpen(inspector);
    const read = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    await inspector.route(
      (url) => url.pathname === path && url.searchParams.get("filter") === "early",
      async (route) => {
        const response = await route.fetch();
        read.resolve();
        await released.promise;
        await route.fulfill({ response });
      },
    );
    const heads = inspector.locator(`#${table}-rows`).getByRole("rowheader");
    await inspector.getByPlaceholder(label).fill("early");
    await read.promise;
    await inspector.getByPlaceholder(label).fill("late");
    await expect(heads).toHaveText(["late-drop"]);
    const arrived = inspector.waitForResponse((response) => response.url().includes("filter=early"));
    released.resolve();
    await (await arrived).finished();
    await inspector.evaluate("new Promise(requestAnimationFrame)");
    assert.deepEqual(await heads.allTextContents(), ["late-drop"]);
  });
}

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
