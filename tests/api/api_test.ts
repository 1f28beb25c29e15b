/** The HTTP API through handleApi(): every method, every error, and bodies that nobody would send. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Gate } from "../../lib/auth/gate.ts";
import { ApiKeys, parseApiKeys } from "../../lib/auth/api_keys.ts";
import { selectChannel, selectPatterns } from "../../lib/core/channel.ts";
import type { ServerSubscribeOptions } from "../../lib/core/client.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Draft } from "../../lib/core/message.ts";
import type { Member } from "../../lib/core/presence.ts";
import { type RuleEntry, Rules } from "../../lib/core/rules.ts";
import { type ApiContext, handleApi, MAX_COMMANDS, Versions } from "../../lib/api/api.ts";
import { compileGlob } from "../../lib/api/glob.ts";
import { MAX_BROADCAST_CHANNELS } from "../../lib/api/publish.ts";
import { MAX_HISTORY_MESSAGES } from "../../lib/core/history.ts";
import { MemoryEngine } from "../../lib/engines/memory.ts";
import { createDraft } from "../fakes/message.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createClient, type FakeClient } from "../fakes/socket.ts";

const RULES: readonly RuleEntry[] = [
  { channels: "secret", presence: false },
  { channels: "cursors", ephemeral: true },
  { channels: "short", history: { messages: 3 } },
];
const KEY = "key-0123456789abcdef";

type Answer = { readonly result?: unknown; readonly error?: { code: number; message: string } };

interface Person extends Partial<Pick<Member, "id" | "user" | "info" | "name">> {
  /** The channels it reads. */
  readonly channels?: readonly string[];
  /** Whether its protocol has no words for what the API asks. */
  readonly plain?: boolean;
  /** Subscribing fails with this; leaving first if told so. */
  readonly failure?: { readonly error: Error; readonly leaves: boolean };
}

/** What a bench has in place of the usual. */
type BenchOptions = Partial<ApiContext> & { readonly keys?: ApiKeys };

/** A hub on a memory log, and the API in front of it. */
class Bench {
  readonly logger = new RecordingLogger();
  readonly hub: Hub;
  readonly context: ApiContext;
  /** What clients were asked for, in order. */
  readonly asked: unknown[] = [];

  constructor({ keys = new ApiKeys([], { open: true }), ...rest }: BenchOptions = {}) {
    const rules = new Rules(RULES);
    this.hub = new Hub({
      log: new MemoryEngine({ rules }),
      rules,
      logger: this.logger,
      maxMessageBytes: 1_000,
      identity: { node: "node-1", name: "raindrops", version: "1.2.3", startedAt: Date.now() - 5_500 },
    });
    this.context = {
      hub: this.hub,
      gate: new Gate({ open: true, verifier: undefined, rules, logger: this.logger, apiKeys: keys }),
      publisher: "",
      versions: new Versions(),
      maxBodyBytes: 100_000,
      bodyTimeout: 10,
      logger: this.logger,
      ...rest,
    };
  }

  /** Sends a body as it is. */
  post(path: string, body: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
    return handleApi(
      new Request(`http://localhost/api/${path}`, { method: "POST", body, headers }),
      this.context,
    );
  }

  /** Calls a method; the request may be JSON text, for what JavaScript would not write. */
  async call(method: string, request: object | string = {}): Promise<Answer> {
    const body = typeof request === "string" ? request : JSON.stringify(request);
    const response = await this.post(method, body);
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("content-type"), "application/json");
    return await response.json();
  }

  /** Calls a method that succeeds. */
  async ask(method: string, request: object | string = {}): Promise<unknown> {
    const { result, error } = await this.call(method, request);
    assert.equal(error, undefined);
    return result;
  }

  async assertRefused(
    method: string,
    request: object | string,
    code: number,
    message: RegExp,
  ): Promise<void> {
    const answer = await this.call(method, request);
    assert.equal(answer.result, undefined, `${method} ${JSON.stringify(request)} is refused`);
    assert.equal(answer.error?.code, code, answer.error?.message ?? "");
    assert.match(answer.error?.message ?? "", message);
  }

  /** The texts of what is stored. */
  async read(channel = "news"): Promise<readonly string[]> {
    const page = await this.hub.read({
      selector: selectChannel(channel),
      after: { kind: "earliest" },
      limit: 1_000,
    });
    return page.messages.map(({ payload }) =>
      payload.kind === "bytes" ? `bytes ${payload.bytes}` : `${payload.kind} ${payload.text}`
    );
  }

  async publish(...drafts: Draft[]): Promise<void> {
    for (const draft of drafts) await this.hub.publish(draft);
  }

  connect(person: Person): FakeClient {
    const { channels = [], plain = false, failure, ...member } = person;
    const fake = createClient({ onEnd: () => this.hub.disconnect(client) });
    const note = (...words: unknown[]) => void this.asked.push([client.id, ...words]);
    const control = {
      disconnect: (code: number, reason: string) => {
        note("disconnect", code, reason);
        this.hub.disconnect(client);
      },
      subscribe: async (channel: string, options: ServerSubscribeOptions) => {
        await Promise.resolve();
        if (failure?.leaves) this.hub.disconnect(client);
        if (failure !== undefined) throw failure.error;
        note("subscribe", channel, options);
        return true;
      },
      unsubscribe: (channel: string, code: number, reason: string) => {
        note("unsubscribe", channel, code, reason);
        return true;
      },
      refresh: (expires: number) => note("refresh", expires),
    };
    const client: FakeClient = { ...fake, ...member, ...(plain ? {} : { control }) };
    this.hub.connect(client);
    for (const channel of channels) this.hub.subscribe(client, selectChannel(channel));
    return client;
  }
}

