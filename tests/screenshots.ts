/**
 * The `screenshots` task: every page in its states, wide and narrow, light and dark, into `tests/e2e/output/`, which
 * git ignores; names of scenes may follow. With `--readme` also the two that the README shows, with `--icons` those of the
 * installed page.
 */
import { Buffer } from "node:buffer";
import type { Browser, BrowserContextOptions, Page } from "playwright";
import { expect } from "playwright/test";
import { openBrowser } from "./browser.ts";
import { type ServerProcess, startServer } from "./server_process.ts";

const FOLDER = new URL("e2e/output/screenshots/", import.meta.url);
const STATIC = new URL("../static/", import.meta.url);

const WIDTHS = { wide: { width: 1280, height: 800 }, narrow: { width: 360, height: 720 } } as const;

/** A page in a state: what it is called, where it is, and how it gets there. */
interface Scene {
  readonly name: string;
  readonly path: string;
  /** 200 when left out. */
  readonly status?: number;
  readonly prepare?: (page: Page, server: ServerProcess) => Promise<unknown>;
  /** The whole page, also what takes scrolling. */
  readonly isWhole?: boolean;
}

const openShare = async (page: Page) => {
  await page.getByRole("button", { name: "Share" }).click();
  await expect(page.getByRole("img", { name: /QR/ })).toBeVisible();
};
const loseServer = async (page: Page) => {
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("Next try in");
  await page.locator("#box").fill("I am in a tunnel, back in a minute.");
  await page.locator("#box").press("Enter");
};
const bringDrops = async (page: Page, server: ServerProcess) => {
  for (const text of ["it rains", "drip", "drop", "and on it goes"]) await post(server, "/", text);
  await expect(page.locator(".raindrop").last()).toHaveText("and on it goes");
};

const writeTooMuch = async (page: Page) => {
  await page.locator("#box").fill("x".repeat(70_000));
  await page.locator("#box").press("Enter");
  await expect(page.locator("#problem")).toBeVisible();
};

const openMenu = async (page: Page) => {
  await page.locator("#messages > .message").last().hover();
  await page.locator("#messages .menu-button").last().click();
};
const openRaw = async (page: Page) => {
  await openMenu(page);
  await page.getByRole("menuitem", { name: "As it is stored" }).click();
  await expect(page.locator("#raw-dialog")).toBeVisible();
};
const askToDelete = async (page: Page) => {
  await openMenu(page);
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await expect(page.locator("#remove-dialog")).toBeVisible();
};
const findRain = async (page: Page) => {
  await expect(page.locator("#search .message").first()).toBeVisible();
};
const sendFiles = async (page: Page) => {
  const big = { name: "archive.zip", mimeType: "application/zip", buffer: Buffer.alloc(200_000, 7) };
  const small = { name: "tides.csv", mimeType: "text/csv", buffer: Buffer.from("time,metres\n06:00,1.2\n") };
  await page.locator("#files").setInputFiles([small, big]);
  await expect(page.locator(".upload.failed")).toBeVisible();
  await expect(page.locator("a.file").last()).toBeVisible();
};
const openLocked = async (page: Page) => {
  await page.goto(`${locked.url}/office`);
  await expect(page.getByRole("alert").first()).toContainText("token");
};
const beBusy = async (page: Page, server: ServerProcess) => {
  for (let number = 1; number <= 40; number++) await post(server, "/busy?name=Ada", `Drop ${number}`);
  for (let number = 1; number <= 7; number++) {
    const response = await fetch(`${server.url}/_mine`, { method: "POST", body: "no" });
    await response.body?.cancel();
  }
  await post(server, "/later?delay=2h", "good night");
  await expect(page.locator("#scheduled")).toBeVisible();
};
const beStreamed = async (page: Page, server: ServerProcess) => {
  await post(server, "/weather/oslo?name=Zoe&event=seen", "A gull on the roof.");
  await post(server, "/short?name=Ada", "Drop 13");
  await expect(page.locator("#busiest button")).toHaveCount(2);
};
const goOffline = async (page: Page) => {
  await page.route(/[?&]follow=/, (route) => route.abort());
  await page.reload();
  await expect(page.locator("#state")).toContainText("Next try in");
};
const openDrawer = async (page: Page) => {
  await page.locator("#channel-rows").getByRole("button", { name: "weather/bergen", exact: true }).click();
  await expect(page.locator("#reader-rows tr")).toHaveCount(2);
};
const openLockedInspector = async (page: Page) => {
  await page.goto(`${locked.url}/_inspect`);
  await expect(page.getByLabel("API key")).toBeVisible();
};
const explainToken = async (page: Page) => {
  await openLockedInspector(page);
  await page.getByLabel("API key").fill(LOCKED_KEY);
  await page.getByLabel("API key").press("Enter");
  await page.locator("#token-make").getByLabel("User").fill("ann");
  await page.getByLabel("Grants").fill("office=all");
  await page.getByRole("button", { name: "Make it" }).click();
  await expect(page.locator("#token-made")).toBeVisible();
  const token = await page.locator("#token-made code").textContent();
  await page.locator("#token-explain").getByLabel("Token").fill(token ?? "");
  await page.getByLabel("What it allows").fill("office");
  await page.getByRole("button", { name: "Explain it" }).click();
  await page.locator(".verdict").scrollIntoViewIfNeeded();
  await page.locator("#tokens").scrollIntoViewIfNeeded();
};
const openPicture = async (page: Page) => {
  await page.locator("a.picture").click();
  await expect(page.locator("#lightbox img")).toBeVisible();
};

