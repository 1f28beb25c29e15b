/** What the first visit to a page costs: bytes over the wire, and requests to nobody else. */
import assert from "node:assert/strict";
import { expectLive, Site } from "./site.ts";

/** Compressed bytes of everything a page loads at first. */
const MAX_BYTES = 150 * 1024;

const site = new Site();

for (const path of ["/news", "/", "/_examples/cursors"]) {
  site.test(`First load of ${path} is under 150 KB, and all of it from this server`, async ({ open, server }) => {
    const page = await open("/robots.txt");
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    const urls: string[] = [];
    let bytes = 0;
    session.on("Network.requestWillBeSent", ({ request }) => urls.push(request.url));
    // As they came over the wire, with headers.
    session.on("Network.loadingFinished", ({ encodedDataLength }) => bytes += encodedDataLength);
    await page.goto(server.url + path);
    if (path !== "/_examples/cursors") await expectLive(page);
    await page.waitForLoadState("networkidle");
    assert(bytes > 10_000 && bytes < MAX_BYTES, `${bytes} bytes`);
    assert(urls.every((url) => new URL(url).host === new URL(server.url).host), urls.join("\n"));

    // The second time nothing but the page itself and data are asked for.
    const known = urls.splice(0).filter((url) => url.includes("/_static/")).length;
    assert(known > 3);
    const cached: string[] = [];
    session.on("Network.requestServedFromCache", ({ requestId }) => cached.push(requestId));
    bytes = 0;
    await page.goto(server.url + path);
    await page.waitForLoadState("networkidle");
    assert(bytes < 10_000, `${bytes} bytes at the second visit`);
  });
}

/** What a browser waits for before it paints, in the order of the page. */
const BLOCKING: Readonly<Record<string, readonly string[]>> = {
  "/": ["theme.ts", "style.css"],
  "/news": ["theme.ts", "style.css"],
  "/news/*": ["theme.ts", "style.css", "pattern.css"],
  "/_docs": ["theme.ts", "style.css", "docs.css"],
  "/_docs/channels": ["theme.ts", "style.css", "docs.css"],
};

for (const [path, files] of Object.entries(BLOCKING)) {
  site.test(`Nothing but its styles and its colours stands before the first paint of ${path}`, async ({ open }) => {
    const page = await open(path);
    const blocking: string[] = await page.evaluate(`performance.getEntriesByType("resource")
      .filter(({ renderBlockingStatus }) => renderBlockingStatus === "blocking").map(({ name }) => name)`);
    assert.deepEqual(blocking.map((url) => url.split("/").at(-1)), files);
  });
}
