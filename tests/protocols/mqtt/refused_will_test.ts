/** Clients that are refused, or hang up, before CONNACK: their wills and sessions, and the will that waited for them. */
import assert from "node:assert/strict";
import { createApp, OPENERS } from "../../../lib/app.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { FakeNetwork } from "../../fakes/bus.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { settle } from "../../fakes/schedule.ts";
import { createClient } from "../../fakes/socket.ts";
import { createConfig } from "../../test_app.ts";
import { RawClient } from "./app.ts";

/** Notes what is done to sessions and wills, and holds or fails it where a test says so. */
class NotedState extends MemoryState {
  /** The keys of sessions that were written. */
  readonly sessions: string[] = [];
  readonly steps: string[] = [];
  /** Each will as it was written. */
  readonly wills: { readonly channel: string; readonly dueAt: number | null }[] = [];
  /** Lets the next write of a will fail. */
  failsWill = false;
  #failing: PromiseWithResolvers<void> | undefined;
  #held: Promise<void> | undefined;
  #reach = () => {};
  #wake = () => {};

  override async read(key: string) {
    if (key === this.sessions[0]) this.steps.push("session read");
    return await super.read(key);
  }

  override async write(key: string, value: string, revision: number): Promise<number | undefined> {
    if (key.startsWith("mqtt-session-")) this.#takeSession(key);
    if (key.startsWith("mqtt-will-")) {
      this.#reach();
      await this.#held;
      if (this.failsWill) {
        this.failsWill = false;
        throw new MessagingError("log_unavailable", "down");
      }
      this.steps.push("will written");
      const { draft: { channel }, dueAt } = JSON.parse(value);
      this.wills.push({ channel, dueAt });
      this.#wake();
    }
    return await super.write(key, value, revision);
  }

  override async delete(key: string, revision: number): Promise<boolean> {
    if (key.startsWith("mqtt-session-")) this.#takeSession(key);
    // Engines take a while: whoever goes on without waiting is found out.
    if (key.startsWith("mqtt-will-")) await settle();
    return await super.delete(key, revision);
  }

