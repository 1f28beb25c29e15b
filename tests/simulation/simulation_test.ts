/** The simulator itself, and the schedules that every commit must stand. */
import assert from "node:assert/strict";
import { createPlan, formatPlan, type Plan } from "./plan.ts";
import { shrink } from "./shrink.ts";
import { simulate } from "./simulation.ts";

const SEEDS = 20_000;

Deno.test(`${SEEDS} schedules break no promise`, async () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    const plan = createPlan(seed);
    const { failure } = await simulate(plan);
    if (failure !== undefined) assert.fail(`${failure}\n${formatPlan(await shrink(plan))}`);
  }
});

Deno.test("The same seed takes the same course", async () => {
  for (const seed of [1, 2, 3, 7, 31, 40, 80]) {
    const plan = createPlan(seed);
    assert.deepEqual(createPlan(seed), plan);
    const { trace } = await simulate(plan, true);
    assert.ok(trace.length > 5, "a trace tells what happened");
    assert.deepEqual((await simulate(plan, true)).trace, trace);
  }
});

Deno.test("A schedule leaves clocks and timers as they were", async () => {
  const before = [setTimeout, setInterval, setImmediate, Date.now, Math.random];
  await simulate(createPlan(1));
  assert.deepEqual([setTimeout, setInterval, setImmediate, Date.now, Math.random], before);
  assert.ok(
    Math.abs(Date.now() - performance.timeOrigin - performance.now()) < 60_000,
    "both are real again",
  );
});

