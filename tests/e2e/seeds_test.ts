/**
 * The five programs this server grew from: small clients that do what theirs do, opened from disk or from a server
 * on another port of localhost, and pointed at nothing but this server's port.
 */
import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { curl, Site } from "./site.ts";

const site = new Site();

/** A page that puts every message into a div and writes to the console. */
const RAINDROPS = `
  <title>drops</title>
  <div id="raindrops"></div>
  <script>
    const socket = new WebSocket("ADDRESS");
    socket.addEventListener("open", () => console.log("connected"));
    socket.addEventListener("message", (event) => {
      const drop = document.createElement("div");
      drop.className = "raindrop";
      drop.textContent = event.data;
      document.getElementById("raindrops").append(drop);
      console.log("got a message");
    });
  </script>`;

/** A page with a box, a button with an inline handler, and a list of what others sent. */
const CHAT = `
  <title>chat</title>
  <input id="box"><button onclick="send()">Send</button>
  <ul id="list"></ul>
  <script>
    const socket = new WebSocket("ADDRESS");
    socket.onopen = () => document.title = "open";
    socket.onmessage = (event) => {
      const item = document.createElement("li");
      item.textContent = event.data;
      document.getElementById("list").appendChild(item);
    };
    function send() {
      const box = document.getElementById("box");
      socket.send(box.value);
      box.value = "";
    }
  </script>`;

/** A page that adds every event of its socket to one output, by on-handlers. */
const HELLO = `
  <title>hello</title>
  <textarea id="box"></textarea><button id="submit">Submit</button>
  <pre id="output"></pre>
  <script>
    const socket = new WebSocket("ADDRESS");
    const write = (event, data) => document.getElementById("output").textContent += event + ": " + data + ";";
    socket.onopen = () => document.title = "open";
    socket.onmessage = (event) => write("Received", event.data);
    socket.onclose = (event) => write("Disconnected", event.code);
    socket.onerror = () => write("Error", "");
    document.getElementById("submit").addEventListener("click", () => {
      socket.send(document.getElementById("box").value);
    });
  </script>`;

for (const origin of ["disk", "another port of localhost"] as const) {
  site.test(`Raindrops seed: a POST of data falls on a page from ${origin}`, async ({ open, server }) => {
    await using host = await serve(origin, RAINDROPS.replace("ADDRESS", `ws://localhost:${server.port}`));
    const page = await open("about:blank");
    const said: string[] = [];
    page.on("console", (message) => said.push(message.text()));
    await page.goto(host.url);
    await expect.poll(() => said).toContain("connected");

    const post = ["-H", "content-type: application/json", "-d", '{"data":"drop by drop"}'];
    assert.equal(await curl(...post, `http://localhost:${server.port}/`), "Cool thanks");
    await expect(page.locator("#raindrops .raindrop")).toHaveText(["drop by drop"]);
    assert(said.includes("got a message"));
    await expect.poll(() => server.lines.join("\n")).toContain("message received: drop by drop");
  });

  site.test(`Chat seed: pages from ${origin} hear each other and not themselves`, async ({ open, server }) => {
    await using host = await serve(origin, CHAT.replace("ADDRESS", `ws://localhost:${server.port}`));
    const [anna, ben] = [await open(host.url), await open(host.url)];
    for (const page of [anna, ben]) await expect(page).toHaveTitle("open");

    await say(anna, "anyone here?", "Send");
    await expect(ben.locator("#list li")).toHaveText(["anyone here?"]);
    await say(ben, "yes", "Send");
    await expect(anna.locator("#list li")).toHaveText(["yes"]);
    await expect(ben.locator("#list li")).toHaveText(["anyone here?"]);
  });

  site.test(`Hello seed: a page from ${origin} gets World!`, async ({ open, server }) => {
    await using host = await serve(origin, HELLO.replace("ADDRESS", `ws://localhost:${server.port}`));
    const page = await open(host.url);
    await expect(page).toHaveTitle("open");
    await say(page, "Hello", "Submit");
    await expect(page.locator("#output")).toHaveText("Received: World!;");
  });
}

site.test("Raindrops seed: client id1 is addressed alone", async ({ open, server }) => {
  const page = (id: string) => RAINDROPS.replace("ADDRESS", `ws://localhost:${server.port}/?id=${id}`);
  await using first = await serve("disk", page("id1"));
  await using second = await serve("disk", page("id2"));
  const [wet, dry] = [await open(first.url), await open(second.url)];
  for (const id of ["id1", "id2"]) {
    await expect.poll(() => server.lines.some((line) => line.includes("client connected id=" + id))).toBe(
      true,
    );
  }
  await curl("-H", "content-type: application/json", "-d", '{"data":"for you"}', `${server.url}/@id1`);
  await expect(wet.locator(".raindrop")).toHaveText(["for you"]);
  await curl("-d", "for all", `${server.url}/`);
  await expect(dry.locator(".raindrop")).toHaveText(["for all"]);
});

site.test("Cursors seed: ?name=John without a path is John in the lobby", async ({ open, server }) => {
  const address = `ws://localhost:${server.port}?name=John`;
  await using host = await serve("another port of localhost", HELLO.replace("ADDRESS", address));
  const page = await open(host.url);
  await expect(page).toHaveTitle("open");
  await say(page, "/who", "Submit");
  await expect(page.locator("#output")).toHaveText("Received: John;");
  assert(server.lines.some((line) => /client connected .*name=John/.test(line)));
});

site.test("Conditional replies seed: certain texts are answered, all others passed on", async ({ open, server }) => {
  await using host = await serve("disk", HELLO.replace("ADDRESS", `ws://localhost:${server.port}/replies`));
  const [asker, other] = [await open(host.url), await open(host.url)];
  for (const page of [asker, other]) await expect(page).toHaveTitle("open");
  await say(asker, "/help", "Submit");
  await expect(asker.locator("#output")).toContainText("/time");
  await say(asker, "plain words", "Submit");
  await expect(other.locator("#output")).toHaveText("Received: plain words;");
});

site.test("Hello seed: a program that says Hello again and again gets World! each time", async ({ server }) => {
  const socket = new WebSocket(`ws://localhost:${server.port}`);
  const answers: string[] = [];
  const done = new Promise((resolve) => socket.onclose = resolve);
  socket.onopen = () => socket.send("Hello");
  socket.onmessage = ({ data }) => {
    answers.push(data);
    if (answers.length === 3) socket.close();
    else socket.send("Hello");
  };
  await done;
  assert.deepEqual(answers, ["World!", "World!", "World!"]);
});

async function say(page: Page, text: string, button: string): Promise<void> {
  await page.locator("#box").fill(text);
  await page.getByRole("button", { name: button }).click();
}

/** Puts a client's page where seed programs have it: a file on disk, or a web server of its own. */
async function serve(origin: "disk" | "another port of localhost", html: string) {
  if (origin === "disk") {
    const path = await Deno.makeTempFile({ suffix: ".html" });
    await Deno.writeTextFile(path, html);
    return { url: pathToFileURL(path).href, [Symbol.asyncDispose]: () => Deno.remove(path) };
  }
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    () => new Response(html, { headers: { "content-type": "text/html" } }),
  );
  return {
    url: `http://localhost:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