const LOCKED_KEY = "a-key-of-sixteen-characters";

const SCENES: readonly Scene[] = [
  { name: "home", path: "/" },
  { name: "home-whole", path: "/", isWhole: true },
  { name: "home-locked", path: "/", prepare: (page) => page.goto(locked.url) },
  { name: "channel", path: "/weather/bergen?name=Anna" },
  { name: "channel-empty", path: "/quiet?name=Anna" },
  { name: "channel-share", path: "/weather/bergen?name=Anna", prepare: openShare },
  {
    name: "channel-name",
    path: "/weather/bergen?name=Anna",
    prepare: (page) => page.getByRole("button", { name: "Change name" }).click(),
  },
  { name: "channel-offline", path: "/weather/bergen?name=Anna", prepare: loseServer },
  { name: "channel-refused", path: "/weather/bergen?name=Anna", prepare: writeTooMuch },
  { name: "channel-long", path: "/long?name=Anna" },
  { name: "channel-menu", path: "/weather/bergen?name=Anna", prepare: openMenu },
  { name: "channel-raw", path: "/weather/bergen?name=Anna", prepare: openRaw },
  { name: "channel-delete", path: "/weather/bergen?name=Anna", prepare: askToDelete },
  { name: "channel-search", path: "/weather/bergen?name=Anna&q=the", prepare: findRain },
  { name: "channel-files", path: "/post?name=Anna", prepare: sendFiles },
  { name: "channel-picture", path: "/weather/bergen?name=Anna", prepare: openPicture },
  { name: "channel-since", path: "/busy?name=Anna&since=10&limit=20" },
  { name: "channel-code", path: "/code?name=Anna" },
  { name: "channel-busy", path: "/busy?name=Anna" },
  { name: "channel-gap", path: "/short?name=Anna" },
  { name: "channel-locked", path: "/weather/bergen?name=Anna", prepare: openLocked },
  { name: "pattern", path: "/**", prepare: beStreamed },
  { name: "pattern-empty", path: "/nothing/*" },
  { name: "pattern-locked", path: "/", prepare: (page) => page.goto(`${locked.url}/weather/*`) },
  { name: "pattern-offline", path: "/weather/*", prepare: goOffline },
  { name: "error-name", path: "/my%20room%3F", status: 400 },
  { name: "offline", path: "/_offline" },
  { name: "error-missing", path: "/_docs/nothing", status: 404 },
  { name: "manual", path: "/_docs" },
  { name: "manual-page", path: "/_docs/channels" },
  { name: "manual-benchmarks", path: "/_docs/benchmarks" },
  {
    name: "manual-search",
    path: "/_docs/start",
    prepare: async (page) => {
      await page.getByRole("searchbox").fill("backup");
      await expect(page.locator("#results li").first()).toBeVisible();
      await page.getByRole("searchbox").scrollIntoViewIfNeeded();
    },
  },
  { name: "inspector", path: "/_inspect", prepare: beBusy, isWhole: true },
  { name: "inspector-channel", path: "/_inspect", prepare: openDrawer },
  { name: "inspector-locked", path: "/_inspect", prepare: openLockedInspector },
  { name: "inspector-tokens", path: "/_inspect", prepare: explainToken, isWhole: true },
  { name: "example-hello", path: "/_examples/hello" },
  { name: "example-chat", path: "/_examples/chat?name=Anna" },
  { name: "example-raindrops", path: "/_examples/raindrops", prepare: bringDrops },
  { name: "example-cursors", path: "/_examples/cursors?name=Anna" },
];

