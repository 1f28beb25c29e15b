/** The home page and the channel page in real browsers. */
import assert from "node:assert/strict";
import type { WebSocketRoute } from "playwright";
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
  await page.getByLabel("Channel to open").fill("weather/bergen#1");
  await page.getByRole("button", { name: "Open" }).click();
  await page.waitForURL("**/weather/bergen%231");
  await expect(page.locator("h1")).toHaveText("weather/bergen#1");
  await expectLive(page);
});

site.test("Channel page shows history, what arrives, and what it sends", async ({ open, server }) => {
  const url = `${server.url}/news`;
  await curl("-d", "first", url);
  await curl("-H", "content-type: application/json", "-d", '{"data":{"mm":12}}', url);
  await curl("-H", "content-type: application/octet-stream", "-d", "12345", url);
  const [anna, ben] = [await open("/news?name=Anna"), await open("/news")];
  await expectLive(anna);
  await expectLive(ben);
  const history = ["first", '{"mm":12}', "(5 bytes)"];
  await expect(anna.locator("#messages li p")).toHaveText(history);
  await expect(anna.locator("code.command")).toHaveText(`curl -d 'it rains' ${url}`);

  await anna.getByLabel("Message", { exact: true }).fill("hello all");
  await anna.getByLabel("Message", { exact: true }).press("Enter");
  await expect(ben.locator("#messages li p")).toHaveText([...history, "hello all"]);
  await expect(anna.locator(".mine p")).toHaveText(["hello all"]);
  await curl("-H", "content-type: application/octet-stream", "-d", "123", url);
  await expect(ben.locator("#messages li p")).toHaveText([...history, "hello all", "(3 bytes)"]);
  await expect(anna.locator("#messages li p")).toHaveText([...history, "hello all", "(3 bytes)"]);
  // After a reload it is all history, with the name that Anna chose.
  await ben.reload();
  await expect(ben.locator("#messages li p")).toHaveText([...history, "hello all", "(3 bytes)"]);
  await expect(ben.locator("#messages li").nth(3).locator("bdi")).toHaveText("Anna");
});

site.test("Channel page misses and doubles nothing across a reconnect", async ({ open, server }) => {
  const page = await open("/diary");
  const sockets: WebSocketRoute[] = [];
  await page.routeWebSocket(/\/diary/, (socket) => {
    sockets.push(socket);
    socket.connectToServer();
  });
  await page.reload();
  await expectLive(page);
  await page.getByLabel("Message", { exact: true }).fill("dear diary");
  await page.getByLabel("Message", { exact: true }).press("Enter");
  await curl("-d", "a stranger", `${server.url}/diary`);
  await expect(page.locator("#messages li p")).toHaveText(["dear diary", "a stranger"]);

  // One message falls between the end of the history and the start of the socket.
  await page.route("**/diary", async (route) => {
    const response = await route.fetch();
    await curl("-d", "in between", `${server.url}/diary`);
    await route.fulfill({ response });
  });
  await sockets[0]?.close({ code: 1012, reason: "service restart" });
  await expect.poll(() => sockets.length).toBe(2);
  await expectLive(page);
  await curl("-d", "and after", `${server.url}/diary`);
  const all = ["dear diary", "a stranger", "in between", "and after"];
  await expect(page.locator("#messages li p")).toHaveText(all);
  await expect(page.locator(".mine p")).toHaveText(["dear diary"]);
});

site.test("Page of a pattern only reads", async ({ open, server }) => {
  const page = await open("/orders/*");
  await expectLive(page);
  await expect(page.locator("#composer")).toBeHidden();
  await expect(page.locator("code.command")).toHaveText(`curl -N '${server.url}/orders/*?follow'`);
  await curl("-d", "one umbrella", `${server.url}/orders/42`);
  await expect(page.locator("#messages li p")).toHaveText(["one umbrella"]);
});
