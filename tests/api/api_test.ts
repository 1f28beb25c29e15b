/** The HTTP API through handleApi(): what is no call, and every error of every method. */
import assert from "node:assert/strict";
import { ApiKeys, parseApiKeys } from "../../lib/auth/api_keys.ts";
import { handleApi, MAX_COMMANDS } from "../../lib/api/api.ts";
import { MAX_BROADCAST_CHANNELS } from "../../lib/api/publish.ts";
import { Bench, KEY, withBench } from "./bench.ts";

/* What is no call */

withBench("handleApi() answers nothing but POST", async ({ context }) => {
  for (const method of ["GET", "PUT", "DELETE", "PATCH"]) {
    const response = await handleApi(new Request("http://localhost/api/info", { method }), context);
    assert.equal(response.status, 405);
    assert.equal(response.headers.get("allow"), "POST");
    assert.match((await response.json()).detail, /with POST, not with/);
  }
});

Deno.test("handleApi() wants a key where there is one, and logs none", async () => {
  const bench = new Bench({ keys: new ApiKeys(parseApiKeys(KEY), { open: true }) });
  const answers: readonly [headers: Record<string, string>, status: number][] = [
    [{ "x-api-key": KEY }, 200],
    [{ authorization: `apikey ${KEY}` }, 200],
    [{ authorization: `Bearer ${KEY}` }, 200],
    [{}, 401],
    [{ "x-api-key": "wrong-0123456789" }, 401],
    [{ authorization: "apikey wrong-0123456789" }, 401],
  ];
  for (const [headers, status] of answers) {
    const response = await bench.post("info", "{}", headers);
    const text = await response.text();
    assert.equal(response.status, status);
    assert.equal(response.headers.get("www-authenticate"), status === 401 ? "apikey" : null);
    assert.doesNotMatch(text, /0123456789/);
  }
  assert.equal(bench.logger.find("api call refused").length, 3);
  assert.doesNotMatch(JSON.stringify(bench.logger.entries), /0123456789/);
});

Deno.test("handleApi() is closed without a key where the server is not open, and names the setting", async () => {
  const bench = new Bench({ keys: new ApiKeys([], { open: false }) });
  const response = await bench.post("publish", '{"channel":"news","data":1}', { "x-api-key": KEY });
  assert.equal(response.status, 401);
  assert.match((await response.json()).detail, /RAINDROPS_API_KEYS/);
  assert.deepEqual(await bench.read(), []);
});

const BAD_BODIES: readonly { name: string; body: BodyInit; detail: RegExp }[] = [
  { name: "an empty body", body: "", detail: /not JSON/ },
  { name: "half an object", body: '{"channel":', detail: /not JSON/ },
  { name: "two objects", body: "{}{}", detail: /not JSON/ },
  { name: "no UTF-8", body: new Uint8Array([0x7b, 0xff, 0x7d]), detail: /not UTF-8/ },
  { name: "an array", body: "[]", detail: /not an object/ },
  { name: "null", body: "null", detail: /not an object/ },
  { name: "a big number", body: "12345678901234567890", detail: /not an object/ },
  { name: "a string", body: '"x"', detail: /not an object/ },
];

for (const { name, body, detail } of BAD_BODIES) {
  withBench(`handleApi() refuses ${name} with status 400`, async (bench) => {
    for (const method of ["publish", "batch", "nothing"]) {
      const response = await bench.post(method, body);
      assert.equal(response.status, 400);
      assert.match((await response.json()).detail, detail);
    }
    assert.equal(bench.logger.find("api call refused").length, 3);
  });
}

withBench("handleApi() refuses a body beyond the limit with status 413", async (bench) => {
  const request = { channel: "news", data: "x".repeat(100) };
  assert.equal((await bench.post("publish", JSON.stringify(request))).status, 413);
  const chunks = new Blob([JSON.stringify(request)]).stream();
  assert.equal((await bench.post("publish", chunks)).status, 413);
  assert.deepEqual(await bench.read(), []);
}, { maxBodyBytes: 100 });

withBench("handleApi() takes null for nothing", async (bench) => {
  const rest = { b64data: null, tags: null, skip_history: null, version: null, delta: null };
  await bench.ask("publish", { channel: "news", data: 1, ...rest });
  assert.deepEqual(await bench.read(), ["json 1"]);
});

/* Errors */

withBench(
  "handleApi() says errors with status 200, in transport mode with one of their own",
  async (bench) => {
    const cases: readonly [method: string, body: string, code: number, status: number][] = [
      ["publish", "{}", 107, 400],
      ["nothing", "{}", 104, 404],
      ["", "{}", 104, 404],
      ["publish/", "{}", 104, 404],
      ["rpc", '{"method":"x"}', 104, 404],
      ["presence", '{"channel":"secret"}', 108, 400],
      ["history", '{"channel":"news","since":{"epoch":"other"}}', 112, 416],
      ["batch", '{"commands":{}}', 107, 400],
    ];
    for (const [method, body, code, status] of cases) {
      const plain = await bench.post(method, body);
      assert.equal(plain.status, 200);
      const { error } = await plain.json();
      assert.equal(error.code, code);
      const transport = await bench.post(method, body, { "X-Centrifugo-Error-Mode": "transport" });
      assert.equal(transport.status, status);
      assert.deepEqual(await transport.json(), error);
    }
    const fine = await bench.post("info", "{}", { "x-centrifugo-error-mode": "transport" });
    assert.equal(fine.status, 200);
    assert.ok((await fine.json()).result);
  },
);

