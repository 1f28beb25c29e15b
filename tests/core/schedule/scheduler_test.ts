/** What scheduling promises, on a real hub and a memory engine: once, in order, whatever fails in between. */
import assert from "node:assert/strict";
import { createDraft, type DraftOptions } from "../../../lib/core/draft.ts";
import { MessagingError } from "../../../lib/core/errors.ts";
import { Hub } from "../../../lib/core/hub.ts";
import type { LogState } from "../../../lib/core/log.ts";
import type { Message } from "../../../lib/core/message.ts";
import { Rules } from "../../../lib/core/rules.ts";
import { Scheduler, type SchedulerOptions } from "../../../lib/core/schedule/scheduler.ts";
import type { When } from "../../../lib/core/schedule/when.ts";
import { MemoryEngine } from "../../../lib/engines/memory/engine.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";

const LIMITS = {
  maxScheduled: 100,
  maxScheduledBytes: 100_000,
  maxScheduleAhead: 86_400,
  maxMessageBytes: 1_000,
};
const SOON: When = { kind: "delay", milliseconds: 1 };

/** The state of an engine that fails where the test says, as an engine does that is away. */
class FailingState implements LogState {
  failing: "write" | "delete" | undefined;
  readonly #state: LogState;
  readonly read: LogState["read"];
  readonly list: LogState["list"];

  constructor(state: LogState) {
    this.#state = state;
    this.read = state.read.bind(state);
    this.list = state.list.bind(state);
  }

  async write(...args: Parameters<LogState["write"]>): Promise<number | undefined> {
    if (this.failing === "write") throw new MessagingError("log_unavailable", "away");
    return await this.#state.write(...args);
  }

  async delete(...args: Parameters<LogState["delete"]>): Promise<boolean> {
    if (this.failing === "delete") throw new MessagingError("log_unavailable", "away");
    return await this.#state.delete(...args);
  }
}

/** An engine that outlives the schedulers on it, like a file. */
class Bench {
  readonly clock = new FakeClock();
  readonly rules = new Rules([{ channels: "quiet", ephemeral: true }]);
  readonly log = new MemoryEngine({ rules: this.rules, now: this.clock.now });
  readonly state = new FailingState(this.log.state);
  readonly logger = new RecordingLogger();
  readonly hub = new Hub({ log: this.log, rules: this.rules, logger: this.logger, maxMessageBytes: 1_000 });
  readonly seen: Message[] = [];
  #waiting: (() => void)[] = [];

