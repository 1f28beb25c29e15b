/** Runs the suite of the Log port on the JetStream engine, and tests what several nodes and restarts make of one stream. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { nextSlice } from "../../../lib/base/slices.ts";
import { selectChannel, selectPatterns } from "../../../lib/core/channel.ts";
import type { Cursor, Log, LogPage, Receipt } from "../../../lib/core/log.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import type { Draft, Message, Removal } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { FakeClock } from "../../fakes/clock.ts";
import type { JetStreamEngine } from "../../../lib/engines/jetstream/engine.ts";
import { createDraft } from "../../fakes/message.ts";
import { ManualSchedule } from "../../fakes/schedule.ts";
import { type OpenLogOptions, testLog } from "../../suites/log_suite.ts";
import { IDEMPOTENCY_MILLISECONDS } from "../../../lib/engines/stamp.ts";
import {
  nameStream,
  type NodeOptions,
  openNode,
  SKIPPED,
  startServer,
  type TestNode,
  testWithNats,
} from "./fixture.ts";

const server = SKIPPED === undefined ? await startServer() : undefined;
const hosts = server?.hosts ?? "";
Deno.test.afterAll(() => server?.[Symbol.asyncDispose]());

const NEWS = selectChannel("news");
/** Beyond all that is stored: whoever reads from there waits for the node to catch up. */
const FAR_AHEAD = { kind: "id" as const, sequence: Number.MAX_SAFE_INTEGER };
const EVERYTHING = selectPatterns(["**"]);

/** What is removed must be purged from the server before its channel is forgotten. */
function hasten({ forgetAfter }: OpenLogOptions): { readonly grace?: number } {
  return forgetAfter === undefined ? {} : { grace: 0 };
}

if (SKIPPED === undefined) {
  testLog(
    "JetStreamEngine",
    async (options) => (await openNode({ ...options, ...hasten(options), hosts, stream: nameStream() })).log,
  );
  testLog(
    "JetStreamEngine without a cache",
    async (options) =>
      (await openNode({ ...options, ...hasten(options), hosts, stream: nameStream(), cachedBytes: 0 })).log,
  );
} else Deno.test.ignore(`The suite of the Log port on JetStream (skipped: ${SKIPPED})`, () => {});

/** What readers see of a log, but for what belongs to one process. */
async function describeLog(log: Log) {
  const page = await log.read({ selector: EVERYTHING, after: { kind: "earliest" }, limit: 10_000 });
  const positions = [];
  for (const channel of ["a", "b", "c"]) {
    const { position, kind } = await log.read({
      selector: selectChannel(channel),
      after: { kind: "offset", offset: 0 },
      limit: 1,
    });
    positions.push({ channel, position, kind });
  }
  return { top: log.top, messages: page.messages, positions };
}

function assertOffsets(messages: readonly Message[]): void {
  assert.deepEqual(messages.map(({ offset }) => offset), messages.map((_, i) => i + 1));
}

testWithNats("JetStreamEngine on two nodes counts and orders what both append at once alike", async () => {
  const stream = nameStream();
  await using one = await openNode({ hosts, stream });
  await using two = await openNode({ hosts, stream });
  const count = 1_000;
  const receipts = await Promise.all(
    [one, two].flatMap(({ log }, node) =>
      Array.from({ length: count }, async (_, i) => {
        // In many turns, so that there are many records.
        for (let turns = i % 40; turns > 0; turns--) {
          await new Promise<void>((resolve) => setImmediate(resolve));
        }
        return { text: `${node}-${i}`, receipt: await log.append(createDraft(`${node}-${i}`)) };
      })
    ),
  );
  // Each catches up with what the other was told.
  for (const { log } of [one, two]) {
    const page = await log.read({ selector: NEWS, after: { kind: "offset", offset: 2 * count }, limit: 1 });
    assert.deepEqual([page.kind, page.position.offset], ["complete", 2 * count]);
  }
  assertOffsets(one.announced);
  assert.equal(one.announced.length, 2 * count);
  assert.deepEqual(two.announced, one.announced, "both announce the same in the same order");
  for (const { text, receipt } of receipts) {
    const message = one.announced[receipt.offset - 1];
    assert.equal(message?.sequence, receipt.sequence);
    assert.deepEqual(message?.payload, { kind: "text", text });
  }
});

