/** A client's stay on its channels: the handover from history to live, over any interleaving. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { selectChannel, type Selector, selectPatterns } from "../../lib/core/channel.ts";
import { MessagingError } from "../../lib/core/errors.ts";
import { Hub } from "../../lib/core/hub.ts";
import type { Cursor, Log } from "../../lib/core/log.ts";
import type { Message } from "../../lib/core/message.ts";
import type { Gap } from "../../lib/core/replay.ts";
import { Rules } from "../../lib/core/rules.ts";
import { type Encoder, Frame } from "../../lib/core/socket.ts";
import { conflate, conflationKey, type SubscribeOptions } from "../../lib/core/subscription.ts";
import { MemoryEngine } from "../../lib/engines/memory/engine.ts";
import { RecordingLogger } from "../fakes/recording_logger.ts";
import { createDraft, createMessage } from "../fakes/message.ts";
import { ManualSchedule, settle } from "../fakes/schedule.ts";
import { SlowLog } from "../fakes/slow_log.ts";
import {
  createClient,
  type FakeClient,
  type FakeClientOptions,
  JOINED,
  TEXT,
  textOf,
} from "../fakes/socket.ts";

const NEWS = selectChannel("news");

/** A hub on a log whose turns, reads and pages are in the test's hands; it knows every message there ever was. */
class Bench {
  readonly loop = new ManualSchedule();
  readonly announced: Message[] = [];
  readonly log: SlowLog;
  readonly hub: Hub;
  #texts = 0;

  constructor(options: { readonly pageMessages?: number; readonly keep?: number } = {}) {
    const rules = new Rules([{ channels: "**", history: { messages: options.keep ?? 100_000 } }]);
    const memory = new MemoryEngine({ rules, schedule: this.loop.schedule });
    this.log = new SlowLog(memory, options.pageMessages);
    this.hub = new Hub({ log: this.log, rules, logger: new RecordingLogger(), maxMessageBytes: 1_000 });
    const deliver = this.log.onStored;
    this.log.onStored = (messages) => {
      this.announced.push(...messages);
      deliver(messages);
    };
  }

  read(selector: Selector, subscribe: SubscribeOptions, options: FakeClientOptions = {}): FakeClient {
    const client = createClient({ onEnd: (ended) => this.hub.disconnect(ended), ...options });
    this.hub.connect(client);
    this.hub.subscribe(client, selector, subscribe);
    return client;
  }

  /** Stores and delivers so many messages in one turn. */
  publish(count: number, channel = "news", ephemeral = false): void {
    for (let i = 0; i < count; i++) {
      void this.hub.publish(createDraft(`${ephemeral ? "e" : ""}${++this.#texts}`, { channel, ephemeral }));
    }
    this.loop.run();
  }

  /** Lets every read resolve until none follows, and stores what a long batch has left for later turns. */
  async finish(): Promise<void> {
    while (this.loop.waiting > 0) this.loop.run();
    await settle();
    while (this.log.waiting > 0) {
      this.log.release();
      await settle();
    }
  }
}

Deno.test("Subscription replays what is stored, then what was published meanwhile, then what comes", async () => {
  const bench = new Bench({ pageMessages: 2 });
  bench.publish(3);
  const { socket } = bench.read(NEWS, { since: { kind: "earliest" } });
  bench.publish(1);
  await settle();
  assert.deepEqual(socket.texts, [], "nothing live overtakes the history");
  await bench.finish();
  bench.publish(1);
  assert.deepEqual(socket.texts, ["1", "2", "3", "4", "5"]);
});

Deno.test("Subscription replays from the log again when it held too much", async () => {
  const bench = new Bench();
  bench.publish(1);
  const { socket } = bench.read(NEWS, { since: { kind: "earliest" } });
  bench.publish(600);
  bench.publish(600);
  await bench.finish();
  bench.publish(1);
  assert.deepEqual(socket.texts, Array.from({ length: 1_202 }, (_, i) => `${i + 1}`));
});

Deno.test("Subscription delivers ephemeral messages of the meantime once, after the history", async () => {
  const bench = new Bench();
  bench.publish(2);
  const { socket } = bench.read(NEWS, { since: { kind: "earliest" } });
  bench.publish(1, "news", true);
  await bench.finish();
  bench.publish(1, "news", true);
  assert.deepEqual(socket.texts, ["1", "2", "e3", "e4"]);
});

