/** The cluster: what each node knows of the others, and that all of them come to know the same. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Client } from "../../../lib/core/client.ts";
import { directChannel, matchesSelector, selectPatterns } from "../../../lib/core/channel.ts";
import { announceGone } from "../../../lib/core/cluster/topics.ts";
import type { PresenceChange } from "../../../lib/core/presence.ts";
import type { Subscription } from "../../../lib/core/subscription.ts";
import { createDraft } from "../../fakes/message.ts";
import { type FakeNode, FakeNodes, listMembers, read, runUntil, toSelector } from "../../fakes/nodes.ts";
import { createClient } from "../../fakes/socket.ts";

/** The joins and leaves of a channel, as a node announces them. */
function watch({ hub }: FakeNode, channel: string): string[] {
  const seen: string[] = [];
  hub.presence.watch(channel, ({ kind, member }: PresenceChange) => seen.push(`${kind} ${member.id}`));
  return seen;
}

Deno.test("Cluster tells every node who comes and goes on each of them", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const seen = watch(b, "news");
  const john = read(a, "news", { id: "john", name: "John" });
  const jane = read(b, "news", { id: "jane" });
  nodes.settle();
  for (const node of [a, b]) {
    assert.deepEqual(listMembers(node, "news"), ["jane@n2", "john@n1"]);
    assert.deepEqual(node.hub.presence.count("news"), { connections: 2, clients: 2, users: 1 });
  }
  assert.equal(b.hub.presence.listById("news").get("john")?.name, "John");
  a.hub.unsubscribe(john.subscription);
  nodes.settle();
  assert.deepEqual(listMembers(b, "news"), ["jane@n2"]);
  b.hub.disconnect(jane.client);
  nodes.settle();
  assert.deepEqual(listMembers(a, "news"), []);
  assert.deepEqual(seen, ["join jane", "join john", "leave john", "leave jane"]);
});

Deno.test("Cluster knows channels with spaces from lists, and names in every script", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const subscribe = (names: readonly string[], id: string) => {
    const client = createClient({ id });
    a.hub.connect(client);
    return a.hub.subscribe(client, selectPatterns(names));
  };
  const one = subscribe(["my room"], "one");
  subscribe(["my room"], "two");
  subscribe(["新闻 🌧"], "three");
  subscribe(["my", "room"], "four");
  subscribe(["my room/*", "a b"], "five");
  nodes.settle();
  const channels = ["my room", "新闻 🌧", "my", "room", "my room/1", "a b", "a"];
  const count = () => channels.map((name) => b.hub.countSubscribers(name));
  assert.deepEqual(count(), [2, 1, 1, 1, 1, 1, 0]);
  assert.deepEqual(listMembers(b, "my room"), ["one@n1", "two@n1"]);
  a.hub.unsubscribe(one);
  nodes.settle();
  assert.deepEqual(count(), [1, 1, 1, 1, 1, 1, 0]);
  assert.deepEqual(listMembers(b, "my room"), ["two@n1"]);
});

Deno.test("Cluster tells what a member says of itself on one channel on that channel alone", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const client = createClient({ id: "john" });
  a.hub.connect(client);
  const member = {
    id: "john",
    name: undefined,
    protocol: "fake",
    since: 0,
    user: "u1",
    channelInfo: '"chair"',
  };
  a.hub.subscribe(client, toSelector("news"), { member });
  a.hub.subscribe(client, toSelector("ops"));
  nodes.settle();
  assert.equal(b.hub.presence.list("news")[0]?.channelInfo, '"chair"');
  assert.equal(b.hub.presence.list("news")[0]?.user, "u1");
  assert.equal(b.hub.presence.list("ops")[0]?.user, undefined);
  assert.equal(b.hub.presence.list("ops")[0]?.channelInfo, undefined);
});

Deno.test("Presence.listById() numbers those that share an id in the same order on every node", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const first = { ...createClient({ id: "john" }), since: 1 };
  const second = { ...createClient({ id: "john" }), since: 2 };
  b.hub.connect(second);
  b.hub.subscribe(second, toSelector("news"));
  a.hub.connect(first);
  a.hub.subscribe(first, toSelector("news"));
  nodes.settle();
  for (const { hub } of [a, b]) {
    const numbered = [...hub.presence.listById("news")].map(([id, { since }]) => `${id} ${since}`);
    assert.deepEqual(numbered, ["john 1", "john#2 2"]);
  }
});

