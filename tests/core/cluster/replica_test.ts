/** What one node makes of another's words when it has none for some of them; `test.ts` tests the rest. */
import assert from "node:assert/strict";
import type { Change } from "../../../lib/core/cluster/codec.ts";
import { ClusterIndex } from "../../../lib/core/cluster/index.ts";
import { Replica } from "../../../lib/core/cluster/replica.ts";
import { Presence } from "../../../lib/core/presence.ts";

const CHANGES: readonly Change[] = [
  ["client", 1, { id: "john", protocol: "fake", since: 0, address: "::1" }],
  ["subscription", 2, 1, "a channel/of another*grammar//"],
  ["subscription", 3, 1, "news"],
];

Deno.test("Replica leaves out a selector outside the grammar, and goes on with the next change", () => {
  const index = new ClusterIndex(new Presence());
  const replica = new Replica("n1", index);
  assert.equal(replica.applyChanges(1, CHANGES), undefined);
  assert.equal(replica.applyChanges(2, [["gone", 2]]), undefined);
  assert.equal(replica.noteSequence(2), undefined, "it asks for nothing again");
  assert.equal(index.countExactSubscribers("news"), 1);
  replica.clear();
  assert.equal(index.countExactSubscribers("news"), 0);
});

Deno.test("Replica becomes whole by a page that holds a selector outside the grammar", () => {
  const index = new ClusterIndex(new Presence());
  const replica = new Replica("n1", index);
  assert.deepEqual(replica.noteSequence(5), { ask: 0 });
  assert.equal(replica.applyPage({ after: 0, sequence: 5, changes: CHANGES, more: false }), undefined);
  assert.equal(replica.noteSequence(5), undefined);
  assert.equal(index.countExactSubscribers("news"), 1);
});