Deno.test("Subscription tells of a removal behind the history it is about, and of the meantime sends no more of it", async () => {
  const bench = new Bench();
  bench.publish(2);
  const encoder: Encoder = { ...TEXT, encodeRemoval: ({ offset }) => new Frame(`-${offset}`) };
  const client = Object.assign(createClient({ encoder }), { hearsRemovals: true });
  const deaf = createClient({ encoder });
  for (const each of [client, deaf]) {
    bench.hub.connect(each);
    bench.hub.subscribe(each, NEWS, { since: { kind: "earliest" } });
  }
  bench.publish(2);
  const remove = async (offset: number) => {
    const { epoch, sequence } = bench.announced[offset - 1]!;
    assert.equal(await bench.hub.remove("news", { epoch, sequence }), true);
  };
  // The read that is under way has the first; the fourth has only been announced.
  await remove(1);
  await remove(4);
  assert.deepEqual(client.socket.texts, []);
  await bench.finish();
  assert.deepEqual(client.socket.texts, ["1", "2", "3", "-1", "-4"]);
  await remove(3);
  bench.publish(1);
  assert.deepEqual(client.socket.texts.slice(5), ["-3", "5"]);
  assert.deepEqual(deaf.socket.texts, ["1", "2", "3", "5"]);
});

Deno.test("Subscription tells of a gap before what follows it, and goes on", async () => {
  const bench = new Bench({ keep: 2 });
  bench.publish(5);
  const gaps: Gap[] = [];
  const client = bench.read(NEWS, {
    since: { kind: "offset", offset: 1 },
    onGap: (gap) => {
      assert.deepEqual(client.socket.texts, []);
      gaps.push(gap);
      return true;
    },
  });
  await bench.finish();
  assert.equal(gaps.length, 1);
  assert.equal(gaps[0]?.earliest, `${bench.hub.top.epoch}-4`);
  bench.publish(1);
  assert.deepEqual(client.socket.texts, ["4", "5", "6"]);
});

Deno.test("Subscription stops at a gap when it is told to", async () => {
  const bench = new Bench({ keep: 2 });
  bench.publish(5);
  const { socket } = bench.read(NEWS, { since: { kind: "offset", offset: 1 }, onGap: () => false });
  await bench.finish();
  bench.publish(1);
  assert.deepEqual(socket.texts, []);
});

Deno.test("Subscription replays on while a little of it waits at the socket", async () => {
  const bench = new Bench({ pageMessages: 2 });
  bench.publish(6);
  const { socket } = bench.read(NEWS, { since: { kind: "earliest" } });
  socket.stall();
  await bench.finish();
  bench.publish(1);
  assert.deepEqual(
    socket.texts,
    ["1", "2", "3", "4", "5", "6"],
    "all pages, and nothing live before they have left",
  );
  socket.resume();
  await bench.finish();
  assert.deepEqual(socket.texts, ["1", "2", "3", "4", "5", "6", "7"]);
});

Deno.test("Subscription replays at the reader's pace", async () => {
  const bench = new Bench({ pageMessages: 2 });
  bench.publish(6);
  const { socket } = bench.read(NEWS, { since: { kind: "earliest" } }, {
    limits: { messages: 2, bytes: 10 },
  });
  socket.stall();
  await bench.finish();
  assert.deepEqual(socket.texts, ["1", "2"]);
  assert.equal(bench.log.waiting, 0, "no page is read that there is no room for");
  socket.leave(1);
  await bench.finish();
  assert.equal(socket.texts.length, 2);
  socket.leave(1);
  await bench.finish();
  assert.deepEqual(socket.texts, ["1", "2", "3", "4"]);
  socket.resume();
  await bench.finish();
  assert.deepEqual(socket.texts, ["1", "2", "3", "4", "5", "6"]);
});

Deno.test("Subscription that replays leaves the client's own messages out, as live ones do", async () => {
  const bench = new Bench();
  bench.publish(1);
  const mine = bench.read(NEWS, { since: { kind: "earliest" } });
  const echo = bench.read(NEWS, { since: { kind: "earliest" } }, { echo: true });
  for (const { socket } of [mine, echo]) {
    void bench.hub.publish(
      createDraft(`from ${socket === mine.socket ? "me" : "echo"}`, { socketId: socket.id }),
    );
  }
  bench.log.late = true;
  bench.loop.run();
  bench.publish(1_200);
  await bench.finish();
  assert.deepEqual(mine.socket.texts.slice(0, 3), ["1", "from echo", "2"]);
  assert.deepEqual(echo.socket.texts.slice(0, 4), ["1", "from me", "from echo", "2"]);
  assert.deepEqual([mine.socket.texts.length, echo.socket.texts.length], [1_202, 1_203]);
});

Deno.test("Subscription ends its client when the log cannot be read", async () => {
  for (
    const [thrown, code] of [
      [new MessagingError("log_unavailable", "gone"), "log_unavailable"],
      [new Error("disk on fire"), "internal"],
    ] as const
  ) {
    const bench = new Bench();
    bench.log.read = () => Promise.reject(thrown);
    const client = bench.read(NEWS, { since: { kind: "earliest" } });
    await settle();
    assert.deepEqual(client.ended.map((error) => error.code), [code]);
    assert.doesNotMatch(client.ended[0]?.message ?? "", /fire/);
    assert.equal(bench.hub.clientCount, 0);
  }
});

