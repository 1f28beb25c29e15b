/** Pages and their parts as served: strict policy, types stripped, packages from this origin, nothing beyond static/. */
import assert from "node:assert/strict";
import { startApp } from "../test_app.ts";

Deno.test("Every page forbids inline script and other origins", async () => {
  await using server = await startApp();
  const pages = [
    "/",
    "/news",
    "/_examples/hello",
    "/_examples/chat",
    "/_examples/raindrops",
    "/_examples/cursors",
  ];
  for (const path of pages) {
    const response = await fetch(server.url + path, { headers: { accept: "text/html" } });
    assert.equal(response.status, 200, path);
    const policy = response.headers.get("content-security-policy") ?? "";
    assert.match(policy, /^default-src 'self';/);
    assert.doesNotMatch(policy, /unsafe/);
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    const html = await response.text();
    assert.doesNotMatch(
      html,
      /<script(?![^>]*\bsrc="\/_static\/)|\son\w+=|\sstyle=|<style|(src|href)="(https?:)?\/\//i,
      path,
    );
  }
});

Deno.test("TypeScript of the pages is served as JavaScript without types, packages from this origin", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/_static/examples/cursors.ts`);
  assert.equal(response.headers.get("content-type"), "text/javascript; charset=utf-8");
  const code = await response.text();
  const specifiers = [...code.matchAll(/from "([^"]+)"/g)].map(([, specifier]) => specifier ?? "");
  assert.ok(specifiers.includes("/_static/vendor/perfect-cursors.js"), specifiers.join(", "));
  assert.ok(specifiers.every((specifier) => /^(\.\.?)?\//.test(specifier)), specifiers.join(", "));
  assert.doesNotMatch(code, /\binterface \w+ \{|: (string|number)\b/);
  const vendor = await fetch(`${server.url}/_static/vendor/perfect-cursors.js`);
  assert.match(await vendor.text(), /PerfectCursor/);
});

Deno.test("A page that has not changed is answered 304 by its etag", async () => {
  await using server = await startApp();
  const first = await fetch(`${server.url}/_static/style.css`);
  await first.body?.cancel();
  const etag = first.headers.get("etag") ?? "";
  assert.match(etag, /"/);
  const second = await fetch(`${server.url}/_static/style.css`, { headers: { "if-none-match": etag } });
  assert.equal(second.status, 304);
});

Deno.test("HEAD has the length that GET has", async () => {
  await using server = await startApp();
  for (const accept of ["text/html", "application/json"]) {
    const [head, get] = await Promise.all(
      ["HEAD", "GET"].map((method) =>
        fetch(`${server.url}/news`, { method, headers: { accept, "accept-encoding": "identity" } })
      ),
    );
    const length = (await get!.arrayBuffer()).byteLength;
    assert.equal(head!.headers.get("content-length"), String(length));
  }
});

Deno.test("A browser gets the page whatever the query says, unless it asks for a stream", async () => {
  await using server = await startApp();
  const headers = { accept: "text/html,*/*" };
  for (const query of ["?utm_source=x", "?since=earliest", "?name=John"]) {
    const response = await fetch(`${server.url}/news${query}`, { headers });
    assert.match(await response.text(), /^<!doctype html>/i, query);
  }
  const refused = await fetch(`${server.url}/a//b`, { headers });
  assert.equal(refused.status, 400);
  await refused.body?.cancel();
});

Deno.test("HEAD of a page has its headers and no body", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/news`, { method: "HEAD", headers: { accept: "text/html" } });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^text\/html/);
  assert.equal(await response.text(), "");
});

Deno.test("Nothing outside static/ is served", async () => {
  await using server = await startApp();
  for (
    const path of [
      "/_static/../deno.json",
      "/_static/%2e%2e/deno.json",
      "/_static/..%2fdeno.json",
      "/_static/deno.json",
    ]
  ) {
    const response = await fetch(server.url + path, { headers: { accept: "application/json" } });
    assert.doesNotMatch(await response.text(), /compilerOptions|imports/, path);
  }
});
