/** What maps promise, on a real hub and a memory engine: a key that was confirmed stays, whatever fails in between. */
import assert from "node:assert/strict";
import { createDraft, type DraftOptions } from "../../../lib/core/draft.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import { Hub } from "../../../lib/core/hub.ts";
import type { Log } from "../../../lib/core/log.ts";
import type { MapLimits } from "../../../lib/core/maps/map_room.ts";
import { ChannelMaps } from "../../../lib/core/maps/maps.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import type { Message } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { Shares } from "../../../lib/core/shares.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

const NO_LIMITS: MapLimits = { maxMapKeys: Infinity, maxAllMapKeys: Infinity, maxMapBytes: Infinity };

const RULES = new Rules([
  { channels: "small/**", history: { messages: 2 } },
  { channels: "quiet", ephemeral: true },
  { channels: "cursors", conflate: true },
  { channels: "short/**", keyTtl: 1 },
]);

/** A state whose writes wait, or fail, where the test says. */
class TestState extends MemoryState {
  isAway = false;
  gate: Promise<void> | undefined;
  /** Resolves when a write has failed. */
  readonly failed = Promise.withResolvers<void>();

  override async write(key: string, value: string, revision: number): Promise<number | undefined> {
    await this.gate;
    if (this.isAway) this.failed.resolve();
    if (this.isAway) throw new MessagingError("log_unavailable", "away");
    return await super.write(key, value, revision);
  }

  /** What is kept, by key of the map. */
  async keys(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for await (const { value } of this.list("map-")) {
      const { properties, payload } = JSON.parse(value);
      found[properties.key] = payload.data;
    }
    return found;
  }
}

/** An engine that outlives the nodes on it, like a file; one node has the hub. */
class Bench implements AsyncDisposable {
  readonly log = new MemoryEngine({ rules: RULES });
  readonly state = new TestState();
  readonly logger = new RecordingLogger();
  readonly maps: ChannelMaps;
  readonly hub: Hub;
  readonly seen: Message[] = [];
  readonly #nodes: ChannelMaps[] = [];
  #waiting: (() => void)[] = [];

