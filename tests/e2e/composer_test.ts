/** The box to write in, and what is special about messages: drafts, limits, answers, days, long texts. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { openAs, post, readStored, shownMessages, write } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

site.test("A draft survives a reload, in its own tab alone, and is gone once it is sent", async ({ open }) => {
  const [page] = await openAs(open, "/drafts", "Anna");
  assert(page);
  await page.locator("#box").fill("half a thou");
  await page.reload();
  await expect(page.locator("#box")).toHaveValue("half a thou");
  const second = await page.context().newPage();
  await second.goto(page.url());
  await expectLive(second);
  await expect(second.locator("#box")).toHaveValue("");
  await page.locator("#box").press("Enter");
  await expect(shownMessages(page)).toHaveText(["half a thou"]);
  await page.reload();
  await expectLive(page);
  await expect(page.locator("#box")).toHaveValue("");
});

site.test("A message that is too long stays in the box with its size, and goes once it is shorter", async ({ open }) => {
  await using server = await startServer({ flags: ["--max-message-bytes", "2048"] });
  const page = await open(`${server.url}/limits?name=Anna`);
  await expectLive(page);
  const long = "ä".repeat(2_000);
  await write(page, long);
  await expect(page.getByRole("alert")).toHaveText("Too long: 4 KB of 2 KB");
  await expect(page.locator("#box")).toHaveValue(long);
  await page.locator("#box").fill("ä".repeat(1_024));
  await expect(page.locator("#problem")).toBeHidden();
  await page.locator("#box").press("Enter");
  await expect(shownMessages(page)).toHaveCount(1);
  assert.deepEqual(await readStored(`${server.url}/limits`), ["ä".repeat(1_024)]);
});

site.test("/who, /time and /help are answered to whoever asks, and not sent to all", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/asked", "Anna", "Ben");
  assert(anna && ben);
  await write(anna, "/who");
  await expect(shownMessages(anna)).toHaveText([/^(Anna, Ben|Ben, Anna)$/]);
  await write(anna, "/time");
  await expect(shownMessages(anna).last()).toHaveText(/^\d{4}-\d\d-\d\dT/);
  await write(anna, "/help");
  await expect(shownMessages(anna).last()).toContainText("/who: ");
  await write(anna, "/whoever");
  await expect(shownMessages(ben)).toHaveText(["/whoever"]);
  assert.deepEqual(await readStored(`${server.url}/asked`), ["/whoever"]);
});

site.test("A long message is folded until somebody asks for the rest", async ({ open, server }) => {
  await post(`${server.url}/long`, Array.from({ length: 60 }, (_, i) => `line ${i}`).join("\n"));
  await post(`${server.url}/long`, "short");
  const [page] = await openAs(open, "/long", "Anna");
  assert(page);
  const body = page.locator(".message p").first();
  const folded = (await body.boundingBox())!.height;
  const button = page.getByRole("button", { name: "Show more" });
  await expect(button).toHaveCount(1);
  await button.click();
  await expect(page.getByRole("button", { name: "Show less" })).toHaveAttribute("aria-expanded", "true");
  assert((await body.boundingBox())!.height > 2 * folded);
});

site.test("JSON that is typed is shown as JSON, code as code, and both are stored as text", async ({ open, server }) => {
  const page = await open("/typed?name=Anna");
  await expectLive(page);
  await write(page, '{"mm": 12, "<b>": [1]}');
  await expect(page.locator(".message .json .key")).toHaveText(["mm", "<b>"]);
  const code = "see `<i>` here:\n```js\nconst url = 'http://a.example';\n```\nand https://example.org/x.";
  await write(page, code);
  const message = page.locator("#messages > .message").last();
  await expect(message.locator("p code")).toHaveText(["<i>"]);
  await expect(message.locator("pre")).toHaveText("const url = 'http://a.example';");
  await expect(message.locator("pre a")).toHaveCount(0);
  await expect(message.locator("a")).toHaveAttribute("href", "https://example.org/x");
  for (const text of ["{not json}", "[1, 2", "a `b", "``` ```"]) {
    await write(page, text);
    await expect(shownMessages(page).last()).toHaveText(text);
  }
  assert.deepEqual((await readStored(`${server.url}/typed`)).slice(0, 2), ['{"mm": 12, "<b>": [1]}', code]);
});

site.test("A line says where another day begins, and each message its exact time", async ({ open, server }) => {
  await post(`${server.url}/days`, "first");
  const page = await open("/days?name=Anna");
  await expectLive(page);
  await expect(page.locator(".day")).toHaveCount(0);
  const tomorrow = new Date(Date.now() + 24 * 3_600_000);
  await page.clock.setFixedTime(tomorrow);
  await page.reload();
  await expectLive(page);
  await expect(page.locator(".day")).toHaveText(["Yesterday"]);
  await write(page, "second");
  await expect(page.locator("#messages > li")).toHaveText(["Yesterday", /first/, "Today", /second/]);
  await expect(page.locator(".message").first()).toHaveAttribute("title", /\d:\d\d:\d\d/);
});

site.test("The box has the focus on a desktop, and not on a phone", async ({ open }) => {
  const [page] = await openAs(open, "/focus", "Anna");
  assert(page);
  await expect(page.locator("#box")).toBeFocused();
  const phone = await open("/focus?name=Ben", { hasTouch: true, isMobile: true });
  await expectLive(phone);
  await expect(phone.locator("#box")).not.toBeFocused();
});

site.test("With API keys only, page and home say so, suggest no refused command, and take a key", async ({ open }) => {
  const key = "an-api-key-of-this-test-only-0123456789";
  await using server = await startServer({
    env: { RAINDROPS_API_KEYS: key },
    flags: ["--trusted-proxy", "10.0.0.1"],
  });
  const hint = server.lines.find((line) => line.includes("Try:"));
  assert.match(hint ?? "", /curl -H "X-API-Key: \$KEY" -d/);
  const home = await open(server.url);
  await expect(home.locator("#takes")).toContainText("takes an API key");
  for (const command of await home.locator("code.command").filter({ visible: true }).allTextContents()) {
    assert.match(command, /X-API-Key: \$KEY/);
  }
  const page = await open(`${server.url}/locked?name=Anna`);
  await expect(page.getByRole("alert").first()).toContainText("takes an API key");
  await expect(page.locator("#box")).toBeDisabled();
  await expect(page.getByRole("button", { name: "Share" })).toBeDisabled();
  await page.getByLabel("API key").fill("a wrong one");
  await page.getByRole("button", { name: "Use it" }).click();
  await expect(page.getByRole("alert").first()).toContainText("not an API key");
  await page.getByLabel("API key").fill(key);
  await page.getByRole("button", { name: "Use it" }).click();
  await expectLive(page);
  await write(page, "let in");
  await expect(page.locator(".message.mine p")).toHaveText(["let in"]);
  await expect(page.locator("#people li")).toHaveText(["Anna you"]);
  assert(!page.url().includes(key) && !server.lines.join("\n").includes(key));
});

site.test("Hello sends its placeholder when nothing is written", async ({ open }) => {
  const page = await open("/_examples/hello");
  await expectLive(page);
  await page.getByRole("button", { name: "Submit" }).click();
  await expect(page.locator("#log")).toContainText("Sent: Hello");
  await expect(page.locator("#log")).toContainText("Received: World!");
});
