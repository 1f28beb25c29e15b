/** The colours of pages: as the system has them, or as somebody chose, on every page and without a flash. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectAccessible } from "./axe.ts";
import { Site } from "./site.ts";

const site = new Site();

const LIGHT = "rgb(231, 238, 241)";
const DARK = "rgb(13, 21, 26)";

const PATHS = ["/", "/news", "/news/*", "/_inspect", "/_docs", "/_examples/hello", "/_docs/nothing"];

const background = (page: Page) => page.evaluate("getComputedStyle(document.body).backgroundColor");
const toggle = (page: Page) => page.getByRole("button", { name: "Colours:" });

site.test("Button goes from the system's colours to light to dark, and every page remembers", async ({ open }) => {
  const page = await open("/", { colorScheme: "dark" });
  await expect(toggle(page)).toHaveAccessibleName("Colours: as your system");
  assert.equal(await background(page), DARK);
  await toggle(page).click();
  await expect(toggle(page)).toHaveAccessibleName("Colours: light");
  assert.equal(await background(page), LIGHT);
  for (const path of PATHS) {
    await page.goto(new URL(path, page.url()).href);
    await expect(toggle(page)).toHaveAccessibleName("Colours: light");
    assert.equal(await background(page), LIGHT, path);
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  }
  await toggle(page).press("Enter");
  await page.emulateMedia({ colorScheme: "light" });
  for (const path of PATHS) {
    await page.goto(new URL(path, page.url()).href);
    await expect(toggle(page)).toHaveAccessibleName("Colours: dark");
    assert.equal(await background(page), DARK, path);
  }
  await expectAccessible(page, "dark by choice");
  await page.emulateMedia({ colorScheme: "light" });
  await toggle(page).click();
  assert.equal(await background(page), LIGHT);
  await page.reload();
  await expect(toggle(page)).toHaveAccessibleName("Colours: as your system");
});

site.test("Chosen colours are there at the first paint, and in other tabs at once", async ({ open }) => {
  const page = await open("/_docs", { colorScheme: "light" });
  await toggle(page).click();
  await toggle(page).click();
  const other = await page.context().newPage();
  // What the first frame is painted with: whatever would change it later comes too late.
  await other.addInitScript(`requestAnimationFrame(() => first = document.documentElement.dataset.theme)`);
  await other.goto(page.url());
  assert.equal(await other.evaluate("first"), "dark");
  await toggle(page).click();
  await expect(toggle(other)).toHaveAccessibleName("Colours: as your system");
  assert.equal(await background(other), LIGHT);
});

site.test("Chosen colours are those of the system, down to names and plots", async ({ open, server }) => {
  const response = await fetch(`${server.url}/news?name=Ada`, { method: "POST", body: "it rains" });
  await response.body?.cancel();
  /** What every element is painted with, in the order of the page; the button says which colours it stands for. */
  const paint = (page: Page): Promise<readonly string[]> =>
    page.evaluate(`[...document.querySelectorAll("body *:not(.theme *)")].flatMap((element) =>
      ["", "::before"].map((part) => {
        const { color, backgroundColor, borderTopColor, boxShadow } = getComputedStyle(element, part);
        return [element.localName + part, color, backgroundColor, borderTopColor, boxShadow].join(" ");
      }))`);
  const look = async (path: string, colorScheme: "light" | "dark", chosen?: "light" | "dark") => {
    const page = await open(path, { colorScheme, reducedMotion: "reduce" });
    if (chosen !== undefined) await page.evaluate(`localStorage.setItem("raindrops-theme", "${chosen}")`);
    await page.goto(new URL(path, page.url()).href);
    await expect(page.locator("#state")).toContainText("Live");
    return page;
  };
  const paintChannel = async (colorScheme: "light" | "dark", chosen: "light" | "dark" = colorScheme) => {
    const page = await look("/news?name=Anna", colorScheme, chosen === colorScheme ? undefined : chosen);
    await expect(page.locator("#people li")).toHaveCount(1);
    const tone = chosen === "light" ? /^oklch\(0\.44 / : /^oklch\(0\.8 /;
    await expect(page.locator("#messages .who")).toHaveCSS("color", tone);
    const painted = await paint(page);
    await page.close();
    return painted;
  };
  for (const [own, other] of [["light", "dark"], ["dark", "light"]] as const) {
    assert.deepEqual(await paintChannel(other, own), await paintChannel(own));
    const inspector = await look("/_inspect", other, own);
    // The last colour with which a plot was drawn, that of its axes.
    const drawing = inspector.locator(".drawing", { has: inspector.locator("canvas") }).first();
    await expect(drawing).toHaveCSS("color", own === "light" ? "rgb(74, 94, 105)" : "rgb(159, 179, 190)");
    await inspector.close();
  }
});

site.test("Button takes no room from a page at 320 pixels", async ({ open }) => {
  for (const path of PATHS) {
    const page = await open(path, { viewport: { width: 320, height: 640 } });
    await expect(toggle(page)).toBeVisible();
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false, path);
  }
});

/** What is below the bar on top, by page. */
const BELOW: Readonly<Record<string, string>> = {
  "/": ".conversation",
  "/news": ".conversation",
  "/_docs": "main",
  "/_examples/hello": "main",
};

site.test("Nothing moves when the scripts of a page have run, the button among what they add", async ({ open, server }) => {
  for (const [path, selector] of Object.entries(BELOW)) {
    for (const width of [360, 390, 1280]) {
      const page = await open("/robots.txt", { viewport: { width, height: 800 } });
      const released = Promise.withResolvers<void>();
      await page.route(/\/_static\/.*(?<!theme)\.ts/, async (route) => {
        await released.promise;
        await route.continue();
      });
      await page.goto(server.url + path, { waitUntil: "commit" });
      const below = page.locator(selector);
      await expect(page.locator(".top")).toHaveCSS("display", "flex");
      await expect(toggle(page)).toHaveCount(0);
      const before = await below.boundingBox();
      released.resolve();
      await expect(toggle(page)).toBeVisible();
      const after = await below.boundingBox();
      assert.deepEqual([after?.x, after?.y], [before?.x, before?.y], `${path} at ${width} px`);
      await page.context().close();
    }
  }
});
