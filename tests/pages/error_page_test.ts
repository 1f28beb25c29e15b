/** Errors in a browser are pages, and lead on; programs get problems, whatever they ask for. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseChannel, parseSelectorPath } from "../../lib/core/channel.ts";
import { findPath, suggestChannel, toChannelPath } from "../../lib/pages/suggestion.ts";
import { startApp } from "../test_app.ts";

const HTML = { accept: "text/html,application/xhtml+xml,*/*;q=0.8" };
const KEY = "a-key-for-the-tests-of-error-pages";

const ERRORS = [
  ["/my%20room%3F", 400],
  ["/a//b", 400],
  ["/%E0%A4%A", 400],
  [`/${"x".repeat(300)}`, 400],
  ["/_nothing", 404],
  ["/_docs/nothing", 404],
  ["/_static/nothing.js", 404],
  ["/_examples/nothing", 404],
  ["/_inspect/nothing", 404],
  ["/api", 405],
  ["/api/publish", 405],
  ["/api/nothing", 405],
  ["/connection/nothing", 404],
] as const;

Deno.test("Every error is a page to a browser, and the same problem to programs, with the same status", async () => {
  await using server = await startApp();
  for (const [path, status] of ERRORS) {
    const [page, problem] = await Promise.all(
      [HTML, { accept: "*/*" }].map((headers) => fetch(server.url + path, { headers })),
    );
    const html = await page!.text();
    assert.equal(page!.status, status, path);
    assert.match(page!.headers.get("content-type") ?? "", /^text\/html/, path);
    assert.match(page!.headers.get("content-security-policy") ?? "", /^default-src 'self';/, path);
    assert.match(html, /<a href="\/">Home<\/a>/, path);
    assert.doesNotMatch(html, /\{\{|<script(?![^>]*\bsrc="\/_static\/)/, path);
    if (path === "/%E0%A4%A" || path.startsWith("/x")) {
      await problem!.body?.cancel();
      continue;
    }
    assert.match(problem!.headers.get("content-type") ?? "", /^application\/(problem\+)?json/, path);
    await problem!.body?.cancel();
  }
});

Deno.test("A page about a refused request says how to be let in, and keeps its headers", async () => {
  await using server = await startApp(`RAINDROPS_API_KEYS=${KEY}`);
  const response = await fetch(`${server.url}/metrics`, { headers: HTML });
  assert.equal(response.status, 401);
  assert.equal(response.headers.get("www-authenticate"), "Bearer");
  assert.equal(response.headers.get("cache-control"), "no-store");
  assert.match(await response.text(), /X-API-Key/);
});

Deno.test("Text of an address stays text on the page of its error", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/%3Cscript%3Ealert(1)%3C%2Fscript%3E%20%22%27&`, {
    headers: HTML,
  });
  const html = await response.text();
  assert.doesNotMatch(html, /<script(?![^>]*\bsrc="\/_static\/)/);
  assert.match(html, /&lt;script&gt;/);
});

Deno.test("HEAD of an error has its status and no body", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/a//b`, { method: "HEAD", headers: HTML });
  assert.equal(response.status, 400);
  assert.equal(await response.text(), "");
});

for (
  const [text, name] of [
    ["my room", "my room"],
    [" my room?", "my room"],
    ["my\u00a0room\u200d", "my room"],
    ["  a  b / c\td ", "a b/c d"],
    ["Cafe\u0301 Zoë", "Café Zoë"],
    ["what?", "what"],
    ["a//b/", "a/b"],
    ["../etc", "etc"],
    ["_private", "private"],
    ["api/x", "api-channel/x"],
    ["100%", "100"],
    ["日本語", "日本語"],
    ["комната 5/дом", "комната 5/дом"],
    ["新闻*", "新闻"],
    ["👨\u200d👩\u200d👧", "👨👩👧"],
    ["é".repeat(200), "é".repeat(127)],
    ["\u3164", undefined],
    ["<b>x</b>", "b-x/b"],
    ["🌧", "🌧"],
    ["???", undefined],
    ["", undefined],
  ] as const
) {
  Deno.test(`suggestChannel() makes of ${JSON.stringify(text)} ${JSON.stringify(name)}`, () => {
    assert.equal(suggestChannel(text), name);
  });
}

Deno.test("suggestChannel() suggests nothing but valid names, and keeps those that are", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.string({ unit: "grapheme" })), (text) => {
    const name = suggestChannel(text);
    if (name === undefined) return;
    assert.equal(parseChannel(name), name);
    assert.equal(suggestChannel(name), name);
  }));
});

for (
  const [text, path] of [
    ["news", "/news"],
    ["/news/", "/news"],
    ["http://example.org/rooms/1?since=3#x", "/rooms/1"],
    ["https://example.org/", "/"],
    ["ws://localhost:8000/news", "/news"],
    ["rain.example:8000/news", "/news"],
    ["localhost:9000/a", "/a"],
    ["my room", "/my%20room"],
    ["orders/*", "/orders/*"],
    ["a,b", "/a,b"],
    ["c#", "/c%23"],
    ["http://h/my%20room", "/my%20room"],
    ["http://h/cafe%CC%81", "/caf%C3%A9"],
    ["rain.example:8000/新闻", "/%E6%96%B0%E9%97%BB"],
    ["lobby", "/"],
    ["日本語", "/%E6%97%A5%E6%9C%AC%E8%AA%9E"],
    ["🌧", "/%F0%9F%8C%A7"],
    ["??", undefined],
  ] as const
) {
  Deno.test(`The Open box leads from ${JSON.stringify(text)} to ${JSON.stringify(path)}`, () => {
    assert.equal(findPath(text, "rain.example:8000"), path);
  });
}

Deno.test("findPath() leads to nothing but channels, lists and patterns of this server", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.webUrl()), (text) => {
    const path = findPath(text, "localhost:8000");
    if (path === undefined) return;
    assert.match(path, /^\/(?!\/)/);
    parseSelectorPath(new URL(path, "http://localhost:8000").pathname);
  }));
});

Deno.test("Opening a text redirects to its channel, and one that names nothing gets a page that says so", async () => {
  await using server = await startApp();
  const found = await fetch(`${server.url}/_open?name=my+room`, { headers: HTML, redirect: "manual" });
  await found.body?.cancel();
  assert.equal(found.status, 303);
  assert.equal(found.headers.get("location"), "/my%20room");
  const none = await fetch(`${server.url}/_open?name=%3F%3F`, { headers: HTML, redirect: "manual" });
  assert.equal(none.status, 400);
  assert.match(await none.text(), /use letters and digits/);
});

Deno.test("toChannelPath() is the path whose channel is the name", () => {
  for (const name of ["a", "c#", "a/b", "it's", "x=1", "my room", "café", "新闻/🌧"]) {
    assert.equal(decodeURIComponent(toChannelPath(name)), `/${name}`);
  }
});

Deno.test("A page that the manual does not have is answered with where all pages are listed", async () => {
  await using app = await startApp();
  const response = await fetch(`${app.url}/_docs/nope`, { headers: { accept: "application/json" } });
  assert.equal(response.status, 404);
  assert.match((await response.json()).detail, /no page at \/_docs\/nope: all pages are listed at \/_docs$/);
});
