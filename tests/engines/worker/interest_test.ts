/** Workers are told of what they want: nothing is missed, whatever comes and goes meanwhile, and the rest wakes nobody. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  directChannel,
  matchesPattern,
  selectChannel,
  type Selector,
  selectPatterns,
} from "../../../lib/core/channel.ts";
import { Hub } from "../../../lib/core/hub.ts";
import type { Cursor, Log } from "../../../lib/core/log.ts";
import type { Message } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { EngineHost } from "../../../lib/engines/worker/host.ts";
import { openWorkerEngine, type WorkerEngine } from "../../../lib/engines/worker/engine.ts";
import {
  createInterestMemory,
  findPlaces,
  InterestReader,
  InterestWriter,
} from "../../../lib/engines/worker/interest.ts";
import { createTopMemory, TopReader, TopWriter } from "../../../lib/engines/worker/top.ts";
import type { TellBatch } from "../../../lib/engines/worker/wire.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { EarlyMessages } from "../../../lib/protocols/url/early.ts";
import { HeldWorker } from "../../fakes/held_worker.ts";
import { createDraft } from "../../fakes/message.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { ManualSchedule } from "../../fakes/schedule.ts";
import { createClient, type FakeClient } from "../../fakes/socket.ts";

const rules = new Rules([{ channels: "**", history: { messages: 100_000 } }]);

/** An engine, and hubs of worker threads on it; their ports are real, though all are in one thread here. */
class Threads implements AsyncDisposable {
  readonly hubs: Hub[] = [];
  readonly logs: WorkerEngine[] = [];
  /** What came through the port of each worker, batch by batch. */
  readonly batches: TellBatch[][] = [];
  readonly host = new EngineHost({ log: new MemoryEngine({ rules }) });

  static async open(count: number): Promise<Threads> {
    const threads = new Threads();
    for (let i = 0; i < count; i++) {
      const { port1, port2 } = new MessageChannel();
      const batches: TellBatch[] = [];
      port2.addEventListener("message", ({ data }: MessageEvent<TellBatch>) => batches.push(data));
      threads.host.attach(port1);
      const log = await openWorkerEngine(port2);
      threads.logs.push(log);
      threads.batches.push(batches);
      threads.hubs.push(
        new Hub({ log, rules, logger: new RecordingLogger(), maxMessageBytes: 1_000_000 }),
      );
    }
    return threads;
  }

  /** Resolves when all that the engine has announced so far has been delivered. */
  async settle(): Promise<void> {
    for (const log of this.logs) await log.state.read("nothing");
  }

  /** The channels of the messages that a worker was told of. */
  toldOf(worker: number): string[] {
    return this.batches[worker]!.flatMap(({ tells }) => tells)
      .flatMap((tell) => tell[0] === "stored" ? JSON.parse(tell[1].text) as [string][] : [])
      .map(([channel]) => channel);
  }

  subscribe(hub: number, selector: Selector, since?: Cursor): FakeClient {
    const client = createClient({ echo: true });
    this.hubs[hub]!.connect(client);
    this.hubs[hub]!.subscribe(client, selector, { since });
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const log of this.logs) await log[Symbol.asyncDispose]();
    await this.host[Symbol.asyncDispose]();
  }
}

const CHANNELS = ["a", "b", "a/b", "a/c", "a/b/c", "b/c", "orders/eu/1", "orders/us/1"];
const SELECTORS = [
  ...["a", "a/b", "b/c", "orders/eu/1"].map((name) => selectChannel(name)),
  ...[["**"], ["*"], ["*/b"], ["a/*"], ["a/**"], ["a/b/*"], ["orders/*/1"], ["a", "b/c"], ["b", "orders/**"]]
    .map((names) => selectPatterns(names)),
];

const matches = (selector: Selector, channel: string) =>
  selector.patterns.some((pattern) => matchesPattern(pattern, channel.split("/")));

