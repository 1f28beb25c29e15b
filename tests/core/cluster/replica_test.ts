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
  void replica.clear();
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

/** Some clients of a peer, each with a subscription. */
function createChanges(count: number): Change[] {
  return Array.from({ length: count }, (_, i): Change[] => [
    ["client", 2 * i + 1, { id: `client-${i}`, protocol: "fake", since: 0, address: "::1" }],
    ["subscription", 2 * i + 2, 2 * i + 1, "news"],
  ]).flat();
}

Deno.test("Replica takes each page as it comes, and forgets in the end what none of them had", () => {
  const index = new ClusterIndex(new Presence());
  const replica = new Replica("n1", index);
  const old: Change[] = createChanges(3);
  replica.applyChanges(1, old);
  // A message was lost, by which the second client and its subscription were gone.
  replica.noteSequence(9);
  const kept = [...old.slice(0, 2), ...old.slice(4)];
  const [first, second] = [kept.slice(0, 2), [...kept.slice(2), ...createChanges(10).slice(6)]];
  assert.deepEqual(replica.applyPage({ after: 0, sequence: 9, changes: first, more: true }), { ask: 2 });
  assert.equal(replica.isWhole, false);
  assert.equal(index.countExactSubscribers("news"), 3);
  assert.equal(replica.applyPage({ after: 2, sequence: 9, changes: second, more: false }), undefined);
  assert.equal(replica.isWhole, true);
  assert.equal(index.countExactSubscribers("news"), 9);
  assert.equal(index.countConnections("client-1"), 0);
});

Deno.test("Replica lets who comes back under another key leave first, when entries are read again", () => {
  const presence = new Presence();
  const replica = new Replica("n1", new ClusterIndex(presence));
  replica.applyChanges(1, createChanges(3));
  const seen: string[] = [];
  presence.watch("news", ({ kind, member }) => seen.push(`${kind} ${member.id}`));
  replica.noteSequence(9);
  const [client, subscription, ...others] = createChanges(3);
  assert.ok(client?.[0] === "client" && subscription !== undefined);
  const again: Change[] = [["client", 20, client[2]], ["subscription", 21, 20, "news"]];
  assert.deepEqual(
    replica.applyPage({ after: 0, sequence: 9, changes: others.slice(0, 2), more: true }),
    { ask: 4 },
  );
  const rest = [...others.slice(2), ...again];
  assert.equal(replica.applyPage({ after: 4, sequence: 9, changes: rest, more: false }), undefined);
  assert.deepEqual(seen, ["leave client-0", "join client-0"]);
  assert.equal(presence.count("news").connections, 3);
});

Deno.test("Replica forgets a few clients of many subscriptions in slices, or all at once when it must", async () => {
  const changes: Change[] = [];
  for (let i = 0; i < 10; i++) {
    const key = changes.length + 1;
    changes.push(["client", key, { id: `client-${i}`, protocol: "fake", since: 0, address: "::1" }]);
    for (let j = 0; j < 2_000; j++) changes.push(["subscription", key + 1 + j, key, `c${i}/${j}`]);
  }
  const index = new ClusterIndex(new Presence());
  const replica = new Replica("n1", index);
  replica.applyChanges(1, changes);
  const clearing = replica.clear();
  const left = replica.count().subscriptions;
  assert.ok(left > 10_000 && left < 20_000, `${left} left`);
  await new Promise((resolve) => setImmediate(resolve));
  replica.clearAtOnce();
  assert.deepEqual(replica.count(), { clients: 0, subscriptions: 0 });
  assert.equal(index.groupCount, 0);
  await clearing;
});

Deno.test("Replica forgets all that a peer had, and lets others go meanwhile", async () => {
  const presence = new Presence();
  const index = new ClusterIndex(presence);
  const replica = new Replica("n1", index);
  replica.applyChanges(1, createChanges(20_000));
  assert.equal(presence.count("news").connections, 20_000);
  void replica.clear();
  let turns = 0;
  while (presence.count("news").connections > 0) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    turns++;
  }
  assert.ok(turns >= 3, `${turns} turns`);
  assert.deepEqual([index.groupCount, index.countConnections("client-19999")], [0, 0]);
  assert.deepEqual(replica.count(), { clients: 0, subscriptions: 0 });
});
