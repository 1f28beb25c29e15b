import assert from "node:assert/strict";
import { Rules } from "../../lib/core/rules.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { openEngine, parseEngineUrl } from "../../lib/engines/mod.ts";
import { SqliteEngine } from "../../lib/engines/sqlite/engine.ts";
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
  Deno.test(`parseEngineUrl() reads ${url}`, () => assert.deepEqual(parseEngineUrl(url), parsed));
}

for (
  const [url, pattern] of [
    ["", /has an unknown scheme: use "memory:", "sqlite:PATH", "sqlite:PATH\?synchronous=full" or "nats:/],
    ["memory", /has an unknown scheme/],
    ["data/raindrops.db", /has an unknown scheme/],
    ["redis://localhost", /has an unknown scheme/],
    ["memory:x", /nothing may follow "memory:"/],
    ["memory:?synchronous=full", /nothing may follow "memory:"/],
    ["sqlite:", /does not name a file/],
    ["sqlite:?synchronous=full", /does not name a file/],
    ["sqlite:data/", /does not name a file/],
    ["sqlite://data/x.db", /the path must follow the colon/],
    ["sqlite::memory:", /is not a path/],
    ["sqlite:file:x.db?mode=ro", /is not a path/],
    ["sqlite:%00", /is not a path/],
    ["sqlite:100%.db", /write % as %25/],
    ["sqlite:x.db?sync=full", /unknown parameter "sync": the only one is synchronous/],
    ["sqlite:x.db?synchronous=off", /synchronous must be "normal" or "full", not "off"/],
    ["sqlite:x.db?synchronous", /not ""/],
  ] as const
) {
  Deno.test(`parseEngineUrl() refuses ${JSON.stringify(url)}, naming what is known`, () => {
    assert.throws(() => parseEngineUrl(url), (error) => {
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
    ["nats://us:pw@one", /must not contain credentials.*RAINDROPS_NATS_USER/],
  ] as const
) {
  Deno.test(`parseEngineUrl() refuses ${JSON.stringify(url)}, and repeats no password`, () => {
    assert.throws(() => parseEngineUrl(url), (error) => {
      assert.ok(error instanceof SyntaxError);
      assert.match(error.message, pattern);
      return !error.message.includes("pw");
    });
  });
}

Deno.test("openEngine() opens the engine that the URL names", async () => {
  await using directory = new TemporaryDirectory();
  const options = { rules: new Rules(), logger: directory.logger, now: () => 42 };
  for (
    const [url, engine] of [["memory:", MemoryEngine], [`sqlite:${directory.file()}`, SqliteEngine]] as const
  ) {
    await using log = await openEngine(url, options);
    assert.ok(log instanceof engine);
    const receipt = await log.append({ channel: "news", payload: { kind: "text", text: "a" } });
    assert.equal(receipt.time, 42);
  }
  await assert.rejects(openEngine("redis:", options), SyntaxError);
});