testWithNats(
  "JetStreamEngine counts a channel once that came up while others were on their way",
  async () => {
    const count = 500;
    await using node = await openNode({ hosts, stream: nameStream(), maxChannels: count });
    const receipts: Promise<Receipt>[] = [];
    for (let i = 0; i < count; i++) {
      receipts.push(node.log.append(createDraft("a", { channel: `c${i}` })));
      // One a turn: so there is always one on its way while others come back.
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
    await Promise.all(receipts);
    await assert.rejects(node.log.append(createDraft("a", { channel: "beyond" })), {
      code: "too_many_channels",
    });
  },
);

testWithNats(
  "JetStreamEngine counts on where a forgotten channel was, on a node that forgot it, one that did not, and a new one",
  async () => {
    const clock = new FakeClock();
    const options = { hosts, stream: nameStream(), now: clock.now, grace: 0, forgetAfter: 60_000 };
    await using one = await openNode(options);
    await using two = await openNode({ ...options, forgetAfter: 1e12 });
    const receipts: Receipt[] = [];
    for (let i = 0; i < 4; i++) receipts.push(await one.log.append(createDraft("a")));
    await one.log.clear("news");
    const back = await one.log.append(createDraft("b"));
    await one.log.remove("news", back);
    clock.advance(61);
    for (let i = 0; i < 5; i++) await one.log.sweep();
    assert.equal(one.log.findStored("news"), undefined);
    assert.notEqual(two.log.findStored("news"), undefined);
    await using three = await openNode(options);
    assert.equal(three.log.findStored("news"), undefined, "which counts no channel that others forgot");
    for (const { log } of [one, two, three]) {
      const read = (after: Cursor) => log.read({ selector: NEWS, after, limit: 10 });
      assert.equal((await read({ kind: "offset", offset: 3 })).kind, "gap");
      assert.equal((await read({ kind: "id", ...receipts[2]! })).kind, "gap");
      assert.equal((await read({ kind: "offset", offset: 5 })).kind, "complete");
      const { epoch, sequence } = receipts[2]!;
      const several = await log.read({
        selector: EVERYTHING,
        after: { kind: "id", epoch, sequence },
        limit: 10,
      });
      assert.equal(several.kind, "gap");
    }
    const offsets = [];
    for (const { log } of [three, one, two]) offsets.push((await log.append(createDraft("c"))).offset);
    assert.deepEqual(offsets, [6, 7, 8]);
    await using four = await openNode(options);
    const page = await four.log.read({ selector: NEWS, after: { kind: "offset", offset: 5 }, limit: 10 });
    assert.deepEqual([page.kind, page.messages.map(({ offset }) => offset)], ["complete", [6, 7, 8]]);
  },
);

testWithNats("JetStreamEngine.clear() of a channel nobody wrote to leaves nothing behind", async () => {
  const options = { hosts, stream: nameStream(), maxChannels: 1 };
  await using one = await openNode(options);
  await using two = await openNode(options);
  assert.equal(await one.log.clear("unknown"), 0);
  const { offset } = await two.log.append(createDraft("a"));
  assert.equal(offset, 1, "it takes no channel's place");
  assert.equal(await one.log.clear("news"), 1, "a node clears also what only others have seen so far");
  const early = one.log.append(createDraft("b"));
  assert.equal(await one.log.clear("news"), 1);
  await early;
});

testWithNats("JetStreamEngine removes a message on every node, on those that start later too", async () => {
  const stream = nameStream();
  await using one = await openNode({ hosts, stream, grace: 0 });
  await using two = await openNode({ hosts, stream });
  const told = Promise.withResolvers<Removal>();
  two.log.onRemoved = told.resolve;
  // Together in one record: the others of it stay.
  const receipts = await Promise.all(["a", "b", "c", "d"].map((text) => one.log.append(createDraft(text))));
  const { epoch, sequence } = receipts[1]!;
  assert.equal(await two.log.remove("news", { epoch, sequence }), true);
  assert.deepEqual(await told.promise, { kind: "message", channel: "news", epoch, sequence, offset: 2 });
  assert.equal(await one.log.remove("news", { epoch, sequence }), false);
  await one.log.remove("news", receipts[3]!);
  // What purging leaves of the stream has to tell the same.
  await one.log.sweep();
  await one.log.append(createDraft("e"));
  await using three = await openNode({ hosts, stream });
  for (const { log } of [one, two, three]) {
    const selector = selectChannel("news");
    const page = await log.read({ selector, after: { kind: "id", ...one.log.top }, limit: 1 });
    assert.equal(page.position.offset, 5);
    const kept = await log.read({ selector, after: { kind: "earliest" }, limit: 10 });
    assert.deepEqual(kept.messages.map(({ offset }) => offset), [1, 3, 5]);
    const page1 = await log.read({ selector, after: { kind: "offset", offset: 1 }, limit: 10 });
    assert.equal(page1.kind, "complete");
  }
  assert.equal(await three.log.remove("unknown", receipts[0]!), false);
});

testWithNats(
  "JetStreamEngine announces what another node has stored before it answers who asks for that",
  async () => {
    const stream = nameStream();
    const loop = new ManualSchedule();
    await using one = await openNode({ hosts, stream });
    await using two = await openNode({ hosts, stream, schedule: loop.schedule });
    await one.log.append(createDraft("a"));
    const query = { selector: NEWS, after: { kind: "latest" }, limit: 0 } as const;
    assert.equal((await two.log.read(query)).position.offset, 0);
    const reading = two.log.read({ ...query, isCurrent: true });
    const turns = setInterval(() => loop.run());
    const { position } = await reading;
    clearInterval(turns);
    assert.deepEqual([position.offset, two.announced.length], [1, 1]);
  },
);

testWithNats(
  "JetStreamEngine tells every node that a channel was cleared in which nothing is stored",
  async () => {
    const stream = nameStream();
    await using one = await openNode({ hosts, stream });
    await using two = await openNode({ hosts, stream });
    await one.log.append(createDraft("a"));
    await one.log.clear("news");
    for (const [channel, offset] of [["news", 1], ["forgotten", 0]] as const) {
      const told = [one, two].map(({ log }) => {
        const { promise, resolve } = Promise.withResolvers<Removal>();
        log.onCleared = resolve;
        return promise;
      });
      assert.equal(await one.log.clear(channel, true), 0);
      for (const removal of await Promise.all(told)) {
        const { epoch, sequence, ...rest } = removal;
        assert.deepEqual(rest, { kind: "all", channel, offset });
        assert.deepEqual({ epoch, sequence }, one.log.top);
      }
    }
  },
);

testWithNats(
  "JetStreamEngine misses nothing of a channel that comes while it reads many others",
  async () => {
    await using one = await openNode({ hosts, stream: nameStream() });
    const texts = Array.from({ length: 100 }, (_, i) => `${i}`);
    for (const text of texts) await one.log.append(createDraft(text, { channel: `many/${text}` }));
    const selector = selectPatterns(["many/*"]);
    const read = (after: Cursor) => one.log.read({ selector, after, limit: 1_000 });
    await read({ kind: "earliest" });
    // So many slices of others come before the read may look at all channels.
    const others = Array.from({ length: 40 }, async () => {
      await nextSlice();
      for (const end = performance.now() + 4; performance.now() < end;);
    });
    const reading = read({ kind: "earliest" });
    await one.log.append(createDraft("late", { channel: "many/late" }));
    const page = await reading;
    await Promise.all(others);
    const rest = await read(page.next);
    const seen = [...page.messages, ...rest.messages].map(({ payload }) =>
      payload.kind !== "bytes" && payload.text
    );
    assert.deepEqual(seen, [...texts, "late"]);
  },
);

testWithNats("JetStreamEngine knows a key on every node: one of two at once is stored", async () => {
  const stream = nameStream();
  await using one = await openNode({ hosts, stream });
  await using two = await openNode({ hosts, stream });
  for (let i = 0; i < 20; i++) {
    const draft = createDraft(`${i}`, { idempotencyKey: `key ${i}` });
    const receipts = await Promise.all([one.log.append(draft), two.log.append(draft)]);
    assert.deepEqual(receipts.map(({ duplicate }) => duplicate).sort(), [false, true]);
    const [first, second] = receipts.map((receipt) => ({ ...receipt, duplicate: false }));
    assert.deepEqual(first, second);
    assert.equal(first?.offset, i + 1);
  }
  await using three = await openNode({ hosts, stream });
  const late = await three.log.append(createDraft("7", { idempotencyKey: "key 7" }));
  assert.deepEqual([late.duplicate, late.offset], [true, 8], "also on a node that has just started");
  assertOffsets(three.log.top.sequence === one.log.top.sequence ? one.announced : []);
});

testWithNats(
  "JetStreamEngine passes what is not stored to other nodes, behind what was appended before it",
  async () => {
    const stream = nameStream();
    await using one = await openNode({ hosts, stream });
    await using two = await openNode({ hosts, stream });
    const arrived = Promise.withResolvers<void>();
    const record = two.log.onStored;
    two.log.onStored = (messages) => {
      record(messages);
      if (two.announced.length === 4) arrived.resolve();
    };
    await Promise.all([
      one.log.append(createDraft("a")),
      one.log.append(
        createDraft("b", { ephemeral: true, channel: "other", event: "e", from: { id: "id1" } }),
      ),
      one.log.append(createDraft("c", { to: "id1", socketId: "s1" })),
      one.log.append(createDraft("d", { idempotencyKey: "k", ephemeral: true })),
    ]);
    await arrived.promise;
    assert.deepEqual(
      two.announced.filter(({ offset }) => offset === 0).map((m) => ({ ...m, time: 0 })),
      one.announced.filter(({ offset }) => offset === 0).map((m) => ({ ...m, time: 0 })),
    );
    assert.deepEqual(one.announced.map(({ channel, to }) => [channel, to]), [
      ["news", undefined],
      ["other", undefined],
      ["news", "id1"],
      ["news", undefined],
    ]);
    const again = await two.log.append(createDraft("d", { idempotencyKey: "k", ephemeral: true }));
    assert.equal(again.duplicate, true);
  },
);

testWithNats("JetStreamEngine lets a reader go on at another node, which catches up first", async () => {
  const stream = nameStream();
  await using one = await openNode({ hosts, stream });
  await using two = await openNode({ hosts, stream });
  for (let i = 0; i < 30; i++) {
    const { epoch, sequence, offset } = await one.log.append(createDraft(`${i}`));
    const pages: LogPage[] = await Promise.all([
      two.log.read({ selector: NEWS, after: { kind: "id", epoch, sequence }, limit: 10 }),
      two.log.read({ selector: NEWS, after: { kind: "offset", epoch, offset }, limit: 10 }),
    ]);
    assert.deepEqual(pages.map(({ kind, messages }) => [kind, messages.length]), [["complete", 0], [
      "complete",
      0,
    ]]);
  }
});

testWithNats(
  "JetStreamEngine carries what nodes say to each other, in order, to those who listen",
  async () => {
    const stream = nameStream();
    await using one = await openNode({ hosts, stream });
    await using two = await openNode({ hosts, stream });
    await using other = await openNode({ hosts, stream: nameStream() });
    const heard: string[] = [];
    const last = Promise.withResolvers<void>();
    const hear = (name: string) => (bytes: Uint8Array) => {
      heard.push(`${name} ${new TextDecoder().decode(bytes)}`);
      if (heard.length === 3) last.resolve();
    };
    two.log.bus.subscribe("nodes", hear("two"));
    other.log.bus.subscribe("nodes", hear("other"));
    const stop = two.log.bus.subscribe("node.x", hear("stopped"));
    stop();
    // The server knows of a subscription when it has answered what was asked after it.
    await Promise.all([two, other].map(({ log }) => log.append(createDraft("a"))));
    for (const text of ["1", "2", "3"]) one.log.bus.publish("nodes", new TextEncoder().encode(text));
    one.log.bus.publish("node.x", new Uint8Array(1));
    one.log.bus.publish("nodes", new Uint8Array(one.log.bus.maxBytes + 1));
    await last.promise;
    await two.log.append(createDraft("b"));
    assert.deepEqual(heard, ["two 1", "two 2", "two 3"]);
    assert.ok(one.log.bus.connected);
  },
);

/** A node that neither sends nor applies anything until `resume` is called. */
async function openStalledNode(options: NodeOptions) {
  const held: (() => void)[] = [];
  let isStalled = true;
  let onHeld = () => {};
  const node = await openNode({
    ...options,
    schedule(task) {
      if (!isStalled) return void setImmediate(task);
      held.push(task);
      onHeld();
    },
  });
  return {
    ...node,
    /** Resolves when there is something to send or apply. */
    async waitForWork() {
      if (held.length === 0) await new Promise<void>((resolve) => onHeld = resolve);
    },
    /** Sends or applies what is waiting, and stalls again. */
    step() {
      for (const task of held.splice(0)) task();
    },
    resume() {
      isStalled = false;
      this.step();
    },
  };
}

/** Applies all that the stream holds by now. */
async function catchUp(log: Log): Promise<void> {
  await log.read({ selector: NEWS, after: { ...FAR_AHEAD, epoch: log.top.epoch }, limit: 1 });
}

/** Sweeps until nothing is left to do: to set a goal, to store an anchor, and to purge. */
async function sweepFully({ log }: TestNode): Promise<void> {
  for (let i = 0; i < 4; i++) {
    await log.sweep();
    await catchUp(log);
  }
}

for (const first of ["stored", "transient"] as const) {
  testWithNats(
    `JetStreamEngine purges a ${first} message's key no earlier than a duplicate that a node behind has stored`,
    async () => {
      const clock = new FakeClock();
      const options = { hosts, stream: nameStream(), now: clock.now, grace: 0 };
      await using one = await openNode(options);
      await using behind = await openStalledNode(options);
      const draft = createDraft("a", { idempotencyKey: "k", ttl: 1 });
      const retried = outcomeOf(behind.log, draft);
      const transient = first === "transient" ? { ephemeral: true } : {};
      const original = await one.log.append({ ...draft, ...transient });
      clock.advance(2);
      await one.log.sweep();
      // Sends the retry, which the node does not know to be one, and only then applies the first message.
      behind.resume();
      const outcome = first === "stored" ? { ...original, duplicate: true } : "key_reused";
      assert.deepEqual(await retried, outcome);
      await catchUp(one.log);
      clock.advance(IDEMPOTENCY_MILLISECONDS / 1_000 + 100);
      await sweepFully(one);
      await using late = await openNode(options);
      assert.deepEqual(await describeLog(late.log), await describeLog(one.log));
      const next = await late.log.append(createDraft("next"));
      assert.equal(next.offset, first === "stored" ? 2 : 1);
    },
  );
}

testWithNats(
  "JetStreamEngine forgets no key while a duplicate of it may still have to be applied",
  async () => {
    const clock = new FakeClock();
    const options = { hosts, stream: nameStream(), now: clock.now, grace: 0 };
    await using one = await openNode(options);
    await using retrier = await openStalledNode(options);
    await using late = await openStalledNode(options);
    const draft = createDraft("a", { idempotencyKey: "k" });
    const retried = retrier.log.append(draft);
    const original = await one.log.append(draft);
    await late.waitForWork();
    late.step();
    retrier.resume();
    assert.deepEqual(await retried, { ...original, duplicate: true });
    await late.waitForWork();
    // As on a node that was disconnected for so long, and has not caught up yet.
    clock.advance(IDEMPOTENCY_MILLISECONDS / 1_000 + 100);
    await late.log.sweep();
    late.resume();
    const next = await one.log.append(createDraft("next"));
    await catchUp(late.log);
    assert.equal(next.offset, 2);
    assert.deepEqual(late.announced.map(({ offset }) => offset), [1, 2]);
  },
);

testWithNats(
  "JetStreamEngine is the same on a node that starts later, whatever was removed before",
  async () => {
    type Step =
      | {
        kind: "append";
        channels: string[];
        ttl: number | undefined;
        key: string | undefined;
        transient: boolean;
      }
      | { kind: "clear"; channel: string }
      | { kind: "advance"; seconds: number }
      | { kind: "sweep" };
    const channel = fc.constantFrom("a", "b", "c");
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant("append" as const),
          channels: fc.array(channel, { minLength: 1, maxLength: 6 }),
          ttl: fc.option(fc.constantFrom(1, 20), { nil: undefined, freq: 4 }),
          key: fc.option(fc.constantFrom("k", "l"), { nil: undefined, freq: 5 }),
          transient: fc.boolean(),
        }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const), channel }) },
      {
        weight: 1,
        arbitrary: fc.record({
          kind: fc.constant("advance" as const),
          seconds: fc.integer({ min: 1, max: 200 }),
        }),
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant("sweep" as const) }) },
    );
    const rules = new Rules([
      { channels: "a", history: { messages: 3, seconds: 100 } },
      { channels: "b", history: { messages: 20, seconds: 30 } },
    ]);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const clock = new FakeClock();
        const options = { hosts, stream: nameStream(), rules, now: clock.now, grace: 0 };
        await using one = await openNode(options);
        await using two = await openNode(options);
        const nodes = [one.log, two.log];
        let count = 0;
        for (const step of steps) {
          if (step.kind === "advance") clock.advance(step.seconds);
          else if (step.kind === "sweep") await nodes[count % 2]!.sweep();
          else if (step.kind === "clear") await nodes[count % 2]!.clear(step.channel);
          else {
            const { ttl, key, transient } = step;
            await Promise.all(
              // Every other one of a key is another message, which is refused.
              step.channels.map((channel) =>
                outcomeOf(
                  nodes[count++ % 2]!,
                  createDraft(key === undefined ? `${count}` : `${count % 2}`, {
                    channel,
                    ...(ttl === undefined ? {} : { ttl }),
                    ...(key === undefined ? {} : { idempotencyKey: key }),
                    // With a key, as others leave nothing in the stream; of two at once, one is stored.
                    ...(transient && key !== undefined && count % 3 === 0 ? { ephemeral: true } : {}),
                  }),
                )
              ),
            );
          }
        }
        await one.log.sweep();
        await one.log.sweep();
        await two.log.clear("unknown");
        await catchUp(one.log);
        await using three = await openNode(options);
        const known = await describeLog(one.log);
        assert.deepEqual(await describeLog(two.log), known);
        assert.deepEqual(await describeLog(three.log), known);
        const receipts: Receipt[] = [];
        for (const channel of ["a", "b", "c"]) {
          receipts.push(await three.log.append(createDraft("new", { channel })));
        }
        const offsets = known.positions.map(({ position }) => position.offset + 1);
        assert.deepEqual(receipts.map(({ offset }) => offset), offsets);
        for (const channel of ["a", "b"]) {
          for (const idempotencyKey of ["k", "l"]) {
            for (const text of ["0", "1"]) {
              const late = await outcomeOf(three.log, createDraft(text, { channel, idempotencyKey }));
              const known = await outcomeOf(one.log, createDraft(text, { channel, idempotencyKey }));
              const expected = typeof late === "string" ? late : { ...late, duplicate: true };
              assert.deepEqual(known, expected, "both know the same keys");
            }
          }
        }
        assert.deepEqual([one.logger.entries, two.logger.entries, three.logger.entries], [[], [], []]);
      }),
      { numRuns: 50 },
    );
  },
);

