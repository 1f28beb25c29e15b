/** What becomes of a protocol's facts: each change once and in order, and nothing for what is back soon. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { Facts } from "../../lib/core/protocol_webhook.ts";
import { type ChangesClock, FactChanges } from "../../lib/hooks/fact_changes.ts";
import type { FactChange } from "../../lib/hooks/told_facts.ts";

/** The time in the test's hands. */
class ManualClock implements ChangesClock {
  #now = 0;
  readonly #tasks = new Map<() => void, number>();

  now(): number {
    return this.#now;
  }

  after(milliseconds: number, task: () => void): () => void {
    this.#tasks.set(task, this.#now + milliseconds);
    return () => this.#tasks.delete(task);
  }

  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    while (true) {
      const next = [...this.#tasks].sort(([, a], [, b]) => a - b).find(([, at]) => at <= end);
      if (next === undefined) break;
      this.#tasks.delete(next[0]);
      this.#now = next[1];
      next[0]();
    }
    this.#now = end;
  }
}

/** A sender whose facts, target and restarts are in the test's hands. */
class Bench {
  readonly clock = new ManualClock();
  readonly holds = new Map<string, string>();
  /** What the engine has kept of what was told. */
  readonly told = new Map<string, string>();
  /** All that was told. */
  readonly changes: FactChange[] = [];
  overflows = 0;
  #onChange: (key: string) => void = () => {};
  #sender = this.#open();
  #taken: readonly FactChange[] = [];

  #open(): FactChanges {
    const facts: Facts = {
      keys: () => this.holds.keys(),
      find: (key) => this.holds.get(key),
      describe: () => [],
      watch: (onChange) => {
        this.#onChange = onChange;
        return () => {};
      },
    };
    const sender = new FactChanges({
      facts,
      told: { keys: () => this.told.keys(), find: (key) => this.told.get(key) },
      clock: this.clock,
      onReady() {},
      onOverflow: () => this.overflows++,
    });
    // Its own timer only forgets.
    sender.watch()();
    return sender;
  }

  lead(): void {
    this.#sender.lead([]);
  }

  set(key: string, value: string | undefined): void {
    if (this.holds.get(key) === value) return;
    if (value === undefined) this.holds.delete(key);
    else this.holds.set(key, value);
    this.#onChange(key);
  }

  take(limit: number): void {
    if (this.#taken.length === 0) this.#taken = this.#sender.take(limit);
  }

  /** What was taken arrives at the target. */
  settle(): void {
    for (const { key, after } of this.#taken) {
      if (after === null) this.told.delete(key);
      else this.told.set(key, after);
    }
    this.changes.push(...this.#taken);
    this.#taken = [];
    this.#sender.settle();
  }

  /** Another process takes over, which was not there before; what was taken is not known to have arrived. */
  takeOver(): void {
    this.#taken = [];
    this.#sender = this.#open();
    this.lead();
  }

  finish(): void {
    this.clock.advance(60_000);
    while (true) {
      const before = this.changes.length;
      this.settle();
      this.take(100);
      this.settle();
      if (this.changes.length === before) return;
    }
  }
}

const key = fc.constantFrom("a", "a 1", "a 2", "b");
const step = fc.oneof(
  fc.record({ do: fc.constant("set" as const), key, value: fc.constantFrom("1", "2", undefined) }),
  fc.record({ do: fc.constant("advance" as const), by: fc.constantFrom(1, 1_000, 2_999, 3_001, 40_000) }),
  fc.record({ do: fc.constant("take" as const), limit: fc.integer({ min: 1, max: 3 }) }),
  fc.record({ do: fc.constant("settle" as const) }),
  fc.record({ do: fc.constant("takeOver" as const) }),
);

Deno.test("what is told in the end is what is so, and each change follows from the one before", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const bench = new Bench();
      bench.lead();
      for (const one of steps) {
        if (one.do === "set") bench.set(one.key, one.value);
        else if (one.do === "advance") bench.clock.advance(one.by);
        else if (one.do === "take") bench.take(one.limit);
        else if (one.do === "settle") bench.settle();
        else bench.takeOver();
      }
      bench.finish();
      assert.deepEqual(new Map([...bench.told].sort()), new Map([...bench.holds].sort()));
      const values = new Map<string, string>();
      for (const { key, before, after } of bench.changes) {
        assert.equal(before, values.get(key) ?? null, `a change of ${key}`);
        if (after === null) values.delete(key);
        else values.set(key, after);
      }
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("an absence is told after three seconds, unless it ends before", () => {
  const bench = new Bench();
  bench.lead();
  bench.set("a", "");
  bench.finish();
  bench.set("a", undefined);
  bench.clock.advance(2_999);
  bench.set("a", "");
  bench.finish();
  assert.equal(bench.changes.length, 1);
  bench.set("a", undefined);
  bench.clock.advance(2_999);
  bench.take(10);
  bench.settle();
  assert.equal(bench.changes.length, 1);
  bench.clock.advance(2);
  bench.take(10);
  bench.settle();
  assert.deepEqual(bench.changes.at(-1), { key: "a", before: "", after: null });
});

Deno.test("who takes over waits for the clients of before, then tells who has not come back", () => {
  const bench = new Bench();
  bench.told.set("a", "").set("a 1", "").set("b", "");
  bench.takeOver();
  bench.clock.advance(10_000);
  bench.set("b", "");
  bench.clock.advance(19_999);
  bench.take(10);
  bench.settle();
  assert.deepEqual(bench.changes, []);
  bench.clock.advance(2);
  bench.take(10);
  bench.settle();
  assert.deepEqual(bench.changes.map(({ key, after }) => [key, after]), [["a 1", null], ["a", null]]);
});

Deno.test("a target that takes nothing for long is told what came of too many changes", () => {
  const bench = new Bench();
  bench.lead();
  bench.take(1);
  for (let i = 0; i < 25_000; i++) {
    bench.set(`c${i}`, "");
    bench.clock.advance(1);
    bench.set(`c${i}`, undefined);
  }
  bench.set("stays", "");
  assert.ok(bench.overflows > 0);
  bench.finish();
  assert.deepEqual([...bench.told], [["stays", ""]]);
});

Deno.test("Of very many facts that have gone at once, a few are noted in each turn, and all in the end", () => {
  const holds = new Map(Array.from({ length: 2_000 }, (_, i) => [`fact ${i}`, ""]));
  const told = new Map(holds);
  const tasks: (() => void)[] = [];
  let now = 0;
  let notice: (key: string) => void = () => {};
  let noted = 0;
  const changes = new FactChanges({
    facts: {
      keys: () => holds.keys(),
      find: (key) => holds.get(key),
      describe: () => [],
      watch(onChange) {
        notice = onChange;
        return () => {};
      },
    },
    told: { keys: () => told.keys(), find: (key) => told.get(key) },
    clock: { now: () => now, after: (_milliseconds, task) => (tasks.push(task), () => {}) },
    onReady: () => noted++,
    onOverflow: () => assert.fail("there is room"),
  });
  const stop = changes.watch();
  changes.lead([]);
  holds.clear();
  for (const key of told.keys()) notice(key);
  now += 10_000;
  while (tasks.length > 0) {
    const before = noted;
    tasks.shift()!();
    assert.ok(noted - before <= 500, `${noted - before} in one turn`);
  }
  assert.equal(changes.waiting, 2_000);
  assert.deepEqual(changes.take(2_000).map(({ key }) => key), [...told.keys()]);
  stop();
});
