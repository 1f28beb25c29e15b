/** The Share menu of the channel page: what it shows works as it stands. */
import assert from "node:assert/strict";
import { expect } from "playwright/test";
import { openAs, shownMessages } from "./channel_page.ts";
import { expectLive, Site } from "./site.ts";

const site = new Site();

/** A name with characters that URLs, shells and JavaScript treat with care. */
const PATH = "/tea/o'clock;$(x)";

site.test("Commands and snippets of the Share menu are copied, and work as they stand", async ({ open, server }) => {
  const page = await open(PATH, { permissions: ["clipboard-read", "clipboard-write"] });
  await expectLive(page);
  await page.getByRole("button", { name: "Share" }).click();
  const copied: string[] = [];
  for (const button of await page.getByRole("dialog").getByRole("button", { name: /^Copy/ }).all()) {
    await button.click();
    await expect(button).toHaveText("Copied");
    copied.push(await page.evaluate("navigator.clipboard.readText()"));
  }
  const [url = "", command = "", socket = "", events = ""] = copied;
  assert.equal(url, server.url + PATH);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toBeHidden();
  await expect(page.getByRole("button", { name: "Share" })).toBeFocused();

  const said: string[] = [];
  const listener = await open("/listener");
  listener.on("console", (message) => said.push(message.text()));
  // Classic scripts, as somebody's own page would have them; this one's policy forbids them.
  await listener.goto("about:blank");
  await using host = await serveListeners(socket, events);
  await listener.goto(host.url);
  await expect.poll(() => said.filter((text) => text === "open").length).toBe(2);
  const { success } = await new Deno.Command("sh", { args: ["-c", command], stdout: "null", stderr: "null" })
    .output();
  assert(success, command);
  await expect(shownMessages(page)).toHaveText(["it rains"]);
  await expect.poll(() => said.filter((text) => text === "it rains").length).toBe(2);
});

site.test("QR code is of this channel, and loaded when it is first looked at", async ({ open, server }) => {
  const requests: string[] = [];
  const page = await open("/tea");
  page.on("request", (request) => requests.push(request.url()));
  await page.reload();
  await expectLive(page);
  assert(!requests.some((url) => url.includes("uqr")), requests.join("\n"));
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page.getByRole("img", { name: `QR code of ${server.url}/tea` })).toBeVisible();
  assert(requests.some((url) => url.includes("uqr")));
  await page.getByRole("button", { name: "Close" }).click();
  await expect(page.getByRole("dialog")).toBeHidden();
});

site.test("Share menu of a pattern shows how to read it", async ({ open, server }) => {
  const [page] = await openAs(open, "/tea/**", "Anna");
  assert(page);
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page.locator("#share-curl")).toHaveText(`curl -N '${server.url}/tea/**?follow'`);
});

/** A page of another origin of this machine with both snippets in it. */
async function serveListeners(socket: string, events: string) {
  const html = `<!doctype html><title>Listeners</title><script>
    ${socket}
    socket.onopen = () => console.log("open");
    ${events}
    events.onopen = () => console.log("open");
    </script>`;
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response(html, { headers: { "content-type": "text/html" } }),
  );
  return await Promise.resolve({
    url: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  });
}
