/** What tests of the channel page do over and over: write, post, and look at what is shown. */
import assert from "node:assert/strict";
import type { Locator, Page } from "playwright";
import { expect } from "playwright/test";
import { expectLive, type Visit } from "./site.ts";

/** The content of the messages shown, oldest first, without names and times. */
export function shownMessages(page: Page): Locator {
  return page.locator("#messages > .message > :last-child");
}

/** The data of the rows on the page of a list or pattern, the newest first. */
export function shownRows(page: Page): Locator {
  return page.locator("#rows > tr:not([hidden]) > .data > :not(.by, .unfold)");
}

/** Writes into the box and sends by Enter. */
export async function write(page: Page, text: string): Promise<void> {
  await page.locator("#box").fill(text);
  await page.locator("#box").press("Enter");
}

/** Posts without a browser, and answers with the server's receipt. */
export async function post(
  url: string,
  body: BodyInit,
  type = "text/plain; charset=utf-8",
): Promise<{ readonly id: string; readonly offset: number }> {
  const headers = { "accept": "application/json", "content-type": type };
  const response = await fetch(url, { method: "POST", headers, body });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  return JSON.parse(text);
}

/** The texts the server has stored of a channel. */
export async function readStored(url: string): Promise<readonly unknown[]> {
  const response = await fetch(`${url}?since=earliest`, { headers: { accept: "application/json" } });
  const { messages } = await response.json();
  return messages.map(({ data }: { data: unknown }) => data);
}

/** Waits until pages show and send cursors. */
export async function expectCursors(...pages: readonly Page[]): Promise<void> {
  for (const page of pages) {
    await expect(page.locator("#cursors")).toHaveAttribute("data-state", "subscribed");
  }
}

/** Opens a channel's page for each name, each in a browser of its own, and waits until all are live. */
export async function openAs(
  open: Visit["open"],
  path: string,
  ...names: readonly string[]
): Promise<Page[]> {
  const pages: Page[] = [];
  for (const name of names) pages.push(await open(`${path}?${new URLSearchParams({ name })}`));
  for (const page of pages) await expectLive(page);
  return pages;
}
