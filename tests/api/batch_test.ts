/** The HTTP API: several commands in one request. */
import assert from "node:assert/strict";
import { type Answer, withBench } from "./bench.ts";

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

for (const parallel of [false, true]) {
  withBench(
    `batch answers in whole what is more than one piece of text, parallel ${parallel}`,
    async (bench) => {
      const data = "é".repeat(400);
      for (let i = 0; i < 100; i++) await bench.call("publish", { channel: "news", data });
      const commands = Array.from({ length: 50 }, (_, i) => ({ history: { channel: "news", limit: i + 1 } }));
      const answer = await bench.post("batch", JSON.stringify({ commands, parallel }));
      const { replies } = await answer.json();
      assert.deepEqual(
        replies.map((reply: { history: { publications: { data: string }[] } }) =>
          reply.history.publications.length
        ),
        commands.map((_, i) => i + 1),
      );
      assert.equal(replies[49].history.publications[49].data, data);
    },
  );
}

for (const parallel of [false, true]) {
  withBench(`batch reads so much and no more, and does the rest, parallel ${parallel}`, async (bench) => {
    const data = "x".repeat(900);
    for (let i = 0; i < 100; i++) await bench.call("publish", { channel: "news", data });
    const history = { history: { channel: "news", limit: -1 } };
    const commands = [...Array(300).fill(history), { publish: { channel: "other", data: 1 } }];
    const answer = await bench.post("batch", JSON.stringify({ commands, parallel }));
    const text = await answer.text();
    assert.ok(text.length > 16_000_000 && text.length < 18_000_000, `${text.length} characters`);
    const replies: Answer[] = JSON.parse(text).replies;
    const refused = replies.filter(({ error }) => error !== undefined);
    assert.ok(refused.length > 50 && refused.length < 150, `${refused.length} refused`);
    for (const { error } of refused) {
      assert.equal(error?.code, 106);
      assert.match(error?.message ?? "", /has read 16777216 characters and more: read the rest with another/);
    }
    assert.ok(!("error" in replies.at(-1)!));
  });
}

withBench("batch lets others go between commands that take no turn by themselves", async (bench) => {
  for (let i = 0; i < 300; i++) bench.connect({ id: `c${i}`, user: "u", channels: ["news"] });
  const commands = Array.from({ length: 2_000 }, () => ({ presence: { channel: "news" } }));
  let turns = 0;
  let isDone = false;
  const answering = bench.post("batch", JSON.stringify({ commands })).finally(() => isDone = true);
  while (!isDone) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    turns++;
  }
  const { replies } = await (await answering).json();
  assert.equal(replies.length, 2_000);
  assert.ok(turns >= 20, `${turns} turns`);
});
