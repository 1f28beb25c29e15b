/** The manual as it is served, and as it stands in the repository: every page renders, every link leads somewhere. */
import assert from "node:assert/strict";
import { Manual, toAnchor } from "../../lib/pages/manual.ts";
import { startApp } from "../test_app.ts";

const DOCS = new URL("../../static/docs/", import.meta.url);
const README = new URL("../../README.md", import.meta.url);
const HTML = { accept: "text/html" };

function listPages(): string[] {
  return [...Deno.readDirSync(DOCS)].map(({ name }) => name.replace(/\.md$/, "")).sort();
}

function render(sources: Record<string, string>, file: string): Promise<string> {
  return new Manual(new Map(Object.entries(sources)), "{{title}}|{{pages}}|{{body}}").render(file);
}

Deno.test("Every page of the manual is served, by its name and by its file's name, in the strict policy", async () => {
  await using server = await startApp();
  for (const name of listPages()) {
    const path = name === "README" ? "/_docs" : `/_docs/${name}`;
    const title = /^# (.*)$/m.exec(await Deno.readTextFile(new URL(`${name}.md`, DOCS)))?.[1] ?? "";
    const texts = [];
    for (const url of [path, name === "README" ? "/_docs/README.md" : `${path}.md`]) {
      const response = await fetch(server.url + url, { headers: HTML });
      assert.equal(response.status, 200, url);
      assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
      assert.match(response.headers.get("content-security-policy") ?? "", /^default-src 'self';/);
      texts.push(await response.text());
    }
    assert.equal(texts[0], texts[1]);
    const html = texts[0]!;
    assert.ok(html.includes(`<h1 id="${toAnchor(title)}">`), `${name} begins with its title`);
    assert.doesNotMatch(html, /<script(?![^>]*\bsrc="\/_static\/)|\son\w+="|\sstyle="|<style|\{\{/i, name);
    assert.ok(html.includes('aria-current="page"'), `${name} is in the list of pages`);
  }
});

Deno.test("Every link of the manual leads to a page, a section of one, a picture, or the web", async () => {
  await using server = await startApp();
  const pages = new Map<string, string>();
  const load = async (path: string) => {
    let html = pages.get(path);
    if (html === undefined) {
      const response = await fetch(server.url + path, { headers: HTML });
      html = await response.text();
      assert.equal(response.status, 200, path);
      pages.set(path, html);
    }
    return html;
  };
  for (const name of listPages()) {
    const from = name === "README" ? "/_docs" : `/_docs/${name}`;
    const html = await load(from);
    for (const [, target = ""] of html.matchAll(/<(?:a|img)\b[^>]*\b(?:href|src)="([^"]+)"/g)) {
      if (/^https?:/.test(target)) continue;
      const url = new URL(target, server.url + from);
      const there = await load(url.pathname);
      const anchor = decodeURIComponent(url.hash.slice(1));
      assert.ok(anchor === "" || there.includes(`id="${anchor}"`), `${from} links to ${target}`);
    }
  }
});

Deno.test("Every link of the sources leads to a file, so that a repository host can follow it", async () => {
  for (const file of [README, ...listPages().map((name) => new URL(`${name}.md`, DOCS))]) {
    const text = await Deno.readTextFile(file);
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^(?:https?:|#|\/)/.test(target)) continue;
      assert.ok(
        Deno.statSync(new URL(target.replace(/#.*/, ""), file)).isFile,
        `${file.pathname}: ${target}`,
      );
    }
  }
});

Deno.test("The README is short enough to be read, and shows how to begin", async () => {
  const lines = (await Deno.readTextFile(README)).split("\n");
  assert.ok(lines.length <= 150, `${lines.length} lines`);
  assert.ok(lines.slice(0, 20).some((line) => line.startsWith("npx -y deno task start")));
});

Deno.test("A page's sections get the anchors that repository hosts give them, also when titles repeat", async () => {
  const html = await render({ a: "# A `b` (c), d!\n\n## Same\n\n## Same\n\n## What's new?" }, "a.html");
  for (const id of ["a-b-c-d", "same", "same-1", "whats-new"]) assert.ok(html.includes(`id="${id}"`), id);
});

Deno.test("Text and code of a page stay text: nothing in them becomes markup", async () => {
  const html = await render(
    { a: '# <b>A</b> & "b"\n\n`<i>`\n\n```html\n<script>alert(1)</script>\n```\n\n<u>x</u>' },
    "a.html",
  );
  assert.doesNotMatch(html, /<script|<i>|<u>|<b>/);
  assert.match(html, /&lt;script&gt;alert\(1\)/);
});

Deno.test("Pages are listed in the order of the index, and those it does not know come last", async () => {
  const sources = { README: "# I\n\n[z](z.md) [b](b.md#x)", a: "# A", b: "# B", z: "# Z" };
  const links = [...(await render(sources, "index.html")).split("|")[1]!.matchAll(/href="([^"]+)"/g)];
  assert.deepEqual(links.map(([, href]) => href), ["/_docs", "/_docs/z", "/_docs/b", "/_docs/a"]);
});

Deno.test("A page's title is its first heading of level 1, wherever that is, or else its name", async () => {
  const sources = { README: "Before\n\n```sh\n# no title\n```\n\n# It *is* `this`\n\n# not this", a: "## A" };
  const [title, pages] = (await render(sources, "index.html")).split("|");
  assert.equal(title, "It is this");
  assert.match(
    pages!,
    /<a href="\/_docs" aria-current="page">It is this<\/a>[^]*<a href="\/_docs\/a">a<\/a>/,
  );
});

Deno.test("The index for the search has every section with its text and without markup", async () => {
  const sources = { a: "# A\n\nSome *text*\n\n## B\n\n| x | y |\n|---|---|\n| `1` | [2](c.md) |" };
  const sections = JSON.parse(await render(sources, "search.json"));
  assert.deepEqual(sections, [
    { href: "/_docs/a#a", page: "A", title: "A", text: "Some text" },
    { href: "/_docs/a#b", page: "A", title: "B", text: "x y 1 2" },
  ]);
});
