/** The channel page's people: who is here, under which name, their cursors, and their posts that fall as raindrops. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectCursors, openAs, post, shownMessages, write } from "./channel_page.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Presence appears and vanishes, of pages and of whoever else is on the channel", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/room", "Anna", "Ben");
  assert(anna && ben);
  await expect(anna.locator("#people li")).toHaveText(["Anna you", "Ben"]);
  await expect(ben.locator("#people li")).toHaveText(["Ben you", "Anna"]);
  await expect(anna.locator("#people-count")).toHaveText("2");

  const socket = new WebSocket(`${server.socketUrl}/room?name=Zoe`);
  await new Promise((resolve) => socket.onopen = resolve);
  const unnamed = new WebSocket(`${server.socketUrl}/room`);
  await new Promise((resolve) => unnamed.onopen = resolve);
  await expect(anna.locator("#people li")).toHaveText(["Anna you", "Ben", "Zoe", "1 without a name"]);
  await expect(anna.locator("#announcements")).toContainText("Zoe is here");
  socket.close();
  unnamed.close();
  await ben.close();
  await expect(anna.locator("#people li")).toHaveText(["Anna you"]);
  await expect(anna.locator("#announcements")).toContainText("has left");
  await expect(anna.locator("#people-count")).toHaveText("1");
});

site.test("A name is given once, remembered, and changed for everybody", async ({ open }) => {
  const anna = await open("/names");
  await expectLive(anna);
  const given = await anna.locator("#people .person bdi").textContent();
  assert.match(given ?? "", /^\w+ \w+$/);
  await anna.reload();
  await expect(anna.locator("#people .person bdi")).toHaveText([given ?? ""]);

  const [ben] = await openAs(open, "/names", "Ben");
  assert(ben);
  await expect(ben.locator("#people li")).toHaveText(["Ben you", given ?? ""]);
  await anna.getByRole("button", { name: "Change name" }).click();
  const box = anna.getByRole("dialog").getByLabel("Your name");
  await expect(box).toBeFocused();
  await expect(box).toHaveValue(given ?? "");
  await box.fill("  Anna  ");
  await box.press("Enter");
  await expect(anna.getByRole("dialog")).toBeHidden();
  await expect(anna.getByRole("button", { name: "Change name" })).toBeFocused();
  await expect(ben.locator("#people li")).toHaveText(["Ben you", "Anna"]);
  await expectLive(anna);
  await write(anna, "it is me");
  await expect(ben.locator(".message .who")).toHaveText(["Anna"]);
  await anna.goto(new URL("/elsewhere", anna.url()).href);
  await expect(anna.locator("#people li")).toHaveText(["Anna you"]);
});

site.test("Two tabs of one person are one person, and two names in one browser are two", async ({ open }) => {
  const anna = await open("/tabs");
  await expectLive(anna);
  const name = await anna.locator("#people .person bdi").textContent() ?? "";
  const [ben] = await openAs(open, "/tabs", "Ben");
  assert(ben);
  await expect(ben.locator("#people li")).toHaveText(["Ben you", name]);
  const heard = await collectAnnouncements(ben);
  const second = await anna.context().newPage();
  await second.goto(anna.url());
  await expectLive(second);
  await expect(second.locator("#people li")).toHaveText([`${name} you`, "Ben"]);
  await expect(ben.locator("#people-count")).toHaveText("2");
  await expect(ben.locator("#people li")).toHaveText(["Ben you", name]);
  await second.close();
  const third = await anna.context().newPage();
  await third.goto(`${anna.url()}?name=Other`);
  await expectLive(third);
  await expect(ben.locator("#people li")).toHaveText(["Ben you", name, "Other"]);
  await expect(ben.locator("#people-count")).toHaveText("3");
  await expect.poll(heard).toEqual(["Other is here"]);
});

site.test("Whoever takes another name is not said to come, whoever reloads neither", async ({ open }) => {
  const anna = await open("/renamed");
  await expectLive(anna);
  const name = await anna.locator("#people .person bdi").textContent() ?? "";
  const [ben] = await openAs(open, "/renamed", "Ben");
  assert(ben);
  const heard = await collectAnnouncements(ben);
  await anna.getByRole("button", { name: "Change name" }).click();
  await anna.getByRole("dialog").getByLabel("Your name").fill("Anna");
  await anna.getByRole("dialog").getByLabel("Your name").press("Enter");
  await expect.poll(heard).toEqual([`${name} is now Anna`]);
  await anna.reload();
  await expectLive(anna);
  await anna.close();
  await expect.poll(heard).toEqual([`${name} is now Anna`, "Anna has left"]);
});

/** What the page says of people who come and go, from now on. */
async function collectAnnouncements(page: Page): Promise<() => Promise<string[]>> {
  await page.evaluate(`globalThis.heard = [];
    new MutationObserver(() => heard.push(document.querySelector("#coming").textContent))
      .observe(document.querySelector("#coming"), { childList: true, characterData: true, subtree: true })`);
  return () => page.evaluate("heard");
}