  constructor(limits: Partial<MapLimits> = {}) {
    this.maps = this.start(limits);
    this.hub = new Hub({
      log: this.log,
      rules: RULES,
      logger: this.logger,
      maxMessageBytes: 10_000,
      maps: this.maps,
    });
    this.hub.observe((messages) => {
      this.seen.push(...messages);
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }

  /** Another node, or the same after a restart. It is told nothing of what is published unless the test does. */
  start(limits: Partial<MapLimits> = {}): ChannelMaps {
    const { log, state, logger } = this;
    const shares = new Shares({ value: 50, sparesLoopback: true });
    const bounds = { ...NO_LIMITS, ...limits };
    const maps = new ChannelMaps({ log, state, logger, rules: RULES, limits: bounds, shares });
    this.#nodes.push(maps);
    return maps;
  }

  async set(key: string, text: string, more: Partial<DraftOptions> = {}) {
    return await this.hub.publish(draftOf({ key, payload: { kind: "text", text }, ...more }));
  }

  async remove(key: string, more: Partial<DraftOptions> = {}) {
    return await this.hub.publish(draftOf({ key, removed: true, ...more }));
  }

  /** Resolves when as many messages were announced. */
  async until(count: number): Promise<void> {
    while (this.seen.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const maps of this.#nodes) await maps[Symbol.asyncDispose]();
    await this.log[Symbol.asyncDispose]();
  }
}

function draftOf(options: Partial<DraftOptions>) {
  return createDraft({ channel: "scores", payload: { kind: "json", text: "null" }, ...options });
}

/** What a map says, by key. */
async function readAll(maps: ChannelMaps, channel = "scores"): Promise<Record<string, string>> {
  const { messages } = (await maps.find(channel)).page(undefined, Infinity, Infinity);
  return Object.fromEntries(messages.map(({ properties, payload }) => {
    assert.ok(payload.kind !== "bytes");
    return [properties?.key, payload.text];
  }));
}

async function assertRefused(promise: Promise<unknown>, code: string, message: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

Deno.test("A key is what the last message set it to, in pages by the order of keys", async () => {
  await using bench = new Bench();
  await bench.set("b", "1");
  await bench.set("a", "1");
  await bench.set("b", "2");
  await bench.set("c", "1", { channel: "others" });
  await bench.set("c", "1");
  await bench.remove("a");
  assert.deepEqual(await readAll(bench.maps), { b: "2", c: "1" });
  assert.deepEqual(await bench.state.keys(), { b: "2", c: "1" });
  const map = await bench.maps.find("scores");
  const first = map.page(undefined, 1, Infinity);
  assert.deepEqual([first.messages.length, first.cursor], [1, "b"]);
  const last = map.page(first.cursor, 1, Infinity);
  assert.deepEqual([last.messages[0]?.properties?.key, last.cursor], ["c", undefined]);
  // However little room there is, a page has something.
  assert.equal(map.page(undefined, 10, 1).messages.length, 1);
});

Deno.test("A channel that is cleared while a node loads is empty there too", async () => {
  await using bench = new Bench();
  await bench.set("k", "1");
  const { list } = bench.state;
  const listed = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  bench.state.list = async function* (prefix) {
    const items = await Array.fromAsync(list.call(bench.state, prefix));
    listed.resolve();
    await gate.promise;
    yield* items;
  };
  const other = bench.start();
  const loading = other.load();
  await listed.promise;
  const { top } = bench.log;
  await bench.hub.clear("scores");
  other.forget({ kind: "all", channel: "scores", offset: 1, ...top });
  gate.resolve();
  await loading;
  assert.deepEqual(await readAll(other), {});
  assert.deepEqual(await readAll(bench.maps), {});
});

Deno.test("The log is told whether a channel that is cleared has keys, which it may not keep messages of", async () => {
  await using bench = new Bench();
  const { hub } = bench;
  const log: Log = bench.log;
  const told: unknown[] = [];
  const { clear } = log;
  log.clear = (channel, hasKeys) => {
    told.push(hasKeys);
    return clear.call(log, channel);
  };
  await hub.clear("scores");
  await bench.set("k", "1");
  await hub.clear("scores");
  await hub.clear("scores");
  assert.deepEqual(told, [false, true, false]);
});

Deno.test("A key that is being set is there to be removed, and one that is being removed is not", async () => {
  await using bench = new Bench();
  const { log, maps } = bench;
  await maps.find("scores");
  const under = [bench.set("a", "1"), bench.remove("b")];
  log.read = () => assert.fail("A log of one process tells all that it has stored");
  assert.deepEqual(await Promise.all(["a", "b"].map((key) => maps.has("scores", key))), [true, false]);
  await Promise.all(under);
});

Deno.test("A removal carries the tags of what it removes, so that filters let it pass", async () => {
  await using bench = new Bench();
  await bench.set("a", "1", { tags: new Map([["team", "eng"]]) });
  await bench.remove("a");
  assert.deepEqual(bench.seen[1]?.properties, { key: "a", removed: true, user: [["team", "eng"]] });
});

Deno.test("A restart and a history that is gone leave every key", async () => {
  await using bench = new Bench();
  const channel = "small/a";
  for (let i = 0; i < 10; i++) await bench.set(`k${i}`, "x", { channel });
  await bench.remove("k3", { channel });
  const { k3: _, ...left } = Object.fromEntries(Array.from({ length: 10 }, (_, i) => [`k${i}`, "x"]));
  assert.deepEqual(await readAll(bench.start(), channel), left);
});

Deno.test("What a server stored and did not keep before it was killed is found at the next start", async () => {
  await using bench = new Bench();
  await bench.set("a", "1");
  await bench.set("b", "1");
  await bench.set("c", "1");
  // Killed right after the log had them: nobody was told yet.
  await bench.log.append(draftOf({ key: "b", removed: true }));
  await bench.log.append(draftOf({ key: "d", payload: { kind: "text", text: "2" } }));
  await bench.log.append(draftOf({ key: "a", payload: { kind: "text", text: "2" } }));
  await bench.maps.settled("scores");
  const restarted = bench.start();
  assert.deepEqual(await readAll(restarted), { a: "2", c: "1", d: "2" });
  await restarted.settled("scores");
  assert.deepEqual(await bench.state.keys(), { a: "2", c: "1", d: "2" });
});

Deno.test("A publish is confirmed when its key is kept, however long the engine is away", async () => {
  await using bench = new Bench();
  bench.state.isAway = true;
  let isConfirmed = false;
  const publishing = bench.set("a", "1").then(() => isConfirmed = true);
  await bench.until(1);
  await bench.state.failed.promise;
  assert.equal(isConfirmed, false);
  bench.state.isAway = false;
  await publishing;
  assert.deepEqual(await bench.state.keys(), { a: "1" });
});

Deno.test("A node that writes late does not bring back what another one removed", async () => {
  await using bench = new Bench();
  const other = bench.start();
  bench.hub.observe((messages) => other.observe(messages));
  await other.find("scores");
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.state.gate = promise;
  const publishing = bench.set("a", "1");
  await bench.until(1);
  await other.append(draftOf({ key: "a", removed: true }));
  assert.deepEqual(await bench.state.keys(), {});
  resolve();
  await publishing;
  await bench.maps.settled("scores");
  assert.deepEqual(await bench.state.keys(), {});
  assert.deepEqual([await readAll(bench.maps), await readAll(other)], [{}, {}]);
});

Deno.test("A node that was not the last to write a key writes it all the same", async () => {
  await using bench = new Bench();
  const other = bench.start();
  bench.hub.observe((messages) => other.observe(messages));
  await bench.set("a", "1");
  await other.append(draftOf({ key: "a", payload: { kind: "text", text: "2" } }));
  await bench.set("a", "3");
  assert.deepEqual(await bench.state.keys(), { a: "3" });
  await other.append(draftOf({ key: "a", removed: true }));
  assert.deepEqual(await bench.state.keys(), {});
});

Deno.test("A node that hears of messages while it loads knows the later ones", async () => {
  await using bench = new Bench();
  // Its history does not tell.
  const channel = "small/a";
  for (const key of ["a", "b", "c"]) await bench.set(key, "1", { channel });
  // As the state was when the load began.
  const state = new TestState();
  for await (const { key, value } of bench.state.list("map-")) state.place(key, value);
  await bench.set("a", "2", { channel });
  await bench.remove("b", { channel });
  for (let i = 0; i < 2; i++) await bench.hub.publish(draftOf({ channel }));
  const { log, logger } = bench;
  await using late = new ChannelMaps({ log, state, logger, rules: RULES, limits: NO_LIMITS });
  late.observe(bench.seen.slice(3));
  await late.load();
  assert.deepEqual(await readAll(late, channel), { a: "2", c: "1" });
});

Deno.test("Nodes that set a key at a time agree on the message that came last", async () => {
  await using bench = new Bench();
  const other = bench.start();
  bench.hub.observe((messages) => other.observe(messages));
  await Promise.all(Array.from({ length: 40 }, (_, i) => {
    const payload = { kind: "text", text: String(i) } as const;
    return i % 2 === 0 ? bench.set("a", String(i)) : other.append(draftOf({ key: "a", payload }));
  }));
  const last = bench.seen.at(-1)?.payload;
  assert.ok(last?.kind === "text");
  assert.deepEqual(await bench.state.keys(), { a: last.text });
  assert.deepEqual([await readAll(bench.maps), await readAll(other)], [{ a: last.text }, { a: last.text }]);
});

Deno.test("Maps have bounds, each error names its setting, and what is there can be changed and removed", async () => {
  await using bench = new Bench({ maxMapKeys: 3, maxAllMapKeys: 4, maxMapBytes: 1_000 });
  const outcomes = await Promise.allSettled(
    Array.from({ length: 10 }, (_, i) => bench.set(`k${i}`, "x")),
  );
  assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 3);
  await assertRefused(bench.set("new", "x"), "too_many_keys", /--max-map-keys/);
  await bench.set("k0", "y");
  await bench.set("a", "x", { channel: "others" });
  await assertRefused(bench.set("b", "x", { channel: "others" }), "too_many_keys", /--max-all-map-keys/);
  await assertRefused(bench.set("k0", "x".repeat(1_000)), "too_many_keys", /--max-map-bytes/);
  await bench.remove("k1");
  await bench.set("new", "x");
  assert.deepEqual(await readAll(bench.maps), { k0: "y", k2: "x", new: "x" });
});

Deno.test("Publishes at a time keep to the bounds of all maps, and give back what they did not take", async () => {
  const setAll = async (bench: Bench, text: string) => {
    const outcomes = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) => bench.set("k", text, { channel: `c${i}` })),
    );
    return outcomes.filter(({ status }) => status === "fulfilled").length;
  };
  await using byKeys = new Bench({ maxAllMapKeys: 4 });
  assert.equal(await setAll(byKeys, "x"), 4);
  await byKeys.remove("k", { channel: "c0" });
  await byKeys.set("k", "x", { channel: "another" });
  await using byBytes = new Bench({ maxMapBytes: 450 });
  assert.equal(await setAll(byBytes, "x".repeat(100)), 4);
  await byBytes.remove("k", { channel: "c0" });
  await byBytes.set("k", "x".repeat(100), { channel: "another" });
});