Deno.test("Hub.publish() counts the sockets of all nodes, and finds a client on whatever node it is", async () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  for (const names of ["news", "news", "*", "news ops"]) read(b, names, { id: "john" });
  read(a, "news");
  nodes.settle();
  const publish = async (draft: Parameters<typeof createDraft>[1]) => {
    const published = a.hub.publish(createDraft("x", draft));
    a.loop.run();
    return (await published).subscribers;
  };
  assert.equal(await publish({}), 5);
  assert.equal(await publish({ channel: "ops" }), 2);
  assert.equal(await publish({ channel: directChannel("john"), to: "john" }), 4);
  assert.equal(await publish({ channel: "ops", to: "john" }), 2);
  await assert.rejects(publish({ channel: "a/b", to: "john" }), { code: "no_such_client" });
  await assert.rejects(publish({ channel: directChannel("jane"), to: "jane" }), { code: "no_such_client" });
});

Deno.test("Hub.connect() leaves an id with whoever is connected by it, on whatever node", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const holder = { ...createClient({ id: "john" }), address: "192.0.2.1" };
  b.hub.connect(holder);
  nodes.settle();
  const thief = { ...createClient({ id: "john" }), address: "192.0.2.2", choseId: true };
  const again = { ...createClient({ id: "john" }), address: "192.0.2.1", choseId: true };
  assert.deepEqual([a.hub.connect(thief), a.hub.connect(again)], [false, true]);
  b.hub.disconnect(holder);
  a.hub.disconnect(again);
  nodes.settle();
  assert.equal(a.hub.connect(thief), true);
});

Deno.test("Hub.listChannels() adds up the readers of all nodes", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  for (const names of ["news", "ops", "a/*"]) read(a, names);
  for (const names of ["news", "news", "b"]) read(b, names);
  nodes.settle();
  for (const { hub } of [a, b]) {
    const channels = [...hub.listChannels()].map(({ channel, subscribers }) => `${channel} ${subscribers}`);
    assert.deepEqual(channels.sort(), ["b 1", "news 3", "ops 1"]);
  }
});

Deno.test("Hub.listChannels() has a channel that is taken locally while the list is read", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(a, "local");
  for (const channel of ["first", "second"]) read(b, channel);
  nodes.settle();
  const seen: string[] = [];
  for (const { channel } of a.hub.listChannels()) {
    seen.push(channel);
    if (channel === "first") read(a, "second");
  }
  assert.deepEqual([...new Set(seen)], ["local", "first", "second"]);
});

Deno.test("Cluster does not bring back a client that left before it was changed", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const { client } = read(a, "news", { id: "john" });
  nodes.settle();
  a.hub.disconnect(client);
  a.cluster.changed(client, []);
  nodes.settle();
  assert.equal(b.cluster.remote.countConnections("john"), 0);
  assert.equal(a.hub.connect({ ...createClient({ id: "john" }), address: "192.0.2.7", choseId: true }), true);
});

Deno.test("Cluster.nodes() says of each node what it says of itself", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(b, "news", { id: "john" });
  read(b, "*", { id: "jane" });
  nodes.pass(1);
  const [self, other, ...rest] = a.hub.nodes();
  assert.deepEqual([self?.node, self?.self, self?.clients, rest.length], ["n1", true, 0, 0]);
  assert.equal(other?.self, false);
  const { node, name, clients, users, subscriptions, channels } = other;
  assert.deepEqual({ node, name, clients, users, subscriptions, channels }, {
    node: "n2",
    name: "n2",
    clients: 2,
    users: 1,
    subscriptions: 2,
    channels: 1,
  });
});