site.test("Everyone's cursor moves on everyone's page under its name, and leaves with them", async ({ open }) => {
  const [anna, ben] = await openAs(open, "/pond", "Anna", "Ben");
  assert(anna && ben);
  await expect(anna.locator("#people li")).toHaveCount(2);
  await expect(ben.locator("#people li")).toHaveCount(2);
  await expectCursors(anna, ben);
  await anna.mouse.move(400, 300);
  await expect(ben.locator(".cursor")).toHaveText(["Anna"]);
  await expect(ben.locator(".cursor")).toHaveCSS("translate", "400px 300px");
  await anna.mouse.move(600, 200, { steps: 8 });
  await expect(ben.locator(".cursor")).toHaveCSS("translate", "600px 200px");
  await expect(anna.locator(".cursor").filter({ hasText: "Anna" })).toHaveCount(0);
  // It is in nobody's way.
  assert.equal(await ben.evaluate("document.elementFromPoint(600, 200).closest('.layer')"), null);
  await anna.close();
  await expect(ben.locator(".cursor")).toHaveCount(0);
  // Nothing of it is kept.
  const history = await fetch(new URL("/cursors/pond?since=earliest", ben.url()));
  assert.deepEqual((await history.json()).messages, []);
});

site.test("A curl falls as a raindrop on every page, and hinders nobody", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/sky", "Anna", "Ben");
  const calm = await open("/sky", { reducedMotion: "reduce" });
  await expectLive(calm);
  assert(anna && ben);
  // A drop that is slow enough to be looked at.
  for (const page of [anna, ben]) {
    await page.evaluate(`
      new MutationObserver((changes) => {
        for (const { addedNodes } of changes) for (const drop of addedNodes) drop.getAnimations()[0].pause();
      }).observe(document.querySelector("#sky"), { childList: true })`);
  }
  await curl("-d", "it rains", `${server.url}/sky`);
  for (const page of [anna, ben]) {
    await expect(page.locator(".drop")).toHaveText(["it rains"]);
    await expect(shownMessages(page)).toHaveText(["it rains"]);
    await expect(page.locator(".drop")).toHaveCSS("pointer-events", "none");
    const { x } = (await page.locator(".drop").boundingBox())!;
    assert(x > page.viewportSize()!.width / 4, `the first drop falls at ${x}, over the name of the page`);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  }
  await anna.evaluate("document.querySelector('.drop').getAnimations()[0].finish()");
  await expect(anna.locator(".drop")).toHaveCount(0);
  // In a downpour only so many fall.
  for (let number = 0; number < 40; number++) await post(`${server.url}/sky`, `drop ${number}`);
  await expect(shownMessages(ben)).toHaveCount(41);
  assert.equal(await ben.locator(".drop").count(), 20);
  await expect(shownMessages(calm)).toHaveCount(41);
  assert.equal(await calm.locator(".drop").count(), 0);
});

site.test("The title counts what came unseen, and a notification tells of it only when asked for", async ({ open, server }) => {
  const page = await open("/office");
  await expectLive(page);
  await page.evaluate(() => {
    const told: string[] = [];
    class FakeNotification {
      static permission = "default";
      static requestPermission = () => Promise.resolve(FakeNotification.permission = "granted");
      constructor(title: string, { body }: { body: string }) {
        told.push(`${title}: ${body}`);
      }
    }
    Object.assign(globalThis, { Notification: FakeNotification, told });
  });
  const setHidden = (isHidden: boolean) =>
    page.evaluate(`
      Object.defineProperty(document, "hidden", { value: ${isHidden}, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"))`);
  await expect(page).toHaveTitle("office · Raindrops");
  await post(`${server.url}/office`, "seen");
  await expect(shownMessages(page)).toHaveCount(1);
  await expect(page).toHaveTitle("office · Raindrops");

  await setHidden(true);
  await post(`${server.url}/office`, "unseen");
  await post(`${server.url}/office`, "too");
  await expect(page).toHaveTitle("(2) office · Raindrops");
  assert.deepEqual(await page.evaluate("told"), []);
  await setHidden(false);
  await expect(page).toHaveTitle("office · Raindrops");

  const notify = page.getByRole("button", { name: "Notifications" });
  await notify.click();
  await expect(notify).toHaveAttribute("aria-pressed", "true");
  await setHidden(true);
  await post(`${server.url}/office`, "look here");
  await expect.poll(() => page.evaluate("told")).toEqual(["office: look here"]);
  await setHidden(false);
  await notify.click();
  await expect(notify).toHaveAttribute("aria-pressed", "false");
});