Deno.test("A user or address has its share of the keys and bytes of all maps, also after a restart", async () => {
  await using bench = new Bench({ maxAllMapKeys: 6, maxMapBytes: 1_000 });
  const mine = { owner: "me" };
  for (const channel of ["a", "b", "c"]) await bench.set("k", "x", { channel, ...mine });
  await assertRefused(bench.set("k", "x", { channel: "d", ...mine }), "share_used_up", /3 keys/);
  await bench.set("k", "y", { channel: "a", ...mine });
  await assertRefused(
    bench.set("k", "x".repeat(600), { channel: "a", ...mine }),
    "share_used_up",
    /500 bytes/,
  );
  await bench.set("k", "x", { channel: "d", owner: "you" });
  const restarted = bench.start({ maxAllMapKeys: 6 });
  await restarted.load();
  await assertRefused(
    restarted.append(draftOf({ channel: "e", key: "k", payload: { kind: "text", text: "x" }, ...mine })),
    "share_used_up",
    /3 keys/,
  );
  // Whoever sets a key last has it, and what is removed, taken back or cleared is nobody's.
  await bench.set("k", "x", { channel: "a", owner: "you" });
  await bench.set("k", "x", { channel: "e", ...mine });
  await bench.remove("k", { channel: "b", owner: "you" });
  await bench.hub.clear("c");
  for (const channel of ["b", "c"]) await bench.set("k", "x", { channel, ...mine });
  await assertRefused(bench.set("k2", "x", { channel: "a", ...mine }), "share_used_up", /3 keys/);
});

