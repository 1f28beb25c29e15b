/**
 * What comes or is removed while a page of history is on its way: the page was read before, and must not hide the one or
 * bring back the other. Each test holds an answer of the server until the browser page has heard of the change.
 */
import type { Page } from "playwright";
import { expect } from "playwright/test";
import { post, shownMessages, shownRows, write } from "./channel_page.ts";
import { expectLive, Site, type Visit } from "./site.ts";

const site = new Site();

type Receipt = Awaited<ReturnType<typeof post>>;

async function fill({ server }: Visit, channel: string, count: number): Promise<readonly Receipt[]> {
  const receipts = [];
  for (let number = 1; number <= count; number++) {
    receipts.push(await post(`${server.url}/${channel}`, `entry ${number}`));
  }
  return receipts;
}

const entries = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, i) => `entry ${first + i}`);

const without = (texts: readonly string[], ...gone: readonly string[]) =>
  texts.filter((text) => !gone.includes(text));

async function remove({ server }: Visit, channel: string, { id }: Receipt): Promise<void> {
  const response = await fetch(`${server.url}/${channel}?id=${id}`, { method: "DELETE" });
  await response.body?.cancel();
  expect(response.status).toBe(200);
}

/** An answer that the server has given, and the browser page does not have yet. */
interface HeldAnswer {
  /** Resolves once the server has answered. */
  readonly read: Promise<unknown>;
  readonly release: () => void;
}

/** Holds the next answer to a GET whose query has some parameters, `null` standing for one that is left out. */
async function holdAnswer(
  page: Page,
  path: string,
  query: Readonly<Record<string, string | null>>,
): Promise<HeldAnswer> {
  const read = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  const isMeant = ({ pathname, searchParams }: URL) =>
    pathname === path && searchParams.size > 0 &&
    Object.entries(query).every(([name, value]) => searchParams.get(name) === value);
  let isHeld = false;
  await page.route(isMeant, async (route) => {
    if (isHeld || route.request().method() !== "GET") return await route.fallback();
    isHeld = true;
    const response = await route.fetch();
    read.resolve();
    await released.promise;
    await route.fulfill({ response });
  });
  return { read: read.promise, release: released.resolve };
}

const away = (page: Page) => page.getByRole("button", { name: "To the newest messages" });
const news = (page: Page, count: number) =>
  page.getByRole("button", { name: count === 1 ? "1 new message" : `${count} new messages` });

site.test("The way back shows what came while the newest page was on its way, and nothing removed", async (visit) => {
  const receipts = await fill(visit, "back", 120);
  const page = await visit.open("/back?since=0&limit=20&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/back", { limit: "50", since: null });
  await away(page).click();
  await answer.read;
  await remove(visit, "back", receipts[99]!);
  await post(`${visit.server.url}/back`, "meanwhile");
  await expect(news(page, 1)).toBeVisible();
  answer.release();
  await expect(shownMessages(page)).toHaveText([...without(entries(71, 120), "entry 100"), "meanwhile"]);
  await expect(shownMessages(page).last()).toBeInViewport();
  await expect(page.locator(".gap")).toHaveCount(0);
  await post(`${visit.server.url}/back`, "afterwards");
  await expect(shownMessages(page).last()).toHaveText("afterwards");
});

site.test("One's own message is shown, which was stored while the newest page was on its way", async (visit) => {
  await fill(visit, "own", 120);
  const page = await visit.open("/own?since=0&limit=20&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/own", { limit: "50", since: null });
  await page.route(/\/own\?/, async (route) => {
    if (route.request().method() === "POST") await answer.read;
    await route.fallback();
  });
  await write(page, "here I am");
  await expect(page.locator("#outbox .message")).toHaveCount(0);
  await post(`${visit.server.url}/own`, "of another");
  await expect(news(page, 1)).toBeVisible();
  answer.release();
  await expect(shownMessages(page)).toHaveText([...entries(71, 120), "here I am", "of another"]);
});

site.test("A page of history that is overtaken by a later one is not shown", async (visit) => {
  await fill(visit, "overtaken", 120);
  const page = await visit.open("/overtaken?since=0&limit=20&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/overtaken", { limit: "50", since: null });
  await away(page).click();
  await answer.read;
  // Writing leads to the newest messages, too.
  await write(page, "here I am");
  await expect(shownMessages(page).last()).toHaveText("here I am");
  await expect(shownMessages(page).first()).toHaveText("entry 71");
  const arrived = page.waitForResponse((response) => response.url().endsWith("/overtaken?limit=50"));
  answer.release();
  await (await arrived).finished();
  await post(`${visit.server.url}/overtaken`, "afterwards");
  await expect(shownMessages(page)).toHaveText([...entries(71, 120), "here I am", "afterwards"]);
});

