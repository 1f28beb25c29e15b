/** The HTTP API: publish and broadcast, what they store, suppress and answer. */
import assert from "node:assert/strict";
import { Versions } from "../../lib/api/api.ts";
import { createDraft } from "../fakes/message.ts";
import { type Answer, Bench, withBench } from "./bench.ts";

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
    channels: ["ops", "", "a?b", "news", "cursors", "ops"],
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
