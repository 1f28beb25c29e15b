/** The official Centrifuge client in Chromium, as pages load it, from a page of another origin. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { SignJWT } from "jose";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { TcpProxy } from "../fakes/tcp_proxy.ts";
import { type ServerProcess, startServer } from "../server_process.ts";
import { startApp } from "../test_app.ts";
import { curl, Site, type Visit } from "./site.ts";

/** The folder of the package's files for browsers. */
const DIST = join(dirname(createRequire(import.meta.url).resolve("centrifuge")), "..", "dist");

/** Connects by the transport in the query, as its user if it names one, and shows what comes in and happens. */
const PAGE = `<!doctype html>
<title>Centrifuge</title>
<p id="state"></p>
<ul id="log"></ul>
<ul id="recoveries"></ul>
<ul id="connection"></ul>
<ul id="subscription"></ul>
<script>
  const query = new URLSearchParams(location.search);
  const [server, transport, build] = ["server", "transport", "build"].map((name) => query.get(name));
  const [user, token] = [query.get("user"), query.get("token")];
  document.write('<script src="/' + build + '"><' + '/script>');
</script>
<script>
  const isProtobuf = build.includes("protobuf");
  const encode = (value) => isProtobuf ? new TextEncoder().encode(JSON.stringify(value)) : value;
  const toText = (data) => isProtobuf ? new TextDecoder().decode(data) : JSON.stringify(data);
  const socketUrl = server.replace("http", "ws") + "/connection/websocket";
  const getToken = async ({ channel = "" }) =>
    (await fetch("/token?" + new URLSearchParams({ user, channel }))).text();
  const centrifuge = new Centrifuge(
    transport === "websocket" ? socketUrl : [{ transport, endpoint: server + "/connection/" + transport }],
    {
      emulationEndpoint: server + "/emulation",
      minReconnectDelay: 50,
      maxReconnectDelay: 200,
      ...(user && { token, getToken }),
    },
  );
  const show = (id, text) => {
    const item = document.createElement("li");
    item.textContent = text;
    document.getElementById(id).append(item);
  };
  const subscription = centrifuge.newSubscription("news", user ? { getToken } : {});
  subscription.on("state", ({ newState }) => document.getElementById("state").textContent = newState);
  subscription.on("publication", ({ data }) => show("log", toText(data)));
  subscription.on("subscribed", ({ wasRecovering, recovered }) => {
    if (wasRecovering) show("recoveries", recovered ? "recovered" : "not recovered");
  });
  for (const [id, source, names] of [
    ["connection", centrifuge, ["connecting", "connected", "disconnected", "error"]],
    ["subscription", subscription, ["subscribing", "subscribed", "unsubscribed", "error"]],
  ]) {
    for (const name of names) {
      source.on(name, ({ code, error }) => show(id, name + " " + (error?.code ?? code ?? "")));
    }
  }
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

/** A web server for pages, of an origin that is not Raindrops' own. It signs the tokens that its pages ask for. */
function servePages(createClaims: (user: string, channel: string) => object = () => ({})) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/token") {
      const [user, channel] = [searchParams.get("user") ?? "", searchParams.get("channel") ?? ""];
      return new Response(await sign({ sub: user, channel, ...createClaims(user, channel) }));
    }
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
      const flags = ["--origins", pages.origin, "--engine", `sqlite:${join(folder, "log.db")}`];
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

/** What a server that checks tokens and API keys is started with. */
const KEYS = {
  RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes",
  RAINDROPS_API_KEYS: "api-key-0123456789",
};

function sign(claims: Record<string, unknown>): Promise<string> {
  const secret = new TextEncoder().encode(KEYS.RAINDROPS_TOKEN_SECRET);
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256" }).sign(secret);
}

/** Starts a server that checks tokens and API keys, where users may subscribe to and look around on every channel. */
async function startKeyedServer(origin: string): Promise<ServerProcess> {
  const rules = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(
      rules,
      JSON.stringify([{ channels: "**", allow: ["subscribe", "presence", "history"] }]),
    );
    return await startServer({ flags: ["--origins", origin, "--rules", rules], env: KEYS });
  } finally {
    await Deno.remove(rules);
  }
}

/** Opens a page for each variant, and waits until all are subscribed. `more` goes into a page's query. */
async function openAll(
  open: Visit["open"],
  origin: string,
  server: string,
  more: (name: string) => Record<string, string> = () => ({}),
): Promise<readonly { readonly name: string; readonly page: Page }[]> {
  return await Promise.all(VARIANTS.map(async ([transport, build]) => {
    const name = `${transport} ${build}`;
    const page = await open(`${origin}/?${new URLSearchParams({ server, transport, build, ...more(name) })}`);
    await expect(page.locator("#state"), name).toHaveText("subscribed", { timeout: 10_000 });
    return { name, page };
  }));
}

/** Waits until a list on each page has just these items. */
async function expectItems(
  pages: readonly { readonly name: string; readonly page: Page }[],
  list: string,
  items: readonly string[],
): Promise<void> {
  await Promise.all(
    pages.map(({ name, page }) =>
      expect(page.locator(`#${list} li`), name).toHaveText(items, { timeout: 10_000 })
    ),
  );
}

