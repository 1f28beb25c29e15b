/** The channel page when the connection breaks: what is written meanwhile, what is missed, and what is said of it. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { openAs, post, readStored, shownMessages, write } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

site.test("What is written offline waits, and is sent once, in order, when the page is back", async ({ open, server }) => {
  const [anna, ben] = await openAs(open, "/tunnel", "Anna", "Ben");
  assert(anna && ben);
  await anna.context().setOffline(true);
  await expect(anna.locator("#state")).toHaveText(/^Disconnected: you are offline\. Next try in \d+ s\.$/);
  await write(anna, "one");
  await write(anna, "two");
  await expect(anna.locator("#outbox .message")).toHaveText([/^one.*Waits/, /^two.*Waits/]);
  await post(`${server.url}/tunnel`, "meanwhile");
  await expect(shownMessages(ben)).toHaveText(["meanwhile"]);

  await anna.context().setOffline(false);
  await expectLive(anna);
  for (const page of [anna, ben]) await expect(shownMessages(page)).toHaveText(["meanwhile", "one", "two"]);
  await expect(anna.locator("#outbox .message")).toHaveCount(0);
  await expect(anna.locator(".gap")).toHaveCount(0);
  assert.deepEqual(await readStored(`${server.url}/tunnel`), ["meanwhile", "one", "two"]);
});

site.test("What waits survives a reload and a restart of the server", async ({ open }) => {
  await using server = await startServer();
  const [page] = await openAs(open, `${server.url}/patience`, "Anna");
  assert(page);
  await server.stop();
  await expect(page.locator("#state")).toContainText("Next try in");
  await write(page, "kept");
  await expect(page.locator("#outbox .message")).toContainText("Waits for the connection");
  // The page is reloaded from the server that is back, before it found that out by itself.
  await page.clock.install();
  await page.clock.pauseAt(Date.now() + 60_000);
  await server.start();
  await page.reload();
  await page.clock.resume();
  await expectLive(page);
  await expect(shownMessages(page)).toHaveText(["kept"]);
  assert.deepEqual(await readStored(`${server.url}/patience`), ["kept"]);
  await page.reload();
  await expect(shownMessages(page)).toHaveText(["kept"]);
  await expect(page.locator("#outbox .message")).toHaveCount(0);
});

site.test("A message whose acknowledgement got lost is sent again and stored once", async ({ open, server }) => {
  const [page] = await openAs(open, "/doubt", "Anna");
  assert(page);
  const keys: (string | undefined)[] = [];
  await page.route(/\/doubt\?/, async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    if (keys.length > 1) return route.continue();
    // Stored by the server, and the answer never comes.
    await route.fetch();
    await route.abort("connectionreset");
  });
  await write(page, "only once");
  await expect.poll(() => keys.length).toBe(2);
  await expect(page.locator("#outbox .message")).toHaveCount(0);
  assert.equal(keys[0], keys[1]);
  await expect(shownMessages(page)).toHaveText(["only once"]);
  assert.deepEqual(await readStored(`${server.url}/doubt`), ["only once"]);
});

site.test("A message whose key the server has forgotten is looked for before it is sent again", async ({ open, server }) => {
  const [page] = await openAs(open, "/forgotten", "Anna");
  assert(page);
  await write(page, "arrived");
  await expect(shownMessages(page)).toHaveText(["arrived"]);
  const longAgo = Date.now() - 10 * 60_000;
  for (const text of ["arrived", "did not arrive"]) {
    const entry = { key: text.replaceAll(" ", "-"), text, writtenAt: longAgo, sentAt: longAgo, after: 0 };
    await page.evaluate(
      ([key, value]) => localStorage.setItem(key!, value!),
      [`raindrops.outbox forgotten ${entry.key}`, JSON.stringify(entry)],
    );
  }
  await page.reload();
  await expect(shownMessages(page)).toHaveText(["arrived", "did not arrive"]);
  await expect(page.locator("#outbox .message")).toHaveCount(0);
  assert.deepEqual(await readStored(`${server.url}/forgotten`), ["arrived", "did not arrive"]);
});

site.test("A message that the server refuses while somebody writes on stays below, to be sent again or discarded", async ({ open, server }) => {
  const [page] = await openAs(open, "/limits", "Anna");
  assert(page);
  await page.route("**/limits?*", async (route) => {
    if (!route.request().postData()?.includes("refuse me")) return await route.continue();
    await page.locator("#box").fill("short");
    const detail = "No such words";
    await route.fulfill({ status: 400, contentType: "application/problem+json", json: { detail } });
  });
  await write(page, "refuse me");
  const refused = page.locator("#outbox .refused");
  await expect(refused).toContainText("Not sent: No such words");
  // Others are not held up by it.
  await page.locator("#box").press("Enter");
  await expect(shownMessages(page)).toHaveText(["short"]);
  await refused.getByRole("button", { name: "Try again" }).click();
  await expect(refused).toContainText("Not sent");
  await refused.getByRole("button", { name: "Discard" }).click();
  await expect(refused).toHaveCount(0);
  assert.deepEqual(await readStored(`${server.url}/limits`), ["short"]);
});

site.test("Missing messages are a line with their number, and what is older than kept is said", async ({ open }) => {
  const rules = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await Deno.writeTextFile(rules, JSON.stringify([{ channels: "short", history: { messages: 5 } }]));
    await using server = await startServer({ flags: ["--rules", rules] });
    const url = `${server.url}/short`;
    await post(url, "seen");
    const [page] = await openAs(open, url, "Anna");
    assert(page);
    await page.context().setOffline(true);
    await expect(page.locator("#state")).toContainText("Next try in");
    for (let number = 2; number <= 12; number++) await post(url, `drop ${number}`);
    const kept = await readStored(url);
    assert(kept.length < 11, "the rule keeps five or a few more");
    await page.context().setOffline(false);
    await expectLive(page);
    await expect(shownMessages(page)).toHaveText(["seen", ...kept.map(String)]);
    const missing = 11 - kept.length;
    await expect(page.locator(".gap")).toHaveText([
      `${missing} messages are missing here: they are no longer kept`,
    ]);
    await expect(page.locator(".message + .gap + .message")).toHaveCount(1);

    await page.reload();
    await expect(shownMessages(page)).toHaveText(kept.map(String));
    await page.getByRole("button", { name: "Show older messages" }).click();
    await expect(page.locator("#older")).toHaveText("Older messages are no longer kept.");
  } finally {
    await Deno.remove(rules);
  }
});

site.test("A server that lost its log is said to have lost it", async ({ open }) => {
  await using server = await startServer();
  const [page] = await openAs(open, `${server.url}/memory`, "Anna");
  assert(page);
  await post(`${server.url}/memory`, "before");
  await expect(shownMessages(page)).toHaveText(["before"]);
  // Its log is in memory.
  await server.kill();
  await expect(page.locator("#state")).toContainText("Next try in");
  await server.start();
  await post(`${server.url}/memory`, "after");
  await expectLive(page);
  await expect(shownMessages(page)).toHaveText(["before", "after"]);
  await expect(page.locator(".gap")).toHaveText(["The server lost what was here: its history begins anew"]);
});
