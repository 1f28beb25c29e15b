/** The home page in real browsers. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { expectAccessible } from "./axe.ts";
import { curl, expectLive, Site } from "./site.ts";

const site = new Site();

site.test("Home page shows the lobby live, with its history", async ({ open, server }) => {
  await curl("-d", "early bird", `${server.url}/`);
  const [anna, ben] = [await open("/"), await open("/")];
  await expectLive(anna);
  await expectLive(ben);
  await expect(anna.locator("#messages li p")).toHaveText(["early bird"]);

  await anna.getByLabel("Message", { exact: true }).fill("good morning");
  await anna.getByRole("button", { name: "Send" }).click();
  await expect(ben.locator("#messages li p")).toHaveText(["early bird", "good morning"]);
  await expect(anna.locator(".mine p")).toHaveText(["good morning"]);
  assert.equal(await curl("-d", "hi", `${server.url}/`), "Cool thanks");
  for (const page of [anna, ben]) {
    await expect(page.locator("#messages li p")).toHaveText(["early bird", "good morning", "hi"]);
  }
});

site.test("Home page's commands name this server and are copied by their buttons", async ({ open, server }) => {
  const page = await open("/", { permissions: ["clipboard-read", "clipboard-write"] });
  const commands = [
    `curl -d 'it rains' ${server.url}/news`,
    `curl -N '${server.url}/news?follow'`,
    `new WebSocket("${server.socketUrl}/news")`,
    `new EventSource("${server.url}/news")`,
    `curl -d hi ${server.url}/`,
  ];
  await expect(page.locator(".home .ways code.command")).toHaveText(commands.slice(0, 4));
  await expect(page.locator(".home .conversation code.command")).toHaveText(commands.slice(4));
  const tabs = ["Send", "Listen", "WebSocket", "EventSource"];
  for (const [i, command] of commands.entries()) {
    if (tabs[i] !== undefined) await page.getByRole("tab", { name: tabs[i] }).click();
    const button = page.locator(tabs[i] === undefined ? ".try .copy" : "[role=tabpanel]:not([hidden]) .copy");
    await button.click();
    await expect(button).toHaveText("Copied");
    assert.equal(await page.evaluate("navigator.clipboard.readText()"), command);
  }
});

site.test("Copy button selects the command where copying is forbidden", async ({ open, server }) => {
  const page = await open("/");
  await page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden'))");
  const button = page.locator(".ways .copy").first();
  await button.click();
  await expect(button).toHaveText("Selected");
  assert.equal(await page.evaluate("String(getSelection())"), `curl -d 'it rains' ${server.url}/news`);
});

for (
  const [text, path, title] of [
    ["新闻", "/%E6%96%B0%E9%97%BB", "新闻"],
    ["my room", "/my%20room", "my room"],
    ["cafe\u0301/été", "/caf%C3%A9/%C3%A9t%C3%A9", "café/été"],
  ] as const
) {
  site.test(`Home page opens ${title}, whose page talks with all other doors`, async ({ open, server }) => {
    const page = await open("/");
    await page.getByLabel("Channel to open").fill(text);
    await page.getByRole("button", { name: "Open" }).click();
    await page.waitForURL(`**${path}`);
    await expect(page.locator("h1")).toHaveText(title);
    await expectLive(page);
    const asTyped = await open(`/${title.normalize("NFD")}`);
    await expectLive(asTyped);
    await expect(asTyped.locator("h1")).toHaveText(title);
    await curl("-d", "from curl", server.url + path);
    await asTyped.locator("#box").fill("from the other page");
    await asTyped.locator("#box").press("Enter");
    for (const each of [page, asTyped]) {
      await expect(each.locator("#messages > .message > :last-child")).toHaveText([
        "from curl",
        "from the other page",
      ]);
      await expect(each.locator("#people-count")).toContainText("2");
    }
  });
}

site.test("Commands are in one box of tabs, which work by keyboard", async ({ open }) => {
  const page = await open("/");
  const panel = page.getByRole("tabpanel");
  await expect(panel).toHaveCount(1);
  await expect(panel).toContainText("it rains");
  await page.getByRole("tab", { name: "Send" }).focus();
  for (const [key, name] of [["ArrowRight", "Listen"], ["End", "EventSource"], ["ArrowRight", "Send"]]) {
    await page.keyboard.press(key!);
    await expect(page.getByRole("tab", { name: name! })).toBeFocused();
    await expect(page.getByRole("tab", { selected: true })).toHaveText(name!);
    await expect(panel).toHaveCount(1);
  }
});

site.test("Busy and recent channels are on the home page, renewed, and lead to their pages", async ({ open, server }) => {
  const long = "of/a/long/name/".repeat(10) + "x";
  for (const channel of [long, "old/news", "new/news", "old/news"]) {
    await curl("-d", "x", `${server.url}/${channel}`);
  }
  const reader = await open("/well/read");
  await expectLive(reader);
  const page = await open("/");
  const recent = page.getByRole("list", { name: "Recent" });
  await expect(recent.getByRole("link").first()).toHaveText("/old/news");
  await expect(recent.getByRole("link").nth(1)).toHaveText("/new/news");
  await expect(recent.getByRole("link", { name: "/lobby" })).toHaveCount(0);
  await expect(recent.getByRole("link", { name: long })).toBeVisible();
  for (const width of [320, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 });
    assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  }
  const busy = page.getByRole("list", { name: "Busy" });
  await expect(busy.getByRole("listitem").filter({ hasText: "/well/read" })).toContainText("1 here");
  await curl("-d", "x", `${server.url}/new/news`);
  await expect(recent.getByRole("link").first()).toHaveText("/new/news", { timeout: 10_000 });
  await recent.getByRole("link").first().click();
  await expect(page.locator("h1")).toHaveText("new/news");
});

site.test("Channels are named to nobody but operators, and strangers are not even asked for", async ({ open }) => {
  const key = "a-key-of-sixteen-characters";
  await using server = await startServer({
    env: { RAINDROPS_API_KEYS: key, RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes" },
  });
  const headers = { "x-api-key": key };
  await (await fetch(`${server.url}/hidden`, { method: "POST", body: "x", headers })).body?.cancel();
  const page = await open(server.url);
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.reload();
  await expect(page.locator("#state")).toHaveText("Not connected");
  await expect(page.locator("#lively")).toBeHidden();
  assert(!asked.includes("/_inspect/lively"));
  assert.equal((await fetch(`${server.url}/_inspect/lively`)).status, 401);
  await page.goto(`${server.url}/_inspect`);
  await page.getByLabel("API key").fill(key);
  await page.getByLabel("API key").press("Enter");
  await expectLive(page);
  await page.goto(server.url);
  await expect(page.getByRole("list", { name: "Recent" })).toHaveText(/\/hidden/);
});

site.test("On a phone the lobby comes first, beside the headline on a desktop", async ({ open }) => {
  const page = await open("/", { viewport: { width: 360, height: 720 } });
  await expectLive(page);
  const box = async (selector: string) => (await page.locator(selector).boundingBox())!;
  const lobby = await box(".home .conversation");
  assert(lobby.y < 400, `the lobby begins at ${lobby.y}`);
  assert((await box(".home .ways")).y >= lobby.y + lobby.height);
  await expectAccessible(page, "home at 360 px");
  for (const width of [1280, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    const [pitch, ways, beside] = [await box(".pitch"), await box(".ways"), await box(".home .conversation")];
    assert(beside.x > pitch.x + pitch.width && Math.abs(beside.y - pitch.y) < 2);
    assert(ways.y >= pitch.y + pitch.height && ways.x === pitch.x);
    await expectAccessible(page, `home at ${width} px`);
  }
});

site.test("Home page opens a channel and links to every example", async ({ open }) => {
  const page = await open("/");
  for (const example of ["hello", "chat", "raindrops", "cursors"]) {
    await expect(page.locator(`a[href="/_examples/${example}"]`)).toBeVisible();
  }
  await expect(page.getByRole("link", { name: "Docs" })).toHaveAttribute("href", "/_docs");
  await expect(page.getByRole("link", { name: "Inspector" })).toHaveAttribute("href", "/_inspect");
  await page.getByLabel("Channel to open").fill("weather/bergen#1");
  await page.getByRole("button", { name: "Open" }).click();
  await page.waitForURL("**/weather/bergen%231");
  await expect(page.locator("h1")).toHaveText("weather/bergen#1");
  await expectLive(page);
});