site.test("Clients in Chromium recover over every transport when connections are cut and browsers are offline", async ({ open }) => {
  await using origin = servePages();
  await using server = await startServer({ flags: ["--origins", origin.origin] });
  await using proxy = new TcpProxy(server.port);
  const pages = await openAll(open, origin.origin, proxy.url);
  const log: string[] = [];
  const publish = async (text: string) => {
    await curl("-d", text, `${server.url}/news`);
    log.push(JSON.stringify(text));
  };
  const setOffline = (offline: boolean) =>
    Promise.all(pages.map(({ page }) => page.context().setOffline(offline)));
  const breaks = [
    { leave: () => proxy.cut(), comeBack: () => void (proxy.refuses = false) },
    { leave: () => setOffline(true), comeBack: () => setOffline(false) },
  ];
  for (const [index, { leave, comeBack }] of breaks.entries()) {
    await publish(`before ${index}`);
    await expectItems(pages, "log", log);
    await leave();
    for (const word of ["first", "second", "third"]) await publish(`${word} missed ${index}`);
    for (const { name, page } of pages) await expect(page.locator("#state"), name).toHaveText("subscribing");
    await comeBack();
    await expectItems(pages, "recoveries", Array(index + 1).fill("recovered"));
    await publish(`after ${index}`);
    await expectItems(pages, "log", log);
  }
});

site.test("Clients in Chromium over every transport replace their tokens and see each other's content", async ({ open }) => {
  const asked: string[] = [];
  await using origin = servePages((user, channel) => {
    asked.push(`${user} ${channel}`);
    // It is good for a second at least, as it counts in whole ones.
    const exp = Math.ceil(Date.now() / 1_000 + 1);
    return { exp, info: channel === "" ? { name: user.toUpperCase() } : { seat: user.length } };
  });
  await using server = await startKeyedServer(origin.origin);
  const expired = await sign({ sub: "anybody", exp: 1 });
  const pages = await openAll(open, origin.origin, server.url, (user) => ({ user, token: expired }));
  // One each to get in, two to stay.
  const rarest = () => {
    const wanted = pages.flatMap(({ name }) => [`${name} `, `${name} news`]);
    return Math.min(...wanted.map((key) => asked.filter((other) => other === key).length));
  };
  await expect.poll(rarest, { timeout: 15_000 }).toBeGreaterThanOrEqual(3);

  const members = pages.map(({ name }) => [
    name,
    JSON.stringify({ name: name.toUpperCase() }),
    JSON.stringify({ seat: name.length }),
    true,
  ]).sort();
  for (const { name, page } of pages) {
    const present = await page.evaluate(`subscription.presence().then(({ clients }) =>
      Object.entries(clients).map(([id, { client, user, connInfo, chanInfo }]) =>
        [user, toText(connInfo), toText(chanInfo), id === client]).sort())`);
    assert.deepEqual(present, members, name);
  }
  await expectItems(pages, "connection", ["connecting 0", "error 109", "connected"]);
  await expectItems(pages, "subscription", ["subscribing 0", "subscribed"]);
  assert.equal(server.lines.filter((line) => line.includes("token refused")).length, pages.length);
});

