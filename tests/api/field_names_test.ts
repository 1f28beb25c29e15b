/** Fields that a method does not know are refused, and those of Centrifugo's client libraries are all taken. */
import assert from "node:assert/strict";
import { METHOD_FIELDS } from "../../lib/api/field_names.ts";
import { Bench } from "./bench.ts";

/** The least that each method takes. */
const LEAST: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  publish: { channel: "news", data: 1 },
  broadcast: { channels: ["news"], data: 1 },
  subscribe: { channel: "news", user: "u" },
  unsubscribe: { channel: "news", user: "u" },
  disconnect: { user: "u" },
  refresh: { user: "u" },
  presence: { channel: "cursors" },
  presence_stats: { channel: "cursors" },
  history: { channel: "news" },
  history_remove: { channel: "news" },
  channels: {},
  info: {},
  map_publish: { channel: "news", key: "a", data: 1 },
  map_remove: { channel: "news", key: "a" },
  map_read_state: { channel: "news" },
  map_stats: { channel: "news" },
  map_clear: { channel: "news" },
  scheduled: {},
  cancel_scheduled: { id: "a" },
};

/** Every field of the request messages in Centrifugo's api.proto, of the methods that are here. */
const CENTRIFUGO: Readonly<Record<string, string>> = {
  publish: "channel data b64data skip_history tags idempotency_key delta version version_epoch",
  broadcast: "channels data b64data skip_history tags idempotency_key delta version version_epoch",
  subscribe: "channel user expire_at info b64info client data b64data recover_since override session",
  unsubscribe: "channel user client session",
  disconnect: "user disconnect client whitelist session label_filter all_users",
  refresh: "user client expired expire_at info session",
  presence: "channel",
  presence_stats: "channel",
  history: "channel limit since reverse",
  history_remove: "channel",
  info: "",
  channels: "pattern",
  map_publish: "channel key data b64data stream_data b64stream_data tags idempotency_key delta version " +
    "version_epoch score key_mode",
  map_remove: "channel key idempotency_key",
  map_read_state: "channel cursor limit key asc revision_offset revision_epoch",
  map_stats: "channel",
  map_clear: "channel",
};

Deno.test("The table of fields has every method that the API has", async () => {
  const { error } = await new Bench().call("nothing");
  const known = /use one of (.*)$/.exec(error?.message ?? "")?.[1]?.split(", ");
  assert.deepEqual([...Object.keys(METHOD_FIELDS), "batch"], known);
  assert.deepEqual(Object.keys(METHOD_FIELDS), Object.keys(LEAST));
});

for (const [method, least] of Object.entries(LEAST)) {
  Deno.test(`${method} refuses a field that it does not know, alone and in a batch, and does nothing`, async () => {
    const bench = new Bench();
    const request = { ...least, colour: "blue" };
    const refusal = new RegExp(`^Unknown field "colour": ${method} has `);
    await bench.assertRefused(method, request, 107, refusal);
    const { replies } =
      await (await bench.post("batch", JSON.stringify({ commands: [{ [method]: request }] })))
        .json();
    assert.equal(replies[0].error?.code, 107);
    assert.match(replies[0].error?.message, refusal);
    assert.deepEqual(await bench.read(), []);
  });

  Deno.test(`${method} takes every field that Centrifugo's own has`, async () => {
    const bench = new Bench();
    for (const name of (CENTRIFUGO[method] ?? "").split(" ").filter((name) => name !== "")) {
      const { error } = await bench.call(method, { [name]: null, ...least });
      assert.doesNotMatch(error?.message ?? "", /Unknown field/, name);
    }
  });
}

for (
  const [method, request, message] of [
    [
      "publish",
      { channel: "news", data: "x", dealy: "5m" },
      /^Unknown field "dealy": did you mean delay\? publish has channel, data,/,
    ],
    ["publish", { channel: "news", dta: "x" }, /"dta": did you mean data\?/],
    ["disconnect", { usr: "u" }, /"usr": did you mean user\?/],
    [
      "disconnect",
      { user: "u", disconnect: { cod: 4_000 } },
      /"disconnect\.cod": did you mean code\? disconnect has code, reason$/,
    ],
    [
      "subscribe",
      { channel: "news", user: "u", recover_since: { ofset: 1 } },
      /"recover_since\.ofset": did you mean offset\?/,
    ],
    ["history", { channel: "news", since: { epochs: "a" } }, /"since\.epochs": did you mean epoch\?/],
    [
      "disconnect",
      { all_users: true, label_filter: { val: "7", ky: "a" } },
      /"label_filter\.ky": did you mean key\?/,
    ],
    [
      "disconnect",
      { all_users: true, label_filter: { op: "and", nodes: [{ cpm: "eq" }] } },
      /nodes\[0\]\.cpm": did you mean cmp\?/,
    ],
    [
      "batch",
      { commands: [], paralel: true },
      /"paralel": did you mean parallel\? batch has commands, parallel$/,
    ],
  ] as const
) {
  Deno.test(`${method} of ${JSON.stringify(request)} names the field, and what was meant`, async () => {
    await new Bench().assertRefused(method, request, 107, message);
  });
}

Deno.test("A command of a batch has one method and nothing beside it", async () => {
  const bench = new Bench();
  const commands = [{ publish: { channel: "news", data: 1 }, presence: null }, {
    publish: { channel: "news", data: 2 },
    delay: "5m",
  }];
  const { replies } = await (await bench.post("batch", JSON.stringify({ commands }))).json();
  assert.equal(replies[0].publish.offset, 1);
  assert.match(replies[1].error.message, /^commands\[1\] has "delay" beside publish/);
  assert.deepEqual(await bench.read(), ["json 1"]);
});
