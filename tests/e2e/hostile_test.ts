/** Hostile and awkward texts are shown as the text they are, on every page that shows messages. */
import assert from "node:assert/strict";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { expectCursors, post, shownMessages } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const TEXTS: Readonly<Record<string, string>> = {
  "markup": `<img src=x onerror="alert(1);window.hacked=1">`,
  "a script": `<script>alert(1);window.hacked=1</script>`,
  "a link": `javascript:alert(1)//"><svg/onload=window.hacked=1>`,
  "control characters": "nul \u0000 bell \u0007 escape \u001b[31m red delete \u007f",
  "64 KiB": "drip drop ".repeat(6553) + "drips!",
  "emoji": "🌧️☔ 👩‍👩‍👧‍👦 🏳️‍🌈",
  "right-to-left text": "שלום עולם, مرحبا",
  "a right-to-left override": "safe\u202etxt.exe",
};

/** Each page, where its messages come from, and the elements that show them. */
const PAGES = [
  { name: "hello", path: "/_examples/hello", channel: "/hello", shown: "#log li", prefix: "Received: " },
  { name: "chat", path: "/_examples/chat", channel: "/chat", shown: "#messages li p", prefix: "" },
  { name: "raindrops", path: "/_examples/raindrops", channel: "/", shown: ".raindrop", prefix: "" },
  { name: "channel", path: "/storm", channel: "/storm", shown: "#messages li p", prefix: "" },
  { name: "home", path: "/", channel: "/", shown: "#messages li p", prefix: "" },
];

const site = new Site();

for (const { name, path, channel, shown, prefix } of PAGES) {
  site.test(`Hostile text is text on the ${name} page`, async ({ open, server }) => {
    // A window too large to need room: the raindrops page drops the oldest otherwise.
    const page = await open(path, { viewport: { width: 1600, height: 1000 } });
    await expectLive(page);
    for (const [kind, text] of Object.entries(TEXTS)) {
      const answer = await fetch(server.url + channel, {
        method: "POST",
        headers: { "content-type": "text/plain; charset=utf-8" },
        body: text,
      });
      assert.equal(answer.status, 200, kind);
      await answer.body?.cancel();
      const last = page.locator(shown).last();
      await expect.poll(() => last.evaluate((element) => element.textContent), kind).toBe(prefix + text);
    }
    await expectHarmless(page, shown);
  });
}

