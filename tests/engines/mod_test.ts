import assert from "node:assert/strict";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryLog } from "../../lib/engines/memory.ts";
import { openLog, parseLogUrl } from "../../lib/engines/mod.ts";
import { SqliteLog } from "../../lib/engines/sqlite/log.ts";
import { TemporaryDirectory } from "./sqlite/fixture.ts";

function jetStream(servers: readonly string[], stream = "raindrops", replicas: 1 | 3 = 1) {
  return { kind: "jetstream", servers, tls: false, stream, replicas } as const;
}

for (
  const [url, parsed] of [
    ["memory:", { kind: "memory" }],
    ["sqlite:./data/raindrops.db", { kind: "sqlite", path: "./data/raindrops.db", synchronous: "normal" }],
    ["sqlite:x.db", { kind: "sqlite", path: "x.db", synchronous: "normal" }],
    ["sqlite:x.db?", { kind: "sqlite", path: "x.db", synchronous: "normal" }],
    ["sqlite:x.db?synchronous=normal", { kind: "sqlite", path: "x.db", synchronous: "normal" }],
    ["sqlite:/var/x.db?synchronous=full", { kind: "sqlite", path: "/var/x.db", synchronous: "full" }],
    ["nats://one", jetStream(["one:4222"])],
    ["nats://127.0.0.1:4223/?stream=rain-2&replicas=3", jetStream(["127.0.0.1:4223"], "rain-2", 3)],
    ["nats://one:1,[::1]:2,three", jetStream(["one:1", "[::1]:2", "three:4222"])],
    ["tls://one", { ...jetStream(["one:4222"]), tls: true }],
    ["nats+tls://one", { ...jetStream(["one:4222"]), tls: true }],
    ["sqlite:a%20b%3F.db", { kind: "sqlite", path: "a b?.db", synchronous: "normal" }],
  ] as const
) {
  Deno.test(`parseLogUrl() reads ${url}`, () => assert.deepEqual(parseLogUrl(url), parsed));
}

for (
  const [url, pattern] of [
    ["", /of no known kind: use "memory:", "sqlite:PATH", "sqlite:PATH\?synchronous=full" or "nats:/],
    ["memory", /of no known kind/],
    ["data/raindrops.db", /of no known kind/],
    ["redis://localhost", /of no known kind/],
    ["memory:x", /takes nothing after the colon/],
    ["memory:?synchronous=full", /takes nothing after the colon/],
    ["sqlite:", /names no file/],
    ["sqlite:?synchronous=full", /names no file/],
    ["sqlite:data/", /names no file/],
    ["sqlite://data/x.db", /a path follows the colon at once/],
    ["sqlite::memory:", /is no path/],
    ["sqlite:file:x.db?mode=ro", /is no path/],
    ["sqlite:%00", /is no path/],
    ["sqlite:100%.db", /write % as %25/],
    ["sqlite:x.db?sync=full", /unknown parameter "sync": there is only synchronous/],
    ["sqlite:x.db?synchronous=off", /synchronous is "normal" or "full", not "off"/],
    ["sqlite:x.db?synchronous", /not ""/],
  ] as const
) {
  Deno.test(`parseLogUrl() refuses ${JSON.stringify(url)}, naming what is known`, () => {
    assert.throws(() => parseLogUrl(url), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, pattern);
      assert.ok(error.message.startsWith(`Engine "${url}"`));
      return true;
    });
  });
}

for (
  const [url, pattern] of [
    ["nats:", /names its servers, as in "nats:\/\/127.0.0.1:4222/],
    ["nats:one:4222", /names its servers/],
    ["nats://one:0", /A NATS server is "host:port"/],
    ["nats://one,,two", /A NATS server is "host:port"/],
    ["nats://one two", /A NATS server is "host:port"/],
    ["nats://one?stream=a.b", /letters, digits, "_" and "-", unlike "a.b"/],
    ["nats://one?stream=", /unlike ""/],
    ["nats://one?replicas=2", /replicas is 1 or 3, not "2"/],
    ["nats://one?user=x", /no parameter "user"/],
    ["nats://us:pw@one", /no credentials in its URL.*RAINDROPS_NATS_USER/],
  ] as const
) {
  Deno.test(`parseLogUrl() refuses ${JSON.stringify(url)}, and repeats no password`, () => {
    assert.throws(() => parseLogUrl(url), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, pattern);
      return !error.message.includes("pw");
    });
  });
}

Deno.test("openLog() opens the engine that the URL names", async () => {
  await using directory = new TemporaryDirectory();
  const options = { rules: new Rules(), logger: directory.logger, now: () => 42 };
  for (const [url, engine] of [["memory:", MemoryLog], [`sqlite:${directory.file()}`, SqliteLog]] as const) {
    await using log = await openLog(url, options);
    assert.ok(log instanceof engine);
    const receipt = await log.append({ channel: "news", payload: { kind: "text", text: "a" } });
    assert.equal(receipt.time, 42);
  }
  await assert.rejects(openLog("redis:", options), SyntaxError);
});