Deno.test("A node that comes late learns page by page what the others have", () => {
  const nodes = new FakeNodes();
  const first = nodes.start(4_000);
  for (let i = 0; i < 300; i++) read(first, `room/${i % 7}`, { id: `c${i}` });
  nodes.settle();
  const late = nodes.start(4_000);
  // While the pages are on their way, there is still coming and going.
  const { client } = read(first, "room/1", { id: "late" });
  for (let i = 0; i < 5; i++) nodes.network.deliver();
  first.loop.run();
  first.hub.disconnect(client);
  for (const gone of [...first.hub.clients].slice(0, 50)) first.hub.disconnect(gone);
  nodes.settle();
  for (let i = 0; i < 7; i++) {
    assert.deepEqual(listMembers(late, `room/${i}`), listMembers(first, `room/${i}`));
  }
  assert.equal(late.hub.presence.count("room/0").connections, 35);
});

Deno.test("A node that stops says so: its members leave at once", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(b, "news", { id: "john" });
  nodes.settle();
  const seen = watch(a, "news");
  nodes.stop(b);
  nodes.settle();
  assert.deepEqual(seen, ["leave john"]);
  assert.equal(a.hub.nodes().length, 1);
});

Deno.test("The threads of a process keep each other's members, however long one between them is busy", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(undefined, "p"), nodes.start(undefined, "p")];
  read(a, "news", { id: "john" });
  nodes.pass(1);
  const seen = watch(b, "news");
  // Both go on and hear nothing of each other.
  a.bus.side = 1;
  nodes.pass(60);
  assert.deepEqual(listMembers(b, "news"), ["john@n1"]);
  a.bus.side = 0;
  nodes.pass(1);
  assert.deepEqual(seen, []);
  // Whoever minds them says that one is dead.
  announceGone(a.bus, "n1");
  nodes.settle();
  assert.deepEqual(seen, ["leave john"]);
});

Deno.test("A node that dies without a word is gone after five seconds, and its members have left", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(b, "news", { id: "john" });
  nodes.settle();
  const seen = watch(a, "news");
  nodes.kill(b);
  nodes.pass(4);
  assert.deepEqual(seen, []);
  nodes.pass(1);
  assert.deepEqual(seen, ["leave john"]);
  assert.equal(a.hub.nodes().length, 1);
  assert.equal(a.hub.countSubscribers("news"), 0);
});

Deno.test("A node that was cut off keeps what it knew, and the others take it back as it is", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(a, "news", { id: "john" });
  const jane = read(b, "news", { id: "jane" });
  nodes.settle();
  b.bus.connected = false;
  b.hub.disconnect(jane.client);
  read(b, "news", { id: "jim" });
  nodes.pass(20);
  assert.deepEqual(listMembers(a, "news"), ["john@n1"]);
  assert.deepEqual(listMembers(b, "news"), ["jim@n2", "john@n1"]);
  const seen = watch(b, "news");
  b.bus.connected = true;
  nodes.pass(2);
  for (const node of [a, b]) assert.deepEqual(listMembers(node, "news"), ["jim@n2", "john@n1"]);
  assert.deepEqual(seen, [], "whoever was there all the time neither left nor came");
});

Deno.test("A node that was held up itself takes nobody for dead", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(b, "news", { id: "john" });
  nodes.settle();
  nodes.now += 60_000;
  a.tick();
  assert.deepEqual(listMembers(a, "news"), ["john@n2"]);
});

Deno.test("A lost change is noticed by the next one, and at the latest by the next beat", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  nodes.settle();
  nodes.network.loses = ({ text }) => text.includes('"changes"') && text.includes('"lost"');
  read(a, "news", { id: "lost" });
  nodes.settle();
  read(a, "news", { id: "john" });
  nodes.network.loses = () => false;
  nodes.settle();
  assert.deepEqual(listMembers(b, "news"), ["john@n1", "lost@n1"]);
  nodes.network.loses = ({ text }) => text.includes('"kind":"changes"');
  read(a, "news", { id: "jane" });
  nodes.settle();
  nodes.network.loses = () => false;
  assert.equal(listMembers(b, "news").length, 2);
  nodes.pass(1);
  assert.deepEqual(listMembers(b, "news"), ["jane@n1", "john@n1", "lost@n1"]);
});

Deno.test("What is no message, or of another version, is complained of once and changes nothing", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  read(b, "news", { id: "john" });
  nodes.settle();
  for (const text of ["", "nonsense", "[]", '{"v":9,"kind":"goodbye","node":"n2"}', '{"v":1,"node":"n2"}']) {
    for (let i = 0; i < 2; i++) b.bus.publish("nodes", new TextEncoder().encode(text));
  }
  nodes.settle();
  assert.deepEqual(listMembers(a, "news"), ["john@n2"]);
  assert.equal(a.logger.entries.filter(({ event }) => event === "node not understood").length, 5);
});

