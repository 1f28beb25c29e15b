/** The official Centrifuge client in Chromium, as pages load it, from a page of another origin. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { type ServerProcess, startServer } from "../server_process.ts";
import { curl, Site } from "./site.ts";

/** The folder of the package's files for browsers. */
const DIST = join(dirname(createRequire(import.meta.url).resolve("centrifuge")), "..", "dist");

/** Connects by the transport in the query, and shows what comes in. */
const PAGE = `<!doctype html>
<title>Centrifuge</title>
<p id="state"></p>
<ul id="log"></ul>
<ul id="recoveries"></ul>
<script>
  const query = new URLSearchParams(location.search);
  const [server, transport, build] = ["server", "transport", "build"].map((name) => query.get(name));
  document.write('<script src="/' + build + '"><' + '/script>');
</script>
<script>
  const isProtobuf = build.includes("protobuf");
  const encode = (value) => isProtobuf ? new TextEncoder().encode(JSON.stringify(value)) : value;
  const toText = (data) => isProtobuf ? new TextDecoder().decode(data) : JSON.stringify(data);
  const socketUrl = server.replace("http", "ws") + "/connection/websocket";
  const centrifuge = new Centrifuge(
    transport === "websocket" ? socketUrl : [{ transport, endpoint: server + "/connection/" + transport }],
    { emulationEndpoint: server + "/emulation", minReconnectDelay: 50, maxReconnectDelay: 200 },
  );
  const show = (id, text) => {
    const item = document.createElement("li");
    item.textContent = text;
    document.getElementById(id).append(item);
  };
  const subscription = centrifuge.newSubscription("news");
  subscription.on("state", ({ newState }) => document.getElementById("state").textContent = newState);
  subscription.on("publication", ({ data }) => show("log", toText(data)));
  subscription.on("subscribed", ({ wasRecovering, recovered }) => {
    if (wasRecovering) show("recoveries", recovered ? "recovered" : "not recovered");
  });
  subscription.subscribe();
  centrifuge.connect();
</script>`;

/** Transports, and the builds of the client that speak over them. */
const VARIANTS = [
  ["websocket", "centrifuge.js"],
  ["websocket", "centrifuge.protobuf.js"],
  ["http_stream", "centrifuge.js"],
  ["http_stream", "centrifuge.protobuf.js"],
  ["sse", "centrifuge.js"],
] as const;

const site = new Site();

/** A web server for pages, of an origin that is not Raindrops' own. */
function servePages() {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return new Response(PAGE, { headers: { "content-type": "text/html" } });
    if (!/^\/centrifuge(\.protobuf)?\.js$/.test(pathname)) return new Response(null, { status: 404 });
    const script = await Deno.readTextFile(join(DIST, pathname));
    return new Response(script, { headers: { "content-type": "text/javascript" } });
  });
  const origin = `http://127.0.0.1:${server.addr.port}`;
  return { origin, [Symbol.asyncDispose]: () => server.shutdown() };
}

