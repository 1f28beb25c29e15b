/** Pages of other sites, in a real browser against an open server on loopback: what they cannot do, and who still can. */
import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Browser, chromium } from "playwright";
import { findChromium } from "../browser.ts";
import { type ServerProcess, startServer } from "../server_process.ts";

/** A name that the browser takes for another site, and that leads to this machine. */
const SITE = "evil.example";

let server: ServerProcess;
let browser: Browser;

Deno.test.beforeAll(async () => {
  const args = [`--host-resolver-rules=MAP ${SITE} 127.0.0.1`, "--disable-gpu", "--no-first-run"];
  const root = Deno.build.os !== "windows" && Deno.uid() === 0 ? ["--no-sandbox"] : [];
  [server, browser] = await Promise.all([
    startServer(),
    findChromium().then((executablePath) => chromium.launch({ executablePath, args: [...args, ...root] })),
  ]);
});
Deno.test.afterAll(async () => {
  await browser.close();
  await server.stop();
});

/** Tries everything that a script can, and titles its page with what worked. */
const script = (channel: string) => `
  <title>trying</title>
  <script>
    const url = "http://localhost:PORT/${channel}";
    const tries = {
      get: () => fetch(url, { headers: { accept: "application/json" } }).then((answer) => answer.text()),
      post: () => fetch(url, { method: "POST", body: "post" }).then((answer) => answer.text()),
      blind: () => fetch(url, { method: "POST", body: "blind", mode: "no-cors" }).then(() => "sent"),
      events: () => new Promise((resolve, reject) => {
        const source = new EventSource(url);
        source.onopen = resolve;
        source.onerror = () => (source.close(), reject());
      }),
      socket: () => new Promise((resolve, reject) => {
        const socket = new WebSocket(url.replace("http", "ws"));
        socket.onopen = resolve;
        socket.onerror = reject;
      }),
    };
    const outcomes = Object.entries(tries).map(async ([name, run]) => run().then(() => name, () => ""));
    Promise.all(outcomes).then((names) => {
      const worked = "worked: " + names.filter((name) => name !== "").join(" ");
      document.title = worked;
      parent.postMessage(worked, "*");
    });
  </script>`;

const FORM = `<form method="POST" action="http://localhost:PORT/CHANNEL" enctype="text/plain">
  <input name="data" value="form"></form><script>document.forms[0].submit()</script>`;

/** Shows a frame, and what it says. */
const frame = (attributes: string) => `
  <title>waiting</title>
  <script>onmessage = ({ data }) => document.title = data</script>
  <iframe ${attributes}></iframe>`;

/** What was stored on a channel, once the page had its time. */
async function readStored(channel: string): Promise<readonly unknown[]> {
  const answer = await fetch(`${server.url}/${channel}?since=earliest`, {
    headers: { accept: "application/json" },
  });
  return (await answer.json()).messages.map(({ data }: { data: unknown }) => data);
}

async function visit<T>(url: string, look: (title: () => Promise<string>) => Promise<T>): Promise<T> {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(url);
    return await look(async () => {
      await page.waitForFunction('document.title.startsWith("worked")', undefined, { timeout: 10_000 });
      return await page.title();
    });
  } finally {
    await context.close();
  }
}

/** Serves pages by path, of which none lets its address be known. */
function serve(pages: Readonly<Record<string, string>>) {
  const host = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const html = pages[new URL(request.url).pathname] ?? "";
    return new Response(html.replaceAll("PORT", String(server.port)), {
      headers: { "content-type": "text/html", "referrer-policy": "no-referrer" },
    });
  });
  return { url: `http://${SITE}:${host.addr.port}`, [Symbol.asyncDispose]: () => host.shutdown() };
}

const test = (name: string, fn: () => Promise<void>) =>
  Deno.test({ name, fn, sanitizeOps: false, sanitizeResources: false });

test("A page of another site gets nothing from an open server, by script or without", async () => {
  await using host = serve({ "/": script("foreign") });
  assert.equal(await visit(host.url, (title) => title()), "worked: blind");
  // What was sent blindly was refused.
  assert.deepEqual(await readStored("foreign"), []);
});

test("A sandboxed frame of another site cannot read or publish by HTTP", async () => {
  await using host = serve({
    "/": frame('sandbox="allow-scripts" src="/frame"'),
    "/frame": script("sandbox"),
  });
  // A WebSocket's handshake is that of a page from disk to the last byte: --no-null-origin refuses both.
  assert.equal(await visit(host.url, (title) => title()), "worked: blind socket");
  assert.deepEqual(await readStored("sandbox"), []);
});

for (
  const [name, outer] of [
    ["of another site", FORM],
    [
      "in a sandboxed frame of another site",
      '<iframe sandbox="allow-forms allow-scripts" src="/form"></iframe>',
    ],
  ] as const
) {
  test(`A form ${name} publishes nothing, though it has no referrer`, async () => {
    const channel = name.replaceAll(" ", "-");
    await using host = serve({
      "/": outer.replace("CHANNEL", channel),
      "/form": FORM.replace("CHANNEL", channel),
    });
    const context = await browser.newContext();
    const page = await context.newPage();
    const answered = page.waitForResponse((response) => response.url().endsWith(channel));
    await page.goto(host.url).catch(() => {});
    assert.equal((await answered).status(), 403);
    assert.deepEqual(await readStored(channel), []);
    await context.close();
  });
}

test("A page from disk opens WebSockets, until --no-null-origin refuses them", async () => {
  const folder = await Deno.makeTempDir();
  await using closed = await startServer({ flags: ["--no-null-origin"] });
  for (
    const [port, expected] of [[server.port, "worked: blind socket"], [closed.port, "worked: blind"]] as const
  ) {
    const path = join(folder, "page.html");
    await Deno.writeTextFile(path, script("disk").replaceAll("PORT", String(port)));
    assert.equal(await visit(pathToFileURL(path).href, (title) => title()), expected);
  }
  assert.deepEqual(await readStored("disk"), []);
  await Deno.remove(folder, { recursive: true });
});

test("A page of another port of this machine does all that the server's own page does", async () => {
  await using host = serve({ "/": script("local") });
  const url = host.url.replace(SITE, "localhost");
  assert.equal(await visit(url, (title) => title()), "worked: get post blind events socket");
  assert.deepEqual(new Set(await readStored("local")), new Set(["post", "blind"]));
});

test("A link of another site opens a channel's page", async () => {
  await using host = serve({ "/": '<a id="link" href="http://localhost:PORT/linked">link</a>' });
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(host.url);
  const answered = page.waitForResponse((response) => response.url().endsWith("/linked"));
  await page.click("#link");
  assert.equal((await answered).status(), 200);
  await context.close();
});
