/** Wills as the engine keeps them: published once, by whichever node is left. */
import assert from "node:assert/strict";
import { Bench, createWill } from "./will_bench.ts";

Deno.test("The will of a killed node is published by one of those that are left, as it was", async () => {
  const bench = new Bench();
  await bench.open("killed").arm("client", createWill());
  const [one, two] = [bench.open("one"), bench.open("two")];
  await one.recover();
  assert.deepEqual(bench.published, [], "its node is alive");
  bench.alive.delete("killed");
  await Promise.all([one.recover(), two.recover()]);
  assert.deepEqual(bench.published, [createWill().draft]);
  assert.equal(await bench.countKept(), 0);
});

Deno.test("A will with a delay is published after it, by another start too, and not if the client returns", async () => {
  for (const returns of [false, true]) {
    const bench = new Bench();
    await bench.open("killed").arm("client", createWill(0.05));
    bench.alive.delete("killed");
    await using stopped = bench.open("stopped");
    await stopped.recover();
    assert.deepEqual(bench.published, []);
    await stopped[Symbol.asyncDispose]();
    bench.alive.delete("stopped");
    await using wills = bench.open("now");
    await wills.recover();
    if (returns) await wills.meet("client", true);
    else await bench.nextPublished();
    await wills[Symbol.asyncDispose]();
    assert.equal(bench.published.length, returns ? 0 : 1);
    assert.equal(await bench.countKept(), 0);
  }
});

Deno.test("A client that comes back to a new session, or had no delay, finds its will published", async () => {
  for (const [delay, isResumed] of [[60, false], [0, true]] as const) {
    const bench = new Bench();
    await bench.open("killed").arm("client", createWill(delay));
    bench.alive.delete("killed");
    await using wills = bench.open("now");
    await wills.meet("client", isResumed);
    assert.equal(bench.published.length, 1);
    assert.equal(await bench.countKept(), 0);
  }
});

Deno.test("A regular end forgets the will; any other end publishes it; an outage keeps it", async () => {
  const bench = new Bench();
  await using wills = bench.open("node");
  await (await wills.arm("client", createWill()))?.disarm();
  assert.deepEqual([bench.published.length, await bench.countKept()], [0, 0]);
  await (await wills.arm("client", createWill()))?.fire(0);
  assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0]);
  const kept = await wills.arm("client", createWill());
  bench.fails = true;
  await kept?.fire(0);
  assert.deepEqual([bench.published.length, await bench.countKept()], [1, 1]);
  bench.fails = false;
  bench.alive.delete("node");
  await bench.open("next").recover();
  assert.deepEqual([bench.published.length, await bench.countKept()], [2, 0]);
});

Deno.test("A will that waits on one node is not published once the client is back on another", async () => {
  const bench = new Bench();
  await using one = bench.open("one");
  await using two = bench.open("two");
  await (await one.arm("client", createWill(0.01)))?.fire(0.01);
  await two.meet("client", true);
  const other = { ...createWill(0.02), draft: { ...createWill().draft, channel: "other" } };
  await (await one.arm("other", other))?.fire(0.02);
  await bench.nextPublished();
  assert.deepEqual(bench.published.map(({ channel }) => channel), ["other"]);
});

Deno.test("A connection forgets its own will alone, and one that has ended publishes nobody's", async () => {
  const bench = new Bench();
  await using one = bench.open("one");
  await using two = bench.open("two");
  const first = await one.arm("client", createWill());
  await two.meet("client", false);
  await bench.nextPublished();
  const second = await one.arm("client", createWill());
  await first?.disarm();
  assert.equal(await two.arm("client", createWill(), () => true), undefined);
  let hasEnded = false;
  const late = two.arm("client", createWill(), () => hasEnded);
  hasEnded = true;
  assert.equal(await late, undefined);
  assert.deepEqual([bench.published.length, await bench.countKept()], [1, 1]);
  await second?.disarm();
  assert.equal(await bench.countKept(), 0);
});