/** The receipt of a draft, or "key_reused". */
async function outcomeOf(log: JetStreamEngine, draft: Draft): Promise<Receipt | string> {
  try {
    return await log.append(draft);
  } catch (error) {
    if (error instanceof MessagingError && error.code === "key_reused") return error.code;
    throw error;
  }
}

testWithNats(
  "JetStreamEngine refuses a key with another message on every node, of two at once too",
  async () => {
    const stream = nameStream();
    await using one = await openNode({ hosts, stream });
    await using two = await openNode({ hosts, stream });
    for (let i = 0; i < 20; i++) {
      const drafts = ["a", "b"].map((text) => createDraft(text, { idempotencyKey: `key ${i}` }));
      const outcomes = await Promise.all([outcomeOf(one.log, drafts[0]!), outcomeOf(two.log, drafts[1]!)]);
      assert.equal(outcomes.filter((outcome) => outcome === "key_reused").length, 1);
      const winner = outcomes.findIndex((outcome) => outcome !== "key_reused");
      await using three = await openNode({ hosts, stream });
      assert.equal(await outcomeOf(three.log, drafts[1 - winner]!), "key_reused");
      assert.deepEqual(await outcomeOf(three.log, drafts[winner]!), {
        ...Object(outcomes[winner]),
        duplicate: true,
      });
    }
    assert.deepEqual(one.announced.map(({ offset }) => offset), Array.from({ length: 20 }, (_, i) => i + 1));
  },
);

for (const minutes of [0, 7]) {
  testWithNats(
    `JetStreamEngine finds what a node stored that was killed before it noted it, ${minutes} minutes ago`,
    async () => {
      const stream = nameStream();
      const clock = new FakeClock();
      const draft = { ...createDraft("once"), marker: "mark" };
      let revision;
      {
        await using killed = await openNode({ hosts, stream, now: clock.now });
        const { log } = killed;
        await log.append(createDraft("before"));
        const { epoch, sequence } = log.top;
        revision = await log.state.write(draft.marker, `promised ${epoch} ${sequence}`, 0);
        await log.append(createDraft("between"));
        await log.append({ ...createDraft("once"), idempotencyKey: `mark:${revision}` });
      }
      clock.advance(minutes * 60);
      await using node = await openNode({ hosts, stream, now: clock.now });
      const { duplicate, offset } = await node.log.append(draft);
      assert.deepEqual([duplicate, offset], [true, 3]);
      const { messages } = await node.log.read({ selector: NEWS, after: { kind: "earliest" }, limit: 9 });
      assert.equal(messages.length, 3);
      assert.notEqual((await node.log.state.read(draft.marker))?.revision, revision);
    },
  );
}
