/** What is stored of sessions: found after a restart, counted, and removed once it has expired. */
import assert from "node:assert/strict";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Shares } from "../../../lib/core/shares.ts";
import { PacketIds } from "../../../lib/protocols/mqtt/packet_ids.ts";
import { type SessionRecord, SessionStore } from "../../../lib/protocols/mqtt/session_store.ts";

function createRecord(fields: Partial<SessionRecord> = {}): SessionRecord {
  return {
    user: "anna",
    expiry: 60,
    expiresAt: Date.now() + 60_000,
    subscriptions: [],
    inflight: [],
    incarnation: crypto.randomUUID(),
    packetIds: [],
    ...fields,
  };
}

async function listKeys(state: MemoryState): Promise<string[]> {
  return (await Array.fromAsync(state.list(""))).map(({ key }) => key);
}

Deno.test("A session that another node keeps counts, until it ends there", async () => {
  const state = new MemoryState();
  const shares = new Shares({ value: 50, sparesLoopback: false });
  const one = new SessionStore(state, { maxSessions: 4, shares });
  const two = new SessionStore(state, { maxSessions: 4, shares });
  one.onChange = (change) => two.hear(JSON.parse(JSON.stringify(change)));
  assert.equal(one.claim("a", "ann"), undefined);
  assert.equal(one.claim("b", "ann"), undefined);
  for (const store of [one, two]) {
    assert.deepEqual(store.claim("c", "ann"), { unit: "count", limit: 2, isShare: true });
  }
  assert.equal(two.claim("b", "ann"), undefined, "it moves to another node");
  assert.equal(two.claim("c", undefined), undefined);
  assert.equal(two.claim("d", "bob"), undefined);
  assert.deepEqual(two.claim("e", undefined), { unit: "count", limit: 4, isShare: false });
  await one.save("a", undefined, 0);
  assert.equal(two.size, 3);
  assert.equal(two.claim("f", "ann"), undefined);
});

Deno.test("A scan counts the sessions of before, and removes the expired ones with their packet ids", async () => {
  const state = new MemoryState();
  const before = new SessionStore(state);
  const [alive, expired, lost] = [
    createRecord({ packetIds: [1] }),
    createRecord({ packetIds: [2], expiresAt: Date.now() - 1 }),
    createRecord(),
  ];
  await before.save("alive", alive, 0);
  await before.save("expired", expired, 0);
  for (const [{ incarnation }, id] of [[alive, 1], [alive, 7], [expired, 2], [lost, 3]] as const) {
    state.place(new PacketIds(state, incarnation).markerOf(id), "[]");
  }
  const store = new SessionStore(state);
  assert.equal(store.size, 0);
  await store.scan();
  assert.equal(store.size, 1);
  const keys = await listKeys(state);
  const ids = keys.filter((key) => key.startsWith("mqtt-id-"));
  assert.deepEqual(ids, [1, 7].map((id) => new PacketIds(state, alive.incarnation).markerOf(id)));
  assert.equal(keys.length, 3);
  assert.deepEqual((await store.load("alive")).record, alive);
  assert.deepEqual(await store.load("expired"), { record: undefined, revision: 0 });
});

Deno.test("Expired sessions are removed, but for those that another node has prolonged", async () => {
  const state = new MemoryState();
  const [one, two] = [new SessionStore(state), new SessionStore(state)];
  const past = Date.now() - 1;
  const revision = await one.save("prolonged", createRecord({ expiresAt: past }), 0);
  const gone = createRecord({ expiresAt: past, packetIds: [5] });
  state.place(new PacketIds(state, gone.incarnation).markerOf(5), "[]");
  await two.save("prolonged", createRecord(), revision ?? 0);
  await one.save("gone", gone, 0);
  await one.removeExpired();
  assert.equal(one.size, 1);
  assert.equal((await listKeys(state)).length, 1);
  assert.notEqual((await one.load("prolonged")).record, undefined);
});

Deno.test("A session that another node has taken over is neither written nor removed", async () => {
  const state = new MemoryState();
  const store = new SessionStore(state);
  const first = await store.save("id", createRecord(), 0);
  assert.ok(first !== undefined);
  const second = await store.save("id", createRecord({ expiry: 7 }), first);
  assert.equal(await store.save("id", createRecord(), first), undefined);
  assert.equal(await store.save("id", undefined, first), undefined);
  assert.equal((await store.load("id")).record?.expiry, 7);
  assert.equal(await store.save("id", undefined, second ?? 0), 0);
  assert.deepEqual(await listKeys(state), []);
});

Deno.test("Packet ids of an expired session are free when its client returns", async () => {
  const state = new MemoryState();
  const store = new SessionStore(state);
  const record = createRecord({ expiresAt: Date.now() - 1, packetIds: [9] });
  state.place(new PacketIds(state, record.incarnation).markerOf(9), "[]");
  await store.save("id", record, 0);
  assert.equal((await store.load("id")).record, undefined);
  assert.equal(await state.read(new PacketIds(state, record.incarnation).markerOf(9)), undefined);
});