Deno.test("Subscription of a client that has gone reads and sends no more", async () => {
  const bench = new Bench({ pageMessages: 2 });
  bench.publish(6);
  const client = bench.read(NEWS, { since: { kind: "earliest" } });
  bench.log.release();
  await settle();
  bench.hub.disconnect(client);
  await bench.finish();
  bench.publish(1);
  assert.deepEqual(client.socket.texts, ["1", "2"]);
  assert.equal(bench.log.reads, 2, "what was asked before it went is the last");
  assert.equal(client.ended.length, 0);
});

Deno.test("conflate() keeps the newest of each sender and channel, in order", () => {
  const a1 = createMessage("a1", { from: { id: "a" } });
  const b1 = createMessage("b1", { from: { id: "b" } });
  const a2 = createMessage("a2", { from: { id: "a", name: "Ann" } });
  const elsewhere = createMessage("a3", { from: { id: "a" }, channel: "ops" });
  assert.deepEqual(conflate([a1, b1, elsewhere, a2]).map(textOf), ["b1", "a3", "a2"]);
  const distinct = [a1, b1];
  assert.equal(conflate(distinct), distinct);
  assert.deepEqual(conflate([]), []);
  const nobody = [createMessage("1"), createMessage("2"), createMessage("3", { socketId: "s1" })];
  assert.deepEqual(conflate(nobody).map(textOf), ["2", "3"]);
  assert.notEqual(conflationKey(a1), conflationKey(elsewhere));
  const late = [createMessage("stored", { sequence: 2 }), createMessage("older", { sequence: 0 })];
  assert.deepEqual(conflate(late).map(textOf), ["stored", "older"], "a transient one may come late");
});

type Step =
  | {
    readonly kind: "publish";
    readonly count: number;
    readonly channel: string;
    readonly ephemeral: boolean;
  }
  | { readonly kind: "release" | "resume" | "stall" | "settle" }
  | { readonly kind: "late"; readonly late: boolean }
  | { readonly kind: "leave"; readonly bytes: number }
  | { readonly kind: "clear"; readonly channel: string };

const arbitraryChannel = fc.constantFrom("news", "news", "ops", "other");

/** Steps of the world around a replay; `losing` ones make retention and clearing overtake the reader. */
function arbitrarySteps(losing: boolean): fc.Arbitrary<Step[]> {
  const publish = (count: fc.Arbitrary<number>) =>
    fc.record({
      kind: fc.constant("publish" as const),
      count,
      channel: arbitraryChannel,
      ephemeral: fc.boolean().map((yes) => yes && !losing),
    });
  return fc.array(
    fc.oneof(
      { weight: 6, arbitrary: publish(fc.integer({ min: 1, max: 5 })) },
      // More than a subscription holds.
      { weight: 1, arbitrary: publish(fc.constant(1_030)) },
      { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom("release", "settle", "stall", "resume") }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("late" as const), late: fc.boolean() }) },
      {
        weight: 4,
        arbitrary: fc.record({ kind: fc.constant("leave" as const), bytes: fc.integer({ min: 1, max: 40 }) }),
      },
      ...(losing
        ? [{
          weight: 1,
          arbitrary: fc.record({ kind: fc.constant("clear" as const), channel: arbitraryChannel }),
        }]
        : []),
    ) as fc.Arbitrary<Step>,
    { minLength: 5, maxLength: 40 },
  );
}

async function takeStep(bench: Bench, { socket }: FakeClient, step: Step): Promise<void> {
  switch (step.kind) {
    case "publish":
      return bench.publish(step.count, step.channel, step.ephemeral);
    case "release":
      return bench.log.release();
    case "settle":
      return await settle();
    case "stall":
      return socket.stall();
    case "resume":
      return socket.resume();
    case "leave":
      return socket.leave(step.bytes);
    case "late":
      bench.log.late = step.late;
      return;
    case "clear":
      await bench.hub.clear(step.channel);
  }
}

const arbitraryWorld = fc.record({
  before: fc.array(fc.tuple(fc.integer({ min: 0, max: 8 }), arbitraryChannel), { maxLength: 4 }),
  patterns: fc.constantFrom(["news"], ["news", "ops"], ["**"]),
  cursor: fc.constantFrom("earliest" as const, "id" as const, "latest" as const),
  pageMessages: fc.constantFrom(1, 3, 256),
  joined: fc.boolean(),
  messages: fc.constantFrom(1_000_000, 8),
});

