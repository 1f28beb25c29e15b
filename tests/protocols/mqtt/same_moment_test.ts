/** Connections that come with one client id at the same moment: exactly one stays, and the will that is kept is its own. */
import assert from "node:assert/strict";
import { createApp, OPENERS } from "../../../lib/app.ts";
import { Cluster } from "../../../lib/core/cluster/cluster.ts";
import { MemoryState } from "../../../lib/core/memory_state.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { type FakeBus, FakeNetwork } from "../../fakes/bus.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { settle } from "../../fakes/schedule.ts";
import { createConfig } from "../../test_app.ts";
import { RawClient } from "./app.ts";

const CALL = "mqtt.takeOver";

/** A network that delivers at once, unless it is held. */
class HeldNetwork extends FakeNetwork {
  #isHeld = false;
  #calls = 0;
  #wake = () => {};

  override publish(from: FakeBus, topic: string, bytes: Uint8Array): void {
    super.publish(from, topic, bytes);
    if (new TextDecoder().decode(bytes).includes(CALL)) {
      this.#calls++;
      this.#wake();
    }
    if (!this.#isHeld) queueMicrotask(() => this.#deliverAll());
  }

  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#deliverAll();
  }

  /** Resolves when nodes have asked others so often for a client id. */
  async untilAsked(count: number): Promise<void> {
    while (this.#calls < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  #deliverAll(): void {
    while (this.waiting > 0 && !this.#isHeld) this.deliver();
  }
}

/** What nodes share; writes of wills wait while they are held. */
class HeldState extends MemoryState {
  /** Whether a write waits before it is carried out, or only its answer does. */
  holds: "write" | "answer" | undefined;
  readonly #held = Promise.withResolvers<void>();
  readonly #reached = Promise.withResolvers<void>();
  /** Keys of sessions in the order in which they were written. */
  readonly sessions: string[] = [];
  #wake = () => {};

  override async write(key: string, value: string, revision: number): Promise<number | undefined> {
    const { holds } = this;
    if (key.startsWith("mqtt-session-")) {
      this.sessions.push(key);
      this.#wake();
    }
    if (holds === undefined || !key.startsWith("mqtt-will-")) return await super.write(key, value, revision);
    this.holds = undefined;
    const early = holds === "answer" ? super.write(key, value, revision) : undefined;
    this.#reached.resolve();
    await this.#held.promise;
    return await (early ?? super.write(key, value, revision));
  }

  /** Resolves when a will is about to be kept. */
  get reached(): Promise<void> {
    return this.#reached.promise;
  }

  release(): void {
    this.#held.resolve();
  }

  async untilSessionsWritten(count: number): Promise<void> {
    while (this.sessions.length < count) await new Promise<void>((resolve) => this.#wake = resolve);
  }

  async listWills(): Promise<string[]> {
    const items = await Array.fromAsync(this.list("mqtt-will-"));
    return items.map(({ value }) => JSON.parse(value).draft.channel as string);
  }
}

async function startNode(bus: FakeBus, state: MemoryState, ...settings: readonly string[]) {
  const logger = new RecordingLogger();
  const openEngine = () =>
    Promise.resolve(Object.assign(new MemoryEngine({ rules: new Rules() }), { bus, state }));
  const config = createConfig("--mqtt-port", "0", "--workers", "1", ...settings);
  const app = await createApp(config, logger, undefined, { ...OPENERS, openEngine });
  const [fields] = logger.find("listening for mqtt");
  const published: string[] = [];
  app.hub.observe((messages) => published.push(...messages.map(({ channel }) => channel)), "delivered");
  return {
    app,
    published,
    mqttPort: Number(fields?.port),
    /** Resolves when so many connections are open, as far as limits go. */
    async untilConnections(count: number) {
      while (app.connectionCount !== count) await settle();
    },
    connect: (hex: string) => connect(Number(fields?.port), hex),
    [Symbol.asyncDispose]: () => app[Symbol.asyncDispose](),
  };
}

/** Opens ports to which everybody comes from an address. */
async function listenFor<T>(address: string | undefined, open: () => Promise<T>): Promise<T> {
  if (address === undefined) return await open();
  const { listen } = Deno;
  Deno.listen = ((options: Deno.TcpListenOptions) => {
    const listener = listen(options);
    const accept = listener.accept.bind(listener);
    const value: Deno.NetAddr = { transport: "tcp", hostname: address, port: 1_883 };
    listener.accept = async () => Object.defineProperty(await accept(), "remoteAddr", { value });
    return listener;
  }) as typeof listen;
  try {
    return await open();
  } finally {
    Deno.listen = listen;
  }
}

/** Two nodes that have found each other. @param address from which clients come to the second one */
async function startNodes(state = new MemoryState(), address?: string) {
  await using stack = new AsyncDisposableStack();
  const network = new HeldNetwork();
  const nodes = [
    stack.use(await startNode(network.connect(), state)),
    stack.use(await listenFor(address, () => startNode(network.connect(), state))),
  ] as const;
  await settle();
  for (const { app } of nodes) assert.equal(app.cluster?.hasPeers, true);
  const opened = stack.move();
  return { network, nodes, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function connect(mqttPort: number, hex: string) {
  const client = await RawClient.open({ mqttPort } as Parameters<typeof RawClient.open>[0]);
  await client.send(hex);
  return {
    client,
    /** The reason code of CONNACK, or the return code; undefined where the connection ends without one. */
    async readConnack(): Promise<number | undefined> {
      const head = await client.read(2);
      if (head === "") return undefined;
      assert.equal(head.slice(0, 2), "20");
      return parseInt((await client.read(parseInt(head.slice(2), 16))).slice(2, 4), 16);
    },
    async ping(): Promise<string> {
      await client.send("c000");
      return await client.read(2);
    },
    [Symbol.dispose]: () => client[Symbol.dispose](),
  };
}

/** CONNECT with a clean start, a keep-alive of 60 s and the client id "lamp". */
const CONNECT_5 = "10110004 4d515454 05 02 003c 00 0004 6c616d70";
const CONNECT_4 = "10100004 4d515454 04 02 003c 0004 6c616d70";

/** CONNECT of 5.0 with a session that lasts a second: of "gone" with the will "x" for "a", and of "stay". */
const CONNECT_LASTING = {
  will: "101d0004 4d515454 05 04 003c 05 11 00000001 0004 676f6e65 00 0001 61 0001 78",
  plain: "10160004 4d515454 05 00 003c 05 11 00000001 0004 73746179",
};

/** The CONNECT of "lamp" in 3.1.1, with the will "x" for a topic of one letter. */
function connectWithWill(topic: string): string {
  const letter = topic.charCodeAt(0).toString(16);
  return `10160004 4d515454 04 06 003c 0004 6c616d70 0001 ${letter} 0001 78`;
}

for (const [version, hex, refusal] of [["5.0", CONNECT_5, 0x89], ["3.1.1", CONNECT_4, 3]] as const) {
  Deno.test(`MQTT ${version}: of two connections at the same moment on two nodes one stays, the other is refused`, async () => {
    await using bench = await startNodes();
    const { network, nodes: [a, b] } = bench;
    network.hold();
    using one = await a.connect(hex);
    await network.untilAsked(1);
    using other = await b.connect(hex);
    await network.untilAsked(2);
    network.release();
    const reasons = await Promise.all([one.readConnack(), other.readConnack()]);
    assert.deepEqual(reasons.toSorted((x, y) => (x ?? -1) - (y ?? -1)), [0, refusal]);
    const [winner, loser] = reasons[0] === 0 ? [one, other] : [other, one];
    assert.equal(await loser.client.readAll(), "");
    assert.equal(await winner.ping(), "d000");
  });

  Deno.test(`MQTT ${version}: of two connections on one node that asks others the second stays`, async () => {
    await using bench = await startNodes();
    const { network, nodes: [a] } = bench;
    network.hold();
    using one = await a.connect(hex);
    await network.untilAsked(1);
    using other = await a.connect(hex);
    // Its own question need not wait for what others answered to that of the first.
    await network.untilAsked(2);
    network.release();
    assert.deepEqual([await one.readConnack(), await other.readConnack()], [refusal, 0]);
    assert.equal(await one.client.readAll(), "");
    assert.equal(await other.ping(), "d000");
  });
}

for (const version of ["5.0", "3.1.1"] as const) {
  const hex = version === "5.0" ? CONNECT_5 : CONNECT_4;
  for (const when of ["in time", "after the deadline"] as const) {
    Deno.test(`MQTT ${version}: a client is taken over from a node that answers ${when} by one at another address`, async () => {
      await using bench = await startNodes(new MemoryState(), "127.0.0.2");
      const { network, nodes: [a, b] } = bench;
      using one = await a.connect(hex);
      assert.equal(await one.readConnack(), 0);
      await settle();
      const { hub } = b.app;
      assert.ok(hub.isIdTaken("lamp", "127.0.0.2") && !hub.isIdTaken("lamp", "127.0.0.1"));
      if (when !== "in time") network.hold();
      using other = await b.connect(hex);
      assert.equal(await other.readConnack(), 0);
      network.release();
      const end = await one.client.readAll();
      assert.equal(end.slice(0, 2), version === "5.0" ? "e0" : "");
      assert.equal(await other.ping(), "d000");
    });
  }
}

for (const holds of ["write", "answer"] as const) {
  for (const [place, second] of [["its node", 0], ["another node", 1]] as const) {
    Deno.test(`A client taken over from ${place} while its will is being kept (${holds}) leaves the winner's will`, async () => {
      const state = new HeldState();
      await using bench = await startNodes(state);
      const { nodes } = bench;
      state.holds = holds;
      using one = await nodes[0].connect(connectWithWill("a"));
      await state.reached;
      using other = await nodes[second].connect(connectWithWill("b"));
      assert.equal(await one.readConnack(), 3);
      await settle();
      state.release();
      assert.equal(await other.readConnack(), 0);
      await settle();
      assert.deepEqual(await state.listWills(), ["b"]);
      await other.client.send("e000");
      assert.equal(await other.client.readAll(), "");
      await nodes[second].app[Symbol.asyncDispose]();
      assert.deepEqual(await state.listWills(), []);
      assert.deepEqual(nodes.flatMap(({ published }) => published), []);
    });
  }
}

Deno.test("The session of a client that hung up before CONNACK is not stored again: it expires", async () => {
  const state = new HeldState();
  await using node = await startNode(new FakeNetwork().connect(), state);
  state.holds = "write";
  {
    using _gone = await node.connect(CONNECT_LASTING.will);
    await state.reached;
  }
  await node.untilConnections(0);
  state.release();
  // A session of a second is stored every half one: the first would be between these.
  using _other = await node.connect(CONNECT_LASTING.plain);
  await state.untilSessionsWritten(4);
  const [first, ...others] = state.sessions;
  assert.deepEqual(new Set(others).size, 1);
  assert.ok(first !== undefined && !others.includes(first));
  assert.deepEqual(await state.listWills(), []);
});

Deno.test("A client that waits for its CONNACK is refused with it when the server drains", async () => {
  await using bench = await startNodes();
  const { network, nodes: [a] } = bench;
  network.hold();
  using client = await a.connect(CONNECT_5);
  await network.untilAsked(1);
  a.app.drain();
  assert.equal(await client.readConnack(), 0x88);
  assert.equal(await client.client.readAll(), "");
});

Deno.test("A client that waits too long for its CONNACK is refused with it", async () => {
  const state = new HeldState();
  await using node = await startNode(new FakeNetwork().connect(), state, "--mqtt-connect-timeout", "1");
  state.holds = "write";
  using client = await node.connect(connectWithWill("a"));
  assert.equal(await client.readConnack(), 3);
  assert.equal(await client.client.readAll(), "");
  state.release();
});

Deno.test("A node answers questions about client ids before it listens for MQTT", async () => {
  const network = new HeldNetwork();
  using peer = new Cluster({ bus: network.connect(), node: "peer", logger: new RecordingLogger() });
  peer.start(() => ({
    name: "peer",
    version: "test",
    startedAt: 0,
    clients: 0,
    users: 0,
    subscriptions: 0,
    channels: 0,
    published: 0,
    delivered: 0,
  }));
  const { listen } = Deno;
  let asking: ReturnType<Cluster["callAll"]> | undefined;
  Deno.listen = ((options: Deno.TcpListenOptions) => {
    const claim = { clientId: "lamp", user: null, isTrusted: true, hasKey: false, time: 1, node: "peer" };
    asking ??= peer.callAll(CALL, claim);
    network.release();
    return listen(options);
  }) as typeof listen;
  try {
    await using _node = await startNode(network.connect(), new MemoryState());
    const outcomes = await asking;
    assert.deepEqual([...outcomes?.values() ?? []], [{ kind: "answered", body: { mayTake: true } }]);
  } finally {
    Deno.listen = listen;
  }
});
