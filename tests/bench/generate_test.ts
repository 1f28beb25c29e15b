import assert from "node:assert/strict";
import { DENO_LISTENER } from "./contenders.ts";
import { generate } from "./generate.ts";

// The generator fails when a message is missing, comes twice or out of order: that it ends well is the proof.
Deno.test({
  name:
    "the load generator gets every message of a real server, in every protocol, published by socket and by POST",
  ignore: Deno.build.os !== "linux", // It is made of Linux's system calls.
  async fn() {
    await using server = await DENO_LISTENER.plain.start();
    const times = { warmUpMilliseconds: 20, milliseconds: 40 };
    const loads = [{ inFlight: 1, size: 64 }, { inFlight: 16, size: 1_024 }];
    for (const { name, reader, publisher } of Object.values(DENO_LISTENER)) {
      const job = { kind: "fan-out", reader, publisher, readers: 5, loads, ...times } as const;
      const results = await generate(server, job);
      assert.ok(results.every(({ rate }) => rate > 0), name);
    }
    const { reader, poster } = DENO_LISTENER.plain;
    assert.ok(poster);
    const [posts] = await generate(server, {
      kind: "post",
      reader,
      publisher: poster,
      loads: [loads[0]!],
      ...times,
    });
    assert.ok(posts && posts.rate > 0);
  },
});
