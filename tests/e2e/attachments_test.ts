/** Pictures and files on the channel page: picked, pasted and dropped, made smaller, shown, saved, refused. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectAccessible } from "./axe.ts";
import { openAs, readStored, shownMessages } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

const LIMIT = 64 * 1024;

/** A picture of one pixel, as PNG. */
const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/** A picture that no coder makes small: noise, as PNG. */
async function drawNoise(page: Page, side: number): Promise<Buffer> {
  const base64 = await page.evaluate<string>(`(() => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = ${side};
    const context = canvas.getContext("2d");
    const image = context.createImageData(${side}, ${side});
    let seed = 1;
    for (let i = 0; i < image.data.length; i++) {
      seed ^= seed << 13, seed ^= seed >>> 17, seed ^= seed << 5;
      image.data[i] = i % 4 === 3 ? 255 : seed & 255;
    }
    context.putImageData(image, 0, 0);
    return canvas.toDataURL("image/png").split(",")[1];
  })()`);
  return Buffer.from(base64, "base64");
}

async function pick(
  page: Page,
  ...files: { name: string; mimeType: string; buffer: Buffer }[]
): Promise<void> {
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: "Attach a picture or file" }).click();
  await (await chooser).setFiles(files);
}

/** Hands files to the page as a paste or drop does. */
async function hand(
  page: Page,
  how: "paste" | "drop",
  target: string,
  { name, type, base64 }: { readonly name: string; readonly type: string; readonly base64: string },
): Promise<void> {
  await page.evaluate(`(() => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(${JSON.stringify(base64)}), (c) => c.charCodeAt(0));
    transfer.items.add(new File([bytes], ${JSON.stringify(name)}, { type: ${JSON.stringify(type)} }));
    const options = { bubbles: true, cancelable: true };
    const target = document.querySelector(${JSON.stringify(target)});
    target.dispatchEvent(${JSON.stringify(how)} === "paste"
      ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
      : new DragEvent("drop", { ...options, dataTransfer: transfer }));
  })()`);
}

site.test("A large picture is made small enough, sent, and shown to everybody, large in a lightbox", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/gallery", "Anna", "Ben");
  assert(anna && ben);
  const buffer = await drawNoise(anna, 900);
  assert(buffer.byteLength > 10 * LIMIT);
  await pick(anna, { name: "holiday.png", mimeType: "image/png", buffer });
  await expect(ben.getByRole("img", { name: /^Picture, / })).toBeVisible();
  await expect(anna.locator(".upload")).toHaveCount(0);
  await expect(anna.locator(".message.mine img")).toBeVisible();
  const [stored] = await readStored(`${server.url}/gallery`) as [{ base64: string }];
  assert(Buffer.from(stored.base64, "base64").byteLength <= LIMIT);

  await hand(anna, "paste", "#box", { name: "pixel.png", type: "image/png", base64: PIXEL });
  await expect(ben.getByRole("img", { name: /^Picture, / })).toHaveCount(2);
  await ben.locator("a.picture").first().click();
  const box = ben.getByRole("dialog", { name: "Picture" });
  await expect(box).toBeVisible();
  await expect(box.getByRole("button", { name: "Previous" })).toBeDisabled();
  await expectAccessible(ben, "lightbox");
  await ben.keyboard.press("ArrowRight");
  await expect(box.getByRole("button", { name: "Next" })).toBeDisabled();
  const download = ben.waitForEvent("download");
  await box.getByRole("link", { name: "Save" }).click();
  assert.match((await download).suggestedFilename(), /^raindrop-2\.png$/);
  await ben.keyboard.press("Escape");
  await expect(box).toBeHidden();
});

site.test("Other files go with their names, dropped or picked, and are saved as they were", async ({ open }) => {
  const [anna, ben] = await openAs(open, "/files", "Anna", "Ben");
  assert(anna && ben);
  await pick(anna, { name: "notes & <b>.txt", mimeType: "text/plain", buffer: Buffer.from("grüße\n") });
  const link = ben.locator("a.file");
  await expect(link).toHaveText("Save notes & <b>.txt (8 bytes)");
  const download = ben.waitForEvent("download");
  await link.click();
  const file = await download;
  assert.equal(await readFile(await file.path(), "utf8"), "grüße\n");
  const evil = { name: "../../etc/evil\u202Efdp.exe", type: "application/x-thing", base64: "AQID" };
  await hand(anna, "drop", ".conversation", evil);
  await expect(link.last()).toContainText("Save evilfdp.exe");
  assert.equal(await link.last().getAttribute("download"), "evilfdp.exe");
});