Deno.test("Interest covers each channel of a selector that is added, until the turn in which it is removed as often ends", () => {
  const steps = fc.array(fc.record({ selector: fc.constantFrom(...SELECTORS), adds: fc.boolean() }));
  fc.assert(fc.property(steps, (steps) => {
    const memory = createInterestMemory();
    const loop = new ManualSchedule();
    const [writer, reader] = [new InterestWriter(memory, () => 0, loop.schedule), new InterestReader(memory)];
    const added: Selector[] = [];
    for (const { selector, adds } of steps) {
      if (adds) {
        added.push(selector);
        writer.add(selector);
      } else if (added.includes(selector)) {
        added.splice(added.indexOf(selector), 1);
        writer.remove(selector);
        assert.ok(reader.wants(findPlaces(CHANNELS.find((channel) => matches(selector, channel))!)));
        loop.run();
      }
      for (const channel of CHANNELS) {
        const isWanted = reader.wants(findPlaces(channel));
        if (added.some((selector) => matches(selector, channel))) assert.ok(isWanted, channel);
      }
    }
    for (const selector of added) writer.remove(selector);
    loop.run();
    for (const channel of CHANNELS) assert.ok(!reader.wants(findPlaces(channel)), channel);
  }));
});

Deno.test("Interest in 10,000 channels leaves out nine of ten others, and a counter that is full wants for ever", () => {
  const memory = createInterestMemory();
  const loop = new ManualSchedule();
  const [writer, reader] = [new InterestWriter(memory, () => 0, loop.schedule), new InterestReader(memory)];
  for (let i = 0; i < 10_000; i++) writer.add({ channel: `rooms/${i}`, patterns: [] });
  const others = Array.from({ length: 10_000 }, (_, i) => findPlaces(`others/${i}`));
  assert.ok(others.filter((places) => reader.wants(places)).length < 1_000);
  for (let i = 0; i < 70_000; i++) writer.add({ channel: "full", patterns: [] });
  for (let i = 0; i < 70_000; i++) writer.remove({ channel: "full", patterns: [] });
  loop.run();
  assert.ok(reader.wants(findPlaces("full")), "it was counted no further than it goes");
});

Deno.test("The newest sequence is known with its epoch or not at all", () => {
  const memory = createTopMemory();
  const [writer, reader] = [new TopWriter(memory), new TopReader(memory)];
  writer.write({ epoch: "one", sequence: 7 });
  const { generation } = writer;
  assert.equal(reader.read(generation), 7);
  writer.write({ epoch: "one", sequence: 2 ** 40 });
  assert.equal(reader.read(generation), 2 ** 40);
  writer.write({ epoch: "two", sequence: 1 });
  assert.equal(reader.read(generation), undefined);
  assert.equal(reader.read(writer.generation), 1);
});

Deno.test("A worker gets no batch for messages that it does not want, and knows the newest id all the same", async () => {
  await using threads = await Threads.open(3);
  const [publisher, , idle] = threads.hubs as [Hub, Hub, Hub];
  const reader = threads.subscribe(1, selectChannel("news"));
  await threads.settle();
  for (const batches of threads.batches) batches.length = 0;
  for (let i = 1; i <= 20; i++) {
    const { sequence } = await publisher.publish(createDraft(`${i}`));
    assert.equal(idle.top.sequence, sequence);
  }
  assert.equal(threads.batches[2]!.length, 0);
  assert.deepEqual(threads.toldOf(0), [], "a publisher gets receipts alone");
  assert.equal(threads.batches[0]!.length, 20);
  await threads.settle();
  assert.deepEqual(reader.socket.texts, Array.from({ length: 20 }, (_, i) => `${i + 1}`));
  await publisher.publish(createDraft("elsewhere", { channel: "other" }));
  await threads.settle();
  assert.deepEqual(new Set(threads.toldOf(1)), new Set(["news"]));
  // Nothing is missed by who goes on from what the idle worker says: no gap, and the next message.
  const late = threads.subscribe(2, selectChannel("news"), { kind: "id", ...idle.top });
  await publisher.publish(createDraft("21"));
  await threads.settle();
  assert.deepEqual(late.socket.texts, ["21"]);
});