Deno.test("What a client says of itself at great length stays on its node", () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  a.hub.connect({ ...createClient({ id: "short" }), info: '"x"' });
  const client: Client = { ...createClient({ id: "long" }), info: JSON.stringify("x".repeat(20_000)) };
  a.hub.connect(client);
  a.hub.subscribe(client, toSelector("news"));
  nodes.settle();
  assert.equal(b.hub.presence.list("news")[0]?.id, "long");
  assert.equal(b.hub.presence.list("news")[0]?.info, undefined);
});

Deno.test("Cluster.callAll() tells of each node what came of it", async () => {
  const nodes = new FakeNodes();
  const [a, b, c, d] = [nodes.start(), nodes.start(), nodes.start(), nodes.start()];
  nodes.settle();
  b.cluster.handle("add", (body) => (body as number[]).reduce((sum, n) => sum + n, 0));
  c.cluster.handle("add", () => {
    throw new TypeError("cannot add");
  });
  const call = a.cluster.callAll("add", [1, 2]);
  const single = a.cluster.call("n2", "add", [3, 4]);
  nodes.settle();
  await Promise.resolve();
  nodes.kill(d);
  await new Promise((resolve) => setImmediate(resolve));
  nodes.pass(5);
  assert.deepEqual(await single, { kind: "answered", body: 7 });
  assert.deepEqual(
    await call,
    new Map<string, unknown>([
      ["n2", { kind: "answered", body: 3 }],
      ["n3", { kind: "failed", reason: "cannot add" }],
      ["n4", { kind: "silent" }],
    ]),
  );
  await assert.rejects(a.cluster.callAll("add", "x".repeat(1_000_000)), RangeError);
  for (const node of [a, b, c]) nodes.stop(node);
});

Deno.test("A node that is called tells what it has done for that before it answers", async () => {
  const nodes = new FakeNodes();
  const [a, b] = [nodes.start(), nodes.start()];
  const { client } = read(b, "news", { id: "john" });
  nodes.settle();
  assert.equal(a.hub.isIdTaken("john", "elsewhere"), true);
  b.cluster.handle("end", () => b.hub.disconnect(client));
  // The turn of the event loop in which that is done does not end.
  const step = () => nodes.network.deliver();
  await runUntil(nodes, a.cluster.call(b.name, "end", null), step);
  assert.equal(a.hub.isIdTaken("john", "elsewhere"), false);
  assert.deepEqual(listMembers(a, "news"), []);
});

Deno.test("Cluster.callAll() without other nodes is done at once", async () => {
  const nodes = new FakeNodes();
  assert.equal((await nodes.start().cluster.callAll("add", [])).size, 0);
});

type Step =
  | { readonly kind: "connect" | "stop" | "kill" | "part" | "unplug"; readonly node: number }
  | { readonly kind: "subscribe" | "leave" | "disconnect"; readonly node: number; readonly pick: number }
  | { readonly kind: "deliver"; readonly picks: readonly number[] }
  | { readonly kind: "lose" | "pass"; readonly count: number }
  | { readonly kind: "start" | "heal" };

const node = fc.nat({ max: 5 });
const pick = fc.nat({ max: 20 });
const arbitraryStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("connect" as const), node }) },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("subscribe" as const), node, pick }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom("leave" as const, "disconnect" as const), node, pick }),
  },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("deliver" as const), picks: fc.array(pick, { maxLength: 10 }) }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("lose" as const), count: fc.nat({ max: 5 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("pass" as const), count: fc.nat({ max: 3 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("stop" as const, "kill" as const, "part" as const, "unplug" as const),
      node,
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("start" as const, "heal" as const) }) },
);

const CHANNELS = ["a", "b", "b/c"];
const SELECTORS = [...CHANNELS, "*", "b/**", "a b/c"];

/** Nodes to which random things happen, and the truth of what they have. */
class Model {
  readonly nodes = new FakeNodes();
  readonly clients = new Map<FakeNode, Map<Client, Set<Subscription>>>();
  #lose = 0;
  #ids = 0;