  constructor() {
    this.hub.observe((messages) => {
      this.seen.push(...messages);
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
  }

  start(more: Partial<SchedulerOptions> = {}): Scheduler {
    const { hub, log, state, rules, logger, clock } = this;
    const clocks = { now: clock.now, steadyNow: clock.now };
    return new Scheduler({
      hub,
      log,
      state,
      rules,
      cluster: undefined,
      logger,
      limits: LIMITS,
      ...clocks,
      ...more,
    });
  }

  async until(count: number): Promise<void> {
    while (this.seen.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  get texts(): readonly string[] {
    return this.seen.map(({ payload }) => payload.kind === "bytes" ? "bytes" : payload.text);
  }
}

function draftOf(text: string, more: Partial<DraftOptions> = {}) {
  return createDraft({ channel: "news", payload: { kind: "text", text }, ...more });
}

/** Resolves once nothing is scheduled any more. */
async function untilEmpty(scheduler: Scheduler): Promise<void> {
  while (scheduler.list().length > 0) await new Promise((resolve) => setTimeout(resolve));
}

async function assertRefused(promise: Promise<unknown>, code: string, pattern: RegExp): Promise<void> {
  await assert.rejects(promise, (error: unknown) => {
    assert.ok(error instanceof MessagingError);
    assert.equal(error.code, code);
    assert.match(error.message, pattern);
    return true;
  });
}

Deno.test("A message is published when it is due, with all it had, and no more scheduled then", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  const options = {
    payload: { kind: "bytes", bytes: new Uint8Array([1, 2, 255]) },
    event: "weather",
    from: { id: "ann", name: "Ann", user: "u1", info: '{"a":1}' },
    ttl: 60,
    properties: { retain: true },
  } as const;
  const { id, due } = await scheduler.schedule(
    draftOf("", options),
    { kind: "delay", milliseconds: 5_000 },
    "",
  );
  assert.equal(due, bench.clock.now() + 5_000);
  await scheduler.schedule(draftOf("now"), SOON, "");
  bench.clock.advance(1);
  await bench.until(1);
  assert.deepEqual(bench.texts, ["now"]);
  while (scheduler.list().length > 1) await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual(scheduler.list().map((item) => item.id), [id]);
  bench.clock.advance(4);
  await bench.until(2);
  await untilEmpty(scheduler);
  const { payload, event, from, properties } = bench.seen[1]!;
  assert.deepEqual({ payload, event, from, properties }, {
    payload: options.payload,
    event: options.event,
    from: options.from,
    properties: options.properties,
  });
});

Deno.test("Messages due at the same time come in the order in which they were scheduled", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  const at: When = { kind: "at", time: bench.clock.now() + 1_000 };
  for (let i = 0; i < 80; i++) await scheduler.schedule(draftOf(String(i)), at, "");
  bench.clock.advance(1);
  await bench.until(80);
  assert.deepEqual(bench.texts, Array.from({ length: 80 }, (_, i) => String(i)));
});

Deno.test("A message that was published and not noted down, is published no second time", async () => {
  // The engine knows the key still; it knows it no more; and the message left no trace but the key.
  for (
    const { minutes, more, seen } of [
      { minutes: 1, more: {}, seen: ["rain"] },
      { minutes: 10, more: {}, seen: ["rain"] },
      { minutes: 1, more: { ephemeral: true }, seen: ["rain"] },
      { minutes: 10, more: { ephemeral: true }, seen: ["rain"] },
      { minutes: 10, more: { channel: "quiet" }, seen: ["rain"] },
    ]
  ) {
    const bench = new Bench();
    {
      await using scheduler = bench.start();
      await scheduler.schedule(draftOf("rain", more), { kind: "delay", milliseconds: 1_000 }, "");
      bench.state.failing = "delete";
      bench.clock.advance(1);
      await bench.until(1);
    }
    bench.state.failing = undefined;
    bench.clock.advance(minutes * 60);
    await using scheduler = bench.start();
    while (scheduler.list().length === 0 && (await countEntries(bench)) > 0) {
      await new Promise((resolve) => setTimeout(resolve));
    }
    await untilEmpty(scheduler);
    assert.deepEqual(bench.texts, seen, JSON.stringify({ minutes, more }));
    assert.equal(await countEntries(bench), 0);
  }
});

Deno.test("A message that was about to be published when the server stopped is published later", async () => {
  const bench = new Bench();
  const publish = bench.hub.publish.bind(bench.hub);
  {
    await using scheduler = bench.start();
    const { promise, resolve } = Promise.withResolvers<void>();
    bench.hub.publish = () => {
      resolve();
      return Promise.reject(new MessagingError("log_unavailable", "away"));
    };
    await scheduler.schedule(draftOf("rain"), SOON, "");
    bench.clock.advance(1);
    await promise;
    await publish(draftOf("another"));
  }
  bench.hub.publish = publish;
  bench.clock.advance(600);
  await using scheduler = bench.start();
  await bench.until(2);
  await untilEmpty(scheduler);
  assert.deepEqual(bench.texts, ["another", "rain"]);
});

Deno.test("Of two that send at the same time, one does", async () => {
  const bench = new Bench();
  const clocks = { now: Date.now, steadyNow: Date.now };
  await using first = bench.start(clocks);
  await using second = bench.start(clocks);
  const at: When = { kind: "at", time: Date.now() + 100 };
  for (let i = 0; i < 50; i++) {
    await [first, second][i % 2]!.schedule(draftOf(String(i), { channel: `c${i % 7}` }), at, "");
  }
  // Another starts, to which all of them are due at once.
  await using third = bench.start({ ...clocks, now: () => Date.now() + 1_000 });
  await bench.until(50);
  await Promise.all([first, second, third].map(untilEmpty));
  assert.equal(bench.seen.length, 50);
  assert.equal(new Set(bench.texts).size, 50);
});

Deno.test("A cancelled message is not published, and cancelling it again says that it is not there", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  const { id } = await scheduler.schedule(
    draftOf("rain"),
    { kind: "delay", milliseconds: 1_000 },
    "user ann",
  );
  assert.equal((await scheduler.find(id))?.publisher, "user ann");
  await scheduler.cancel(id);
  await scheduler.schedule(draftOf("sun"), { kind: "delay", milliseconds: 2_000 }, "");
  bench.clock.advance(3);
  await bench.until(1);
  assert.deepEqual(bench.texts, ["sun"]);
  for (const missing of [id, "nonsense", "", "../x", "x".repeat(200)]) {
    await assertRefused(scheduler.cancel(missing), "not_found", /cancelled/);
  }
});

Deno.test("A message is scheduled once under its key, and so published once", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  const keyed = (text: string, publisher = "user ann") =>
    scheduler.schedule(draftOf(text, { idempotencyKey: "k", publisher }), {
      kind: "delay",
      milliseconds: 1_000,
    }, publisher);
  const first = await keyed("rain");
  bench.clock.advance(0.5);
  assert.deepEqual(await keyed("rain"), first, "a repeat has the first one's time");
  await assertRefused(keyed("hail"), "key_reused", /repeat a message unchanged/);
  assert.notEqual((await keyed("rain", "user bob")).id, first.id, "keys are each publisher's own");
  bench.clock.advance(1);
  await bench.until(2);
  await untilEmpty(scheduler);
  // Repeated after it was published, within the time for which keys hold.
  assert.equal((await keyed("rain")).id, first.id);
  bench.clock.advance(2);
  await untilEmpty(scheduler);
  await scheduler.schedule(draftOf("end"), SOON, "");
  bench.clock.advance(1);
  await bench.until(3);
  assert.deepEqual(bench.texts, ["rain", "rain", "end"]);
});