for (const [transport, build] of VARIANTS) {
  site.test(`Client ${build} in Chromium over ${transport} talks, looks around and recovers`, async ({ open }) => {
    await using pages = servePages();
    const folder = await Deno.makeTempDir();
    try {
      const flags = ["--origins", pages.origin, "--log", `sqlite:${join(folder, "log.db")}`];
      await using server = await startServer({ flags });
      const query = new URLSearchParams({ server: server.url, transport, build });
      const [alice, bob] = [await open(`${pages.origin}/?${query}`), await open(`${pages.origin}/?${query}`)];
      for (const page of [alice, bob]) await expect(page.locator("#state")).toHaveText("subscribed");

      await curl("-d", "it rains", `${server.url}/news`);
      await alice.evaluate("subscription.publish(encode({ to: ['you', 2] }))");
      const log = ['"it rains"', '{"to":["you",2]}'];
      for (const page of [alice, bob]) await expect(page.locator("#log li")).toHaveText(log);
      assert.deepEqual(await alice.evaluate("subscription.presenceStats()"), { numClients: 2, numUsers: 1 });
      const history =
        "subscription.history({ limit: 1, reverse: true }).then((h) => h.publications[0].offset)";
      assert.equal(await bob.evaluate(history), 2);
      const denied = "centrifuge.publish('_stats', encode(1)).catch(({ code }) => code)";
      assert.equal(await bob.evaluate(denied), 107);

      await restartWithNews(server, [alice, bob]);
      for (const page of [alice, bob]) {
        await expect(page.locator("#recoveries li")).toHaveText(["recovered"], { timeout: 10_000 });
        await expect(page.locator("#log li")).toHaveText([...log, '"while you were away"']);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
}

/** Publishes on the restarted server before the pages are back. */
async function restartWithNews(server: ServerProcess, pages: readonly Page[]): Promise<void> {
  await server.stop();
  for (const page of pages) {
    await expect(page.locator("#state")).toHaveText("subscribing");
    await page.evaluate("centrifuge.disconnect()");
  }
  await server.start();
  await curl("-d", "while you were away", `${server.url}/news`);
  for (const page of pages) await page.evaluate("centrifuge.connect()");
}

/** Opens every kind of reader there is, and keeps what each of them gets first. */
const READERS = `
  const [server, socketUrl] = [location.origin, location.origin.replace("http", "ws")];
  const got = {};
  const ready = [];
  const add = (name, open) => {
    got[name] = new Promise((resolve) => ready.push(open(resolve)));
  };
  const opened = (target, event) => new Promise((resolve) => target.addEventListener(event, resolve));

  add("plain socket", (resolve) => {
    const socket = new WebSocket(socketUrl + "/news");
    socket.onmessage = ({ data }) => resolve(data);
    return opened(socket, "open");
  });
  add("EventSource", (resolve) => {
    const source = new EventSource("/news");
    source.onmessage = ({ data }) => resolve(data);
    return opened(source, "open");
  });
  add("follow stream", async (resolve) => {
    const response = await fetch("/news?follow");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    (async () => {
      for (let text = ""; ; text += (await reader.read()).value) {
        const line = text.split("\\n").slice(0, -1).find((line) => line.includes('"data"'));
        if (line !== undefined) return resolve(JSON.parse(line).data);
      }
    })();
  });
  for (const [name, build, read] of [
    ["Centrifuge JSON", JsonCentrifuge, (data) => data],
    ["Centrifuge Protobuf", ProtobufCentrifuge, (data) => JSON.parse(new TextDecoder().decode(data))],
  ]) {
    add(name, async (resolve) => {
      const client = new build(socketUrl + "/connection/websocket");
      const subscription = client.newSubscription("news");
      subscription.on("publication", ({ data }) => resolve(read(data)));
      subscription.subscribe();
      client.connect();
      await subscription.ready();
    });
  }
  globalThis.got = got;
  Promise.all(ready).then(() => Object.keys(got).length)`;

site.test("One curl reaches a socket, an EventSource, a follow stream and Centrifuge in JSON and Protobuf", async ({ open, server }) => {
  const page = await open("/robots.txt");
  for (const [file, name] of [["centrifuge", "Json"], ["centrifuge.protobuf", "Protobuf"]]) {
    await page.evaluate(await Deno.readTextFile(join(DIST, `${file}.js`)));
    await page.evaluate(`globalThis.${name}Centrifuge = Centrifuge`);
  }
  assert.equal(await page.evaluate(READERS), 5);
  await curl("-d", "it rains", `${server.url}/news`);
  const received = "Promise.all(Object.entries(got).map(async ([name, first]) => [name, await first]))";
  assert.deepEqual(await page.evaluate(received), [
    ["plain socket", "it rains"],
    ["EventSource", "it rains"],
    ["follow stream", "it rains"],
    ["Centrifuge JSON", "it rains"],
    ["Centrifuge Protobuf", "it rains"],
  ]);
});