function openCursor(kind: "earliest" | "id" | "latest", top: Log["top"]): Cursor {
  return kind === "id" ? { kind, epoch: top.epoch, sequence: top.sequence >> 1 } : { kind };
}

Deno.test("Subscription hands over without gap, duplicate or reorder, over any interleaving", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryWorld, arbitrarySteps(false), async (world, steps) => {
      const bench = new Bench({ pageMessages: world.pageMessages });
      for (const [count, channel] of world.before) bench.publish(count, channel);
      const selector = selectPatterns(world.patterns);
      const since = openCursor(world.cursor, bench.hub.top);
      // From the newest on, a page is cut to the newest that fit; the rest was not asked for.
      const start = since.kind === "id"
        ? since.sequence
        : since.kind === "earliest"
        ? 0
        : bench.announced.filter((m) => wants(world.patterns, m)).at(-world.pageMessages - 1)?.sequence ?? 0;
      const client = bench.read(selector, { since, onGap: () => assert.fail("nothing is ever gone") }, {
        encoder: world.joined ? JOINED : TEXT,
        limits: { messages: world.messages, bytes: 1_000_000_000 },
      });
      if (since.kind === "latest") bench.log.release();
      for (const step of steps) await takeStep(bench, client, step);
      client.socket.resume();
      await bench.finish();
      client.socket.resume();
      await bench.finish();
      bench.publish(1);

      const received = client.socket.texts.flatMap((text) => text.split("+"));
      const expected = bench.announced.filter((m) => wants(world.patterns, m) && m.sequence > start).map(
        textOf,
      );
      const stored = received.filter((text) => !text.startsWith("e"));
      // A reader cut off for being slow has everything up to there, and resumes behind it.
      assert.deepEqual(stored, client.ended.length > 0 ? expected.slice(0, stored.length) : expected);
      for (const error of client.ended) assert.equal(error.code, "slow_subscriber");
      assert.equal(new Set(received).size, received.length, "nothing comes twice");
    }),
    { numRuns: 300 },
  );
});

Deno.test("Subscription tells of a gap, and only then misses anything, when the log loses what it reads", async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryWorld, arbitrarySteps(true), async (world, steps) => {
      const bench = new Bench({ pageMessages: world.pageMessages, keep: 5 });
      for (const [count, channel] of world.before) bench.publish(count, channel);
      const since: Cursor = { kind: "id", epoch: bench.hub.top.epoch, sequence: bench.hub.top.sequence >> 1 };
      // How much had been received at each gap.
      const gaps: number[] = [];
      const client = bench.read(selectPatterns(world.patterns), {
        since,
        onGap: () => (gaps.push(client.socket.texts.length), true),
      });
      for (const step of steps) await takeStep(bench, client, step);
      client.socket.resume();
      await bench.finish();
      client.socket.resume();
      await bench.finish();
      bench.publish(1);

      const received = client.socket.texts;
      const expected = bench.announced.filter((m) => wants(world.patterns, m) && m.sequence > since.sequence)
        .map(textOf);
      let at = 0;
      for (const [i, text] of received.entries()) {
        const found = expected.indexOf(text, at);
        assert.notEqual(found, -1, `${text} is a duplicate, out of order or not asked for`);
        if (found > at) assert.ok(gaps.some((gap) => gap <= i), `what is missing before ${text} was told`);
        at = found + 1;
      }
      assert.equal(at, expected.length, "nothing is missing at the end");
    }),
    { numRuns: 300 },
  );
});

function wants(patterns: readonly string[], { channel }: Message): boolean {
  return patterns.includes("**") || patterns.includes(channel);
}

Deno.test("Subscription tells nothing of its channel before the page it opens with: direct messages wait too", async () => {
  for (const isList of [false, true]) {
    const bench = new Bench();
    bench.publish(1);
    const opened: unknown[] = [];
    const client = createClient({ id: "jane", onEnd: () => {} });
    bench.hub.connect(client);
    bench.hub.subscribe(client, isList ? selectPatterns(["news", "other"]) : NEWS, {
      opening: {
        after: { kind: "latest" },
        limit: 10,
        onOpen: ({ messages }, announced) => opened.push(messages.map(textOf), announced.map(textOf)),
      },
    });
    await settle();
    void bench.hub.publish(createDraft("for you", { channel: "news", to: "jane", ephemeral: true }));
    bench.publish(1);
    await settle();
    assert.deepEqual([client.socket.texts, opened], [[], []]);
    await bench.finish();
    assert.deepEqual(opened, [["1"], ["for you", "2"]]);
    // From then on, and to a subscription that opens with nothing, at once.
    void bench.hub.publish(createDraft("and again", { channel: "news", to: "jane", ephemeral: true }));
    bench.loop.run();
    assert.deepEqual(client.socket.texts, ["and again"]);
  }
});
