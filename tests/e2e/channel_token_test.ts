/** The channel page where the server asks for tokens, and where it sends the page away. */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { openAs, post, shownMessages, write } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const KEYS = {
  RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes",
  RAINDROPS_API_KEYS: "api-key-0123456789",
};
const RULES = [
  { channels: "office", allow: ["subscribe", "publish", "presence", "history"] },
  { channels: "ticker", allowAnonymous: ["subscribe"] },
  { channels: "club", allow: ["subscribe"], allowSubscribers: ["publish"] },
  { channels: "wall", allowAnonymous: ["subscribe", "publish", "presence", "history"] },
];

const site = new Site();

function sign(
  sub: string,
  name: string,
  expires = "1h",
  secret = KEYS.RAINDROPS_TOKEN_SECRET,
): Promise<string> {
  return new SignJWT({ sub, info: { name } }).setProtectedHeader({ alg: "HS256" }).setExpirationTime(expires)
    .sign(new TextEncoder().encode(secret));
}

async function startKeyedServer() {
  const rules = await Deno.makeTempFile({ suffix: ".json" });
  await Deno.writeTextFile(rules, JSON.stringify(RULES));
  const server = await startServer({ env: KEYS, flags: ["--rules", rules] });
  await Deno.remove(rules);
  return server;
}

async function useToken(page: Page, token: string): Promise<void> {
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Use it" }).click();
}

site.test("Page says that it takes a token, takes one, and is then whom the token names", async ({ open }) => {
  await using server = await startKeyedServer();
  const page = await open(`${server.url}/office?name=Somebody`);
  await expect(page.getByRole("alert")).toContainText("asks for a token");
  await expect(page.locator("#state")).toHaveText("Not connected");
  await expect(page.locator("#box")).toBeDisabled();
  await expect(page.locator("#box")).toHaveAttribute("placeholder", "Writing here takes a token");
  for (const name of ["Search", "Share", "Change name"]) {
    await expect(page.getByRole("button", { name })).toBeDisabled();
    await expect(page.getByRole("button", { name })).toHaveAttribute("title", "This takes a token");
  }
  await useToken(page, await sign("ann", "Ann", "1h", "another secret, of the same length"));
  await expect(page.getByRole("alert")).toContainText("not valid");
  await useToken(page, await sign("ann", "Ann"));
  await expectLive(page);
  await expect(page.getByRole("alert")).toBeHidden();
  await expect(page.locator("#people li")).toHaveText(["Ann you"]);
  await expect(page.getByRole("button", { name: "Change name" })).toBeHidden();
  for (const name of ["Search", "Share"]) await expect(page.getByRole("button", { name })).toBeEnabled();
  await write(page, "hello");
  await expect(page.locator(".message.mine > p")).toHaveText(["hello"]);
  assert(!page.url().includes("ey"), "a token does not belong into an address");

  const bob = await open(`${server.url}/office`);
  await useToken(bob, await sign("bob", "Bob"));
  await expectLive(bob);
  await expect(bob.locator(".message .who")).toHaveText(["Ann"]);
  await write(bob, "hello Ann");
  await expect(page.locator(".message .who")).toHaveText(["you", "Bob"]);
  assert(!server.lines.join("\n").includes("eyJ"), "no token in the log");

  const elsewhere = await open(`${server.url}/secret`);
  await useToken(elsewhere, await sign("ann", "Ann"));
  await expect(elsewhere.getByRole("alert")).toContainText("You may not read this channel");
});

site.test("Page does without what is not for it: history, presence, names", async ({ open }) => {
  await using server = await startKeyedServer();
  const key = { "x-api-key": KEYS.RAINDROPS_API_KEYS };
  const publish = (text: string) =>
    fetch(`${server.url}/ticker`, { method: "POST", body: text, headers: key }).then((answer) =>
      answer.text()
    );
  await publish("before");
  const ticker = await open(`${server.url}/ticker`);
  await expectLive(ticker);
  await expect(ticker.getByRole("alert")).toHaveText(/You may not see what was said here before\./);
  await expect(ticker.locator("#people")).toHaveText("Who else is here is not shown");
  await publish("after");
  await expect(shownMessages(ticker)).toHaveText(["after"]);
  await write(ticker, "may I?");
  await expect(ticker.locator("#problem")).toHaveText("Not sent: writing here takes a token");
  await expect(ticker.locator("#box")).toHaveValue("may I?");

  // Anonymous on a server with keys: names come from tokens alone.
  const wall = await open(`${server.url}/wall?name=Anna`);
  await expectLive(wall);
  await write(wall, "I was here");
  await expect(shownMessages(wall)).toHaveText(["I was here"]);
  await expect(wall.locator("#outbox .message")).toHaveCount(0);
});

site.test("Page publishes as its subscription may, knows what it sent, and offers no history that is denied", async ({ open }) => {
  await using server = await startKeyedServer();
  const headers = { "x-api-key": KEYS.RAINDROPS_API_KEYS };
  await (await fetch(`${server.url}/club`, { method: "POST", body: "before", headers })).body?.cancel();
  const [anna, ben] = [await open(`${server.url}/club`), await open(`${server.url}/club`)];
  for (const [page, name] of [[anna, "Anna"], [ben, "Ben"]] as const) {
    await useToken(page, await sign(name.toLowerCase(), name));
    await expectLive(page);
  }
  await write(anna, "by subscription");
  await expect(shownMessages(ben)).toHaveText(["by subscription"]);
  await expect(anna.locator("#messages > .mine")).toHaveCount(1);
  await expect(ben.locator("#messages > .mine")).toHaveCount(0);
  await expect(anna.locator("#outbox .message")).toHaveCount(0);
  await expect(anna.locator("#problem")).toBeHidden();
  await expect(anna.getByRole("button", { name: "Show older messages" })).toHaveCount(0);
});

site.test("Page whose token expires asks for another one", async ({ open }) => {
  await using server = await startKeyedServer();
  const page = await open(`${server.url}/office`);
  await useToken(page, await sign("ann", "Ann", "-1h"));
  await expect(page.getByRole("alert")).toContainText("token has expired");
  await useToken(page, await sign("ann", "Ann"));
  await expectLive(page);
});

site.test("Page that the server sent away says so, and comes back when asked to", async ({ open, server }) => {
  const [page] = await openAs(open, "/door", "Anna");
  assert(page);
  for (
    const [method, body] of [["disconnect", { user: "" }], ["unsubscribe", { user: "", channel: "door" }]]
  ) {
    const answer = await fetch(`${server.url}/api/${method}`, { method: "POST", body: JSON.stringify(body) });
    assert.deepEqual(await answer.json(), { result: {} });
    await expect(page.getByRole("alert")).toContainText("The server");
    await expect(page.locator("#state")).toHaveText("Not connected");
    await write(page, `after ${method}`);
    await expect(page.locator("#outbox .message")).toContainText("Waits");
    await page.getByRole("button", { name: "Connect again" }).click();
    await expectLive(page);
    await expect(shownMessages(page).last()).toHaveText(`after ${method}`);
  }
  await post(`${server.url}/door`, "and all is well");
  await expect(shownMessages(page).last()).toHaveText("and all is well");
});
