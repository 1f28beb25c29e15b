/** The official pusher-js in Chromium, as pages load it, several pages at a time. */
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { expect } from "playwright/test";
import { APP, sign } from "../protocols/pusher/pusher_app.ts";
import { startServer } from "../server_process.ts";
import { curl, Site } from "./site.ts";

const site = new Site();

const SCRIPT = join(
  dirname(createRequire(import.meta.url).resolve("pusher-js/package.json")),
  "dist/web/pusher.js",
);

/** Connects as a user, subscribes to a public, a private and a presence channel, and shows what comes in. */
const PAGE = `<!doctype html>
<title>Pusher</title>
<p id="state"></p>
<p id="members"></p>
<ul id="log"></ul>
<script src="/pusher.js"></script>
<script>
  const query = new URLSearchParams(location.search);
  const pusher = new Pusher("${APP.key}", {
    cluster: "",
    wsHost: "127.0.0.1",
    wsPort: Number(query.get("port")),
    forceTLS: false,
    enabledTransports: ["ws"],
    disableStats: true,
    channelAuthorization: { endpoint: "/auth?user=" + query.get("user"), transport: "ajax" },
  });
  const show = (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    document.getElementById("log").append(item);
  };
  pusher.connection.bind("state_change", ({ current }) => document.getElementById("state").textContent = current);
  const room = pusher.subscribe("presence-room");
  const count = () => document.getElementById("members").textContent = room.members.count;
  for (const event of ["pusher:subscription_succeeded", "pusher:member_added", "pusher:member_removed"]) {
    room.bind(event, count);
  }
  for (const name of ["news", "private-orders"]) {
    pusher.subscribe(name).bind_global((event, data) => {
      if (!event.startsWith("pusher")) show(name + " " + event + " " + JSON.stringify(data));
    });
  }
</script>`;

/** The application: its page, and the endpoint that signs subscriptions. */
function serveApplication() {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === "/pusher.js") {
      return new Response(await Deno.readTextFile(SCRIPT), {
        headers: { "content-type": "text/javascript" },
      });
    }
    if (pathname !== "/auth") return new Response(PAGE, { headers: { "content-type": "text/html" } });
    const form = new URLSearchParams(await request.text());
    const text = `${form.get("socket_id")}:${form.get("channel_name")}`;
    if (!form.get("channel_name")?.startsWith("presence-")) return Response.json({ auth: sign(text) });
    const channel_data = JSON.stringify({ user_id: searchParams.get("user") });
    return Response.json({ auth: sign(`${text}:${channel_data}`), channel_data });
  });
  const url = `http://127.0.0.1:${server.addr.port}`;
  return { url, [Symbol.asyncDispose]: () => server.shutdown() };
}

site.test("pusher-js in Chromium: pages see each other, hear POSTs and client events, and reconnect", async ({ open }) => {
  await using application = serveApplication();
  await using server = await startServer({
    env: { RAINDROPS_PUSHER_APP: `${APP.id}:${APP.key}:${APP.secret}` },
  });
  const { port } = new URL(server.url);
  const openPage = (user: string) => open(`${application.url}/?port=${port}&user=${user}`);
  const [ann, ben] = [await openPage("ann"), await openPage("ben")];
  for (const page of [ann, ben]) await expect(page.locator("#members")).toHaveText("2");

  await curl("-d", "it rains", `${server.url}/news`);
  await ann.evaluate("pusher.channel('private-orders').trigger('client-paid', { id: 7 })");
  await expect(ann.locator("#log li")).toHaveText(['news message "it rains"']);
  await expect(ben.locator("#log li")).toHaveText([
    'news message "it rains"',
    'private-orders client-paid {"id":7}',
  ]);

  await server.kill();
  await expect(ann.locator("#state")).not.toHaveText("connected");
  await server.start();
  for (const page of [ann, ben]) {
    await expect(page.locator("#state")).toHaveText("connected", { timeout: 15_000 });
    await expect(page.locator("#members")).toHaveText("2", { timeout: 15_000 });
  }
  await curl("-d", "it pours", `${server.url}/news`);
  await expect(ann.locator("#log li").last()).toHaveText('news message "it pours"');
  await ben.close();
  await expect(ann.locator("#members")).toHaveText("1");
  assert.equal(await ann.evaluate("room.members.me.id"), "ann");
});
