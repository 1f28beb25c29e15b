/** Which pages may use the server: same origin, configured ones, and on loopback those of the developer's machine. */
import assert from "node:assert/strict";
import { MessagingError } from "../../lib/core/errors.ts";
import { checkOrigin, isLoopback, type OriginPolicy, parseOrigin } from "../../lib/auth/origin.ts";

const OPEN: OriginPolicy = { origins: [], openOnLoopback: true };
const PUBLIC: OriginPolicy = { origins: ["https://app.example"], openOnLoopback: false };

function check(url: string, origin: string | undefined, policy: OriginPolicy): string {
  try {
    checkOrigin(new Request(url, origin === undefined ? {} : { headers: { origin } }), policy);
    return "allowed";
  } catch (error) {
    assert.ok(error instanceof MessagingError);
    return error.code;
  }
}

const CASES: readonly [string, string, string | undefined, OriginPolicy, string][] = [
  ["a client that sends no origin", "http://localhost:8000/", undefined, OPEN, "allowed"],
  ["the same origin", "http://localhost:8000/", "http://localhost:8000", OPEN, "allowed"],
  ["another port of localhost", "http://localhost:8000/", "http://127.0.0.1:5173", OPEN, "allowed"],
  ["a page from disk", "http://localhost:8000/", "null", OPEN, "allowed"],
  ["another site", "http://localhost:8000/", "https://elsewhere.example", OPEN, "origin_refused"],
  [
    "a site that looks like localhost",
    "http://localhost:8000/",
    "http://localhost.evil.example",
    OPEN,
    "origin_refused",
  ],
  ["an origin that is no URL", "http://localhost:8000/", "nonsense", OPEN, "origin_refused"],
  ["a rebound host name", "http://evil.example:8000/", "http://evil.example:8000", OPEN, "wrong_host"],
  ["a rebound host name without origin", "http://evil.example:8000/", undefined, OPEN, "wrong_host"],
  ["the same origin in public", "https://chat.example/", "https://chat.example", PUBLIC, "allowed"],
  ["a configured origin", "https://chat.example/", "https://app.example", PUBLIC, "allowed"],
  ["a configured origin over http", "https://chat.example/", "http://app.example", PUBLIC, "origin_refused"],
  ["a page from disk in public", "https://chat.example/", "null", PUBLIC, "origin_refused"],
  ["localhost in public", "https://chat.example/", "http://localhost:8000", PUBLIC, "origin_refused"],
  ["any origin when * is configured", "https://chat.example/", "https://any.example", {
    origins: ["*"],
    openOnLoopback: false,
  }, "allowed"],
  ["a proxied host name that is configured", "http://chat.example/", "https://chat.example", {
    origins: ["https://chat.example"],
    openOnLoopback: true,
  }, "allowed"],
];

for (const [name, url, origin, policy, expected] of CASES) {
  Deno.test(`checkOrigin(): ${name} is ${expected}`, () => {
    assert.equal(check(url, origin, policy), expected);
  });
}

Deno.test("checkOrigin() refuses what pages of other sites embed, and follows their links", () => {
  const request = (site: string, mode: string) =>
    new Request("http://localhost:8000/", { headers: { "sec-fetch-site": site, "sec-fetch-mode": mode } });
  assert.throws(() => checkOrigin(request("cross-site", "no-cors"), OPEN), /embed/);
  assert.throws(
    () => checkOrigin(request("same-site", "no-cors"), { ...OPEN, openOnLoopback: false }),
    /embed/,
  );
  checkOrigin(request("same-site", "no-cors"), OPEN);
  checkOrigin(request("cross-site", "navigate"), OPEN);
  checkOrigin(request("same-origin", "no-cors"), OPEN);
  checkOrigin(request("cross-site", "no-cors"), { ...OPEN, origins: ["*"] });
});