site.test("Reading on shows what came while the last page was on its way, and nothing removed", async (visit) => {
  const receipts = await fill(visit, "onward", 120);
  const page = await visit.open("/onward?since=0&limit=50&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/onward", { limit: "200", since: "50" });
  await page.locator("#scroller").hover();
  await page.mouse.wheel(0, 100_000);
  await answer.read;
  await remove(visit, "onward", receipts[99]!);
  await post(`${visit.server.url}/onward`, "meanwhile");
  await expect(news(page, 1)).toBeVisible();
  answer.release();
  await expect(shownMessages(page)).toHaveText([...without(entries(1, 120), "entry 100"), "meanwhile"]);
});

for (
  const [name, limit] of [["its page", "50"], ["what is above it", "10"]] as const
) {
  site.test(`A permalink shows what came while ${name} was on its way, and nothing removed`, async (visit) => {
    const channel = `link-${limit}`;
    const receipts = await fill(visit, channel, 120);
    const page = await visit.open(`/${channel}?limit=3&name=Anna`);
    await expectLive(page);
    await expect(shownMessages(page)).toHaveText(entries(118, 120));
    const answer = await holdAnswer(page, `/${channel}`, { limit });
    await page.evaluate(`location.hash = "${receipts[99]!.id}"`);
    await answer.read;
    await remove(visit, channel, receipts[94]!);
    await remove(visit, channel, receipts[104]!);
    await post(`${visit.server.url}/${channel}`, "meanwhile");
    await expect(shownMessages(page).last()).toHaveText("meanwhile");
    answer.release();
    await expect(page.locator(".pointed-at")).toHaveText(/entry 100$/);
    await expect(shownMessages(page)).toHaveText(
      [...without(entries(90, 120), "entry 95", "entry 105"), "meanwhile"],
    );
  });
}

site.test("A permalink whose message is removed while its page is on its way says so", async (visit) => {
  const receipts = await fill(visit, "lost", 20);
  const page = await visit.open("/lost?limit=3&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/lost", { limit: "50" });
  await page.evaluate(`location.hash = "${receipts[9]!.id}"`);
  await answer.read;
  await remove(visit, "lost", receipts[9]!);
  await post(`${visit.server.url}/lost`, "meanwhile");
  await expect(shownMessages(page).last()).toHaveText("meanwhile");
  answer.release();
  await expect(page.locator("#notice")).toContainText("not kept any more");
  await expect(shownMessages(page)).toHaveText([...entries(18, 20), "meanwhile"]);
});

site.test("Older messages that are removed while they are on their way are not shown", async (visit) => {
  const receipts = await fill(visit, "older", 20);
  const page = await visit.open("/older?limit=3&name=Anna");
  await expectLive(page);
  const answer = await holdAnswer(page, "/older", { before: "18" });
  await page.getByRole("button", { name: "Show older messages" }).click();
  await answer.read;
  await remove(visit, "older", receipts[9]!);
  await post(`${visit.server.url}/older`, "meanwhile");
  await expect(shownMessages(page).last()).toHaveText("meanwhile");
  answer.release();
  await expect(shownMessages(page)).toHaveText([...without(entries(1, 20), "entry 10"), "meanwhile"]);
});

site.test("What was missed and is removed while it is on its way is not shown", async (visit) => {
  await fill(visit, "missed", 3);
  const page = await visit.open("/missed?name=Anna");
  await expectLive(page);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("Next try in");
  const missed = await post(`${visit.server.url}/missed`, "missed and removed");
  await post(`${visit.server.url}/missed`, "missed");
  const answer = await holdAnswer(page, "/missed", { limit: "1000" });
  const told = Promise.withResolvers<void>();
  page.on("websocket", (socket) => {
    socket.on("framereceived", ({ payload }) => String(payload).includes(missed.id) && told.resolve());
  });
  await page.context().setOffline(false);
  await answer.read;
  await remove(visit, "missed", missed);
  await told.promise;
  // By now the page has worked on that frame.
  await page.evaluate("0");
  answer.release();
  await expectLive(page);
  await post(`${visit.server.url}/missed`, "afterwards");
  await expect(shownMessages(page)).toHaveText([...entries(1, 3), "missed", "afterwards"]);
});

