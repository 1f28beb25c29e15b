/** The cursors example in real browsers. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Cursors of others are seen moving under their names", async ({ open }) => {
  const [anna, ben] = [await open("/_examples/cursors?name=Anna"), await open("/_examples/cursors?name=Ben")];
  await expectLive(anna);
  await expectLive(ben);
  const shown = otherCursors(ben);

  await anna.mouse.move(200, 300);
  await expect(shown).toHaveText(["Anna"]);
  await expect(shown).toHaveCSS("translate", "200px 300px");
  await anna.mouse.move(600, 400, { steps: 10 });
  await expect(shown).toHaveCSS("translate", "600px 400px");
  // Nobody sees a second cursor where the own one is. Ben's may be there: a page may be told of a mouse at 0, 0.
  await expect(otherCursors(anna).filter({ hasText: "Anna" })).toHaveCount(0);
});

site.test("Cursor sits at the same fraction of a page of another size", async ({ open }) => {
  const wide = await open("/_examples/cursors?name=Wide", { viewport: { width: 1000, height: 600 } });
  const tall = await open("/_examples/cursors?name=Tall", { viewport: { width: 400, height: 900 } });
  await expectLive(wide);
  await expectLive(tall);
  await wide.mouse.move(500, 200);
  await expect(otherCursors(tall)).toHaveCSS("translate", "200px 300px");
});

site.test("Cursor leaves when its page closes", async ({ open }) => {
  const [anna, ben] = [await open("/_examples/cursors?name=Anna"), await open("/_examples/cursors?name=Ben")];
  await expectLive(anna);
  await expectLive(ben);
  await anna.mouse.move(300, 300);
  await expect(otherCursors(ben)).toHaveText(["Anna"]);
  await anna.close({ runBeforeUnload: false });
  await expect(otherCursors(ben)).toHaveCount(0);
});

site.test("Cursor of a page that fell silent leaves after three seconds", async ({ open, server }) => {
  const page = await open("/_examples/cursors?name=Anna");
  await expectLive(page);
  const socket = new WebSocket(`${server.socketUrl}/cursors`);
  await new Promise((resolve) => socket.onopen = resolve);
  socket.send(JSON.stringify({ id: "silent", name: "Silent", x: 0.5, y: 0.5 }));
  await expect(otherCursors(page)).toHaveText(["Silent"]);
  const seen = performance.now();
  await expect(otherCursors(page)).toHaveCount(0);
  assert(performance.now() - seen > 2_000, "a heartbeat a second must be enough to stay");
  socket.close();
});

site.test("Cursor moves by arrow keys and says goodbye when its page is left", async ({ open }) => {
  const options = { viewport: { width: 1000, height: 500 } };
  const [anna, ben] = [
    await open("/_examples/cursors", options),
    await open("/_examples/cursors?name=Ben", options),
  ];
  await anna.getByLabel("Your name").fill("Anna");
  await anna.getByRole("button", { name: "Join" }).click();
  await expectLive(anna);
  await expectLive(ben);

  await anna.locator("#area").focus();
  await anna.keyboard.press("ArrowRight");
  await anna.keyboard.press("ArrowDown");
  await expect(otherCursors(ben)).toHaveCSS("translate", "520px 260px");
  await expect(anna.locator(".own-cursor")).toBeVisible();
  await anna.goto("about:blank");
  // Sooner than silence alone would tell: the page said so itself.
  await expect(otherCursors(ben)).toHaveCount(0, { timeout: 2_000 });
});

site.test("Cursor leaves with the pointer, and when its page is hidden", async ({ open }) => {
  const [anna, ben] = [await open("/_examples/cursors?name=Anna"), await open("/_examples/cursors?name=Ben")];
  await expectLive(anna);
  await expectLive(ben);
  const hide = "Object.defineProperty(document, 'hidden', { value: true });" +
    "document.dispatchEvent(new Event('visibilitychange'))";
  for (const leave of ["document.documentElement.dispatchEvent(new Event('pointerleave'))", hide]) {
    await anna.mouse.move(300, 300);
    await anna.mouse.move(310, 310);
    await expect(otherCursors(ben)).toHaveText(["Anna"]);
    await anna.evaluate(leave);
    await expect(otherCursors(ben)).toHaveCount(0, { timeout: 2_000 });
  }
});

site.test("Cursors page throttles what it sends", async ({ open }) => {
  const page = await open("/_examples/cursors?name=Anna");
  let sent = 0;
  page.on("websocket", (socket) => socket.on("framesent", () => sent++));
  await page.reload();
  await expectLive(page);
  const begun = performance.now();
  for (let step = 0; step < 60; step++) await page.mouse.move(100 + step, 100 + step);
  await expect(page.locator(".own-cursor")).toHaveCSS("translate", "159px 159px");
  const seconds = (performance.now() - begun) / 1000;
  assert(sent > 0 && sent <= seconds * 21 + 2, `${sent} positions in ${seconds} s`);
});

site.test("Cursors page takes any message for what it is", async ({ open, server }) => {
  const page = await open("/_examples/cursors?name=Anna");
  await expectLive(page);
  const socket = new WebSocket(`${server.socketUrl}/cursors`);
  await new Promise((resolve) => socket.onopen = resolve);
  const hostile = "<img src=x onerror=alert(1)>";
  for (const text of ["not json", "null", "[]", '{"id":1}', '{"id":"a","name":{},"x":0,"y":0}']) {
    socket.send(text);
  }
  socket.send(new Uint8Array([1, 2, 3]));
  socket.send(JSON.stringify({ id: hostile, name: hostile, x: 0.5, y: 0.5 }));
  await expect(otherCursors(page)).toHaveText([hostile]);
  socket.close();
});

function otherCursors(page: Page) {
  return page.locator(".cursor:not(.own-cursor)");
}