async function post(server: ServerProcess, path: string, body: BodyInit, type = "text/plain"): Promise<void> {
  const response = await fetch(server.url + path, {
    method: "POST",
    body,
    headers: { "content-type": type },
  });
  await response.body?.cancel();
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
}

/** What has been said before anybody looks. */
async function fill(server: ServerProcess): Promise<void> {
  await post(server, "/?name=Ada", "Good morning, everyone.");
  await post(server, "/", "it rains");
  await post(server, "/?name=Ben", "Is anybody near the harbour?");
  const bergen = "/weather/bergen";
  await post(
    server,
    `${bergen}?name=Ada&id=ada`,
    "Good morning from Fløyen. You can see the clouds from above.",
  );
  await post(server, `${bergen}?name=Ada&id=ada`, "Not for long, though.");
  const reading = { station: "Florida", mm: 12.4, wind: { speed: 4, from: "SW" }, since: "06:00" };
  await post(server, `${bergen}?event=measured`, JSON.stringify({ data: reading }), "application/json");
  await post(
    server,
    `${bergen}?name=Ben`,
    "Umbrellas are sold out at the station.\nhttps://example.org/umbrellas",
  );
  await post(server, bergen, await drawRadar(), "image/png");
  await post(server, `${bergen}?name=Zoe`, "That is the whole fjord!");
  await post(
    server,
    "/long?name=Ada",
    Array.from({ length: 40 }, (_, i) => `Line ${i + 1} of the report`).join("\n"),
  );
  await post(server, "/long?name=Ben", "That is long.");
  await post(
    server,
    "/code?name=Ada",
    "Try `curl -d`:\n```sh\ncurl -d 'it rains' localhost:8000/news\n```\nIt answers at once.",
  );
  await post(server, "/code?name=Ben", '{"typed": "as text", "shown": ["as", "JSON"]}');
  for (let number = 1; number <= 60; number++) {
    await post(server, `/busy?name=${["Ada", "Ben", "Zoe"][number % 3]}`, `What number ${number} had to say`);
  }
  for (let number = 1; number <= 12; number++) {
    await post(server, "/short?name=Ada&ttl=" + (number > 4 && number < 9 ? 1 : 600), `Drop ${number}`);
  }
}

/** A small picture, drawn by the browser itself. */
let radar: Uint8Array<ArrayBuffer> | undefined;
async function drawRadar(): Promise<Uint8Array<ArrayBuffer>> {
  if (radar === undefined) throw new TypeError("The radar is drawn first");
  return await Promise.resolve(radar);
}

async function paintRadar(browser: Browser): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 280, height: 140 } });
  await page.setContent(`<body style="margin:0;background:radial-gradient(circle at 30% 40%,#0a5c75 0 8%,
    transparent 30%),radial-gradient(circle at 70% 60%,#ffcd47 0 4%,#7fc4d8 9%,transparent 40%),#d5e8ee">`);
  radar = new Uint8Array(await page.screenshot());
  await page.close();
}

/** Others who are there, with their cursors. */
async function invite(browser: Browser, server: ServerProcess): Promise<readonly Page[]> {
  const pages: Page[] = [];
  for (const name of ["Ben", "Zoe"]) {
    const page = await browser.newPage({ viewport: WIDTHS.wide });
    await page.goto(`${server.url}/weather/bergen?name=${name}`);
    await expect(page.locator("#state")).toHaveText("Live");
    pages.push(page);
  }
  return pages;
}