Deno.test("Channels whose messages are not kept, or passed over, have no map", async () => {
  await using bench = new Bench();
  await assertRefused(bench.set("a", "1", { channel: "quiet" }), "not_available", /ephemeral/);
  await assertRefused(bench.set("a", "1", { channel: "cursors" }), "not_available", /conflate/);
  assert.throws(() => draftOf({ key: "a", ephemeral: true }), /leave out ephemeral/);
  assert.throws(() => draftOf({ removed: true }), /name one/);
  assert.throws(() => draftOf({ key: "" }), /1 to 255/);
  assert.throws(() => draftOf({ key: "a\n" }), /control characters/);
});

Deno.test("Clearing a channel empties its map for good, and tells who watches it", async () => {
  await using bench = new Bench();
  await bench.set("a", "1");
  await bench.set("b", "1");
  let told = 0;
  (await bench.maps.find("scores")).watch(() => told++);
  await bench.hub.clear("scores");
  assert.equal(told, 1);
  assert.deepEqual(await bench.state.keys(), {});
  assert.deepEqual(await readAll(bench.start()), {});
  await bench.set("b", "2");
  assert.deepEqual(await readAll(bench.maps), { b: "2" });
});

Deno.test("A message that is taken back takes the key along that it set, and no later value", async () => {
  await using bench = new Bench();
  const first = await bench.set("a", "1");
  const second = await bench.set("b", "1");
  await bench.set("a", "2");
  await bench.hub.remove("scores", first);
  assert.deepEqual(await readAll(bench.maps), { a: "2", b: "1" });
  await bench.hub.remove("scores", second);
  assert.deepEqual(await readAll(bench.maps), { a: "2" });
  assert.deepEqual(await bench.state.keys(), { a: "2" });
});