  #takeSession(key: string): void {
    const failing = this.#failing;
    this.#failing = undefined;
    failing?.resolve();
    if (failing !== undefined) throw new MessagingError("log_unavailable", "down");
    this.sessions.push(key);
  }

  /** Lets the next write or removal of a session fail. Resolves when it does. */
  failSession(): Promise<void> {
    this.#failing = Promise.withResolvers();
    return this.#failing.promise;
  }

  /** Lets writes of wills wait. */
  holdWills(): { readonly reached: Promise<void>; release(): void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#held = promise;
    return { reached: new Promise((reach) => this.#reach = reach), release: resolve };
  }

  async untilWillsWritten(count: number): Promise<void> {
    while (this.wills.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  async count(prefix: string): Promise<number> {
    return (await Array.fromAsync(this.list(prefix))).length;
  }

  async listWills(): Promise<string[]> {
    const items = await Array.fromAsync(this.list("mqtt-will-"));
    return items.map(({ value }) => JSON.parse(value).draft.channel as string);
  }
}

async function startNode(state: MemoryState) {
  const logger = new RecordingLogger();
  const bus = new FakeNetwork().connect();
  const openEngine = () =>
    Promise.resolve(Object.assign(new MemoryEngine({ rules: new Rules() }), { bus, state }));
  const config = createConfig("--mqtt-port", "0", "--workers", "1");
  const app = await createApp(config, logger, undefined, { ...OPENERS, openEngine });
  const [fields] = logger.find("listening for mqtt");
  const mqttPort = Number(fields?.port);
  const published: string[] = [];
  app.hub.observe((messages) => published.push(...messages.map(({ channel }) => channel)), "delivered");
  return {
    app,
    published,
    /** Resolves when so many connections are open, as far as limits go. */
    async untilConnections(count: number) {
      while (app.connectionCount !== count) await settle();
    },
    async connect(hex: string): Promise<RawClient> {
      const client = await RawClient.open({ mqttPort } as Parameters<typeof RawClient.open>[0]);
      await client.send(hex);
      return client;
    },
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

/** CONNECT of "lamp" in 5.0 with a session of 600 s and the will "x" for "a", without a delay. */
const CONNECT = "101d0004 4d515454 05 04 003c 05 11 00000258 0004 6c616d70 00 0001 61 0001 78";
/** The same with a delay of 60 s for the will, and with one for "b" instead. */
const CONNECT_DELAYED =
  "10220004 4d515454 05 04 003c 05 11 00000258 0004 6c616d70 05 18 0000003c 0001 61 0001 78";
const CONNECT_NEXT = "101d0004 4d515454 05 04 003c 05 11 00000258 0004 6c616d70 00 0001 62 0001 78";
/** The same without a will, and that of "desk". */
const CONNECT_PLAIN = "10160004 4d515454 05 00 003c 05 11 00000258 0004 6c616d70";
const CONNECT_OTHER = "10160004 4d515454 05 00 003c 05 11 00000258 0004 6465736b";

/** The reason code of CONNACK; undefined where the connection ends without one. */
async function readConnack(client: RawClient): Promise<number | undefined> {
  const head = await client.read(2);
  if (head === "") return undefined;
  assert.equal(head.slice(0, 2), "20");
  return parseInt((await client.read(parseInt(head.slice(2), 16))).slice(2, 4), 16);
}

Deno.test("A client that is refused as its id is taken has no will, and its session is not stored again", async () => {
  const state = new NotedState();
  await using node = await startNode(state);
  node.app.hub.connect(createClient({ id: "lamp", address: "192.0.2.1" }));
  using client = await node.connect(CONNECT);
  assert.equal(await readConnack(client), 0x85);
  assert.equal(await client.readAll(), "");
  await settle();
  assert.deepEqual(await state.listWills(), []);
  await node.app[Symbol.asyncDispose]();
  assert.deepEqual(node.published, []);
  assert.equal(state.sessions.length, 1, "it was claimed before CONNACK, and not written after it");
});

Deno.test("A session that cannot be stored waits for its will, before another connection has the client id", async () => {
  const state = new NotedState();
  await using node = await startNode(state);
  using client = await node.connect(CONNECT_DELAYED);
  assert.equal(await readConnack(client), 0);
  const failed = state.failSession();
  const will = state.holdWills();
  await client.finish();
  await Promise.all([failed, will.reached]);
  state.steps.length = 0;
  using next = await node.connect(CONNECT_PLAIN);
  // What this one needs, the other would have done by then.
  using other = await node.connect(CONNECT_OTHER);
  assert.equal(await readConnack(other), 0);
  await settle();
  will.release();
  assert.equal(await readConnack(next), 0);
  assert.deepEqual(state.steps.slice(0, 2), ["will written", "session read"]);
});

Deno.test("Packet ids of a session that its client ends are freed although the session cannot be removed", async () => {
  const state = new NotedState();
  await using node = await startNode(state);
  using client = await node.connect(CONNECT_PLAIN);
  assert.equal(await readConnack(client), 0);
  await client.send("34070001 61 0001 00 78");
  // PUBREC: stored, without a subscriber.
  assert.equal(await client.read(6), "500400011000");
  assert.equal(await state.count("mqtt-id-"), 1);
  const failed = state.failSession();
  // DISCONNECT with a session expiry of 0.
  await client.send("e007 00 05 11 00000000");
  assert.equal(await client.readAll(), "");
  await failed;
  await node.app[Symbol.asyncDispose]();
  assert.equal(await state.count("mqtt-session-"), 1);
  assert.equal(await state.count("mqtt-id-"), 0);
});

/** A node that keeps the will of "lamp", which has broken off and may come back within a minute. */
async function startWaiting(state: NotedState) {
  const node = await startNode(state);
  using client = await node.connect(CONNECT_DELAYED);
  assert.equal(await readConnack(client), 0);
  await client.finish();
  await state.untilWillsWritten(2);
  await node.untilConnections(0);
  return node;
}

/** Ends the node; what it leaves is the will as it was when the client broke off. */
async function assertWaits({ app, published }: Awaited<ReturnType<typeof startNode>>, state: NotedState) {
  await app[Symbol.asyncDispose]();
  assert.deepEqual(published, []);
  assert.deepEqual(await state.listWills(), ["a"]);
  const [, broken] = state.wills;
  assert.ok(broken !== undefined && broken.dueAt !== null);
  assert.deepEqual(state.wills.at(-1), broken);
}

for (const [what, hex] of [["a will", CONNECT_NEXT], ["no will", CONNECT_PLAIN]] as const) {
  Deno.test(`A will still waits when its client comes back with ${what} and is refused as its id is taken`, async () => {
    const state = new NotedState();
    await using node = await startWaiting(state);
    node.app.hub.connect(createClient({ id: "lamp", address: "192.0.2.1" }));
    using client = await node.connect(hex);
    assert.equal(await readConnack(client), 0x85);
    assert.equal(await client.readAll(), "");
    await assertWaits(node, state);
  });
}

Deno.test("A will still waits when its client comes back and hangs up before CONNACK", async () => {
  const state = new NotedState();
  await using node = await startWaiting(state);
  const will = state.holdWills();
  {
    using _client = await node.connect(CONNECT_NEXT);
    await will.reached;
  }
  await node.untilConnections(0);
  will.release();
  await assertWaits(node, state);
});

Deno.test("A will still waits when its client comes back with one that cannot be kept", async () => {
  const state = new NotedState();
  await using node = await startWaiting(state);
  state.failsWill = true;
  using client = await node.connect(CONNECT_NEXT);
  assert.equal(await readConnack(client), 0x88);
  assert.equal(await client.readAll(), "");
  await assertWaits(node, state);
});
