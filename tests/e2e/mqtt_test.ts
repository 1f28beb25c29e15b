/** The official MQTT.js in Chromium, as pages load it, over the WebSocket door. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect } from "playwright/test";
import { startServer } from "../server_process.ts";
import { curl, Site } from "./site.ts";

const site = new Site();

const SCRIPT = join(dirname(createRequire(import.meta.url).resolve("mqtt/package.json")), "dist/mqtt.min.js");

/** Connects as a device with a session that is kept, subscribes, and shows what comes in. */
const PAGE = `<!doctype html>
<title>MQTT</title>
<p id="state"></p>
<ul id="log"></ul>
<script src="/mqtt.js"></script>
<script>
  const query = new URLSearchParams(location.search);
  const version = Number(query.get("version"));
  const client = mqtt.connect("ws://127.0.0.1:" + query.get("port") + "/mqtt", {
    clientId: query.get("id"),
    protocolVersion: version,
    clean: false,
    reconnectPeriod: 100,
    properties: version === 5 ? { sessionExpiryInterval: 300 } : undefined,
  });
  const state = document.getElementById("state");
  client.on("connect", ({ sessionPresent }) => {
    if (sessionPresent) state.textContent = "connected again";
    else client.subscribe({ "kitchen/+": { qos: 2 }, "新闻": { qos: 1 } }, () => state.textContent = "subscribed");
  });
  client.on("close", () => state.textContent = "away");
  client.on("message", (topic, payload, { qos, retain, properties }) => {
    const item = document.createElement("li");
    const unit = properties && properties.userProperties ? " " + properties.userProperties.unit : "";
    item.textContent = [topic, payload.toString(), qos].join(" ") + (retain ? " retained" : "") + unit;
    document.getElementById("log").append(item);
  });
</script>`;

function servePages() {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    if (new URL(request.url).pathname !== "/mqtt.js") {
      return new Response(PAGE, { headers: { "content-type": "text/html; charset=utf-8" } });
    }
    return new Response(await Deno.readTextFile(SCRIPT), { headers: { "content-type": "text/javascript" } });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, [Symbol.asyncDispose]: () => server.shutdown() };
}

site.test("MQTT.js in Chromium: pages talk at every QoS in 3.1.1 and 5, and keep their sessions over a kill", async ({ open }) => {
  await using pages = servePages();
  const folder = await Deno.makeTempDir();
  await using _folder = { [Symbol.asyncDispose]: () => Deno.remove(folder, { recursive: true }) };
  await using server = await startServer({ flags: ["--engine", `sqlite:${join(folder, "mqtt.db")}`] });
  const { port } = new URL(server.url);
  const openPage = (id: string, version: number) =>
    open(`${pages.url}/?port=${port}&id=${id}&version=${version}`);
  const [lamp, sensor] = [await openPage("lamp", 4), await openPage("sensor", 5)];
  for (const page of [lamp, sensor]) await expect(page.locator("#state")).toHaveText("subscribed");

  await curl("-d", "on", `${server.url}/kitchen/lamp`);
  for (const page of [lamp, sensor]) await expect(page.locator("#log li")).toHaveText(["kitchen/lamp on 2"]);
  await lamp.evaluate("client.publishAsync('kitchen/oven', 'hot', { qos: 0 })");
  await sensor.evaluate(
    "client.publishAsync('kitchen/heat', '21', { qos: 1, properties: { userProperties: { unit: 'C' } } })",
  );
  await lamp.evaluate("client.publishAsync('新闻', 'rain', { qos: 2, retain: true })");
  const texts = ["kitchen/lamp on 2", "kitchen/oven hot 0", "kitchen/heat 21 1", "新闻 rain 1"];
  await expect(lamp.locator("#log li")).toHaveText(texts);
  await expect(sensor.locator("#log li")).toHaveText(texts.with(2, "kitchen/heat 21 1 C"));

  const late = await openPage("late", 5);
  await expect(late.locator("#log li")).toHaveText(["新闻 rain 1 retained"]);

  await server.kill();
  for (const page of [lamp, sensor]) await expect(page.locator("#state")).toHaveText("away");
  await server.start();
  for (const page of [lamp, sensor]) {
    await expect(page.locator("#state")).toHaveText("connected again", { timeout: 15_000 });
  }
  await curl("-d", "off", `${server.url}/kitchen/lamp`);
  for (const page of [lamp, sensor]) {
    await expect(page.locator("#log li")).toHaveCount(5);
    await expect(page.locator("#log li").last()).toHaveText("kitchen/lamp off 2");
  }
});
