/** The home page in real browsers. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
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
  await expect(page.locator("code.command")).toHaveText(commands);
  for (const [i, command] of commands.entries()) {
    const button = page.locator(".copy").nth(i);
    await button.click();
    await expect(button).toHaveText("Copied");
    assert.equal(await page.evaluate("navigator.clipboard.readText()"), command);
  }
});

site.test("Copy button selects the command where copying is forbidden", async ({ open, server }) => {
  const page = await open("/");
  await page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('forbidden'))");
  await page.locator(".copy").first().click();
  await expect(page.locator(".copy").first()).toHaveText("Selected");
  assert.equal(await page.evaluate("String(getSelection())"), `curl -d 'it rains' ${server.url}/news`);
});

site.test("Home page opens a channel and links to every example", async ({ open }) => {
  const page = await open("/");
  for (const example of ["hello", "chat", "raindrops", "cursors"]) {
    await expect(page.locator(`a[href="/_examples/${example}"]`)).toBeVisible();
  }
  await expect(page.getByRole("link", { name: "Inspector" })).toHaveAttribute("href", "/_inspect");
  await page.getByLabel("Channel to open").fill("weather/bergen#1");
  await page.getByRole("button", { name: "Open" }).click();
  await page.waitForURL("**/weather/bergen%231");
  await expect(page.locator("h1")).toHaveText("weather/bergen#1");
  await expectLive(page);
});