Deno.test("isLoopback() knows this machine's names and no others", () => {
  for (
    const name of [
      ...["localhost", "app.localhost", "127.0.0.1", "127.1.2.3", "[::1]", "::1", "0:0:0:0:0:0:0:1"],
      ...["::ffff:127.0.0.1", "[::ffff:7f00:1]"],
    ]
  ) {
    assert.ok(isLoopback(name), name);
  }
  for (
    const name of [
      ...["0.0.0.0", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.1", ""],
      ...["::", "::2", "[::2]", "1::1", "::ffff:10.0.0.1", "[::ffff:a00:1]", "::127.0.0.1"],
      ...["::1.evil.example", "[::1]evil", "::1]", "[::1"],
    ]
  ) {
    assert.ok(!isLoopback(name), name);
  }
});

Deno.test("parseOrigin() refuses what browsers never send", () => {
  assert.equal(parseOrigin("http://localhost:5173"), "http://localhost:5173");
  for (
    const text of ["localhost", "https://a.example/path", "https://A.example", "https://a.example:443", ""]
  ) {
    assert.throws(() => parseOrigin(text), SyntaxError, text);
  }
});

const CROSS = { "sec-fetch-site": "cross-site" };
const CORS = { ...CROSS, "sec-fetch-mode": "cors", "sec-fetch-dest": "empty" };
const FORM = { ...CROSS, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
const DISK = { origin: "null" };

/** What browsers send to an open server on loopback, as Chromium was seen to, and Firefox by its documentation. */
const SENT: readonly [name: string, method: string, headers: Record<string, string>, isAllowed: boolean][] = [
  ["a WebSocket of a page from disk in Chromium", "GET", DISK, true],
  [
    "a WebSocket of a page from disk in Firefox",
    "GET",
    { ...DISK, ...CROSS, "sec-fetch-mode": "websocket", "sec-fetch-dest": "empty" },
    true,
  ],
  ["a program that sends the origin null", "POST", DISK, true],
  ["a fetch of a sandboxed frame", "GET", { ...DISK, ...CORS }, false],
  ["a POST of a sandboxed frame", "POST", { ...DISK, ...CORS }, false],
  ["a socket of a frame with a referrer", "GET", { ...DISK, referer: "https://elsewhere.example/" }, false],
  ["a form of another site", "POST", { ...FORM, origin: "https://elsewhere.example" }, false],
  ["a form of another site without a referrer", "POST", { ...FORM, origin: "null" }, false],
  ["a form that sends no origin", "POST", FORM, false],
  ["a form in a frame", "POST", { ...FORM, origin: "null", "sec-fetch-dest": "iframe" }, false],
  ["a form of the same origin", "POST", {
    ...FORM,
    origin: "http://localhost:8000",
    "sec-fetch-site": "same-origin",
  }, false],
  ["a link of another site", "GET", FORM, true],
  ["a link that is looked at first", "HEAD", FORM, true],
  ["a link typed by hand", "GET", { ...FORM, "sec-fetch-site": "none" }, true],
  [
    "an image of another site",
    "GET",
    { ...CROSS, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image" },
    false,
  ],
  ["a DELETE by navigation", "DELETE", FORM, false],
  ["a fetch of the same origin", "POST", {
    origin: "http://localhost:8000",
    "sec-fetch-site": "same-origin",
    "sec-fetch-mode": "cors",
  }, true],
  ["a fetch of another port of this machine", "POST", { ...CORS, origin: "http://127.0.0.1:5173" }, true],
];

for (const [name, method, headers, isAllowed] of SENT) {
  Deno.test(`checkOrigin() ${isAllowed ? "lets" : "does not let"} ${name} in on loopback`, () => {
    const check = (policy: OriginPolicy) =>
      checkOrigin(new Request("http://localhost:8000/news", { method, headers }), policy);
    if (isAllowed) check(OPEN);
    else assert.throws(() => check(OPEN), (error) => (error as MessagingError).code === "origin_refused");
    if (headers.origin === "null") {
      assert.throws(() => check({ ...OPEN, noNullOrigin: true }), /--origins/);
      check({ ...OPEN, noNullOrigin: true, origins: ["null"] });
    }
  });
}

/** A Host header as proxies and browsers send it, an Origin, the configured origins, and the answer. */
const TABLE: readonly [host: string, origin: string, origins: readonly string[], expected: string][] = [
  ["live.example.org", "https://live.example.org", [], "allowed"],
  ["live.example.org:443", "https://live.example.org", [], "allowed"],
  ["live.example.org:80", "http://live.example.org", [], "allowed"],
  ["live.example.org", "http://live.example.org", [], "allowed"],
  ["LIVE.example.org:443", "https://live.example.org", [], "allowed"],
  ["live.example.org:8443", "https://live.example.org:8443", [], "allowed"],
  ["live.example.org:8443", "https://live.example.org", [], "origin_refused"],
  ["live.example.org:80", "https://live.example.org", [], "origin_refused"],
  ["live.example.org:443", "http://live.example.org", [], "origin_refused"],
  ["live.example.org", "https://live.example.org:8443", [], "origin_refused"],
  ["[2001:db8::1]:443", "https://[2001:db8::1]", [], "allowed"],
  ["live.example.org", "https://example.org", [], "origin_refused"],
  ["live.example.org", "app://live.example.org", [], "origin_refused"],
  ["live.example.org", "https://app.example", ["https://app.example"], "allowed"],
  ["live.example.org", "capacitor://localhost", ["capacitor://localhost"], "allowed"],
  ["live.example.org", "ionic://localhost", ["ionic://localhost"], "allowed"],
  ["live.example.org", "app://localhost", ["app://localhost"], "allowed"],
  ["live.example.org", "app://.", ["app://."], "allowed"],
  ["live.example.org", "tauri://localhost", ["tauri://localhost"], "allowed"],
  ["live.example.org", "http://tauri.localhost", ["http://tauri.localhost"], "allowed"],
  [
    "live.example.org",
    "chrome-extension://abcdefghijklmnop",
    ["chrome-extension://abcdefghijklmnop"],
    "allowed",
  ],
  ["live.example.org", "moz-extension://0b1c-22", ["moz-extension://0b1c-22"], "allowed"],
  ["live.example.org", "capacitor://elsewhere", ["capacitor://localhost"], "origin_refused"],
  ["live.example.org", "ionic://localhost", ["capacitor://localhost"], "origin_refused"],
];

for (const [host, origin, names, expected] of TABLE) {
  Deno.test(`A page of ${origin} at Host ${host}${names.length === 0 ? "" : ` with ${names}`} is ${expected}`, () => {
    const request = new Request(`http://${host}/news`, { headers: { host, origin } });
    const check = () => checkOrigin(request, { origins: names.map(parseOrigin), openOnLoopback: false });
    if (expected === "allowed") check();
    else assert.throws(check, { code: expected });
  });
}

Deno.test("An open loopback server behind a TLS proxy knows the listed name with its port", () => {
  const policy = { origins: ["https://live.example.org"], openOnLoopback: true };
  for (const host of ["live.example.org", "live.example.org:443"]) {
    checkOrigin(new Request(`http://${host}/`, { headers: { host } }), policy);
  }
  const other = new Request("http://live.example.org:80/", { headers: { host: "live.example.org:80" } });
  assert.throws(() => checkOrigin(other, policy), { code: "wrong_host" });
});
