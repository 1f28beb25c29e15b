/**
 * The `screenshots` task: every page in its states, wide and narrow, light and dark, into `tests/e2e/output/`, which
 * git ignores; names of scenes may follow. With `--readme` also the two that the README shows.
 */
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

const SCENES: readonly Scene[] = [
  { name: "home", path: "/" },
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
  { name: "channel-gap", path: "/short?name=Anna" },
  { name: "pattern", path: "/weather/*" },
  { name: "error-name", path: "/my%20room", status: 400 },
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
  { name: "inspector", path: "/_inspect" },
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
      await page.screenshot({ path: path.pathname });
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
  // Animations are over, plots have some points.
  await page.waitForTimeout(path === "/_inspect" ? 4_000 : 700);
  return page;
}

const names = Deno.args.filter((arg) => !arg.startsWith("--"));
// The port that everybody's is: it is to be seen in the commands.
const server = await startServer({ port: 8000 }).catch(() => startServer());
const browser = await openBrowser();
try {
  await Deno.mkdir(FOLDER, { recursive: true });
  await paintRadar(browser);
  await fill(server);
  const guests = await invite(browser, server);
  for (const scene of SCENES) {
    if (names.length === 0 || names.includes(scene.name)) await shoot(browser, server, scene, guests);
  }
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
  await server.stop();
}