  constructor() {
    this.nodes.network.loses = () => this.#lose-- > 0;
    for (let i = 0; i < 3; i++) this.start();
  }

  start(): void {
    // Small messages, that there are many pages.
    if (this.nodes.alive.size < 5) this.clients.set(this.nodes.start(1_200), new Map());
  }

  take(step: Step): void {
    const alive = [...this.nodes.alive];
    const node = "node" in step ? alive[step.node % alive.length] : undefined;
    const clients = node === undefined ? undefined : this.clients.get(node);
    switch (step.kind) {
      case "start":
        return this.start();
      case "heal":
        return this.heal();
      case "deliver":
        for (const { loop } of alive) loop.run();
        for (const pick of step.picks) this.nodes.network.deliver(pick);
        return;
      case "lose":
        this.#lose = step.count;
        return;
      case "pass":
        return this.nodes.pass(step.count);
    }
    if (node === undefined || clients === undefined) return;
    switch (step.kind) {
      case "connect": {
        const client = createClient({
          id: `c${this.#ids++ % 4}`,
          onEnd: (client) => node.hub.disconnect(client),
        });
        node.hub.connect(client);
        clients.set(client, new Set());
        return;
      }
      case "stop":
        this.nodes.stop(node);
        return void this.clients.delete(node);
      case "kill":
        this.nodes.kill(node);
        return void this.clients.delete(node);
      case "part":
        node.bus.side = 1;
        return;
      case "unplug":
        node.bus.connected = false;
        return;
    }
    const [client, subscriptions] = [...clients][step.pick % clients.size] ?? [];
    if (client === undefined || subscriptions === undefined) return;
    switch (step.kind) {
      case "subscribe": {
        const selector = toSelector(SELECTORS[step.pick % SELECTORS.length]!);
        subscriptions.add(node.hub.subscribe(client, selector));
        return;
      }
      case "leave": {
        const [subscription] = subscriptions;
        if (subscription === undefined) return;
        subscriptions.delete(subscription);
        return node.hub.unsubscribe(subscription);
      }
      case "disconnect":
        clients.delete(client);
        return node.hub.disconnect(client);
    }
  }

  heal(): void {
    for (const { bus } of this.nodes.alive) {
      bus.side = 0;
      bus.connected = true;
    }
  }

  /** What everybody should know in the end. */
  check(): void {
    this.#lose = 0;
    this.heal();
    this.nodes.pass(10);
    const all = [...this.clients];
    const names = all.map(([{ name }]) => name).sort();
    for (const channel of CHANNELS) {
      const members = all.flatMap(([{ name }, clients]) =>
        [...clients].filter(([, subscriptions]) =>
          [...subscriptions].some(({ selector }) => selector.channel === channel)
        ).map(([{ id }]) => `${id}@${name}`)
      ).sort();
      const subscribers = all.flatMap(([, clients]) => [...clients.values()].flatMap((set) => [...set]))
        .filter(({ selector }) => matchesSelector(selector, channel)).length;
      for (const [node] of all) {
        assert.deepEqual(listMembers(node, channel), members, `${node.name} on ${channel}`);
        assert.equal(node.hub.countSubscribers(channel), subscribers, `${node.name} on ${channel}`);
      }
    }
    for (const [node] of all) {
      assert.deepEqual(node.hub.nodes().map(({ node }) => node).sort(), names);
      for (const id of ["c0", "c1", "c2", "c3"]) {
        const others = all.filter(([other]) => other !== node);
        const expected = others.flatMap(([, clients]) => [...clients.keys()].filter((c) => c.id === id));
        assert.equal(node.cluster.remote.countConnections(id), expected.length);
      }
    }
    for (const node of [...this.nodes.alive]) this.nodes.stop(node);
  }
}

Deno.test("All nodes agree in the end, whatever came, went, died, was lost or cut off", () => {
  const options = { numRuns: 300 };
  fc.assert(
    fc.property(fc.array(arbitraryStep, { maxLength: 80, size: "max" }), (steps) => {
      const model = new Model();
      for (const step of steps) model.take(step);
      model.check();
    }),
    options,
  );
});