withBench("handleApi() tells of unexpected errors blandly and logs them in full", async (bench) => {
  const hub = Object.create(bench.hub, {
    read: { value: () => Promise.reject(new TypeError("disk of gold")) },
  });
  const broken = new Bench({ hub });
  await broken.assertRefused("history", { channel: "news" }, 100, /its log says what/);
  const response = await broken.post("history", '{"channel":"news"}', {
    "x-centrifugo-error-mode": "transport",
  });
  assert.equal(response.status, 500);
  assert.doesNotMatch(await response.text(), /gold/);
  const [entry] = broken.logger.find("api call failed");
  assert.match(String(entry?.reason), /disk of gold[^]*at /);
});

withBench("handleApi() passes on what the hub refuses for now", async (bench) => {
  bench.hub.drain();
  await bench.assertRefused("publish", { channel: "news", data: 1 }, 100, /restarting/);
  await bench.assertRefused("history_remove", { channel: "news" }, 100, /restarting/);
  assert.deepEqual(bench.logger.find("api call failed"), [], "it is no failure of the server");
});

const REFUSED: readonly [method: string, request: object | string, code: number, message: RegExp][] = [
  ["publish", { data: 1 }, 107, /^channel is required/],
  ["publish", { channel: "", data: 1 }, 107, /^channel is required/],
  ["publish", { channel: 5, data: 1 }, 107, /^channel must be a string/],
  ["publish", { channel: "a?b", data: 1 }, 107, /"a\?b" has the character .*Try "a-b"/],
  ["publish", { channel: "api/x", data: 1 }, 107, /"api\/x" is the server's own/],
  ["publish", { channel: "x".repeat(256), data: 1 }, 107, /at most 255/],
  ["publish", { channel: "news" }, 107, /^data is required, or b64data/],
  ["publish", { channel: "news", b64data: "" }, 107, /^data is required/],
  ["publish", { channel: "news", b64data: "?" }, 107, /^b64data must be base64/],
  ["publish", { channel: "news", b64data: " " }, 107, /^b64data must be base64/],
  ["publish", { channel: "news", b64data: 1 }, 107, /^b64data must be a string/],
  ["publish", { channel: "news", data: "x".repeat(1_001) }, 107, /1001 bytes and the limit is 1000/],
  ["publish", { channel: "news", data: 1, tags: ["b"] }, 107, /^tags must be an object/],
  ["publish", { channel: "news", data: 1, tags: { a: 1 } }, 107, /^tags must be an object whose values/],
  ["publish", { channel: "news", data: 1, delta: 1 }, 107, /^delta must be true or false/],
  ["publish", { channel: "news", data: 1, delta: 1 }, 107, /^delta must be true or false/],
  ["publish", { channel: "news", data: 1, skip_history: "yes" }, 107, /^skip_history must be true or false/],
  [
    "publish",
    { channel: "news", data: 1, idempotency_key: "k".repeat(256) },
    107,
    /^idempotency_key must have/,
  ],
  ["publish", { channel: "news", data: 1, version: -1 }, 107, /^version must be a whole number/],
  ["publish", { channel: "news", data: 1, version: "1" }, 107, /^version must be/],
  ["publish", { channel: "news", data: 1, version: { toString: 1 } }, 107, /^version must be/],
  ["publish", '{"channel":"news","data":1,"version":18446744073709551616}', 107, /^version must be/],
  ["publish", '{"channel":"news","data":1,"version":1.5}', 107, /^version must be/],
  [
    "publish",
    { channel: "news", data: 1, version: 1, version_epoch: 1 },
    107,
    /^version_epoch must be a string/,
  ],
  ["broadcast", { data: 1 }, 107, /^channels is required/],
  ["broadcast", { channels: [], data: 1 }, 107, /^channels is required/],
  ["broadcast", { channels: "news", data: 1 }, 107, /^channels must be an array/],
  ["broadcast", { channels: ["a", 1], data: 1 }, 107, /^channels\[1\] must be a string/],
  ["broadcast", { channels: ["a"] }, 107, /^data is required/],
  [
    "broadcast",
    { channels: Array(MAX_BROADCAST_CHANNELS + 1).fill("a"), data: 1 },
    107,
    /^channels has more/,
  ],
  ["subscribe", { user: "u" }, 107, /^channel is required/],
  ["subscribe", { channel: "news" }, 107, /^user is required: ""/],
  ["subscribe", { channel: "news", user: 1 }, 107, /^user must be a string/],
  ["subscribe", { channel: "news", user: "u", client: 1 }, 107, /^client must be a string/],
  ["subscribe", { channel: "news", user: "u", expire_at: -1 }, 107, /^expire_at must be a whole number/],
  ["subscribe", { channel: "news", user: "u", b64info: "e30x" }, 107, /^b64info must be JSON/],
  ["subscribe", { channel: "news", user: "u", b64info: "/w==" }, 107, /^b64info must be JSON/],
  [
    "subscribe",
    { channel: "news", user: "u", recover_since: { offset: -1 } },
    107,
    /^recover_since.offset must/,
  ],
  [
    "subscribe",
    { channel: "news", user: "u", override: { presence: { value: true } } },
    108,
    /^override is not/,
  ],
  ["subscribe", { channel: "news", user: "u", session: "s" }, 108, /^session is not available/],
  ["unsubscribe", { user: "u" }, 107, /^channel is required/],
  ["unsubscribe", { channel: "news" }, 107, /^user is required/],
  ["unsubscribe", { channel: "news", user: "u", all_users: 1 }, 107, /^all_users must be true or false/],
  ["disconnect", {}, 107, /^user is required/],
  ["disconnect", { user: null, client: null }, 107, /^user is required/],
  ["disconnect", { user: "u", label_filter: { op: "eq" } }, 107, /op that is not and, or, not/],
  [
    "disconnect",
    { all_users: true, label_filter: { nodes: 1 } },
    107,
    /^label_filter.nodes must be an array/,
  ],
  ["disconnect", { label_filter: { key: "a", cmp: "ex" } }, 107, /^user is required/],
  ["disconnect", { user: "u", disconnect: 3000 }, 107, /^disconnect must be an object/],
  ["disconnect", { user: "u", disconnect: { code: 1000 } }, 107, /^disconnect\.code must be .* 3000 to 4999/],
  ["disconnect", { user: "u", disconnect: { code: 5000 } }, 107, /^disconnect\.code/],
  [
    "disconnect",
    { user: "u", disconnect: { reason: "é".repeat(62) } },
    107,
    /^disconnect\.reason .* 123 bytes/,
  ],
  [
    "disconnect",
    { user: "u", disconnect: { reason: '{"reconnect":true}' } },
    107,
    /reason must be plain text/,
  ],
  ["disconnect", { user: "u", whitelist: [1] }, 107, /^whitelist\[0\] must be a string/],
  ["refresh", {}, 107, /^user is required/],
  ["refresh", { user: "u", expired: "no" }, 107, /^expired must be true or false/],
  ["refresh", { user: "u", expire_at: 1.5 }, 107, /^expire_at must be/],
  ["refresh", { user: "u", b64info: "e" }, 107, /^b64info must be/],
  ["presence", {}, 107, /^channel is required/],
  ["presence", { channel: "secret" }, 108, /Presence is off for "secret" by the rule "presence": false/],
  ["presence_stats", {}, 107, /^channel is required/],
  ["presence_stats", { channel: "secret" }, 108, /Presence is off/],
  ["history", {}, 107, /^channel is required/],
  ["history", { channel: "cursors" }, 108, /History is off for "cursors" by the rule "ephemeral": true/],
  ["history", { channel: "news", limit: "5" }, 107, /^limit must be a whole number/],
  ["history", { channel: "news", limit: 2 ** 31 }, 107, /^limit must be/],
  ["history", { channel: "news", since: 5 }, 107, /^since must be an object/],
  ["history", { channel: "news", since: { offset: -1 } }, 107, /^since\.offset must be/],
  ["history", { channel: "news", since: { epoch: 1 } }, 107, /^since\.epoch must be a string/],
  ["history", { channel: "news", since: { offset: 0 }, reverse: true }, 107, /^since\.offset is 0/],
  [
    "history",
    { channel: "news", since: { offset: 1, epoch: "x" } },
    112,
    /^since\.epoch is not that of the engine/,
  ],
  ["history_remove", {}, 107, /^channel is required/],
  ["history_remove", { channel: "cursors" }, 108, /History is off/],
  ["channels", { pattern: 1 }, 107, /^pattern must be a string/],
  ["channels", { pattern: "a{b" }, 107, /^pattern has a \{ without its \}/],
  ["channels", { limit: -1 }, 107, /^limit must be a whole number from 1/],
  ["channels", { cursor: 1 }, 107, /^cursor must be a string/],
  ["batch", { commands: Array(MAX_COMMANDS + 1).fill({}) }, 107, /^commands has more than/],
  ["batch", { parallel: 1 }, 107, /^parallel must be true or false/],
  ["batch", { commands: 1 }, 107, /^commands must be an array/],
];

for (const [method, request, code, message] of REFUSED) {
  const text = typeof request === "string" ? request : JSON.stringify(request);
  withBench(`${method} refuses ${text.length > 80 ? text.slice(0, 77) + "..." : text}`, async (bench) => {
    const client = bench.connect({ user: "u" });
    await bench.assertRefused(method, request, code, message);
    assert.deepEqual(bench.asked, []);
    assert.deepEqual(client.ended, []);
    assert.equal(bench.hub.top.sequence, 0);
    assert.equal(bench.logger.find("api call refused")[0]?.code, code);
  });
}