Deno.test("A worker is told of what every node keeps and of direct messages to its clients, and of all to observers", async () => {
  await using threads = await Threads.open(2);
  const [publisher, other] = threads.hubs as [Hub, Hub];
  const client = createClient({ id: "ann" });
  other.connect(client);
  await publisher.publish(createDraft("keyed", { channel: "map", properties: { key: "k" } }));
  await publisher.publish(createDraft("retained", { channel: "lamp", properties: { retain: true } }));
  await publisher.publish(createDraft("plain", { channel: "map" }));
  await threads.logs[0]!.append(createDraft("direct", { channel: directChannel("ann"), to: "ann" }));
  await threads.settle();
  assert.deepEqual(threads.toldOf(1), ["map", "lamp", directChannel("ann")]);
  assert.deepEqual(client.socket.texts, ["direct"]);
  assert.equal((await other.maps.find("map")).get("k")?.message.sequence, 1);
  other.disconnect(client);
  const seen: Message[] = [];
  const ignore = other.observe((messages) => seen.push(...messages));
  await publisher.publish(createDraft("1"));
  await threads.settle();
  ignore();
  const stop = other.watch(selectPatterns(["watched/*"]));
  for (const channel of ["news", "watched/a"]) await publisher.publish(createDraft("2", { channel }));
  stop();
  stop();
  await threads.settle();
  await publisher.publish(createDraft("3", { channel: "watched/a" }));
  await threads.settle();
  assert.deepEqual(seen.map(({ channel }) => channel), ["news"]);
  assert.deepEqual(threads.toldOf(1).slice(3), ["news", "watched/a"]);
});

