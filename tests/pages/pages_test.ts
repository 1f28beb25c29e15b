/** Pages and their parts as served: strict policy, types stripped, packages from this origin, nothing beyond static/. */
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { get } from "node:http";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
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
  const vendor = specifiers.find((specifier) => specifier.endsWith("/vendor/perfect-cursors.js"));
  assert.ok(vendor !== undefined, specifiers.join(", "));
  assert.ok(specifiers.every((specifier) => /^(\.\.?)?\//.test(specifier)), specifiers.join(", "));
  assert.doesNotMatch(code, /\binterface \w+ \{|: (string|number)\b/);
  assert.match(await (await fetch(server.url + vendor)).text(), /PerfectCursor/);
});

Deno.test("Parts of a page are named by a version in their URL and kept for ever, the page is asked for again", async () => {
  await using server = await startApp();
  const page = await fetch(server.url, { headers: { accept: "text/html" } });
  assert.equal(page.headers.get("cache-control"), "no-cache");
  const html = await page.text();
  const urls = [...html.matchAll(/(?:src|href)="(\/_static\/[^"]+)"/g)].map(([, url]) => url ?? "");
  assert.ok(urls.some((url) => url.endsWith("/style.css")) && urls.some((url) => url.endsWith("/home.ts")));
  for (const url of urls) {
    assert.match(url, /^\/_static\/[0-9a-f]{12}\//);
    const part = await fetch(server.url + url);
    assert.equal(part.status, 200, url);
    assert.equal(part.headers.get("cache-control"), "public, max-age=31536000, immutable");
    const text = await part.text();
    for (const [, inner] of text.matchAll(/"(\/_static\/[^"]+)"/g)) {
      assert.match(inner ?? "", /^\/_static\/[0-9a-f]{12}\//, url);
    }
  }
});

Deno.test("The heads of all pages begin alike, which is written once", async () => {
  await using server = await startApp();
  const paths = [
    "/",
    "/news",
    "/news/*",
    "/_inspect",
    "/_docs",
    "/_docs/start",
    "/_offline",
    "/_examples/hello",
    "/_nothing",
  ];
  const beginnings = await Promise.all(paths.map(async (path) => {
    const response = await fetch(server.url + path, { headers: { accept: "text/html" } });
    const [, head = ""] = /<head>(.*)<\/head>/s.exec(await response.text()) ?? [];
    for (
      const once of ["<title>", "charset=", "viewport", "favicon.svg", "/style.css", "/theme.ts", "manifest."]
    ) {
      assert.equal(head.split(once).length, 2, `${once} in the head of ${path}`);
    }
    return head.slice(0, head.indexOf("<title>"));
  }));
  assert.equal(new Set(beginnings).size, 1);
  assert.match(beginnings[0]!, /^\s*<meta charset="utf-8" \/>/);
});

Deno.test("A page names all modules it starts with in its head", async () => {
  await using server = await startApp();
  const html = await (await fetch(`${server.url}/_examples/cursors`)).text();
  const preloaded = [...html.matchAll(/rel="modulepreload" href="\/_static\/[0-9a-f]+\/([^"]+)"/g)];
  const names = ["connection_state.ts", "live_socket.ts", "vendor/perfect-cursors.js"];
  assert.deepEqual(preloaded.map(([, path]) => path).sort(), names);
});

Deno.test("A style comes with all its parts in one file, in the order in which it names them", async () => {
  await using server = await startApp();
  const style = await (await fetch(`${server.url}/_static/style.css`)).text();
  const source = await Deno.readTextFile(new URL("../../static/style.css", import.meta.url));
  const parts = [...source.matchAll(/^@import "\.\/([^"]+)";$/gm)].map(([, path]) => path!);
  assert.ok(parts.length > 5 && !style.includes("@import"));
  let end = 0;
  for (const part of parts) {
    const text = await Deno.readTextFile(new URL(`../../static/${part}`, import.meta.url));
    const start = style.indexOf(text.replaceAll('"/_static/', `"${/\/_static\/\w{12}\//.exec(style)?.[0]}`));
    assert.ok(start >= end, `${part} is there, after those before it`);
    end = start;
    const alone = await fetch(`${server.url}/_static/${part}`);
    await alone.body?.cancel();
    assert.equal(alone.status, 404, part);
  }
});

Deno.test("A page comes with the parts that it shares with others, which are not served alone", async () => {
  await using server = await startApp();
  const read = async (path: string) =>
    await (await fetch(server.url + path, { headers: { accept: "text/html" } })).text();
  for await (const { name } of Deno.readDir(new URL("../../static/parts/", import.meta.url))) {
    const alone = await fetch(`${server.url}/_static/parts/${name}`);
    await alone.body?.cancel();
    assert.equal(alone.status, 404, name);
  }
  for (const path of ["/", "/news", "/news/*"]) {
    const html = await read(path);
    assert.ok(!html.includes("<!-- part"), path);
    const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);
    assert.deepEqual(ids, [...new Set(ids)], `${path} has each id once`);
    const shared = path === "/" ? ["notice"] : ["notice", "find", "search", "share-dialog", "lightbox"];
    for (const id of shared) assert.ok(ids.includes(id), `${path} has #${id}`);
  }
});

Deno.test("A part asked for by an older version is the current one, and not kept", async () => {
  await using server = await startApp();
  const response = await fetch(`${server.url}/_static/0123456789ab/style.css`);
  assert.equal(response.status, 200);
  assert.equal(response.headers.get("cache-control"), "no-cache");
  assert.match(await response.text(), /--paper/);
});

Deno.test("Pages and their parts are compressed as the browser accepts, each coding under its own etag", async () => {
  await using server = await startApp();
  const etags = new Set<string>();
  for (const path of ["/news", "/_static/style.css"]) {
    for (
      const [accepted, coding] of [
        ["gzip, deflate, br, zstd", "br"],
        ["gzip;q=0.5, br;q=0", "gzip"],
        ["br;q=0.0, gzip;q=0", null],
        ["identity", null],
      ] as const
    ) {
      // Deno's fetch undoes the coding and then hides that there was one.
      const { headers, body } = await getRaw(server.port, path, accepted);
      assert.equal(headers.get("content-encoding"), coding, `${path} ${accepted}`);
      assert.equal(headers.get("content-length"), String(body.byteLength));
      assert.match(headers.get("vary") ?? "", /accept-encoding/);
      etags.add(headers.get("etag") ?? "");
      const plain = coding === "br"
        ? brotliDecompressSync(body)
        : coding === "gzip"
        ? gunzipSync(body)
        : body;
      const expected = await fetch(server.url + path, { headers: { accept: "text/html" } });
      assert.equal(new TextDecoder().decode(plain), await expected.text());
    }
  }
  assert.equal(etags.size, 6);
});

Deno.test("A page that has not changed is answered 304 by its etag", async () => {
  await using server = await startApp();
  for (const path of ["/_static/style.css", "/news", "/_examples/chat", "/favicon.ico"]) {
    const headers = { accept: "text/html" };
    const first = await fetch(server.url + path, { headers });
    await first.body?.cancel();
    const etag = first.headers.get("etag") ?? "";
    for (const condition of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const second = await fetch(server.url + path, { headers: { ...headers, "if-none-match": condition } });
      assert.equal(second.status, 304, `${path} ${condition}`);
    }
    const changed = await fetch(server.url + path, { headers: { ...headers, "if-none-match": '"other"' } });
    assert.equal(changed.status, 200);
    await changed.body?.cancel();
  }
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

/** An answer as it crosses the wire. */
async function getRaw(port: number, path: string, accepted: string) {
  const { promise, resolve, reject } = Promise.withResolvers<{ headers: Headers; body: Uint8Array }>();
  const headers = { "accept": "text/html", "accept-encoding": accepted, "connection": "close" };
  get({ host: "127.0.0.1", port, path, headers }, async (response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of response) chunks.push(chunk);
    const fields = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
    resolve({ headers: new Headers(fields as [string, string][]), body: Buffer.concat(chunks) });
  }).on("error", reject);
  return await promise;
}