site.test("A page that begins earlier keeps what it shows when it missed too much, and reads on", async (visit) => {
  await fill(visit, "much", 60);
  const page = await visit.open("/much?since=0&limit=50&name=Anna");
  await expectLive(page);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("Next try in");
  await fill(visit, "much", 1_001);
  await page.context().setOffline(false);
  await expectLive(page);
  await expect(shownMessages(page)).toHaveText(entries(1, 50));
  await page.locator("#scroller").hover();
  await page.mouse.wheel(0, 100_000);
  await expect(shownMessages(page)).toHaveText([...entries(1, 60), ...entries(1, 190)]);
});

site.test("What is removed before a page is connected is gone once it is", async (visit) => {
  const receipts = await fill(visit, "early", 5);
  const page = await visit.open("/robots.txt");
  const released = Promise.withResolvers<void>();
  await page.routeWebSocket(/\/connection\/websocket/, async (socket) => {
    await released.promise;
    socket.connectToServer();
  });
  await page.goto(`${visit.server.url}/early?name=Anna`);
  await expect(shownMessages(page)).toHaveText(entries(1, 5));
  for (const i of [0, 2, 4]) await remove(visit, "early", receipts[i]!);
  await post(`${visit.server.url}/early`, "meanwhile");
  released.resolve();
  await expect(shownMessages(page)).toHaveText(["entry 2", "entry 4", "meanwhile"]);
});

site.test("What is removed before the stream of a pattern is open is gone once it is", async (visit) => {
  const receipts = await fill(visit, "streams/a", 5);
  await fill(visit, "streams/b", 1);
  const page = await visit.open("/robots.txt");
  const released = Promise.withResolvers<void>();
  await page.route(/[?&]follow=/, async (route) => {
    await released.promise;
    await route.continue();
  });
  await page.goto(`${visit.server.url}/streams/*`);
  await expect(shownRows(page)).toHaveText(["entry 1", ...entries(1, 5).toReversed()]);
  for (const i of [0, 2]) await remove(visit, "streams/a", receipts[i]!);
  await post(`${visit.server.url}/streams/b`, "meanwhile");
  released.resolve();
  await expect(shownRows(page)).toHaveText(["meanwhile", "entry 1", "entry 5", "entry 4", "entry 2"]);
});

site.test("What is removed while the page of a pattern is offline is gone when it is back", async (visit) => {
  const receipts = await fill(visit, "gaps/a", 5);
  const page = await visit.open("/gaps/*");
  await expectLive(page);
  await expect(shownRows(page)).toHaveCount(5);
  await page.context().setOffline(true);
  await expect(page.locator("#state")).toContainText("offline");
  await remove(visit, "gaps/a", receipts[2]!);
  await page.context().setOffline(false);
  await expect(shownRows(page)).toHaveText(["entry 5", "entry 4", "entry 2", "entry 1"]);
});

for (
  const [kind, channel, path] of [["channel", "sought", "/sought"], [
    "pattern",
    "all/sought",
    "/all/*",
  ]] as const
) {
  site.test(`Results of a search on the page of a ${kind} go when they are removed, also on their way`, async (visit) => {
    const receipts = await fill(visit, channel, 5);
    const page = await visit.open(path);
    await expectLive(page);
    const found = page.locator("#search .message > :last-child");
    const shown = kind === "channel" ? shownMessages(page).last() : shownRows(page).first();
    const order = (texts: readonly string[]) => kind === "channel" ? texts.toReversed() : [...texts];
    const answer = await holdAnswer(page, path, { q: "entry" });
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByLabel("Text to find").fill("entry");
    await page.getByLabel("Text to find").press("Enter");
    await answer.read;
    await remove(visit, channel, receipts[2]!);
    await post(`${visit.server.url}/${channel}`, "meanwhile");
    await expect(shown).toHaveText("meanwhile");
    answer.release();
    await expect(found).toHaveText(order(["entry 1", "entry 2", "entry 4", "entry 5"]));
    await expect(page.locator("#search").getByRole("status")).toHaveText("4 messages found");
    await remove(visit, channel, receipts[4]!);
    await expect(found).toHaveText(order(["entry 1", "entry 2", "entry 4"]));
    await expect(page.locator("#search").getByRole("status")).toHaveText("3 messages found");
  });
}