/** Resolves when the hub has said that it wants no more what nobody subscribes to. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

Deno.test("A subscription has no hole where messages from before it are on their way still", async () => {
  await using worker = await HeldWorker.open();
  const former = worker.subscribe(selectChannel("news"));
  const steady = worker.subscribe(selectPatterns(["other/*"]));
  await worker.hold();
  await worker.store("1");
  await worker.store("a", { channel: "other/a" });
  worker.hub.disconnect(former);
  await turn();
  await worker.store("2");
  const later = [selectChannel("news"), selectPatterns(["*", "news"])].map((one) => worker.subscribe(one));
  const joined = worker.subscribe(selectChannel("other/a"));
  await worker.store("3");
  await worker.store("b", { channel: "other/a" });
  await worker.release();
  assert.deepEqual(later.map(({ socket }) => socket.texts), [["3"], ["3"]]);
  assert.deepEqual(steady.socket.texts, ["a", "b"]);
  assert.deepEqual(joined.socket.texts, ["b"]);
});

Deno.test("What comes before a WebSocket is open has no hole either", async () => {
  await using worker = await HeldWorker.open();
  const former = worker.subscribe(selectChannel("news"));
  await worker.hold();
  await worker.store("1");
  worker.hub.disconnect(former);
  await turn();
  await worker.store("2");
  using early = new EarlyMessages(worker.hub, selectChannel("news"));
  await worker.store("3");
  await worker.store("passing", { ephemeral: true });
  await worker.release();
  const texts = early.messages?.map(({ payload }) => payload.kind === "text" && payload.text);
  assert.deepEqual(texts, ["3", "passing"]);
});

Deno.test("A retained message that is on its way still is handed to who asks for retained ones", async () => {
  await using worker = await HeldWorker.open();
  await worker.hold();
  const retained: string[] = [];
  await worker.store("1", { properties: { retain: true } });
  await worker.store("2");
  const plain = worker.subscribe(selectChannel("news"));
  const asking = worker.subscribe(selectChannel("news"), {
    receiveRetained: (messages) => retained.push(...messages.map(({ sequence }) => `${sequence}`)) > 0,
  });
  await worker.store("3", { properties: { retain: true } });
  await worker.release();
  assert.deepEqual(retained, ["1"]);
  for (const { socket } of [plain, asking]) assert.deepEqual(socket.texts, ["3"]);
});

Deno.test("A subscription gets what is stored in a new epoch, whose sequences are lower", async () => {
  const [former, next] = [new MemoryEngine({ rules }), new MemoryEngine({ rules })];
  let current = former;
  const log: Log = {
    onStored() {},
    onRemoved() {},
    onReset() {},
    get top() {
      return current.top;
    },
    append: (draft) => current.append(draft),
    read: (query) => current.read(query),
    clear: (channel) => current.clear(channel),
    remove: (channel, id) => current.remove(channel, id),
    async [Symbol.asyncDispose]() {
      for (const engine of [former, next]) await engine[Symbol.asyncDispose]();
    },
  };
  for (const engine of [former, next]) engine.onStored = (messages) => log.onStored(messages);
  await using host = new EngineHost({ log });
  const { port1, port2 } = new MessageChannel();
  host.attach(port1);
  await using worker = await openWorkerEngine(port2);
  const hub = new Hub({ log: worker, rules, logger: new RecordingLogger(), maxMessageBytes: 1_000 });
  await host.log.append(createDraft("1"));
  hub.watch(selectChannel("news"));
  current = next;
  log.onReset!("The log was replaced");
  await worker.state.read("nothing");
  const client = createClient();
  hub.connect(client);
  hub.subscribe(client, selectChannel("news"));
  await host.log.append(createDraft("one"));
  await worker.state.read("nothing");
  assert.deepEqual(client.socket.texts, ["one"]);
});

Deno.test("Subscribers miss nothing, whenever they join while messages are stored", async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("publish" as const), count: fc.nat(4) }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant("subscribe" as const),
        selector: fc.constantFrom(...SELECTORS),
        replays: fc.boolean(),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("unsubscribe" as const) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), turns: fc.nat(3) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(step, fc.nat(2)), { maxLength: 60 }), async (steps) => {
      await using threads = await Threads.open(3);
      const stored: Message[] = [];
      threads.host.log.onStored = (messages) => stored.push(...messages);
      const readers: {
        client: FakeClient;
        selector: Selector;
        from: number;
        replays: boolean;
        hub: number;
      }[] = [];
      const published: Promise<unknown>[] = [];
      let count = 0;
      for (const [step, hub] of steps) {
        if (step.kind === "publish") {
          for (let i = 0; i < step.count; i++) {
            const channel = CHANNELS[(count * 7 + i) % CHANNELS.length]!;
            published.push(threads.hubs[hub]!.publish(createDraft(`${++count}`, { channel })));
          }
        } else if (step.kind === "subscribe") {
          const { selector, replays } = step;
          const since = replays ? { kind: "earliest" } as const : undefined;
          const client = threads.subscribe(hub, selector, since);
          readers.push({ client, selector, from: count, replays, hub });
        } else if (step.kind === "unsubscribe") {
          const gone = readers.shift();
          if (gone !== undefined) threads.hubs[gone.hub]!.disconnect(gone.client);
        } else for (let i = 0; i < step.turns; i++) await new Promise((resolve) => setImmediate(resolve));
      }
      await Promise.all(published);
      // A replay reads in several turns, and ends with the log.
      for (let i = 0; i < 4; i++) await threads.settle();
      assert.equal(stored.length, count);
      for (const { client, selector, from, replays } of readers) {
        const all = stored.filter(({ channel }) => matches(selector, channel))
          .map(({ payload }) => payload.kind === "text" ? payload.text : "");
        const got = client.socket.texts;
        // Who does not replay gets all that was published afterwards, and perhaps what was under way: the end of all.
        assert.deepEqual(got, replays ? all : all.slice(all.length - got.length));
        const due = all.filter((text) => Number(text) > from);
        assert.deepEqual(got.filter((text) => Number(text) > from), due);
      }
    }),
    { numRuns: 150 },
  );
});
