/**
 * Pushes in a real browser: the bell of the channel page subscribes, and the service worker shows what is pushed.
 *
 * Headless Chromium has no push service, as that takes an account of Google's: what `PushManager` would get from there
 * comes from the test's own, and what that decrypts is handed to the worker by the browser's own debugging protocol. A
 * click on a notification cannot be made without a desktop: the worker gets the event, with a window to go to.
 */
import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright";
import { expect } from "playwright/test";
import { openBrowser } from "../browser.ts";
import { publish, readMetric, startPushApp, subscribe } from "../push/push_app.ts";
import { PushService } from "../push/push_service.ts";
import { expectLive } from "./site.ts";

const RULES = [{ channels: "news/*", push: true }];

let browser: Browser;
Deno.test.beforeAll(async () => {
  browser = await openBrowser({ isWhole: true });
});
Deno.test.afterAll(() => browser.close());

interface Given {
  readonly service: PushService;
  readonly url: string;
  readonly context: BrowserContext;
}

function test(name: string, run: (given: Given) => Promise<void>): void {
  Deno.test({
    name,
    // The browser outlives the test: Playwright reads from its pipes in between.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      await using service = await PushService.open();
      await using server = await startPushApp(service, RULES);
      const context = await browser.newContext({ permissions: ["notifications"] });
      try {
        await run({ service, url: server.url, context });
      } finally {
        await context.close();
      }
    },
  });
}

/** Gives the pages a `PushManager` whose push service is the test's. */
async function usePushService(context: BrowserContext, service: PushService): Promise<void> {
  let subscription: ReturnType<PushService["subscribe"]> | undefined;
  await context.exposeFunction("askPushService", (key: string) => {
    service.applicationServerKey = key;
    return subscription ??= service.subscribe();
  });
  await context.addInitScript(`
    let current = null;
    PushManager.prototype.getSubscription = async () => current;
    PushManager.prototype.subscribe = async ({ applicationServerKey }) =>
      current = await askPushService(applicationServerKey);
  `);
}

const bell = (page: Page) => page.getByRole("button", { name: "Notifications" });

test("The bell subscribes to the pushes of its channel, and ends that", async ({ service, url, context }) => {
  await usePushService(context, service);
  const page = await context.newPage();
  await page.goto(`${url}/news/local`);
  await expectLive(page);
  await expect(bell(page)).toHaveAttribute("aria-pressed", "false");
  await bell(page).click();
  await expect(bell(page)).toHaveAttribute("aria-pressed", "true");
  await expect(bell(page)).toHaveAttribute("title", "Notifications are on, also while this page is closed");
  await page.close();
  const id = await publish(url, "news/local", "it rains");
  await service.until(() => service.pushed.length === 1);
  assert.equal(service.pushed[0]!.notification.id, id);

  const again = await context.newPage();
  await again.goto(`${url}/news/local`);
  await expect(bell(again)).toHaveAttribute("aria-pressed", "true");
  await bell(again).click();
  await expect(bell(again)).toHaveAttribute("aria-pressed", "false");
  assert.equal(await readMetric(url, "raindrops_push_subscriptions"), 0);
});

test("Where the browser has no push service, the bell says so and notifies while the page is open", async ({ url, context }) => {
  const page = await context.newPage();
  await page.goto(`${url}/news/local`);
  await expectLive(page);
  await bell(page).click();
  await expect(page.locator("#toast")).toContainText("No notifications while this page is closed");
  await expect(bell(page)).toHaveAttribute("aria-pressed", "true");
  await expect(bell(page)).toHaveAttribute("title", "Notifications are on");
});

test("The service worker shows what was pushed while the channel is not looked at, and opens it", async ({ service, url, context }) => {
  const page = await context.newPage();
  await page.goto(`${url}/news/local`);
  const scope: string = await page.evaluate(
    "navigator.serviceWorker.register('/_push/worker.js').then(({ scope }) => scope)",
  );
  assert.equal(new URL(scope).pathname, "/_push/");
  const worker = context.serviceWorkers()[0] ?? await context.waitForEvent("serviceworker");
  // Of a page that stays: a push that is delivered while the session's own page changes can be lost.
  const debug = await context.newCDPSession(await context.newPage());
  const registrations = new Map<string, string>();
  debug.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: all }) => {
    for (const { registrationId, scopeURL } of all) registrations.set(scopeURL, registrationId);
  });
  await debug.send("ServiceWorker.enable");
  await expect.poll(() => registrations.get(scope)).toBeTruthy();
  await expect.poll(() => worker.evaluate("registration.active?.state")).toBe("activated");

  await subscribe({ url }, service, "news/local");
  const id = await publish(url, "news/local", "it rains", {}, "?name=Ann");
  await service.until(() => service.pushed.length === 1);
  const data = JSON.stringify(service.pushed[0]!.notification);
  const deliver = () =>
    debug.send("ServiceWorker.deliverPushMessage", {
      origin: url,
      registrationId: registrations.get(scope)!,
      data,
    });
  const readShown = () =>
    worker.evaluate(
      "registration.getNotifications().then((all) => all.map(({ title, body, tag, data }) => ({ title, body, tag, id: data.id })))",
    );
  // Somebody looks at the channel.
  await worker.evaluate(
    "addEventListener('push', (event) => event.waitUntil(Promise.resolve(globalThis.pushes = (globalThis.pushes ?? 0) + 1)))",
  );
  await deliver();
  await expect.poll(() => worker.evaluate("globalThis.pushes")).toBe(1);
  assert.deepEqual(await readShown(), []);

  await page.goto(`${url}/news/other`);
  // The worker learns a moment later which pages are open.
  await expect.poll(() =>
    worker.evaluate(
      "clients.matchAll({ type: 'window', includeUncontrolled: true }).then((all) => all.map(({ url }) => url))",
    )
  ).toEqual([`${url}/news/other`]);
  await deliver();
  await expect.poll(() => worker.evaluate("globalThis.pushes")).toBe(2);
  await expect.poll(readShown).toEqual([{
    title: "news/local",
    body: "Ann: it rains",
    tag: "news/local",
    id,
  }]);

  await worker.evaluate(`
    globalThis.opened = [];
    clients.openWindow = (url) => Promise.resolve(opened.push(url));
    registration.getNotifications().then(([notification]) =>
      dispatchEvent(new NotificationEvent("notificationclick", { notification })));
  `);
  await expect.poll(() => worker.evaluate("globalThis.opened")).toEqual([`/news/local#${id}`]);
  assert.deepEqual(await readShown(), []);
});