site.test("Clients in Chromium over every transport obey an API that unsubscribes and disconnects them", async ({ open }) => {
  await using origin = servePages();
  await using server = await startKeyedServer(origin.origin);
  const pages = await openAll(open, origin.origin, server.url, () => ({ user: "ann", token: "" }));
  const [transport, build] = VARIANTS[0];
  const query = new URLSearchParams({ server: server.url, transport, build, user: "bob", token: "" });
  const bob = { name: "Bob", page: await open(`${origin.origin}/?${query}`) };
  await expectItems([bob], "subscription", ["subscribing 0", "subscribed"]);
  const key = ["-H", `X-API-Key: ${KEYS.RAINDROPS_API_KEYS}`];
  const log: string[] = [];
  const publish = async (text: string) => {
    await curl(...key, "-d", text, `${server.url}/news`);
    log.push(JSON.stringify(text));
    await expectItems([bob], "log", log);
  };
  const call = async (method: string, request: object, headers = key) =>
    JSON.parse(await curl(...headers, "-d", JSON.stringify(request), `${server.url}/api/${method}`));

  const unsubscribe = { user: "ann", channel: "news" };
  assert.equal((await call("unsubscribe", unsubscribe, [])).status, 401);
  await publish("heard by all");
  await expectItems(pages, "log", ['"heard by all"']);

  assert.deepEqual(await call("unsubscribe", unsubscribe), { result: {} });
  const unsubscribed = ["subscribing 0", "subscribed", "unsubscribed 2000"];
  await expectItems(pages, "subscription", unsubscribed);
  await publish("heard by Bob");
  for (const { name, page } of pages) {
    // The answer comes behind everything that was sent before.
    const stats = await page.evaluate("centrifuge.presenceStats('news')");
    assert.deepEqual(stats, { numClients: 1, numUsers: 1 }, name);
    assert.equal(await page.evaluate("subscription.state"), "unsubscribed", name);
  }
  await expectItems(pages, "log", ['"heard by all"']);
  await expectItems(pages, "connection", ["connecting 0", "connected"]);

  for (const { page } of pages) await page.evaluate("subscription.subscribe()");
  const subscribed = [...unsubscribed, "subscribing 0", "subscribed"];
  await expectItems(pages, "subscription", subscribed);
  // Only now they catch up: clients keep their position.
  await expectItems(pages, "log", log);
  const moved = { user: "ann", disconnect: { code: 3010, reason: "moved" } };
  assert.equal((await call("disconnect", moved, [])).status, 401);
  assert.deepEqual(await call("disconnect", moved), { result: {} });
  const back = ["connecting 0", "connected", "connecting 3010", "connected"];
  await expectItems(pages, "connection", back);
  await expectItems(pages, "subscription", [...subscribed, "subscribing 1", "subscribed"]);
  await publish("heard by all again");
  const heard = [...log];
  await expectItems(pages, "log", heard);

  assert.deepEqual(await call("disconnect", { user: "ann" }), { result: {} });
  await expectItems(pages, "connection", [...back, "disconnected 3503"]);
  await publish("heard by Bob alone");
  assert.deepEqual(await bob.page.evaluate("subscription.presenceStats()"), { numClients: 1, numUsers: 1 });
  for (const { name, page } of pages) {
    assert.equal(await page.evaluate("centrifuge.state"), "disconnected", name);
  }
  await expectItems(pages, "log", heard);
  await expectItems(pages, "connection", [...back, "disconnected 3503"]);
  await expectItems([bob], "connection", ["connecting 0", "connected"]);
  await expectItems([bob], "subscription", ["subscribing 0", "subscribed"]);
});

site.test("Clients in Chromium over every transport subscribe again by themselves after 2500 and 2501", async ({ open }) => {
  await using origin = servePages();
  // The API ends subscriptions with 2000 alone, and a token's end takes half a minute: this server is asked directly.
  await using server = await startApp("--origins", origin.origin);
  const pages = await openAll(open, origin.origin, server.url);
  const [log, events] = [[] as string[], ["subscribing 0", "subscribed"]];
  for (const code of [2500, 2501]) {
    const clients = [...server.app.hub.clients];
    const ended = clients.map(({ control }) => control?.unsubscribe("news", code, "as you like"));
    assert.deepEqual(ended, pages.map(() => true));
    events.push(`subscribing ${code}`, "subscribed");
    await expectItems(pages, "subscription", events);
    await curl("-d", `after ${code}`, `${server.url}/news`);
    log.push(`"after ${code}"`);
    await expectItems(pages, "log", log);
  }
  await expectItems(pages, "connection", ["connecting 0", "connected"]);
});

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