function withBench(
  name: string,
  test: (bench: Bench) => Promise<void>,
  rest: BenchOptions = {},
): void {
  Deno.test(name, () => test(new Bench(rest)));
}

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

withBench("handleApi() reads past what it does not know and takes null for nothing", async (bench) => {
  const rest = { b64data: null, tags: null, skip_history: null, version: null, delta: null, colour: "blue" };
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
});

const REFUSED: readonly [method: string, request: object | string, code: number, message: RegExp][] = [
  ["publish", { data: 1 }, 107, /^channel is required/],
  ["publish", { channel: "", data: 1 }, 107, /^channel is required/],
  ["publish", { channel: 5, data: 1 }, 107, /^channel must be a string/],
  ["publish", { channel: "a b", data: 1 }, 107, /"a b" has a character outside/],
  ["publish", { channel: "api/x", data: 1 }, 107, /"api\/x" is the server's own/],
  ["publish", { channel: "x".repeat(256), data: 1 }, 107, /at most 255/],
  ["publish", { channel: "news" }, 107, /^data is required, or b64data/],
  ["publish", { channel: "news", b64data: "" }, 107, /^data is required/],
  ["publish", { channel: "news", b64data: "?" }, 107, /^b64data must be base64/],
  ["publish", { channel: "news", b64data: " " }, 107, /^b64data must be base64/],
  ["publish", { channel: "news", b64data: 1 }, 107, /^b64data must be a string/],
  ["publish", { channel: "news", data: "x".repeat(1_001) }, 107, /1001 bytes and the limit is 1000/],
  ["publish", { channel: "news", data: 1, tags: { a: "b" } }, 107, /^tags are not supported/],
  ["publish", { channel: "news", data: 1, delta: true }, 108, /^delta is not available/],
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
  ["subscribe", { channel: "news", user: "u", recover_since: { offset: 1 } }, 108, /^recover_since is not/],
  [
    "subscribe",
    { channel: "news", user: "u", override: { presence: { value: true } } },
    108,
    /^override is not/,
  ],
  ["subscribe", { channel: "news", user: "u", session: "s" }, 108, /^session is not available/],
  ["unsubscribe", { user: "u" }, 107, /^channel is required/],
  ["unsubscribe", { channel: "news" }, 107, /^user is required/],
  ["unsubscribe", { channel: "news", user: "u", all_users: true }, 108, /^all_users is not available/],
  ["disconnect", {}, 107, /^user is required/],
  ["disconnect", { user: null, client: null }, 107, /^user is required/],
  ["disconnect", { user: "u", label_filter: { op: "eq" } }, 108, /^label_filter is not available/],
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
  ["refresh", { user: "u", info: { a: 1 } }, 108, /^info is not available/],
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

/* publish and broadcast */

const PAYLOADS: readonly [request: string, stored: string][] = [
  ['"data":"hi"', "text hi"],
  ['"data":""', "text "],
  ['"data":{"b":1, "a":[true, null]}', 'json {"b":1, "a":[true, null]}'],
  ['"data":12345678901234567890', "json 12345678901234567890"],
  ['"data":{"id":9007199254740993,"x":1.0,"y":[1e400]}', 'json {"id":9007199254740993,"x":1.0,"y":[1e400]}'],
  ['"data":[1.0,-0,1E2]', "json [1.0,-0,1E2]"],
  ['"data":null', "json null"],
  ['"data":false', "json false"],
  ['"data":{"toString":1,"__proto__":2,"toJSON":3}', 'json {"toString":1,"__proto__":2,"toJSON":3}'],
  ['"b64data":"AAH/"', "bytes 0,1,255"],
  ['"b64data":"AAH/","data":"not this"', "bytes 0,1,255"],
];

for (const [data, stored] of PAYLOADS) {
  withBench(`publish stores ${data}`, async (bench) => {
    const { epoch } = bench.hub.top;
    assert.deepEqual(await bench.ask("publish", `{"channel":"news",${data}}`), { offset: 1, epoch });
    assert.deepEqual(await bench.read(), [stored]);
  });
}

withBench(
  "publish delivers, and stores nothing with skip_history or on an ephemeral channel",
  async (bench) => {
    const client = bench.connect({ channels: ["news", "cursors"] });
    assert.deepEqual(await bench.ask("publish", { channel: "news", data: "a", skip_history: true }), {});
    assert.deepEqual(await bench.ask("publish", { channel: "cursors", data: "b" }), {});
    assert.deepEqual(client.socket.texts, ["a", "b"]);
    assert.equal(bench.hub.top.sequence, 0);
  },
);

withBench(
  "publish with an idempotency key stores once and answers with the first position",
  async (bench) => {
    const request = { channel: "news", data: "a", idempotency_key: "k" };
    const first = await bench.ask("publish", request);
    await bench.ask("publish", { channel: "news", data: "b" });
    assert.deepEqual(await bench.ask("publish", request), first);
    const reuse = /another message.*this idempotency key/i;
    await bench.assertRefused("publish", { ...request, data: "other" }, 107, reuse);
    await bench.assertRefused("publish", { ...request, skip_history: true }, 107, reuse);
    assert.deepEqual(
      await bench.ask("publish", { ...request, channel: "ops" }),
      first,
      "keys are of one channel",
    );
    assert.deepEqual(await bench.read(), ["text a", "text b"]);
  },
);

withBench("publish suppresses a version seen before, and answers with the newest position", async (bench) => {
  const { epoch } = bench.hub.top;
  const steps: readonly [request: string, offset: number][] = [
    ['"version":5', 1],
    ['"version":5', 1],
    ['"version":4,"version_epoch":""', 1],
    ['"version":6', 2],
    // Without a version nothing is compared and nothing remembered.
    ['"version":0', 3],
    ['"version_epoch":"x"', 4],
    ['"version":6', 4],
    // Another epoch starts anew, none at all stands for the one there is.
    ['"version":1,"version_epoch":"b"', 5],
    ['"version":1,"version_epoch":"b"', 5],
    ['"version":1', 5],
    // As nanoseconds since 1970 are: doubles could not tell these apart.
    ['"version":1790000000000000001', 6],
    ['"version":1790000000000000000', 6],
    ['"version":1790000000000000002', 7],
    ['"version":18446744073709551615', 8],
  ];
  for (const [version, offset] of steps) {
    const result = await bench.ask("publish", `{"channel":"news","data":1,${version}}`);
    assert.deepEqual(result, { offset, epoch }, version);
  }
  assert.deepEqual(await bench.ask("publish", { channel: "ops", data: 1, version: 1 }), { offset: 1, epoch });
});

withBench("publish compares versions in the order of the calls", async (bench) => {
  const versions = [3, 1, 4, 1, 5, 9, 2, 6];
  await Promise.all(
    versions.map((version) => bench.ask("publish", { channel: "news", data: version, version })),
  );
  assert.deepEqual(await bench.read(), ["json 3", "json 4", "json 5", "json 9"]);
});

withBench("publish takes a version for seen only once it is stored", async (bench) => {
  await bench.assertRefused(
    "publish",
    { channel: "news", data: "x".repeat(1_001), version: 5 },
    107,
    /1001 bytes/,
  );
  await bench.ask("publish", { channel: "news", data: "a", version: 5 });
  assert.deepEqual(await bench.read(), ["text a"]);
});

withBench("publish answers a retry of the last version by its key", async (bench) => {
  const request = { channel: "news", data: 1, version: 5, idempotency_key: "k" };
  const first = await bench.ask("publish", request);
  await bench.publish(createDraft("b"));
  assert.deepEqual(await bench.ask("publish", request), first);
  assert.deepEqual(await bench.ask("publish", { ...request, idempotency_key: "other" }), {
    epoch: bench.hub.top.epoch,
    offset: 2,
  });
});

withBench("publish does not turn versions back for a message that was there before", async (bench) => {
  const first = { channel: "news", data: "a", version: 1, version_epoch: "y", idempotency_key: "k" };
  await bench.ask("publish", first);
  await bench.ask("publish", { channel: "news", data: 1, version: 5, version_epoch: "x" });
  await bench.ask("publish", first);
  await bench.ask("publish", { channel: "news", data: 1, version: 5, version_epoch: "x" });
  assert.deepEqual(await bench.read(), ["text a", "json 1"]);
});

Deno.test("Versions forgets the channel that was published to longest ago", async () => {
  const bench = new Bench({ versions: new Versions(2) });
  for (const channel of ["a", "b", "a", "c", "a", "b"]) {
    await bench.ask("publish", { channel, data: 1, version: 1 });
  }
  const counts = await Promise.all(["a", "b", "c"].map(async (name) => (await bench.read(name)).length));
  assert.deepEqual(counts, [1, 2, 1]);
});

withBench("broadcast answers for each channel", async (bench) => {
  const { epoch } = bench.hub.top;
  await bench.publish(createDraft("first"));
  const { responses } = await bench.ask("broadcast", {
    channels: ["ops", "", "a b", "news", "cursors", "ops"],
    data: "x",
  }) as { responses: Answer[] };
  assert.deepEqual(responses.map(({ result }) => result), [
    { offset: 1, epoch },
    undefined,
    undefined,
    { offset: 2, epoch },
    {},
    { offset: 2, epoch },
  ]);
  assert.deepEqual(responses.map(({ error }) => error?.code), [
    undefined,
    107,
    107,
    undefined,
    undefined,
    undefined,
  ]);
  const large = await bench.ask("broadcast", { channels: ["ops"], data: "x".repeat(1_001) }) as {
    responses: Answer[];
  };
  assert.equal(large.responses[0]?.error?.code, 107);
});

withBench("broadcast takes the options of publish for each channel", async (bench) => {
  const request = { channels: ["a", "b"], data: 1, idempotency_key: "k", version: 3 };
  const first = await bench.ask("broadcast", request);
  assert.deepEqual(await bench.ask("broadcast", request), first);
  await bench.ask("broadcast", { channels: ["a", "b"], data: 2, version: 2 });
  await bench.ask("broadcast", { channels: ["a", "b"], b64data: "AA==", skip_history: true });
  assert.deepEqual([await bench.read("a"), await bench.read("b")], [["json 1"], ["json 1"]]);
});

/* What is done to clients */

/** Two connections of one user, one of another, one of nobody. */
function connectPeople(bench: Bench): void {
  bench.connect({ id: "u1", user: "u" });
  bench.connect({ id: "u2", user: "u" });
  bench.connect({ id: "v1", user: "v" });
  bench.connect({ id: "n1" });
}

const CHOICES: readonly [choice: object, ids: readonly string[]][] = [
  [{ user: "u" }, ["u1", "u2"]],
  [{ user: "" }, ["n1"]],
  [{ user: "nobody" }, []],
  [{ user: "u", client: "u2" }, ["u2"]],
  [{ user: "u", client: "v1" }, []],
  [{ user: "", client: "v1" }, []],
  [{ client: "v1" }, ["v1"]],
  [{ user: "u", client: "", session: "", all_users: false, label_filter: {} }, ["u1", "u2"]],
];

for (const [choice, ids] of CHOICES) {
  withBench(`clients are chosen by ${JSON.stringify(choice)}`, async (bench) => {
    connectPeople(bench);
    for (const method of ["subscribe", "unsubscribe", "refresh", "disconnect"]) {
      assert.deepEqual(await bench.ask(method, { channel: "news", ...choice }), {});
      assert.deepEqual(bench.asked.splice(0).map((asked) => (asked as unknown[]).slice(0, 2)), [
        ...ids.map((id) => [id, method]),
      ]);
      assert.equal(bench.logger.find("api call").at(-1)?.clients, ids.length);
    }
  });
}

const SUBSCRIBED: readonly [request: object | string, options: ServerSubscribeOptions][] = [
  [{}, { info: undefined, data: undefined, expires: 0 }],
  [
    '"info":{"id":9007199254740993},"data":"hi","expire_at":1790000000',
    { info: '{"id":9007199254740993}', data: { kind: "text", text: "hi" }, expires: 1_790_000_000 },
  ],
  [
    '"b64info":"eyJhIjogMX0=","b64data":"AA==","info":null,"override":null,"recover_since":{}',
    { info: '{"a": 1}', data: { kind: "bytes", bytes: new Uint8Array(1) }, expires: 0 },
  ],
];

for (const [request, options] of SUBSCRIBED) {
  const rest = typeof request === "string" ? request : '"x":1';
  withBench(`subscribe hands on ${rest}`, async (bench) => {
    connectPeople(bench);
    assert.deepEqual(await bench.ask("subscribe", `{"channel":"news","client":"v1",${rest}}`), {});
    assert.deepEqual(bench.asked, [["v1", "subscribe", "news", options]]);
  });
}

withBench("subscribe goes on after a client that fails, and says how many did", async (bench) => {
  const error = new TypeError("no room");
  bench.connect({ id: "a", user: "u", failure: { error, leaves: false } });
  bench.connect({ id: "b", user: "u" });
  await bench.assertRefused("subscribe", { channel: "news", user: "u" }, 100, /failed for 1 of 2 clients/);
  assert.deepEqual(bench.asked.length, 1);
  assert.match(String(bench.logger.find("api call failed for a client")[0]?.reason), /no room/);
});

withBench("subscribe does not mind a client that left meanwhile", async (bench) => {
  bench.connect({ id: "a", user: "u", failure: { error: new TypeError("gone"), leaves: true } });
  assert.deepEqual(await bench.ask("subscribe", { channel: "news", user: "u" }), {});
});

withBench("unsubscribe ends a subscription with 2000", async (bench) => {
  connectPeople(bench);
  await bench.ask("unsubscribe", { channel: "news", user: "v" });
  assert.deepEqual(bench.asked, [["v1", "unsubscribe", "news", 2000, "server unsubscribe"]]);
});

const ENDS: readonly [request: object, code: number, reason: string][] = [
  [{}, 3503, "force disconnect"],
  [{ disconnect: {} }, 3503, "force disconnect"],
  [{ disconnect: { code: 4999 } }, 4999, "force disconnect"],
  [{ disconnect: { code: 3000, reason: "" } }, 3000, ""],
  [{ disconnect: { code: 4001, reason: "é".repeat(61) } }, 4001, "é".repeat(61)],
  [{ disconnect: { reason: "banned" } }, 3503, "banned"],
];

for (const [request, code, reason] of ENDS) {
  withBench(`disconnect ends with what ${JSON.stringify(request)} says`, async (bench) => {
    connectPeople(bench);
    await bench.ask("disconnect", { user: "v", ...request });
    assert.deepEqual(bench.asked, [["v1", "disconnect", code, reason]]);
    assert.equal(bench.hub.clientCount, 3);
  });
}

withBench("disconnect spares the clients of its whitelist", async (bench) => {
  connectPeople(bench);
  await bench.ask("disconnect", { user: "u", whitelist: ["u1", "other"] });
  assert.deepEqual(bench.asked, [["u2", "disconnect", 3503, "force disconnect"]]);
});

withBench("clients without control are ended where connections end, and else left alone", async (bench) => {
  const methods: readonly [method: string, request: object, retry: boolean | undefined][] = [
    ["subscribe", { channel: "news" }, undefined],
    ["unsubscribe", { channel: "news" }, undefined],
    ["refresh", { expire_at: 4_000_000_000 }, undefined],
    ["refresh", {}, undefined],
    ["refresh", { expired: true }, true],
    ["disconnect", {}, false],
    ["disconnect", { disconnect: { code: 3499 } }, true],
    ["disconnect", { disconnect: { code: 3500 } }, false],
    ["disconnect", { disconnect: { code: 4000 } }, true],
    ["disconnect", { disconnect: { code: 4500, reason: "banned" } }, false],
  ];
  for (const [method, request, retry] of methods) {
    const client = bench.connect({ plain: true, channels: ["news"] });
    await bench.ask(method, { user: "", ...request });
    assert.equal(client.ended[0]?.retry, retry, `${method} ${JSON.stringify(request)}`);
    assert.equal(bench.hub.clientCount, retry === undefined ? 1 : 0);
    bench.hub.disconnect(client);
  }
});

const REFRESHED: readonly [request: object, asked: readonly unknown[]][] = [
  [{}, ["refresh", 0]],
  [{ expire_at: 4_000_000_000 }, ["refresh", 4_000_000_000]],
  [{ expire_at: 1 }, ["disconnect", 3005, "connection expired"]],
  [{ expired: true }, ["disconnect", 3005, "connection expired"]],
  [{ expired: true, expire_at: 4_000_000_000 }, ["disconnect", 3005, "connection expired"]],
];

for (const [request, asked] of REFRESHED) {
  withBench(`refresh does what ${JSON.stringify(request)} says`, async (bench) => {
    connectPeople(bench);
    await bench.ask("refresh", { user: "v", ...request });
    assert.deepEqual(bench.asked, [["v1", ...asked]]);
  });
}

/* presence, history, info */

withBench("presence lists who is on a channel, and presence_stats counts them", async (bench) => {
  bench.connect({ id: "a", user: "u", info: '{"big":9007199254740993}', channels: ["news"] });
  bench.connect({ id: "b", user: "u", name: "Bea", channels: ["news", "secret"] });
  bench.connect({ id: "c", channels: ["news"] });
  bench.connect({ id: "c", channels: ["news"] });
  bench.connect({ id: "c", channels: ["news"] });
  bench.connect({ id: "d", channels: ["ops"] });
  const e = bench.connect({ id: "e", user: "v" });
  bench.hub.subscribe(e, selectChannel("news"), { member: { ...e, channelInfo: "[1]" } });
  const text = await (await bench.post("presence", '{"channel":"news"}')).text();
  assert.match(text, /"conn_info":\{"big":9007199254740993\}/);
  assert.deepEqual(JSON.parse(text).result, {
    presence: {
      "a": { user: "u", client: "a", conn_info: JSON.parse('{"big":9007199254740993}') },
      "b": { user: "u", client: "b", conn_info: { name: "Bea" } },
      "c": { user: "", client: "c" },
      "c#2": { user: "", client: "c" },
      "c#3": { user: "", client: "c" },
      "e": { user: "v", client: "e", chan_info: [1] },
    },
  });
  assert.deepEqual(await bench.ask("presence_stats", { channel: "news" }), { num_clients: 6, num_users: 3 });
  assert.deepEqual(await bench.ask("presence", { channel: "empty" }), { presence: {} });
  assert.deepEqual(await bench.ask("presence_stats", { channel: "empty" }), { num_clients: 0, num_users: 0 });
});

withBench("history tells data and senders as they were", async (bench) => {
  const bytes = new Uint8Array([0, 255]);
  await bench.publish(
    createDraft("a", { from: { id: "i", name: "Ida" } }),
    createDraft("", {
      payload: { kind: "json", text: '{"n":9007199254740993}' },
      from: { id: "i", user: "u" },
    }),
    createDraft("", { payload: { kind: "bytes", bytes }, from: { id: "i", user: "u", info: "[2]" } }),
  );
  const text = await (await bench.post("history", '{"channel":"news","limit":9}')).text();
  const { epoch } = bench.hub.top;
  assert.equal(
    text,
    '{"result":{"publications":[' +
      '{"data":"a","info":{"user":"","client":"i","conn_info":{"name":"Ida"}},"offset":1},' +
      '{"data":{"n":9007199254740993},"info":{"user":"u","client":"i"},"offset":2},' +
      '{"data":{"base64":"AP8="},"info":{"user":"u","client":"i","conn_info":[2]},"offset":3}' +
      `],"epoch":"${epoch}","offset":3}}`,
  );
});

const PAGES: readonly [request: object, offsets: readonly number[]][] = [
  [{}, []],
  [{ limit: 0 }, []],
  [{ limit: 0, reverse: true }, []],
  [{ limit: 2 }, [1, 2]],
  [{ limit: 9 }, [1, 2, 3, 4, 5]],
  [{ limit: -1 }, [1, 2, 3, 4, 5]],
  [{ limit: 2, reverse: true }, [5, 4]],
  [{ limit: -1, reverse: true }, [5, 4, 3, 2, 1]],
  [{ limit: 2, since: { offset: 0 } }, [1, 2]],
  [{ limit: 2, since: { offset: 2 } }, [3, 4]],
  [{ limit: 0, since: { offset: 2 } }, []],
  [{ limit: -1, since: { offset: 5 } }, []],
  [{ limit: -1, since: { offset: 99 } }, []],
  [{ limit: 2, since: { offset: 4 }, reverse: true }, [3, 2]],
  [{ limit: -1, since: { offset: 4 }, reverse: true }, [3, 2, 1]],
  [{ limit: 2, since: { offset: 1 }, reverse: true }, []],
];

for (const [request, offsets] of PAGES) {
  withBench(`history reads ${JSON.stringify(request)}`, async (bench) => {
    for (let i = 1; i <= 5; i++) await bench.publish(createDraft(`${i}`));
    const { epoch } = bench.hub.top;
    const since = "since" in request ? { since: { epoch, ...(request.since as object) } } : {};
    for (const asked of [request, { ...request, ...since }]) {
      const result = await bench.ask("history", { channel: "news", ...asked }) as {
        publications: { offset: number }[];
      };
      assert.deepEqual(result.publications.map(({ offset }) => offset), offsets);
      assert.deepEqual({ ...result, publications: [] }, { publications: [], epoch, offset: 5 });
    }
  });
}

withBench("history of a channel without messages is its position", async (bench) => {
  assert.deepEqual(await bench.ask("history", { channel: "empty", limit: 5 }), {
    publications: [],
    epoch: bench.hub.top.epoch,
    offset: 0,
  });
});

withBench("history holds so many publications at most", async (bench) => {
  const drafts = Array.from({ length: MAX_HISTORY_MESSAGES + 5 }, () => createDraft("x"));
  await Promise.all(drafts.map((draft) => bench.hub.publish(draft)));
  for (const limit of [-1, 1_000]) {
    const result = await bench.ask("history", { channel: "news", limit }) as { publications: unknown[] };
    assert.equal(result.publications.length, MAX_HISTORY_MESSAGES);
  }
});

withBench("history_remove clears a channel, whose offsets go on", async (bench) => {
  await bench.publish(createDraft("a"), createDraft("b", { channel: "ops" }));
  assert.deepEqual(await bench.ask("history_remove", { channel: "news" }), {});
  assert.deepEqual([await bench.read("news"), await bench.read("ops")], [[], ["text b"]]);
  assert.deepEqual(await bench.ask("publish", { channel: "news", data: 1 }), {
    epoch: bench.hub.top.epoch,
    offset: 2,
  });
  assert.deepEqual(await bench.ask("history_remove", { channel: "never" }), {});
});

withBench("info describes the node", async (bench) => {
  bench.connect({ user: "u", channels: ["a", "b"] });
  bench.connect({ user: "u", channels: ["b"] });
  bench.connect({});
  bench.hub.subscribe(bench.connect({}), selectPatterns(["*"]));
  const { nodes } = await bench.ask("info") as { nodes: Record<string, unknown>[] };
  const [{ uptime, ...node } = { uptime: -1 }] = nodes;
  assert.deepEqual(node, {
    uid: "node-1",
    name: "raindrops",
    version: "1.2.3",
    num_clients: 4,
    num_users: 2,
    num_subs: 4,
    num_channels: 2,
  });
  assert.ok(Number(uptime) >= 5 && Number(uptime) < 60 && Number.isInteger(uptime));
});

/* channels */

interface ChannelPage {
  readonly channels: Record<string, { num_clients: number }>;
  readonly next?: string;
}

withBench("channels lists what is read by name, with readers, in order", async (bench) => {
  bench.connect({ channels: ["b", "a/x"] });
  bench.connect({ channels: ["b", "10", "9"] });
  bench.hub.subscribe(bench.connect({}), selectPatterns(["a/*"]));
  const text = await (await bench.post("channels", "{}")).text();
  assert.equal(
    text,
    '{"result":{"channels":{"10":{"num_clients":1},"9":{"num_clients":1},"a/x":{"num_clients":1},"b":{"num_clients":2}}}}',
  );
  assert.deepEqual(await bench.ask("channels", { pattern: "a*" }), {
    channels: { "a/x": { num_clients: 1 } },
  });
  assert.deepEqual(await bench.ask("channels", { pattern: "nothing" }), { channels: {} });
  assert.deepEqual(await bench.ask("channels", { cursor: "a" }), {
    channels: { "a/x": { num_clients: 1 }, "b": { num_clients: 2 } },
  });
});

Deno.test("channels pages through all there are, each once and in order, in any order of arrival", async () => {
  const names = fc.uniqueArray(fc.stringMatching(/^[a-c0-9]{1,4}$/), { maxLength: 40 });
  await fc.assert(fc.asyncProperty(names, fc.integer({ min: 1, max: 12 }), async (channels, limit) => {
    const bench = new Bench();
    bench.connect({ channels });
    const found: string[] = [];
    let cursor: string | undefined = "";
    while (cursor !== undefined) {
      const page = await bench.ask("channels", { limit, cursor }) as ChannelPage;
      const listed = Object.keys(page.channels).sort();
      assert.ok(listed.length <= limit);
      if (page.next !== undefined) assert.deepEqual([listed.length, listed.at(-1)], [limit, page.next]);
      found.push(...listed);
      cursor = page.next;
    }
    assert.deepEqual(found, [...channels].sort());
  }));
});

Deno.test("channels looks at each of 100,000 once a page, and sorts little more than the page", async () => {
  const names = Array.from({ length: 100_000 }, (_, i) => `room/${String(i).padStart(6, "0")}`);
  // Backwards each name belongs before all that were found so far, forwards none does.
  for (const [list, looksEach] of [[names, 2.5], [names.toReversed(), 40]] as const) {
    let looks = 0;
    const channels = list.map((name) => ({
      get channel() {
        looks++;
        return name;
      },
      subscribers: 1,
    }));
    const bench = new Bench();
    const hub = Object.create(bench.hub, { listChannels: { value: () => channels } });
    const page = await new Bench({ hub }).ask("channels", {
      limit: 100,
      cursor: "room/000099",
    }) as ChannelPage;
    assert.equal(Object.keys(page.channels).length, 100);
    assert.equal(page.next, "room/000199");
    assert.ok(looks < list.length * looksEach, `${looks} looks at names`);
  }
});

const GLOBS: readonly [pattern: string, matching: readonly string[], others: readonly string[]][] = [
  ["*", ["", "a", "a/b"], []],
  ["**", ["", "a/b"], []],
  ["chat/*", ["chat/", "chat/a", "chat/a/b"], ["chat", "xchat/a"]],
  ["*/b", ["a/b", "/b", "a/b/b"], ["a/bc", "b"]],
  ["a*b*c", ["abc", "aXbXc", "abbcc"], ["ab", "acb"]],
  ["?", ["a", "/"], ["", "ab"]],
  ["[abc]", ["a", "c"], ["d", ""]],
  ["[!abc]", ["d", "!"], ["a"]],
  ["[a-c]x", ["ax", "cx"], ["dx", "-x"]],
  ["[a-cx-z]", ["b", "y"], ["d", "-"]],
  ["[a-]", ["a", "-"], ["b"]],
  ["{a,b/*}", ["a", "b/x"], ["b", "a/x"]],
  ["x{,y}z", ["xz", "xyz"], ["xyyz"]],
  ["{a,{b,c}d}", ["a", "bd", "cd"], ["b", "d"]],
  ["a,b", ["a,b"], ["a"]],
  ["\\*", ["*"], ["a"]],
  ["\\{a\\}", ["{a}"], ["a"]],
  ["a.b(c)+$", ["a.b(c)+$"], ["aXb(c)+$"]],
];

for (const [pattern, matching, others] of GLOBS) {
  Deno.test(`compileGlob() reads ${pattern}`, () => {
    const matches = compileGlob(pattern);
    assert.deepEqual(matching.filter((text) => !matches(text)), []);
    assert.deepEqual(others.filter(matches), []);
  });
}

Deno.test("compileGlob() says what is wrong with a pattern", () => {
  const bad: readonly [pattern: string, message: RegExp][] = [
    ["{a", /\{ without/],
    ["a}", /\} that closes nothing/],
    ["[a", /\[ without/],
    ["[]", /\[ without/],
    ["[!]", /empty \[\]/],
    ["[z-a]", /range z-a/],
    ["a\\", /ends with a backslash/],
    ["x".repeat(256), /at most 255/],
    ["{a,b}".repeat(7), /more than 64 alternatives/],
    [`{${Array(65).fill("a")}}`, /more than 64 alternatives/],
  ];
  for (const [pattern, message] of bad) {
    assert.throws(() => compileGlob(pattern), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, message);
      return true;
    });
  }
});

Deno.test("compileGlob() agrees with a regular expression, and never hangs", () => {
  const pattern = fc.array(fc.constantFrom("a", "b", "*", "?", "[ab]", "[!a]"), { maxLength: 8 });
  fc.assert(fc.property(pattern, fc.stringMatching(/^[abc]{0,10}$/), (parts, text) => {
    const source = parts.join("").replaceAll("*", ".*").replaceAll("?", ".").replaceAll("[!", "[^");
    assert.equal(compileGlob(parts.join(""))(text), new RegExp(`^${source}$`).test(text));
  }));
  assert.equal(compileGlob("a*".repeat(120))("a".repeat(100) + "b"), false);
});

/* batch */

withBench("batch runs commands in order and answers each", async (bench) => {
  const { epoch } = bench.hub.top;
  bench.connect({ id: "a", user: "u" });
  const response = await bench.post(
    "batch",
    JSON.stringify({
      commands: [
        { publish: { channel: "news", data: 1 } },
        { broadcast: { channels: ["news"], data: 2 } },
        { history: { channel: "news", limit: 2 }, id: 7, presence: null },
        { history_remove: { channel: "news" } },
        { subscribe: { channel: "news", user: "u" } },
        { unsubscribe: { channel: "news", user: "u" } },
        { refresh: { user: "u" } },
        { presence_stats: { channel: "news" } },
        { presence: { channel: "news" } },
        { channels: {} },
        { disconnect: { user: "u" } },
        { publish: {} },
        { rpc: {} },
        { batch: { commands: [] } },
        {},
        null,
        [],
        "info",
        { publish: 5 },
        { info: {}, channels: {} },
      ],
    }),
    { "x-centrifugo-error-mode": "transport" },
  );
  assert.equal(response.status, 200);
  const { replies } = await response.json();
  assert.deepEqual(replies.slice(0, 11), [
    { publish: { offset: 1, epoch } },
    { broadcast: { responses: [{ result: { offset: 2, epoch } }] } },
    { history: { publications: [{ data: 1, offset: 1 }, { data: 2, offset: 2 }], epoch, offset: 2 } },
    { history_remove: {} },
    { subscribe: {} },
    { unsubscribe: {} },
    { refresh: {} },
    { presence_stats: { num_clients: 0, num_users: 0 } },
    { presence: { presence: {} } },
    { channels: { channels: {} } },
    { disconnect: {} },
  ]);
  const errors = replies.slice(11).map((reply: Answer) => [reply.error?.code, reply.error?.message]);
  const expected: readonly [number, RegExp][] = [
    [107, /^channel is required/],
    [104, /no method "rpc"/],
    [104, /no method "batch"/],
    [104, /no method ""/],
    [107, /^commands\[15\] must be an object/],
    [107, /^commands\[16\] must be an object/],
    [107, /^commands\[17\] must be an object/],
    [107, /^commands\[18\]\.publish must be an object/],
    [107, /^commands\[19\] must name one method/],
  ];
  assert.equal(errors.length, expected.length);
  expected.forEach(([code, message], i) => {
    assert.equal(errors[i][0], code);
    assert.match(errors[i][1], message);
  });
  assert.deepEqual(bench.asked.map((asked) => (asked as unknown[])[1]), [
    "subscribe",
    "unsubscribe",
    "refresh",
    "disconnect",
  ]);
});

withBench("batch runs commands together with parallel, and answers in their order", async (bench) => {
  const commands = Array.from({ length: 20 }, (_, i) => ({ publish: { channel: `c${i}`, data: i } }));
  const { replies } = await bench.call("batch", {
    commands: [{ history: {} }, ...commands],
    parallel: true,
  }) as {
    replies?: { publish?: { offset: number }; error?: { code: number } }[];
  };
  assert.equal(replies?.[0]?.error?.code, 107);
  assert.deepEqual(replies?.slice(1).map(({ publish }) => publish?.offset), Array(20).fill(1));
});

withBench("batch without commands has no replies", async (bench) => {
  for (const request of [{}, { commands: [] }, { commands: null }]) {
    assert.deepEqual(await bench.call("batch", request), { replies: [] });
  }
});

/* Anything at all */

const METHOD_NAMES = [
  "publish",
  "broadcast",
  "subscribe",
  "unsubscribe",
  "disconnect",
  "refresh",
  "presence",
  "presence_stats",
  "history",
  "history_remove",
  "channels",
  "info",
];

const FIELD_NAMES = [
  "channel channels data b64data skip_history tags idempotency_key delta version version_epoch user client info",
  "b64info expire_at recover_since override session whitelist disconnect expired since limit reverse pattern cursor",
].join(" ").split(" ");

const anyValue = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom<unknown>(
    "news",
    "cursors",
    "secret",
    "u",
    "",
    "AA==",
    "{",
    "[a",
    "*",
    null,
    -1,
    0,
    1,
    2 ** 53,
  ),
  fc.record({ offset: fc.jsonValue(), epoch: fc.jsonValue(), code: fc.jsonValue(), reason: fc.string() }),
  fc.array(fc.constantFrom("news", "a b", "u1")),
);
const anyRequest = fc.dictionary(fc.constantFrom(...FIELD_NAMES), anyValue);
const anyCommand = fc.dictionary(fc.constantFrom(...METHOD_NAMES, "batch", "__proto__"), anyRequest, {
  maxKeys: 2,
});

/** An answer of the API, never an internal error. */
async function assertSane(response: Response): Promise<void> {
  const { status } = response;
  const text = await response.text();
  assert.ok([200, 400, 404, 413, 416].includes(status), `${status} ${text}`);
  const answer = JSON.parse(text);
  if (response.headers.get("content-type") === "application/json") {
    assert.doesNotMatch(text, /"code":100\b/);
    assert.ok("result" in answer || "error" in answer || "replies" in answer || "code" in answer, text);
  } else assert.equal(response.headers.get("content-type"), "application/problem+json");
}

Deno.test("handleApi() survives any request", async () => {
  const bench = new Bench({ maxBodyBytes: 5_000 });
  const method = fc.constantFrom(...METHOD_NAMES);
  await fc.assert(
    fc.asyncProperty(method, anyRequest, fc.constantFrom("transport", ""), async (name, request, mode) => {
      if (bench.hub.clientCount === 0) connectPeople(bench);
      const headers = { "x-centrifugo-error-mode": mode };
      await assertSane(await bench.post(name, JSON.stringify(request), headers));
    }),
    { numRuns: 1_000 },
  );
  assert.deepEqual(bench.logger.find("api call failed"), []);
});

Deno.test("handleApi() survives any batch", async () => {
  const bench = new Bench();
  const commands = fc.array(fc.oneof(anyCommand, fc.jsonValue()), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(commands, fc.boolean(), async (list, parallel) => {
      const response = await bench.post("batch", JSON.stringify({ commands: list, parallel }));
      const { replies } = await response.clone().json();
      assert.equal(replies.length, list.length);
      await assertSane(response);
    }),
    { numRuns: 300 },
  );
});

Deno.test("handleApi() survives any bytes and any path", async () => {
  const bench = new Bench();
  const bytes = fc.oneof(
    fc.uint8Array().map((array) => new Uint8Array(array)),
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.constantFrom(
      '{"channel":"news","data":',
      '{"__proto__":{"channel":"x"}}',
      '{"channel":"a","channel":2}',
    ),
  );
  await fc.assert(
    fc.asyncProperty(fc.webPath(), bytes, fc.constantFrom(...METHOD_NAMES, "batch"), async (...all) => {
      const [path, body, method] = all;
      await assertSane(await bench.post(method, body));
      await assertSane(await bench.post(path, body));
    }),
  );
});

withBench("handleApi() refuses what is nested more deeply than the stack", async (bench) => {
  for (const number of ["1", "1.0"]) {
    const deep = "[".repeat(40_000) + number + "]".repeat(40_000);
    for (
      const body of [
        `{"channel":"news","data":${deep}}`,
        `{"channel":"news","user":"u","info":${deep}}`,
        deep,
      ]
    ) {
      for (const method of ["publish", "subscribe", "batch"]) {
        await assertSane(await bench.post(method, body));
      }
    }
  }
  assert.equal((await bench.read()).length, 0);
});