site.test("A file that is too large and a picture that is none are refused in words, and the rest is sent", async ({ open }) => {
  const [anna] = await openAs(open, "/refused-files", "Anna");
  assert(anna);
  await pick(
    anna,
    { name: "big.zip", mimeType: "application/zip", buffer: Buffer.alloc(200_000, 7) },
    { name: "broken.jpg", mimeType: "image/jpeg", buffer: Buffer.from("no picture") },
    { name: "good.txt", mimeType: "text/plain", buffer: Buffer.from("good") },
  );
  await expect(shownMessages(anna)).toHaveText(["Save good.txt (4 bytes)"]);
  await expect(anna.locator(".upload")).toHaveText([
    /big\.zip.*Too large: 196 KB of 48 KB\. Only pictures are made smaller\./,
    /broken\.jpg.*cannot be read/,
  ]);
  await expectAccessible(anna, "refused files");
  for (const name of ["big.zip", "broken.jpg"]) {
    await anna.locator(".upload", { hasText: name }).getByRole("button", { name: "Discard" }).click();
  }
  await expect(anna.locator(".upload")).toHaveCount(0);
});

site.test("Text that is pasted stays text, also from programs that add a picture of it", async ({ open }) => {
  const page = await open("/pasted?name=Anna");
  await expectLive(page);
  await page.evaluate(`(() => {
    const transfer = new DataTransfer();
    transfer.setData("text/plain", "a cell");
    transfer.items.add(new File(["x"], "image.png", { type: "image/png" }));
    document.querySelector("#box").dispatchEvent(
      new ClipboardEvent("paste", { bubbles: true, cancelable: true, clipboardData: transfer }));
  })()`);
  await expect(page.locator(".upload")).toHaveCount(0);
});

site.test("A file that is picked offline waits, and is sent when the page is back", async ({ open }) => {
  const page = await open("/offline-files?name=Anna");
  await expectLive(page);
  await page.context().setOffline(true);
  await pick(page, { name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("a") });
  await expect(page.locator(".upload")).toContainText("Waits for the connection");
  await page.context().setOffline(false);
  await expect(page.locator("a.file")).toHaveCount(1);
  await expect(page.locator(".upload")).toHaveCount(0);
});

site.test("A file waits for the connection, across reloads, and is sent once", async ({ open, server }) => {
  const [page] = await openAs(open, "/kept", "Anna");
  assert(page);
  const isPost = /\/kept\?/;
  await page.route(
    isPost,
    (route) => route.request().method() === "POST" ? route.abort("connectionrefused") : route.continue(),
  );
  const files = ["one", "two", "three"].map((name) => ({
    name: `${name}.txt`,
    mimeType: "text/plain",
    buffer: Buffer.from(name),
  }));
  await pick(page, ...files);
  const uploads = page.locator(".upload");
  await expect(uploads).toHaveText([/^one.txt.*Waits/, /^two.txt.*Waits/, /^three.txt.*Waits/]);
  await page.reload();
  await expect(uploads).toHaveText([/^one.txt.*Waits/, /^two.txt.*Waits/, /^three.txt.*Waits/]);
  await uploads.nth(1).getByRole("button", { name: "Cancel" }).click();
  await expect(uploads).toHaveCount(2);
  const elsewhere = await page.context().newPage();
  await elsewhere.goto(`${server.url}/kept/elsewhere`);
  await expectLive(elsewhere);
  await expect(elsewhere.locator(".upload")).toHaveCount(0);

  // It goes on by itself as soon as the page is connected again.
  await page.unroute(isPost);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("offline");
  await page.context().setOffline(false);
  await expect(page.locator("a.file")).toHaveCount(2);
  await expect(uploads).toHaveCount(0);
  await page.reload();
  await expect(page.locator("a.file")).toHaveCount(2);
  await expect(uploads).toHaveCount(0);
  const stored = await readStored(`${server.url}/kept`) as { file: string }[];
  assert.deepEqual(stored.map(({ file }) => file), ["one.txt", "three.txt"]);
});

site.test("A file whose answer got lost is stored once, and long after that its sender is asked", async ({ open, server }) => {
  const [page] = await openAs(open, "/lost-answer", "Anna");
  assert(page);
  await page.route(/\/lost-answer\?/, async (route) => {
    if (route.request().method() !== "POST") return await route.continue();
    await route.fetch();
    await route.abort("connectionreset");
  });
  await pick(page, { name: "once.txt", mimeType: "text/plain", buffer: Buffer.from("once") });
  const upload = page.locator(".upload");
  await expect(upload).toContainText("Waits");
  await page.unrouteAll();
  await page.clock.install({ time: Date.now() + 10 * 60_000 });
  await page.reload();
  await expect(upload).toContainText("It may have arrived already");
  await expectAccessible(page, "file that may have arrived");
  await upload.getByRole("button", { name: "Send again" }).click();
  await expect(upload).toHaveCount(0);
  // The server does know its key still, as no ten minutes have passed for it.
  assert.equal((await readStored(`${server.url}/lost-answer`)).length, 1);
});
