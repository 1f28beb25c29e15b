/** Client ids between nodes: who may take one over, and which connection stays, whatever the order of events. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Outcome } from "../../../lib/core/cluster/calls.ts";
import {
  type ClientIdClaim,
  ClientIds,
  type ClientIdsOptions,
} from "../../../lib/protocols/mqtt/client_ids.ts";
import { Refusal } from "../../../lib/protocols/mqtt/refusal.ts";
import { type FakeNode, FakeNodes, runUntil } from "../../fakes/nodes.ts";
import { settle } from "../../fakes/schedule.ts";
import { collectGarbage } from "../../live_memory.ts";

interface Claimant {
  readonly user?: string | undefined;
  readonly isTrusted?: boolean;
  readonly hasKey?: boolean;
}

/** A connection that claims a client id, finishes when it is ended, and remembers why. */
class FakeConnection {
  readonly finished: Promise<void>;
  /** The reason of its end, or of the refusal of its claim. */
  reason: number | undefined;
  isGranted = false;
  /** Resolves when the claim is decided. */
  readonly decided: Promise<void>;
  readonly #claim: ClientIdClaim;
  readonly #finish: () => void;

  constructor(ids: ClientIds, { user, isTrusted = false, hasKey = false }: Claimant = {}, clientId = "lamp") {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.finished = promise;
    this.#finish = resolve;
    this.#claim = ids.claim(clientId, { user, isTrusted, hasKey }, this);
    this.decided = this.#claim.granted.then(() => void (this.isGranted = true), (error) => {
      assert.ok(error instanceof Refusal);
      this.end(error.reason);
    });
  }

  get stays(): boolean {
    return this.isGranted && this.reason === undefined;
  }

  end(reason: number): void {
    if (this.reason !== undefined) return;
    this.reason = reason;
    this.#claim.release();
    this.#finish();
  }
}

/** Heartbeats in a test's hands. */
class Beats {
  readonly tasks = new Set<() => void>();

  readonly every = (_: number, task: () => void) => {
    this.tasks.add(task);
    return () => void this.tasks.delete(task);
  };

  /** Lets one go by. */
  beat(): void {
    for (const task of [...this.tasks]) task();
  }
}

/** Client ids of a node. Those who wait for heartbeats wait for ever, unless the test has them. */
function openIds(cluster: ClientIdsOptions["cluster"], options: Omit<ClientIdsOptions, "cluster"> = {}) {
  return new ClientIds({ cluster, every: new Beats().every, ...options });
}

/** Two nodes that know each other, with clocks in the test's hands. */
function openBench(deadline = 60_000) {
  const nodes = new FakeNodes();
  const clocks = [1_000, 1_000];
  const open = ({ cluster }: FakeNode, i: number) =>
    openIds(cluster, { now: () => clocks[i] ?? 0, deadline });
  const started = [nodes.start(), nodes.start()] as const;
  const a = open(started[0], 0);
  const b = open(started[1], 1);
  nodes.settle();
  return { nodes, clocks, a, b, askFromB: started[1].cluster };
}

async function connect(nodes: FakeNodes, ids: ClientIds, claimant?: Claimant, clientId?: string) {
  const connection = new FakeConnection(ids, claimant, clientId);
  await runUntil(nodes, connection.decided);
  return connection;
}

Deno.test("A connection on another node is ended for the same user, and for nobody else's token", async () => {
  const { nodes, a, b } = openBench();
  const first = await connect(nodes, a, { user: "anna" });
  for (const user of ["bert", undefined]) {
    assert.equal((await connect(nodes, b, { user })).reason, 0x85);
  }
  assert.ok((await connect(nodes, b, { user: "bert" }, "other")).stays);
  assert.ok(first.stays);
  assert.ok((await connect(nodes, b, { user: "anna" })).stays);
  assert.equal(first.reason, 0x8e);
  await settle();
  assert.deepEqual([a.size, b.size], [0, 2]);
});

Deno.test("Whoever is trusted takes the client id of any user over", async () => {
  const { nodes, a, b } = openBench();
  const first = await connect(nodes, a, { user: "anna" });
  assert.ok((await connect(nodes, b, { isTrusted: true })).stays);
  assert.equal(first.reason, 0x8e);
});

Deno.test("Nodes refuse a take-over that they do not understand", async () => {
  const { nodes, a, askFromB } = openBench();
  const first = await connect(nodes, a);
  const outcomes = await runUntil(nodes, askFromB.callAll("mqtt.takeOver", { clientId: 7 }));
  assert.deepEqual([...outcomes.values()].map(({ kind }) => kind), ["failed"]);
  assert.ok(first.stays);
});