Deno.test("A key whose time is up is removed by a message, unless it was set anew", async () => {
  await using bench = new Bench();
  const channel = "short/a";
  await bench.set("a", "1", { channel });
  await bench.set("b", "1", { channel });
  await bench.set("b", "2", { channel, ttl: 60 });
  const { time } = bench.seen[0]!;
  await bench.until(4);
  const removal = bench.seen[3]!;
  assert.deepEqual(removal.properties, { key: "a", removed: true });
  assert.ok(removal.time - time >= 1_000, `${removal.time - time} ms`);
  assert.deepEqual(await readAll(bench.maps, channel), { b: "2" });
});

Deno.test("The others remove a key whose node is gone, with one message", async () => {
  await using bench = new Bench();
  const others = [bench.start(), bench.start(), bench.start()];
  for (const other of others) bench.hub.observe((messages) => other.observe(messages));
  await bench.set("a", "1", { channel: "short/a" });
  await bench.maps[Symbol.asyncDispose]();
  await bench.until(2);
  // What they still have to say of it comes first.
  for (const other of others) await other[Symbol.asyncDispose]();
  await bench.log.append(draftOf({ channel: "short/a" }));
  assert.deepEqual(bench.seen.map(({ properties }) => properties), [
    { key: "a", keyTtl: 1 },
    { key: "a", removed: true },
    undefined,
  ]);
});

Deno.test("What has expired while no server ran is removed after the start", async () => {
  await using bench = new Bench();
  await bench.maps[Symbol.asyncDispose]();
  const { epoch } = bench.log.top;
  const place = { channel: "short/a", epoch, sequence: 1, offset: 1, time: Date.now() - 5_000 };
  const properties = { key: "a", keyTtl: 1 };
  bench.state.place("map-x", JSON.stringify({ ...place, properties, payload: { kind: "text", data: "1" } }));
  const restarted = bench.start();
  await restarted.load();
  // Nobody gets it any more, though it is there until its removal is published.
  const map = await restarted.find("short/a");
  assert.notEqual(map.get("a"), undefined);
  assert.equal(map.read("a"), undefined);
  assert.deepEqual([map.size, map.countReadable()], [1, 0]);
  assert.equal(await restarted.has("short/a", "a"), false);
  assert.deepEqual(await readAll(restarted, "short/a"), {});
  await bench.until(1);
  assert.deepEqual(bench.seen[0]?.properties, { key: "a", removed: true });
});

Deno.test("An entry that is not ours is logged and passed over", async () => {
  await using bench = new Bench();
  bench.state.place("map-x", "{}");
  bench.state.place("map-y", "");
  assert.deepEqual(await readAll(bench.maps), {});
  assert.equal(bench.logger.find("a value of a map is lost").length, 2);
});
