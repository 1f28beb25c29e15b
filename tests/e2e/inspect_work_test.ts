/** What operators see and do in the inspector about webhooks and messages for later. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { Receiver, SECRET, writeHooks } from "../hooks/receiver.ts";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Webhooks are paused, go on and are sent again at the press of a button", async ({ open }) => {
  await using receiver = new Receiver();
  const file = await writeHooks([{ name: "all", url: receiver.url, secret: SECRET }]);
  await using server = await startServer({ flags: ["--hooks", file] });
  const page = await open(`${server.url}/_inspect`);
  await expectLive(page);
  const row = page.locator("#webhook-rows").getByRole("row");
  await expect(row.getByRole("cell").nth(0)).toHaveText("Sends");
  await row.getByRole("button", { name: "Pause" }).click();
  await expect(row.getByRole("cell").nth(0)).toHaveText("Paused");
  await curl("-d", "rain", `${server.url}/news`);
  await expect(row.getByRole("cell").nth(1)).toHaveText("1");
  assert.equal(receiver.requests.length, 0);
  await expectAccessible(page, "inspector with a paused webhook");
  await row.getByRole("button", { name: "Go on" }).click();
  await receiver.until(() => receiver.texts().length === 1);
  await expect(row.getByRole("cell").nth(3)).toHaveText("1");

  await row.getByRole("button", { name: "Send again" }).click();
  const dialog = page.getByRole("dialog", { name: "Send all again" });
  await dialog.getByLabel("From").fill("yesterday");
  await dialog.getByRole("button", { name: "Send again" }).click();
  await expect(dialog.getByRole("alert")).toContainText("earliest");
  await expectAccessible(page, "dialog to send again");
  await dialog.getByLabel("From").fill("earliest");
  await dialog.getByRole("button", { name: "Send again" }).click();
  await expect(dialog).toBeHidden();
  await receiver.until(() => receiver.texts().length === 2);
  assert.deepEqual(receiver.texts(), ["rain", "rain"]);
  await expect(page.locator("#webhook-result")).toHaveText("all is sent again from earliest.");
});

site.test("Messages for later are listed, the next one first, and cancelled", async ({ open, server }) => {
  await curl("-d", "late", `${server.url}/later?delay=2h`);
  await curl("-d", "soon", `${server.url}/sooner?delay=1h`);
  const page = await open("/_inspect");
  await expectLive(page);
  const rows = page.locator("#scheduled-rows").getByRole("row");
  await expect(rows).toHaveCount(2);
  await expect(rows.nth(0).getByRole("cell").nth(0)).toHaveText("sooner");
  await expect(page.locator("#scheduled-count")).toHaveText("2 messages");
  await page.setViewportSize({ width: 320, height: 640 });
  await expectAccessible(page, "scheduled messages at 320 px");
  await rows.nth(0).getByRole("button", { name: "Cancel" }).click();
  await expect(rows).toHaveCount(1);
  await expect(rows.nth(0).getByRole("cell").nth(0)).toHaveText("later");
});