Deno.test("A node whose clock was set back reaches its NATS server again", async () => {
  const plan: Plan = {
    seed: 40,
    nodes: 2,
    steps: [
      { wait: 0, do: "clock", node: 0, by: -1_800_000 },
      { wait: 0, do: "server", state: "restart" },
      { wait: 5_000, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    ],
  };
  const { failure, trace } = await simulate(plan, true);
  assert.equal(failure, undefined);
  assert.ok(trace.some((line) => line.includes("n0 acknowledges m1")), trace.join("\n"));
});

Deno.test("Who subscribes before a node has reached its NATS server misses nothing without knowing", async () => {
  for (const kind of ["plain", "stream", "opening"] as const) {
    const plan: Plan = {
      seed: 40,
      nodes: 2,
      steps: [
        { wait: 0, do: "kill", node: 0 },
        { wait: 0, do: "start", node: 0 },
        { wait: 0, do: "cut", node: 0 },
        { wait: 8_000, do: "subscribe", who: 0, node: 0, kind, to: ["a"], since: { kind: "now" } },
        { wait: 100, do: "publish", node: 1, channel: "a", text: "m1", count: 1, padding: 0 },
      ],
    };
    const { failure, trace } = await simulate(plan, true);
    assert.equal(failure, undefined, trace.join("\n"));
    assert.ok(trace.some((line) => line.includes("c0 receives m1")), trace.join("\n"));
  }
});

/** Schedules in which one NATS server says less than a majority has stored, as one does that was frozen. */
const OLD_ANSWERS: Readonly<Record<string, Plan["steps"]>> = {
  "that a deposed leader does not know": [
    { wait: 0, do: "subscribe", who: 0, node: 0, kind: "stream", to: ["a"], since: { kind: "now" } },
    { wait: 100, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    { wait: 100, do: "server", state: "deposed" },
    { wait: 0, do: "publish", node: 1, channel: "a", text: "m2", count: 3, padding: 0 },
    { wait: 100, do: "server", state: "restart" },
    { wait: 8_000, do: "server", state: "running" },
    { wait: 1_000, do: "publish", node: 1, channel: "a", text: "m3", count: 1, padding: 0 },
  ],
  "that a new leader has not applied": [
    { wait: 0, do: "subscribe", who: 0, node: 0, kind: "stream", to: ["a"], since: { kind: "now" } },
    { wait: 100, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    { wait: 100, do: "server", state: "applying" },
    { wait: 0, do: "publish", node: 1, channel: "a", text: "m2", count: 3, padding: 0 },
    { wait: 100, do: "server", state: "restart" },
    { wait: 8_000, do: "server", state: "running" },
    { wait: 1_000, do: "publish", node: 1, channel: "a", text: "m3", count: 1, padding: 0 },
  ],
  "of which a deposed leader does not know that they are gone": [
    { wait: 0, do: "publish", node: 1, channel: "a", text: "m1", count: 1, padding: 0, ttl: 1 },
    { wait: 30_000, do: "publish", node: 1, channel: "a", text: "m2", count: 1, padding: 0, ttl: 1 },
    { wait: 0, do: "server", state: "deposed" },
    { wait: 0, do: "kill", node: 1 },
    { wait: 0, do: "start", node: 1 },
    { wait: 15_000, do: "publish", node: 2, channel: "a", text: "m3", count: 1, padding: 0 },
  ],
  "that a follower does not have from which a node is started": [
    { wait: 0, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    { wait: 100, do: "server", state: "lagging" },
    { wait: 0, do: "publish", node: 0, channel: "a", text: "m2", count: 3, padding: 0 },
    { wait: 100, do: "kill", node: 1 },
    { wait: 0, do: "start", node: 1 },
    { wait: 2_000, do: "subscribe", who: 0, node: 1, kind: "stream", to: ["a"], since: { kind: "earliest" } },
    { wait: 2_000, do: "server", state: "running" },
    { wait: 1_000, do: "publish", node: 1, channel: "a", text: "m3", count: 1, padding: 0 },
  ],
  "that a follower does not have from which a node goes on": [
    { wait: 0, do: "subscribe", who: 0, node: 1, kind: "stream", to: ["a"], since: { kind: "now" } },
    { wait: 100, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    { wait: 100, do: "server", state: "lagging" },
    { wait: 0, do: "publish", node: 0, channel: "a", text: "m2", count: 3, padding: 0 },
    { wait: 100, do: "cut", node: 1 },
    { wait: 100, do: "publish", node: 0, channel: "a", text: "m3", count: 3, padding: 0 },
    { wait: 8_000, do: "mend", node: 1 },
    { wait: 3_000, do: "server", state: "running" },
    { wait: 1_000, do: "publish", node: 1, channel: "a", text: "m4", count: 1, padding: 0 },
  ],
  "that neither a deposed leader knows nor a node to which its reader changes": [
    { wait: 0, do: "subscribe", who: 0, node: 0, kind: "stream", to: ["a"], since: { kind: "earliest" } },
    { wait: 100, do: "publish", node: 0, channel: "a", text: "m1", count: 1, padding: 0 },
    { wait: 100, do: "slow", node: 1, by: 1_500 },
    { wait: 0, do: "server", state: "deposed" },
    { wait: 0, do: "publish", node: 0, channel: "a", text: "m2", count: 1, padding: 0 },
    { wait: 50, do: "drop", who: 0, noticed: 0 },
    { wait: 0, do: "resume", who: 0, node: 1 },
    { wait: 4_000, do: "server", state: "running" },
  ],
};

for (const [what, steps] of Object.entries(OLD_ANSWERS)) {
  Deno.test(`Nothing is lost, and no gap told, of messages ${what}`, async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { failure, trace } = await simulate({ seed, nodes: 2, steps }, true);
      assert.equal(failure, undefined, trace.join("\n"));
      const told = trace.filter((line) => /gap|4410|lost messages|were purged/.test(line));
      assert.deepEqual(told, [], trace.join("\n"));
    }
  });
}

Deno.test("A node that was started from a follower that stays behind tries another", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const steps: Plan["steps"] = [
      { wait: 0, do: "server", state: "lagging" },
      { wait: 0, do: "publish", node: 0, channel: "a", text: "m1", count: 3, padding: 0 },
      { wait: 100, do: "kill", node: 1 },
      { wait: 0, do: "start", node: 1 },
      { wait: 120_000, do: "publish", node: 0, channel: "a", text: "m2", count: 1, padding: 0 },
      { wait: 20_000, do: "publish", node: 1, channel: "a", text: "m3", count: 1, padding: 0 },
      { wait: 2_000, do: "server", state: "running" },
    ];
    const { failure, trace } = await simulate({ seed, nodes: 2, steps }, true);
    assert.equal(failure, undefined, trace.join("\n"));
    const end = trace.findLastIndex((line) => line.endsWith("step server"));
    const acknowledged = trace.findIndex((line) => line.includes("n1' acknowledges m3"));
    assert.ok(acknowledged !== -1 && acknowledged < end, trace.join("\n"));
  }
});