site.test("Hostile history, names and event names are text on the channel page", async ({ open, server }) => {
  const hostile = TEXTS["markup"] ?? "";
  const socket = new WebSocket(`${server.socketUrl}/storage?name=${encodeURIComponent(hostile)}`);
  await new Promise((resolve) => socket.onopen = resolve);
  const stored = new Promise((resolve) => socket.onmessage = resolve);
  socket.send(hostile);
  const answer = await fetch(`${server.url}/storage?event=${encodeURIComponent("<b>rain</b>")}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ data: { hostile } }),
  });
  assert.equal(answer.status, 200, await answer.text());
  await stored;
  socket.close();

  const page = await open("/storage");
  await expectLive(page);
  await expect(page.locator("#messages li p")).toHaveText([hostile]);
  await expect(page.locator("#messages li .string")).toHaveText([JSON.stringify(hostile)]);
  await expect(page.locator("#messages li bdi")).toHaveText([hostile.slice(0, 100), "<b>rain</b>"]);
  await expectHarmless(page, "#messages li p");
});

site.test("Hostile names, keys, events and channels are text wherever the channel page shows them", async ({ open, server }) => {
  const hostile = TEXTS["markup"] ?? "";
  const channel = "a'(b);$c:d";
  const page = await open(`/${channel}?name=${encodeURIComponent(hostile)}`);
  await expectLive(page);
  await expect(page.locator("h1")).toHaveText(channel);
  const other = await open(
    `/${channel}?name=${encodeURIComponent("</span><script>window.hacked=1</script>")}`,
  );
  await expectLive(other);
  await expect(page.locator("#people li")).toHaveText([
    /^<img.* you$/,
    "</span><script>window.hacked=1</script>",
  ]);
  for (
    const data of [{ [hostile]: { [hostile]: hostile } }, { ["__proto__"]: 1, constructor: [hostile] }, {
      base64: hostile,
    }]
  ) {
    const url = `${server.url}/${channel}?event=${encodeURIComponent(hostile.slice(0, 90))}`;
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ data }) });
    assert.equal(answer.status, 200, await answer.text());
  }
  await expect(page.locator("#messages .event")).toHaveCount(3);
  await expect(page.locator("#messages .json")).toHaveCount(3);
  const closed = page.locator("details:not([open]) > summary");
  while (await closed.count() > 0) await closed.first().click();
  await other.locator("#box").fill(hostile);
  await other.locator("#box").press("Enter");
  await expect(page.locator("#messages li p")).toHaveText([hostile]);
  await expectCursors(page, other);
  await other.mouse.move(200, 200);
  await expect(page.locator(".cursor")).toHaveText(["</span><script>window.hacked=1</script>"]);
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page.locator("#share-url")).toContainText("/a'(b);$c:d");
  await expect(page.locator("main img, main script, #cursors img, #cursors script, #sky img")).toHaveCount(0);
  await expectHarmless(page, "#messages li p");
});

site.test("Removals that anybody makes up hide nothing and break nothing", async ({ open, server }) => {
  const page = await open("/made-up?name=Anna");
  await expectLive(page);
  const { id, offset } = await post(`${server.url}/made-up`, "still here");
  await expect(shownMessages(page)).toHaveText(["still here"]);
  const { members } = await (await fetch(`${server.url}/made-up?presence`)).json();
  const removals = [
    1,
    null,
    "x",
    {},
    { type: "removed" },
    {
      type: "removed",
      channel: "made-up",
      id: 5,
      offset: {},
    },
    { type: "removed", channel: "made-up", id, offset },
    { type: "cleared", channel: "made-up", id, offset },
  ];
  const asked: string[] = [];
  page.on("response", (response) => void asked.push(new URL(response.url()).search));
  for (const removal of removals) {
    await post(
      `${server.url}/@${members[0].id}`,
      JSON.stringify({ data: { removal } }),
      "application/json",
    );
  }
  await expect.poll(() => asked.length, "the page asks about those that are well-formed").toBe(2);
  await post(`${server.url}/made-up`, "and this");
  await expect(shownMessages(page)).toHaveText(["still here", "and this"]);
});

site.test("Cursors that say nothing sensible are no cursors", async ({ open, server }) => {
  const page = await open("/garden");
  await expectLive(page);
  await expectCursors(page);
  const socket = new WebSocket(`${server.socketUrl}/cursors/garden?name=Zoe`);
  await new Promise((resolve) => socket.onopen = resolve);
  for (const text of ["no JSON", "null", '{"x":"0","y":0}', '{"x":1e999,"y":0}', "[]"]) socket.send(text);
  const post = (data: unknown, name: string) =>
    fetch(`${server.url}/cursors/garden?name=${name}&id=${name}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ data }),
    }).then((answer) => answer.text());
  await post({ x: {}, y: [] }, "Ann");
  await post({ x: 7, y: -7 }, "Far");
  await expect(page.locator(".cursor")).toHaveText(["Far"]);
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
  socket.close();
});

site.test("What hostile hands type is text to the writer too", async ({ open }) => {
  const hostile = TEXTS["markup"] ?? "";
  for (const [path, shown] of [["/_examples/chat", ".mine p"], ["/_examples/hello", "#log li"]] as const) {
    const page = await open(path);
    await expectLive(page);
    await page.locator("#box").fill(hostile);
    await page.locator("#box").press("Enter");
    await expect(page.locator(shown).first()).toContainText(hostile);
    await expectHarmless(page, shown);
  }
  const named = await open(`/_examples/chat?name=${encodeURIComponent(hostile)}`);
  await expectLive(named);
  const cursors = await open(`/_examples/cursors?name=${encodeURIComponent(hostile)}`);
  await expectLive(cursors);
  await expect(cursors.locator("#who")).toContainText(hostile);
});

/** No script of a message ran, none of its elements exist, and nothing pushes the page sideways. */
async function expectHarmless(page: Page, shown: string): Promise<void> {
  assert.equal(await page.evaluate("window.hacked"), undefined);
  await expect(page.locator(`${shown} *`)).toHaveCount(0);
  assert.equal(await page.evaluate("document.documentElement.scrollWidth > innerWidth"), false);
}
