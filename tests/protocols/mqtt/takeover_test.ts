/** Take-over of a client id between nodes: who may, and what becomes of the older connection. */
import assert from "node:assert/strict";
import type { ConnectionHandle } from "../../../lib/protocols/mqtt/context.ts";
import { answerTakeOvers, takeOver } from "../../../lib/protocols/mqtt/takeover.ts";
import { FakeNodes, runUntil } from "../../fakes/nodes.ts";

/** Two nodes that know each other; the first has a connection of anna with the id "lamp". */
function openBench() {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()].map(({ cluster }) => ({
    cluster,
    connected: new Map<string, ConnectionHandle>(),
  }));
  assert.ok(a !== undefined && b !== undefined);
  for (const context of [a, b]) answerTakeOvers(context);
  nodes.settle();
  const reasons: number[] = [];
  const { promise: finished, resolve } = Promise.withResolvers<void>();
  a.connected.set("lamp", {
    pass: { user: "anna", hasKey: false },
    finished,
    end(reason) {
      reasons.push(reason);
      a.connected.delete("lamp");
      resolve();
    },
  });
  return { nodes, a, b, reasons };
}

Deno.test("A connection on another node is ended for the same user, and for nobody else's token", async () => {
  const { nodes, a, b, reasons } = openBench();
  for (const user of ["bert", undefined]) {
    const taking = takeOver(b, "lamp", { user, isTrusted: false, hasKey: false });
    await assert.rejects(runUntil(nodes, taking), /belongs to another user/);
  }
  await runUntil(nodes, takeOver(b, "other", { user: "bert", isTrusted: false, hasKey: false }));
  assert.deepEqual([reasons, a.connected.size], [[], 1]);
  await runUntil(nodes, takeOver(b, "lamp", { user: "anna", isTrusted: false, hasKey: false }));
  assert.deepEqual([reasons, a.connected.size], [[0x8e], 0]);
});

Deno.test("Whoever is trusted takes the client id of any user over", async () => {
  const { nodes, b, reasons } = openBench();
  await runUntil(nodes, takeOver(b, "lamp", { user: undefined, isTrusted: true, hasKey: false }));
  assert.deepEqual(reasons, [0x8e]);
});

Deno.test("Nodes refuse a take-over that they do not understand", async () => {
  const { nodes, b, reasons } = openBench();
  const outcomes = await runUntil(nodes, b.cluster.callAll("mqtt.takeOver", { clientId: 7 }));
  assert.deepEqual([...outcomes.values()].map(({ kind }) => kind), ["failed"]);
  assert.deepEqual(reasons, []);
});
