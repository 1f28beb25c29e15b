/** What every end-to-end test file needs: the real server, one browser, and pages in contexts of their own. */
import assert from "node:assert/strict";
import type { Browser, BrowserContextOptions, Page } from "playwright";
import { expect } from "playwright/test";
import { type BrowserOptions, openBrowser } from "../browser.ts";
import { type ServerProcess, startServer } from "../server_process.ts";

/** What a test gets to work with. */
export interface Visit {
  readonly server: ServerProcess;
  /** Opens a path of the server, or a whole URL, in a context of its own: another person's browser. */
  open(path: string, options?: BrowserContextOptions): Promise<Page>;
}

/** Starts a server and a browser for the tests of one file; each test gets contexts nobody else has. */
export class Site {
  #server: ServerProcess | undefined;
  #browser: Browser | undefined;

  constructor(options: BrowserOptions = {}) {
    Deno.test.beforeAll(async () => {
      [this.#server, this.#browser] = await Promise.all([startServer(), openBrowser(options)]);
    });
    Deno.test.afterAll(async () => {
      await this.#browser?.close();
      await this.#server?.stop();
    });
  }

  /** A test that also fails when any of its pages ran a script of somebody else's or broke with an error. */
  test(name: string, run: (visit: Visit) => Promise<void>): void {
    Deno.test({
      name,
      // The browser and the server outlive the test: Playwright reads from its pipes in between.
      sanitizeOps: false,
      sanitizeResources: false,
      fn: async () => {
        assert(this.#server !== undefined && this.#browser !== undefined);
        const browser = this.#browser;
        const server = this.#server;
        const accidents: string[] = [];
        const contexts = new Set<Awaited<ReturnType<Browser["newContext"]>>>();
        const open = async (path: string, options?: BrowserContextOptions) => {
          const context = await browser.newContext(options);
          contexts.add(context);
          const page = await context.newPage();
          watch(page, accidents);
          await page.goto(new URL(path, server.url).href);
          return page;
        };
        try {
          await run({ server, open });
          assert.deepEqual(accidents, []);
        } finally {
          await Promise.all([...contexts].map((context) => context.close()));
        }
      },
    });
  }
}

/** Waits until a page says that it is connected. */
export async function expectLive(page: Page): Promise<void> {
  await expect(page.locator("#state")).toHaveText("Live", { timeout: 10_000 });
}

/** Posts with the real curl and answers with what it printed. */
export async function curl(...args: readonly string[]): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command("curl", { args: ["-sS", ...args] }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout);
}

/** Notes everything that would show that a message was taken for markup or script, and every uncaught error. */
function watch(page: Page, accidents: string[]): void {
  page.on("dialog", (dialog) => {
    accidents.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("pageerror", (error) => accidents.push(`uncaught: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy|Refused to/i.test(message.text())) accidents.push(`CSP: ${message.text()}`);
  });
}
