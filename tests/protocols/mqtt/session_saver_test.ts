/** Sessions of connected clients are stored again in time, whether anything happens or not. */
import assert from "node:assert/strict";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import type { SessionConnection } from "../../../lib/protocols/mqtt/context.ts";
import { SessionSaver } from "../../../lib/protocols/mqtt/session_saver.ts";
import { SessionStore } from "../../../lib/protocols/mqtt/session_store.ts";

/** Tells of each write. */
class WatchedState extends MemoryState {
  #wake = () => {};

  override async write(key: string, value: string, revision: number): Promise<number | undefined> {
    const written = await super.write(key, value, revision);
    this.#wake();
    return written;
  }

  async nextWrite(): Promise<void> {
    await new Promise<void>((resolve) => this.#wake = resolve);
  }
}

/** The saver of a session that is stored again every 5 ms. */
function openSaver(state: MemoryState, clientId: string) {
  const store = new SessionStore(state);
  const ends: number[] = [];
  const connection = {
    context: { store },
    clientId,
    end: (reason: number) => void ends.push(reason),
    fail: (error: unknown) => assert.fail(String(error)),
  } as unknown as SessionConnection;
  const saver = new SessionSaver({
    connection,
    revision: 0,
    isPersistent: () => true,
    refreshAfter: () => 5,
    createRecord: () => ({
      user: "anna",
      expiry: 1,
      expiresAt: Date.now() + 1_000,
      subscriptions: [],
      inflight: [],
      incarnation: "i",
      packetIds: [],
    }),
  });
  return { store, ends, saver };
}

Deno.test("A session is stored again before it expires, until its connection ends", async () => {
  const state = new WatchedState();
  const { store, ends, saver } = openSaver(state, "silent");
  await saver.save();
  const { revision: first } = await store.load("silent");
  for (let i = 0; i < 2; i++) await state.nextWrite();
  const { revision } = await store.load("silent");
  assert.ok(revision > first);
  // Another node takes it over: the next write finds that out.
  await state.write((await Array.fromAsync(state.list("")))[0]!.key, "", revision);
  await state.nextWrite();
  await saver.save();
  assert.deepEqual(ends, [0x8e]);
  await saver.close();
});

Deno.test("A session whose client was never connected is not stored any more, however long it lasts", async () => {
  const state = new WatchedState();
  const abandoned = openSaver(state, "refused");
  const other = openSaver(state, "silent");
  await abandoned.saver.save();
  await abandoned.saver.abandon();
  const { revision } = await abandoned.store.load("refused");
  assert.ok(revision > 0, "it is kept as a killed server leaves it");
  await other.saver.save();
  // Its refresh would come before the second one of the other.
  for (let i = 0; i < 2; i++) await state.nextWrite();
  abandoned.saver.saveLater();
  await abandoned.saver.save();
  assert.equal((await abandoned.store.load("refused")).revision, revision);
  await other.saver.close();
});