Deno.test("A claim without a rank, as version 0.2.0 makes them, takes a client id over", async () => {
  const { nodes, clocks, a, askFromB } = openBench();
  clocks[0] = 5_000;
  const first = await connect(nodes, a);
  const claim = { clientId: "lamp", user: null, isTrusted: true, hasKey: false };
  await runUntil(nodes, askFromB.callAll("mqtt.takeOver", claim));
  assert.equal(first.reason, 0x8e);
});

Deno.test("Of connections at the same moment on several nodes exactly one stays, in whatever order nodes start and hear", async () => {
  const step = fc.oneof(
    { weight: 2, arbitrary: fc.record({ do: fc.constant("connect" as const), node: fc.nat(2) }) },
    { weight: 5, arbitrary: fc.record({ do: fc.constant("deliver" as const), pick: fc.nat(20) }) },
  );
  const skew = fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3));
  await fc.assert(
    fc.asyncProperty(
      skew,
      fc.boolean(),
      fc.array(step, { minLength: 2, maxLength: 30 }),
      async (clocks, startLate, steps) => {
        const nodes = new FakeNodes();
        const beats = new Beats();
        const ids: ClientIds[] = [];
        const start = (i: number) =>
          ids[i] ??= openIds(nodes.start().cluster, {
            now: () => clocks[i] ?? 0,
            deadline: 60_000,
            every: beats.every,
          });
        if (!startLate) {
          for (const i of clocks.keys()) start(i);
          nodes.settle();
        }
        const connections: FakeConnection[] = [];
        for (const step of steps) {
          if (step.do === "connect") connections.push(new FakeConnection(start(step.node)));
          else nodes.network.deliver(step.pick);
          for (let turn = 0; turn < 20; turn++) await Promise.resolve();
        }
        await runUntil(nodes, Promise.all(connections.map(({ decided }) => decided)));
        for (let i = 0; i < 6; i++) {
          await deliverAll(nodes);
          beats.beat();
        }
        await deliverAll(nodes);
        const staying = connections.filter(({ stays }) => stays);
        assert.equal(staying.length, Math.min(1, connections.length));
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("A connection is taken over from a node whose clock is behind, and that has not heard of it", async () => {
  const nodes = new FakeNodes();
  const ahead = openIds(nodes.start().cluster, { now: () => 9_000, deadline: 60_000 });
  const first = await connect(nodes, ahead);
  const behind = openIds(nodes.start().cluster, { now: () => 1_000, deadline: 60_000 });
  nodes.settle();
  const second = await connect(nodes, behind);
  assert.equal(first.reason, 0x8e);
  assert.ok(second.stays);
});

Deno.test("A node that has just started, and knows no others, takes client ids over from them all the same", async () => {
  const nodes = new FakeNodes();
  const first = await connect(nodes, openIds(nodes.start().cluster, { now: () => 1_000 }));
  const { cluster } = nodes.start();
  const second = new FakeConnection(openIds(cluster, { now: () => 2_000 }));
  await second.decided;
  assert.equal(cluster.hasPeers, false);
  await deliverAll(nodes);
  assert.equal(first.reason, 0x8e);
  assert.ok(second.stays);
});

Deno.test("A client that a node has heard of while it connects is taken over from there, whatever the clocks", async () => {
  const { nodes, clocks, a, b } = openBench();
  clocks[0] = 9_000;
  const first = new FakeConnection(a);
  await settle();
  // The question, to the node itself and to the other one.
  nodes.network.deliver();
  nodes.network.deliver();
  const second = await connect(nodes, b);
  assert.equal(first.reason, 0x8e);
  assert.equal(first.isGranted, true, "its claim was released");
  assert.ok(second.stays);
});

Deno.test("Of different users at the same moment the earlier one stays", async () => {
  const { nodes, clocks, a, b } = openBench();
  for (const [timeOfAnna, timeOfBert] of [[1_000, 2_000], [4_000, 3_000]] as const) {
    clocks[0] = timeOfAnna;
    clocks[1] = timeOfBert;
    const anna = new FakeConnection(a, { user: "anna" });
    const bert = new FakeConnection(b, { user: "bert" });
    await runUntil(nodes, Promise.all([anna.decided, bert.decided]));
    const [winner, loser] = timeOfAnna < timeOfBert ? [anna, bert] : [bert, anna];
    assert.ok(winner.stays);
    assert.equal(loser.reason, 0x85);
    winner.end(0);
    await settle();
  }
});

Deno.test("A claim waits until those before it have finished, also those that were never granted", async () => {
  const ids = new ClientIds({ cluster: undefined });
  const stored = Promise.withResolvers<void>();
  const claims: ClientIdClaim[] = [];
  const granted: number[] = [];
  const claim = (number: number, finished: Promise<void>) => {
    const end = () => claims[number]?.release();
    const made = ids.claim("lamp", { user: undefined, isTrusted: true, hasKey: false }, { finished, end });
    claims.push(made);
    void made.granted.then(() => granted.push(number));
  };
  claim(0, stored.promise);
  await settle();
  claim(1, Promise.resolve());
  await settle();
  // The second is taken over while it waits for the first: it is released, and the third waits on.
  claim(2, new Promise<void>(() => {}));
  await settle();
  assert.deepEqual(granted, [0, 1]);
  stored.resolve();
  await settle();
  assert.deepEqual(granted, [0, 1, 2]);
  assert.equal(ids.size, 1);
});

Deno.test("What a node answers after the deadline ends a connection whose client id another user has", async () => {
  const { nodes, a, b } = openBench(0);
  const first = await connect(nodes, a, { user: "anna" });
  await deliverAll(nodes);
  const late = new FakeConnection(b, { user: "bert" });
  await late.decided;
  assert.ok(late.stays, "nothing was delivered");
  await deliverAll(nodes);
  assert.equal(late.reason, 0x8e);
  assert.ok(first.stays);
});

Deno.test("Of connections on nodes that do not know each other yet one stays, once they do, whatever the clocks", async () => {
  for (const time of [1_000, 9_000]) {
    const nodes = new FakeNodes();
    const first = await connect(nodes, openIds(nodes.start().cluster, { now: () => time }));
    const { cluster } = nodes.start();
    const beats = new Beats();
    const second = new FakeConnection(openIds(cluster, { now: () => 2_000, every: beats.every }));
    await second.decided;
    assert.equal(cluster.hasPeers, false);
    await deliverAll(nodes);
    beats.beat();
    // The node is refused, and claims the id anew with a higher rank.
    for (let i = 0; i < 2; i++) await deliverAll(nodes);
    assert.deepEqual([first.reason, second.stays], [0x8e, true]);
  }
});

for (const [what, mayTake, reason] of [["agrees", true, undefined], ["refuses", false, 0x8e]] as const) {
  Deno.test(`A node that does not answer is asked again at each heartbeat, until it ${what}`, async () => {
    let outcome: Outcome = { kind: "silent" };
    const asked: unknown[] = [];
    const beats = new Beats();
    const ids = openIds({
      node: "b",
      peers: ["a", "c"],
      handle: () => {},
      callAll: () =>
        Promise.resolve(
          new Map<string, Outcome>([["a", outcome], ["c", { kind: "answered", body: { mayTake: true } }]]),
        ),
      call: (node) => {
        asked.push(node);
        return Promise.resolve(outcome);
      },
    }, { every: beats.every });
    const connection = new FakeConnection(ids);
    await connection.decided;
    await settle();
    for (let i = 0; i < 20; i++) {
      beats.beat();
      await settle();
    }
    assert.ok(connection.stays);
    assert.deepEqual(asked, Array.from({ length: 20 }, () => "a"));
    outcome = { kind: "answered", body: { mayTake } };
    for (let i = 0; i < 20; i++) {
      beats.beat();
      await settle();
    }
    assert.deepEqual([asked.length, connection.reason, beats.tasks.size], [21, reason, 0]);
  });
}

Deno.test("No node is asked again for a connection that has ended", async () => {
  const nodes = new FakeNodes();
  const beats = new Beats();
  const { cluster } = nodes.start();
  const connection = await connect(nodes, openIds(cluster, { every: beats.every }));
  assert.equal(beats.tasks.size, 1);
  connection.end(0);
  assert.equal(beats.tasks.size, 0);
});

Deno.test("A connection that has a client id holds none of those that had it before", async () => {
  const ids = new ClientIds({ cluster: undefined });
  const former: WeakRef<FakeConnection>[] = [];
  const takeOver = async () => {
    const connection = new FakeConnection(ids);
    await connection.decided;
    return connection;
  };
  for (let i = 0; i < 3; i++) former.push(new WeakRef(await takeOver()));
  const last = await takeOver();
  await settle();
  collectGarbage();
  assert.deepEqual(former.map((one) => one.deref()), [undefined, undefined, undefined]);
  assert.ok(last.stays);
});

/** Delivers questions, then the answers to them. */
async function deliverAll(nodes: FakeNodes): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await settle();
    nodes.settle();
  }
  await settle();
}