Deno.test("Nobody can take the key under which a scheduled message is published", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  const { id } = await scheduler.schedule(draftOf("rain"), { kind: "delay", milliseconds: 1_000 }, "");
  const { digest = "" } = await scheduler.find(id) ?? {};
  for (const key of [JSON.stringify(["scheduled", id, digest]), `${id}","${digest}`]) {
    for (const publisher of ["", "scheduled"]) {
      await bench.hub.publish(draftOf("forged", { idempotencyKey: key, publisher }));
    }
  }
  const forged = bench.seen.length;
  bench.clock.advance(1);
  await bench.until(forged + 1);
  assert.equal(bench.texts.at(-1), "rain");
});

Deno.test("What cannot be stored now is tried again, can be cancelled meanwhile, and is told of", async () => {
  const bench = new Bench();
  const publish = bench.hub.publish.bind(bench.hub);
  await using scheduler = bench.start();
  let failures = 0;
  bench.hub.publish = () => {
    failures++;
    return Promise.reject(new MessagingError("too_many_channels", "the engine keeps 1 channels already"));
  };
  const { id } = await scheduler.schedule(draftOf("rain"), SOON, "");
  const { id: other } = await scheduler.schedule(draftOf("sun"), SOON, "");
  bench.clock.advance(1);
  while (scheduler.list().some(({ failure }) => failure === undefined)) {
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.match(String(scheduler.list()[0]?.failure), /keeps 1 channels/);
  assert.ok(failures >= 2);
  await scheduler.cancel(other);
  bench.hub.publish = publish;
  bench.clock.advance(60);
  await bench.until(1);
  await untilEmpty(scheduler);
  assert.deepEqual(bench.texts, ["rain"]);
  assert.equal(bench.logger.find("scheduled message failed")[0]?.id, id);
});

Deno.test("A message for one client that is not there any more is dropped, as it is not kept", async () => {
  const bench = new Bench();
  await using scheduler = bench.start();
  await scheduler.schedule(createDraft({ to: "ann", payload: { kind: "text", text: "hi" } }), SOON, "");
  bench.clock.advance(1);
  await untilEmpty(scheduler);
  assert.match(String(bench.logger.find("scheduled message dropped")[0]?.reason), /ann/);
  assert.equal(await countEntries(bench), 0);
});

Deno.test("A key of a channel without a map is refused, and dropped where a rule came later", async () => {
  const bench = new Bench();
  const { log, logger } = bench;
  {
    await using scheduler = bench.start();
    const quiet = scheduler.schedule(draftOf("rain", { channel: "quiet", key: "k" }), SOON, "");
    await assertRefused(quiet, "not_available", /quiet.*ephemeral/);
    assert.equal(await countEntries(bench), 0);
    const hour: When = { kind: "delay", milliseconds: 3_600_000 };
    await scheduler.schedule(draftOf("rain", { key: "k" }), hour, "");
  }
  const rules = new Rules([{ channels: "news", conflate: true }]);
  bench.clock.advance(3_600_000);
  await using _ = bench.start({
    hub: new Hub({ log, rules, logger, maxMessageBytes: 1_000 }),
    rules,
  });
  const dropped = () => logger.find("scheduled message dropped");
  while (dropped().length === 0) await new Promise((resolve) => setTimeout(resolve));
  assert.match(String(dropped()[0]?.reason), /conflate/);
  assert.equal(await countEntries(bench), 0);
});

Deno.test("Bounds hold, and say which setting raises them", async () => {
  const bench = new Bench();
  const hour: When = { kind: "delay", milliseconds: 3_600_000 };
  const limits = { ...LIMITS, maxScheduled: 2 };
  await using few = bench.start({ limits });
  await few.schedule(draftOf("1"), hour, "");
  await few.schedule(draftOf("2"), hour, "");
  await assertRefused(few.schedule(draftOf("3"), hour, ""), "too_many_scheduled", /--max-scheduled:/);
  await using small = bench.start({ limits: { ...LIMITS, maxScheduledBytes: 500 } });
  const long = draftOf("x".repeat(600));
  await assertRefused(small.schedule(long, hour, ""), "too_many_scheduled", /--max-scheduled-bytes/);
  await using none = bench.start({ limits: { ...LIMITS, maxScheduled: 0 } });
  await assertRefused(none.schedule(draftOf("1"), hour, ""), "not_available", /--max-scheduled/);
  const day: When = { kind: "delay", milliseconds: 86_400_001 };
  await assertRefused(few.schedule(draftOf("3"), day, ""), "too_far_ahead", /--max-schedule-ahead/);
  const past: When = { kind: "at", time: bench.clock.now() - 300_001 };
  await assertRefused(small.schedule(draftOf("3"), past, ""), "bad_option", /passed/);
  const ancient: When = { kind: "at", time: -1e20 };
  await assertRefused(small.schedule(draftOf("3"), ancient, ""), "bad_option", /passed/);
  await assertRefused(
    small.schedule(draftOf("x".repeat(1_001)), hour, ""),
    "too_large",
    /--max-message-bytes/,
  );
});

Deno.test("An entry of the engine that is not understood is left alone", async () => {
  const bench = new Bench();
  await bench.state.write("scheduled-other", '{"epoch":"a","sequence":5}', 0);
  await bench.state.write("scheduled-text", "not JSON", 0);
  await using scheduler = bench.start();
  await scheduler.schedule(draftOf("rain"), SOON, "");
  bench.clock.advance(1);
  await bench.until(1);
  assert.equal(bench.logger.find("a scheduled message is not understood").length, 2);
  await untilEmpty(scheduler);
  assert.equal(await countEntries(bench), 2);
});

async function countEntries({ state }: Bench): Promise<number> {
  let count = 0;
  for await (const _ of state.list("scheduled-")) count++;
  return count;
}
