/** axe finds nothing on any page, in light and dark, wide and narrow, in any state; and all works by keyboard. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { post, shownMessages, write } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

const EXAMPLES = ["hello", "chat", "raindrops", "cursors"].map((name) => `/_examples/${name}`);

const ERRORS = ["/my%20room%3F", "/_docs/nothing", "/_offline"];
const MANUAL = ["/_docs", "/_docs/channels", "/_docs/benchmarks", "/_docs/configuration"];

for (const path of ["/", "/empty", "/orders/*", "/_inspect", ...EXAMPLES, ...MANUAL, ...ERRORS]) {
  site.test(`axe finds nothing on ${path}, wide and narrow`, async ({ open }) => {
    const page = await open(path);
    if (
      path !== "/_examples/cursors" && !path.startsWith("/_inspect") && !path.startsWith("/_docs") &&
      !ERRORS.includes(path)
    ) {
      await expectLive(page);
    }
    await expectAccessible(page, path);
    await page.setViewportSize({ width: 320, height: 640 });
    await expectAccessible(page, `${path} at 320 px`, ["light"]);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
    await page.setViewportSize({ width: 1920, height: 1080 });
    await expectAccessible(page, `${path} at 1920 px`, ["light"]);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  });
}

site.test("axe finds nothing on a channel full of everything, nor in its dialogs", async ({ open, server }) => {
  const url = `${server.url}/full`;
  await post(`${url}?name=Ada`, "see https://example.org");
  await post(
    `${url}?event=measured`,
    JSON.stringify({ data: { a: [1, "two", null, true], b: { c: 3 } } }),
    "application/json",
  );
  await post(url, new Uint8Array([1, 2, 3]), "application/octet-stream");
  for (let number = 0; number < 60; number++) await post(`${url}?name=Person ${number}`, `line ${number}`);
  const [page, other] = [await open("/full?name=Anna"), await open("/full?name=Ben")];
  await expectLive(page);
  await expectLive(other);
  await write(page, "mine");
  await expect(shownMessages(page).last()).toHaveText("mine");
  await write(page, "x".repeat(70_000));
  await expect(page.locator("#problem")).toHaveText("Too long: 69 KB of 64 KB");
  await expectAccessible(page, "full");
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page.getByRole("img", { name: /QR/ })).toBeVisible();
  await expectAccessible(page, "share dialog");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Change name" }).click();
  await expectAccessible(page, "name dialog");
});

site.test("axe finds nothing while disconnected, at a gap, and where a token is asked for", async ({ open }) => {
  await using server = await startServer();
  const page = await open(`${server.url}/gap?name=Anna`);
  await expectLive(page);
  await post(`${server.url}/gap`, "before");
  await expect(shownMessages(page)).toHaveCount(1);
  await server.kill();
  await expect(page.locator("#state")).toContainText("Next try in");
  await write(page, "written meanwhile");
  await expectAccessible(page, "disconnected");
  await server.start();
  await expectLive(page);
  await expect(page.locator(".gap")).toHaveCount(1);
  await expectAccessible(page, "gap");

  await using keyed = await startServer({
    env: { RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes" },
  });
  const locked = await open(`${keyed.url}/locked`);
  await expect(locked.getByRole("alert")).toContainText("token");
  await expectAccessible(locked, "token");
});

site.test("Everything of the channel page is reached by keyboard, in the order of reading", async ({ open, server }) => {
  await post(`${server.url}/keys`, JSON.stringify({ data: { a: { b: 1 } } }), "application/json");
  const page = await open("/keys?name=Anna");
  await expectLive(page);
  const reached: string[] = [];
  // The box has the focus at first: from the top.
  await page.locator(".skip").focus();
  for (let step = 0; step < 15; step++) {
    if (step > 0) await page.keyboard.press("Tab");
    reached.push(
      await page.evaluate(
        "document.activeElement.id || document.activeElement.className || document.activeElement.tagName",
      ),
    );
  }
  const order = [
    "skip",
    "brand",
    "find",
    "notify",
    "share",
    "quiet theme",
    "scroller",
    "menu-button",
    "SUMMARY",
    "SUMMARY",
    "attach",
    "box",
  ];
  assert.deepEqual(reached.slice(0, order.length), order);
  assert(reached.includes("name"), reached.join(", "));
  // The skip link leads to the box.
  await page.reload();
  await expectLive(page);
  await page.locator(".skip").focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("by keyboard");
  await page.keyboard.press("Enter");
  await expect(shownMessages(page).last()).toHaveText("by keyboard");
});

site.test("Screen readers are told what comes, a burst in one sentence", async ({ open, server }) => {
  const page = await open("/spoken?name=Anna");
  await expectLive(page);
  const spoken = page.locator("#announcements");
  await post(`${server.url}/spoken?name=Ben`, "hello");
  await expect(spoken).toContainText("Ben: hello");
  const commands = Array.from(
    { length: 50 },
    (_, i) => ({ publish: { channel: "spoken", data: `drop ${i}` } }),
  );
  await fetch(`${server.url}/api/batch`, { method: "POST", body: JSON.stringify({ commands }) }).then((r) =>
    r.text()
  );
  await expect(spoken).toHaveText("50 new messages");
});