async function shoot(
  browser: Browser,
  server: ServerProcess,
  scene: Scene,
  guests: readonly Page[],
): Promise<void> {
  for (const [width, viewport] of Object.entries(WIDTHS)) {
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await openScene(browser, server, scene, { viewport, colorScheme }, guests);
      if (page === undefined) return console.log(`${scene.name}: not there`);
      const path = new URL(`${scene.name}-${width}-${colorScheme}.png`, FOLDER);
      await page.screenshot({ path: path.pathname, fullPage: scene.isWhole ?? false });
      await page.context().close();
    }
  }
  console.log(scene.name);
}

/** A page as it looks when all has come to rest; undefined when there is none. */
async function openScene(
  browser: Browser,
  server: ServerProcess,
  { path, status, prepare }: Scene,
  options: BrowserContextOptions,
  guests: readonly Page[],
): Promise<Page | undefined> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const response = await page.goto(server.url + path);
  if (response?.status() !== (status ?? 200)) {
    await context.close();
    return undefined;
  }
  const state = page.locator("#state");
  if (await state.count() > 0) await expect(state).toHaveText(/Live|Not joined/, { timeout: 10_000 });
  if (path.startsWith("/weather/bergen")) {
    await expect(page.locator("#people li")).toHaveCount(1 + guests.length);
    for (const [i, guest] of guests.entries()) {
      await guest.mouse.move(500, 300);
      await guest.mouse.move(560 + 300 * i, 250 + 220 * i, { steps: 4 });
    }
    await expect(page.locator(".cursor")).toHaveCount(guests.length);
  }
  await prepare?.(page, server);
  // Animations are over, raindrops have fallen, plots have some points.
  await expect(page.locator(".drop")).toHaveCount(0);
  await page.waitForTimeout(path === "/_inspect" ? 4_000 : 700);
  return page;
}

/** Draws the icons of the installed page from the favicon. A maskable one may be cut to a circle. */
async function drawIcons(browser: Browser): Promise<void> {
  const svg = await Deno.readTextFile(new URL("favicon.svg", STATIC));
  for (const [name, size, share] of [["192", 192, 0.9], ["512", 512, 0.9], ["maskable", 512, 0.6]] as const) {
    const page = await browser.newPage({ viewport: { width: size, height: size } });
    const isMaskable = name === "maskable";
    await page.setContent(`<body style="margin:0;display:grid;place-items:center;height:100vh;
      background:${isMaskable ? "#e7eef1" : "transparent"}"><img style="width:${share * 100}%"
      src="data:image/svg+xml,${encodeURIComponent(svg)}">`);
    await page.locator("img").evaluate("(image) => image.decode()");
    const path = new URL(`icon_${name}.png`, STATIC).pathname;
    await page.screenshot({ path, omitBackground: !isMaskable });
    await page.close();
  }
}

const names = Deno.args.filter((arg) => !arg.startsWith("--"));
// The port that everybody's is: it is to be seen in the commands.
const server = await startServer({ port: 8000 }).catch(() => startServer());
const locked = await startServer({
  env: {
    RAINDROPS_TOKEN_SECRET: "a secret of more than thirty-two bytes",
    RAINDROPS_API_KEYS: LOCKED_KEY,
  },
});
const browser = await openBrowser();
try {
  await Deno.mkdir(FOLDER, { recursive: true });
  await paintRadar(browser);
  await fill(server);
  const guests = await invite(browser, server);
  for (const scene of SCENES) {
    if (names.length === 0 || names.includes(scene.name)) await shoot(browser, server, scene, guests);
  }
  if (Deno.args.includes("--icons")) await drawIcons(browser);
  if (Deno.args.includes("--readme")) {
    for (
      const [scene, file] of [["home", "screenshot.png"], ["channel", "screenshot_channel.png"]] as const
    ) {
      const options: BrowserContextOptions = { viewport: WIDTHS.wide, colorScheme: "light" };
      const page = await openScene(
        browser,
        server,
        SCENES.find(({ name }) => name === scene)!,
        options,
        guests,
      );
      await page?.screenshot({ path: new URL(file, STATIC).pathname });
    }
  }
} finally {
  await browser.close();
  await Promise.all([server.stop(), locked.stop()]);
}
