/** The HTTP API: presence, history and info. */
import assert from "node:assert/strict";
import { selectChannel, selectPatterns } from "../../lib/core/channel.ts";
import { MAX_HISTORY_MESSAGES } from "../../lib/core/history.ts";
import { createDraft } from "../fakes/message.ts";
import { withBench } from "./bench.ts";

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
      `],"epoch":"${epoch}","offset":3}}\n`,
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
