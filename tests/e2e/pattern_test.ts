/** The page of a list or pattern: a table of what is published to any of its channels. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { post, shownMessages, shownRows } from "./channel_page.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Page of a pattern is a table of time, channel, event and data, and resumes", async ({ open, server }) => {
  await post(`${server.url}/orders/41?name=Ada`, "before");
  const page = await open("/orders/*");
  await expectLive(page);
  await expect(page.locator("h1")).toHaveText("orders/*");
  await expect(page.getByRole("columnheader")).toHaveText(["Time", "Channel", "Event", "Data"]);
  await post(
    `${server.url}/orders/42?event=sold`,
    JSON.stringify({ data: { umbrellas: 1 } }),
    "application/json",
  );
  await expect(page.locator("#rows tr")).toHaveCount(2);
  const newest = page.locator("#rows").getByRole("row").first();
  await expect(newest.getByRole("cell").nth(0)).toHaveText(/\d\d:\d\d:\d\d/);
  await expect(newest.getByRole("cell").nth(1)).toHaveText("/orders/42");
  await expect(newest.getByRole("cell").nth(2)).toHaveText("sold");
  await expect(newest.getByRole("cell").nth(3)).toContainText("umbrellas");
  await expect(page.locator("#rows .by")).toHaveText(["Ada"]);

  await page.context().setOffline(true);
  await page.context().setOffline(false);
  await post(`${server.url}/orders/43`, "<b>and</b> another");
  await expect(shownRows(page).first()).toHaveText("<b>and</b> another");
  await expect(page.locator("#rows tr")).toHaveCount(3);
  await page.locator("#rows tr").nth(1).locator("time").click();
  await expect(page.locator("h1")).toHaveText("orders/42");
  await expect(page.locator(".pointed-at")).toContainText("umbrellas");
});

site.test("Filter shows what has all its words, also of what comes later", async ({ open, server }) => {
  for (const [channel, text] of [["a", "red apple"], ["b", "green apple"], ["b", "red pear"]]) {
    await post(`${server.url}/fruit/${channel}?event=picked`, text!);
  }
  const page = await open("/fruit/*");
  await expectLive(page);
  const filter = page.getByRole("searchbox", { name: "Filter what is shown" });
  await filter.fill("apple RED");
  await expect(shownRows(page)).toHaveText(["red apple"]);
  await expect(page.locator("#shown")).toHaveText("1 of 3 match");
  await filter.fill("fruit/b picked");
  await expect(shownRows(page)).toHaveText(["red pear", "green apple"]);
  await post(`${server.url}/fruit/a`, "yellow plum");
  await post(`${server.url}/fruit/b?event=picked`, "blue plum");
  await expect(shownRows(page)).toHaveText(["blue plum", "red pear", "green apple"]);
  await expect(page.locator("#shown")).toHaveText("3 of 5 match");
  await filter.fill("");
  await expect(page.locator("#shown")).toHaveText("5 shown");
});

site.test("Pause holds back what comes and Go on shows it, Clear empties the table alone", async ({ open, server }) => {
  const page = await open("/flow/*");
  await expectLive(page);
  await expect(page.locator("#quiet")).toBeVisible();
  await post(`${server.url}/flow/1`, "one");
  await expect(shownRows(page)).toHaveText(["one"]);
  await page.getByRole("button", { name: "Pause" }).click();
  await post(`${server.url}/flow/1`, "two");
  await post(`${server.url}/flow/2`, "three");
  await expect(page.getByRole("button", { name: "Go on (2 more)" })).toBeVisible();
  await expect(shownRows(page)).toHaveText(["one"]);
  // What is removed meanwhile is not shown afterwards.
  await curl("-X", "DELETE", `${server.url}/flow/2`);
  await page.getByRole("button", { name: /Go on/ }).click();
  await expect(shownRows(page)).toHaveText(["two", "one"]);
  await page.getByRole("button", { name: "Clear" }).click();
  await expect(shownRows(page)).toHaveCount(0);
  await expect(page.locator("#quiet")).toBeVisible();
  await post(`${server.url}/flow/1`, "four");
  await expect(shownRows(page)).toHaveText(["four"]);
  await page.reload();
  await expect(shownRows(page)).toHaveText(["four", "two", "one"]);
});

site.test("Rates are told in all and by channel, whose rate filters", async ({ open, server }) => {
  const page = await open("/rates/*");
  await expectLive(page);
  await expect(page.locator("#rate")).toHaveText("0 a second");
  for (let i = 0; i < 12; i++) {
    await post(`${server.url}/rates/${i % 3 === 0 ? "slow" : "fast"}`, `drop ${i}`);
  }
  await expect(page.locator("#rate")).toHaveText(/^[\d.]*[1-9][\d.]* a second$/);
  const buttons = page.getByRole("list", { name: "The busiest channels" }).getByRole("button");
  await expect(buttons).toHaveCount(2);
  await buttons.filter({ hasText: "/rates/slow" }).click();
  await expect(shownRows(page)).toHaveText(["drop 9", "drop 6", "drop 3", "drop 0"]);
});

site.test("Message is published to one of the channels, and to no other", async ({ open, server }) => {
  await post(`${server.url}/desks/1`, "first");
  const page = await open("/desks/*?name=Anna");
  const desk = await open("/desks/2");
  await expectLive(page);
  await expectLive(desk);
  const to = page.getByLabel("Channel to publish to");
  await expect(to).toHaveValue("desks/1");
  await to.fill("elsewhere");
  await page.locator("#box").fill("hello");
  await page.locator("#box").press("Enter");
  await expect(page.getByRole("alert").last()).toHaveText(
    "elsewhere is not one of the channels of this page: desks/*",
  );
  await expect(page.locator("#box")).toHaveValue("hello");
  await to.fill("/desks/2");
  await page.getByRole("button", { name: "Send" }).click();
  await expect(page.locator("#sent")).toHaveText("Sent to desks/2, 2 subscribers.");
  await expect(page.locator("#box")).toHaveValue("");
  await expect(shownMessages(desk)).toHaveText(["hello"]);
  await expect(shownRows(page)).toHaveText(["hello", "first"]);
  await expect(page.locator("#rows .by")).toHaveText(["Anna"]);
  await page.locator("#box").fill("x".repeat(70_000));
  await page.locator("#box").press("Enter");
  await expect(page.getByRole("alert").last()).toContainText("Not sent:");
  await expect(page.locator("#box")).toHaveValue(/^x{70000}$/);
});

site.test("Table is bounded however much comes, and the page stays quick", async ({ open, server }) => {
  const page = await open("/flood/*");
  await expectLive(page);
  const texts = Array.from({ length: 1_500 }, (_, i) => `drop ${i}`);
  await Promise.all(texts.map((text, i) => post(`${server.url}/flood/${i % 7}`, text)));
  await post(`${server.url}/flood/last`, "the end");
  await expect(shownRows(page).first()).toHaveText("the end");
  assert((await shownRows(page).count()) <= 500);
});

site.test("Page of a pattern asks for a token where one is needed", async ({ open }) => {
  await using server = await startServer({
    env: { RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes" },
  });
  const page = await open(`${server.url}/orders/*`);
  await expect(page.getByRole("alert").first()).toContainText(/token/);
  await expect(page.getByLabel("Token")).toBeVisible();
  const refused = ["Search", "Share", "Send"].map((name) => page.getByRole("button", { name }));
  for (const control of [...refused, page.locator("#to"), page.locator("#box")]) {
    await expect(control).toBeDisabled();
    await expect(control).toHaveAttribute("title", "This takes a token");
  }
  await expectAccessible(page, "locked pattern");
});

site.test("axe finds nothing on a busy pattern, wide and narrow", async ({ open, server }) => {
  await post(`${server.url}/look/at?name=Ada&event=seen`, "see https://example.org");
  await post(`${server.url}/look/at/this`, JSON.stringify({ data: { a: [1, null] } }), "application/json");
  await post(`${server.url}/look/at`, new Uint8Array([1, 2, 3]), "application/octet-stream");
  await post(`${server.url}/look/at`, "x".repeat(5_000));
  const page = await open("/look/**");
  await expectLive(page);
  await expect(page.locator("#rows tr")).toHaveCount(4);
  await post(`${server.url}/look/at`, "now");
  await expect(page.locator("#busiest button")).toHaveCount(1);
  for (const width of [1920, 1280, 320]) {
    await page.setViewportSize({ width, height: 720 });
    await expectAccessible(page, `pattern at ${width} px`);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
    const wide = await page.evaluate(
      `(() => { const { scrollWidth, clientWidth } = document.querySelector("#scroller");
      return scrollWidth > clientWidth; })()`,
    );
    assert.equal(wide, false, `${width} px`);
    const cut = await page.evaluate(`[...document.querySelectorAll("#rows td")]
      .filter(({ scrollWidth, clientWidth }) => scrollWidth > clientWidth).map(({ textContent }) => textContent)`);
    assert.deepEqual(cut, [], `${width} px`);
  }
  const long = shownRows(page).filter({ hasText: "xxx" });
  const folded = (await long.boundingBox())!.height;
  await page.getByRole("button", { name: "Show all" }).click();
  assert((await long.boundingBox())!.height > folded);
  await expectAccessible(page, "pattern with a long message");
  await page.getByRole("button", { name: "Show less" }).click();
  assert.equal((await long.boundingBox())!.height, folded);
});
