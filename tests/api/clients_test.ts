/** The HTTP API: which clients are chosen, and what is done to them. */
import assert from "node:assert/strict";
import type { ServerSubscribeOptions } from "../../lib/core/client.ts";
import { connectPeople, withBench } from "./bench.ts";

const CHOICES: readonly [choice: object, ids: readonly string[]][] = [
  [{ user: "u" }, ["u1", "u2"]],
  [{ user: "" }, ["n1"]],
  [{ user: "nobody" }, []],
  [{ user: "u", client: "u2" }, ["u2"]],
  [{ user: "u", client: "v1" }, []],
  [{ user: "", client: "v1" }, []],
  [{ client: "v1" }, ["v1"]],
  [{ user: "u", client: "", session: "", all_users: false, label_filter: {} }, ["u1", "u2"]],
  [{ user: "u", all_users: true }, ["u1", "u2"]],
  [{ all_users: true }, ["u1", "u2", "v1", "n1"]],
  [{ user: "", all_users: true }, ["u1", "u2", "v1", "n1"]],
  [{ all_users: true, client: "v1" }, ["v1"]],
  [{ all_users: true, label_filter: { key: "plan", cmp: "eq", val: "pro" } }, ["u2", "v1"]],
  [{ user: "u", label_filter: { key: "plan", cmp: "eq", val: "pro" } }, ["u2"]],
  [{ all_users: true, label_filter: { op: "not", nodes: [{ key: "plan", cmp: "ex" }] } }, ["u1", "n1"]],
];

for (const [choice, ids] of CHOICES) {
  withBench(`clients are chosen by ${JSON.stringify(choice)}`, async (bench) => {
    connectPeople(bench);
    for (const method of ["subscribe", "unsubscribe", "refresh", "disconnect"]) {
      const channel = method.endsWith("subscribe") ? { channel: "news" } : {};
      assert.deepEqual(await bench.ask(method, { ...channel, ...choice }), {});
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
    '"recover_since":{"offset":7,"epoch":"e"}',
    { info: undefined, data: undefined, expires: 0, since: { offset: 7, epoch: "e" } },
  ],
  [
    '"b64info":"eyJhIjogMX0=","b64data":"AA==","info":null,"override":null,"recover_since":{}',
    { info: '{"a": 1}', data: { kind: "bytes", bytes: new Uint8Array(1) }, expires: 0 },
  ],
];

for (const [request, options] of SUBSCRIBED) {
  const rest = typeof request === "string" ? request : '"override":null';
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
  [{ info: { a: 1 } }, ["refresh", 0, '{"a":1}']],
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
