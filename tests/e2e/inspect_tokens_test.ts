/** Tokens as operators make and explain them in the inspector, and the threads of a server with workers. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

const KEY = "a-key-of-sixteen-characters";
const SECRET = "a secret of more than thirty-two bytes";

site.test("Token is made, copied, explained, and lets its user in on the page of a channel", async ({ open }) => {
  await using server = await startServer({
    env: { RAINDROPS_API_KEYS: KEY, RAINDROPS_TOKEN_SECRET: SECRET },
  });
  const page = await open(`${server.url}/_inspect`);
  const seen: string[] = [];
  page.on("response", async (response) => {
    if (response.url().includes("/_inspect/t")) seen.push(await response.text().catch(() => ""));
  });
  await page.getByLabel("API key").fill(KEY);
  await page.getByLabel("API key").press("Enter");
  await expectLive(page);
  const form = page.locator("#token-make");
  await form.getByLabel("Valid for").fill("soon");
  await form.getByRole("button", { name: "Make it" }).click();
  await expect(form.getByRole("alert")).toContainText('"soon" is no lifetime: write 90s');
  await form.getByLabel("User").fill("ann");
  await form.getByLabel("Valid for").fill("15m");
  await form.getByLabel("Grants").fill("office=all");
  await form.getByLabel("What others see").fill('{"name":"Ann"}');
  await form.getByRole("button", { name: "Make it" }).click();
  const made = form.getByRole("group", { name: "The new token" });
  await expect(made).toBeVisible();
  const token = (await made.locator("code").textContent())!;
  assert.equal(token.split(".").length, 3);

  const explain = page.locator("#token-explain");
  await explain.getByLabel("Token").fill(token);
  await explain.getByLabel("What it allows").fill("office");
  await explain.getByRole("button", { name: "Explain it" }).click();
  await expect(explain.getByRole("status")).toContainText("The server takes it.");
  await expect(explain.locator(".checks").last().locator(".good")).toHaveCount(4);
  await expectAccessible(page, "with a token explained");
  await page.setViewportSize({ width: 320, height: 640 });
  await expectAccessible(page, "with a token explained at 320 px");
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  await explain.getByLabel("Token").fill(`${token.slice(0, -6)}AAAAAA`);
  await explain.getByRole("button", { name: "Explain it" }).click();
  await expect(explain.getByRole("status")).toContainText("The server refuses it");
  await expectAccessible(page, "with a token refused");

  const office = await open(`${server.url}/office`);
  await office.getByLabel("Token").fill(token);
  await office.getByRole("button", { name: "Use it" }).click();
  await expectLive(office);
  await expect(office.locator("#people li")).toHaveText(["Ann you"]);
  assert(seen.length > 1);
  assert(!`${seen.join("\n")}${await page.content()}${server.lines.join("\n")}`.includes(SECRET));
  assert(!page.url().includes("ey") && !server.lines.join("\n").includes(token));
});

site.test("Tokens are not spoken of where none are checked", async ({ open }) => {
  const page = await open("/_inspect");
  await expectLive(page);
  await expect(page.locator("#tokens")).toBeHidden();
});

site.test("Nodes and workers are listed, each with its clients", async ({ open }) => {
  await using server = await startServer({ flags: ["--workers", "2"] });
  const page = await open(`${server.url}/_inspect`);
  await expectLive(page);
  const rows = page.locator("#node-rows").getByRole("row");
  await expect(rows).toHaveCount(4);
  await expect(rows.nth(0)).toContainText(/\d+\.\d+\.\d+/);
  await expect(page.locator("#node-rows").getByRole("rowheader").filter({ hasText: /^Worker \d$/ }))
    .toHaveCount(2);
  await open(`${server.url}/crowd`).then(expectLive);
  await expect(rows.nth(0).getByRole("cell").nth(2)).toHaveText("1");
});
