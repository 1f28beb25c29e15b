/** The HTTP API on several nodes: what is asked of one is done on all, and what they are shows on each. */
import assert from "node:assert/strict";
import { Gate } from "../../lib/auth/gate.ts";
import { ApiKeys } from "../../lib/auth/api_keys.ts";
import type { ServerSubscribeOptions } from "../../lib/core/client.ts";
import { Rules } from "../../lib/core/rules.ts";
import { answerCommands, type ApiContext, handleApi, Versions } from "../../lib/api/api.ts";
import { type FakeNode, FakeNodes, read, runUntil, toSelector } from "../fakes/nodes.ts";
import { createClient } from "../fakes/socket.ts";
import { NO_SCHEDULER } from "../fakes/scheduler.ts";

/** Two nodes with the API in front of them. */
class Bench {
  readonly nodes = new FakeNodes();
  readonly a = this.nodes.start();
  readonly b = this.nodes.start();
  /** What clients were asked for, in order. */
  readonly asked: unknown[] = [];
  readonly #contexts = new Map([this.a, this.b].map((node) => [node, createContext(node)]));

  constructor() {
    for (const [node, context] of this.#contexts) answerCommands(context, node.cluster);
  }

  connect({ hub }: FakeNode, id: string, user: string, channel?: string): void {
    const note = (...what: unknown[]) => void this.asked.push([id, ...what]);
    const client = createClient({ id });
    const control = {
      disconnect: (code: number, reason: string) => note("disconnect", code, reason),
      subscribe: (channel: string, options: ServerSubscribeOptions) => {
        note("subscribe", channel, options);
        if (id === "broken") throw new TypeError("Something is wrong");
        return Promise.resolve(true);
      },
      unsubscribe: (channel: string, code: number) => (note("unsubscribe", channel, code), true),
      refresh: (expires: number) => note("refresh", expires),
    };
    const person = { ...client, user, control };
    hub.connect(person);
    if (channel !== undefined) hub.subscribe(person, toSelector(channel));
    this.nodes.settle();
  }

  /** Calls a method on the first node. */
  async call(method: string, request: object): Promise<{ result?: unknown; error?: { message: string } }> {
    const url = `http://localhost/api/${method}`;
    const post = new Request(url, { method: "POST", body: JSON.stringify(request) });
    const response = await runUntil(this.nodes, handleApi(post, this.#contexts.get(this.a)!));
    assert.equal(response.status, 200);
    return await response.json();
  }
}

function createContext({ hub, cluster, logger }: FakeNode): ApiContext {
  return {
    hub,
    cluster,
    gate: new Gate({
      open: true,
      verifier: undefined,
      rules: new Rules(),
      logger,
      apiKeys: new ApiKeys([], { open: true }),
    }),
    publisher: "",
    versions: new Versions(),
    maxBodyBytes: 100_000,
    bodyTimeout: 10,
    logger,
    scheduler: NO_SCHEDULER,
  };
}

Deno.test("The API acts on the clients of a user on every node, and on nobody else", async () => {
  const bench = new Bench();
  bench.connect(bench.a, "c1", "john");
  bench.connect(bench.b, "c2", "john");
  bench.connect(bench.b, "c3", "jane");
  const john = { user: "john" };
  assert.deepEqual(
    await bench.call("disconnect", { ...john, disconnect: { code: 4000, reason: "enough" } }),
    {
      result: {},
    },
  );
  await bench.call("disconnect", { ...john, whitelist: ["c1", "c2"] });
  await bench.call("unsubscribe", { ...john, channel: "news" });
  await bench.call("refresh", { ...john, expire_at: 4_000_000_000 });
  await bench.call("refresh", { user: "john", client: "c2", expired: true });
  await bench.call("subscribe", { client: "c3", channel: "news", info: { a: 1 }, b64data: "AAEC" });
  const bytes = new Uint8Array([0, 1, 2]);
  assert.deepEqual(bench.asked, [
    ["c1", "disconnect", 4000, "enough"],
    ["c2", "disconnect", 4000, "enough"],
    ["c1", "unsubscribe", "news", 2000],
    ["c2", "unsubscribe", "news", 2000],
    ["c1", "refresh", 4_000_000_000],
    ["c2", "refresh", 4_000_000_000],
    ["c2", "disconnect", 3005, "connection expired"],
    ["c3", "subscribe", "news", { info: '{"a":1}', data: { kind: "bytes", bytes }, expires: 0 }],
  ]);
});

Deno.test("The API adds up for how many clients of all nodes something failed", async () => {
  const bench = new Bench();
  bench.connect(bench.a, "c1", "john");
  bench.connect(bench.b, "broken", "john");
  const { error } = await bench.call("subscribe", { user: "john", channel: "news", data: "hello" });
  assert.equal(error?.message, "subscribe failed for 1 of 2 clients: the server's log says why");
});

Deno.test("The API tells when a node did not say that it was done, and acts on the others", async () => {
  const bench = new Bench();
  bench.connect(bench.a, "c1", "john");
  bench.b.cluster.handle("api.command", () => {
    throw new TypeError("not today");
  });
  const { error } = await bench.call("disconnect", { user: "john" });
  assert.match(error?.message ?? "", /disconnect was not confirmed by the node n2: its clients may not/);
  assert.equal(bench.asked.length, 1);
});

Deno.test("The API shows every node, its channels and who is on them", async () => {
  const bench = new Bench();
  bench.connect(bench.a, "c1", "john", "news");
  bench.connect(bench.b, "c2", "jane", "news");
  bench.connect(bench.b, "c3", "jane", "ops");
  bench.nodes.pass(1);
  const { result } = await bench.call("info", {}) as { result: { nodes: Record<string, unknown>[] } };
  assert.deepEqual(result.nodes.map(({ uid, num_clients, num_users }) => [uid, num_clients, num_users]), [
    ["n1", 1, 1],
    ["n2", 2, 1],
  ]);
  assert.deepEqual((await bench.call("channels", {})).result, {
    channels: { news: { num_clients: 2 }, ops: { num_clients: 1 } },
  });
  assert.deepEqual((await bench.call("presence_stats", { channel: "news" })).result, {
    num_clients: 2,
    num_users: 2,
  });
  const { presence } = (await bench.call("presence", { channel: "news" })).result as { presence: object };
  assert.deepEqual(Object.keys(presence).sort(), ["c1", "c2"]);
});

/** What a request on the main thread is answered while a worker has not told yet who has come. */
async function askMain(method: string, request: object): Promise<Record<string, unknown>> {
  const nodes = new FakeNodes();
  const [main, worker] = [nodes.start(undefined, "n1"), nodes.start(undefined, "n1")];
  nodes.settle();
  read(worker, "news", { id: "c1" });
  const post = new Request(`http://localhost/api/${method}`, {
    method: "POST",
    body: JSON.stringify(request),
  });
  // The worker tells what it is asked for, and its turn does not end.
  const response = await runUntil(nodes, handleApi(post, createContext(main)), () => nodes.network.deliver());
  return await response.json();
}

Deno.test("The API of a process says who is there as far as its threads know, told or not", async () => {
  const channel = "news";
  const c1 = { user: "", client: "c1" };
  const answers: readonly [method: string, request: object, result: unknown][] = [
    ["presence", { channel }, { presence: { c1 } }],
    ["presence_stats", { channel }, { num_clients: 1, num_users: 1 }],
    ["channels", {}, { channels: { news: { num_clients: 1 } } }],
  ];
  for (const [method, request, result] of answers) {
    assert.deepEqual(await askMain(method, request), { result });
    const commands = [{ [method]: request }, { [method]: request }];
    const replies = [{ [method]: result }, { [method]: result }];
    for (const parallel of [false, true]) {
      assert.deepEqual(await askMain("batch", { commands, parallel }), { replies });
    }
  }
});
