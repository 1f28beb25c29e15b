/** Wills while the engine is out of reach, a channel is full, or a client comes back only in part. */
import assert from "node:assert/strict";
import { Recovery } from "../../../lib/protocols/mqtt/recovery.ts";
import { SessionStore } from "../../../lib/protocols/mqtt/session_store.ts";
import { RecordingLogger } from "../../fakes/recording_logger.ts";
import { settle } from "../../fakes/schedule.ts";
import { Bench, createWill } from "./will_bench.ts";

Deno.test("A will that waits is published although the client could not come back", async () => {
  for (const part of ["state", "publishing"] as const) {
    const bench = new Bench();
    await using wills = bench.open("node");
    await (await wills.arm("client", createWill(0.05)))?.fire(0.05);
    if (part === "state") {
      bench.state.outage = "before";
      await assert.rejects(wills.meet("client", true), { code: "log_unavailable" });
      bench.state.outage = undefined;
    } else {
      bench.fails = true;
      await wills.meet("client", false);
      bench.fails = false;
    }
    await bench.nextPublished();
    await wills[Symbol.asyncDispose]();
    assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0]);
  }
});

Deno.test("A will that could not be published is published by the next retry that can", async () => {
  for (const part of ["now", "later", "recovered"] as const) {
    const bench = new Bench();
    await using wills = bench.open("node");
    const armed = await (part === "recovered" ? bench.open("killed") : wills).arm("client", createWill());
    bench.fails = true;
    if (part === "now") await armed?.fire(0);
    else if (part === "later") {
      const tried = bench.nextTried();
      await armed?.fire(0.001);
      await tried;
      await settle();
    } else {
      bench.alive.delete("killed");
      await wills.recover();
    }
    await wills.retry();
    assert.deepEqual([bench.published.length, await bench.countKept()], [0, 1]);
    bench.fails = false;
    await wills.retry();
    assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0], part);
    await wills.retry();
    assert.equal(bench.published.length, 1);
  }
});

for (const outage of ["before", "after"] as const) {
  Deno.test(`What an outage kept from being noted of a will is noted by the next retry (${outage} the write)`, async () => {
    const bench = new Bench();
    await using wills = bench.open("node");
    const regular = await wills.arm("regular", createWill());
    const delayed = await wills.arm("delayed", createWill(0.02));
    const due = await wills.arm("due", createWill(0.001));
    await bench.open("killed").arm("foreign", createWill(0.02));
    bench.alive.delete("killed");
    bench.state.outage = outage;
    await regular?.disarm();
    await delayed?.fire(0.02);
    await due?.fire(0.001);
    await assert.rejects(wills.recover(), { code: "log_unavailable" });
    await wills.retry();
    bench.state.outage = undefined;
    await wills.retry();
    await wills.recover();
    while (bench.published.length < 3) await bench.nextTried();
    await wills[Symbol.asyncDispose]();
    assert.deepEqual([bench.published.length, await bench.countKept()], [3, 0]);
  });
}

Deno.test("A retry leaves the will of a client that has come back meanwhile alone", async () => {
  for (const delay of [0, 0.001]) {
    const bench = new Bench();
    await using wills = bench.open("node");
    await using other = bench.open("other");
    const armed = await wills.arm("client", createWill(delay));
    bench.fails = true;
    const tried = bench.nextTried();
    await armed?.fire(delay);
    await tried;
    await settle();
    bench.fails = false;
    await other.meet("client", true);
    const { draft } = createWill();
    await other.arm("client", { delay, draft: { ...draft, idempotencyKey: "next" } });
    await wills.retry();
    // Without a delay the will is due, although the client is back.
    assert.deepEqual([bench.published.length, await bench.countKept()], [delay === 0 ? 1 : 0, 1]);
  }
});

Deno.test("Every minute a node settles the wills that it could not settle before", async () => {
  const bench = new Bench();
  await using wills = bench.open("node");
  const { setInterval } = globalThis;
  const sweeps: (() => void)[] = [];
  globalThis.setInterval = ((task: () => void, milliseconds: number) => {
    if (milliseconds === 60_000) sweeps.push(task);
    return 0;
  }) as unknown as typeof setInterval;
  try {
    const logger = new RecordingLogger();
    await using _recovery = new Recovery({
      store: new SessionStore(bench.state),
      wills,
      cluster: undefined,
      logger,
    });
    const armed = await wills.arm("client", createWill());
    bench.fails = true;
    await armed?.fire(0);
    bench.fails = false;
    assert.equal(sweeps.length, 1);
    sweeps[0]?.();
    await bench.nextPublished();
  } finally {
    globalThis.setInterval = setInterval;
  }
});

Deno.test("A will that another node takes over while its client comes back is not published", async () => {
  for (const isResumed of [true, false]) {
    const bench = new Bench();
    await bench.open("killed").arm("client", createWill(60));
    await using wills = bench.open("node");
    await using other = bench.open("other");
    bench.alive.delete("killed");
    bench.state.beforeDelete = () => other.recover();
    assert.equal((await wills.meet("client", isResumed)).isGone, true);
    assert.equal(await bench.countKept(), 0);
    // The two publish it with one key: the engine stores it once.
    assert.deepEqual(
      new Set(bench.published.map(({ idempotencyKey }) => idempotencyKey)).size,
      isResumed ? 0 : 1,
    );
  }
});

Deno.test("A client that connects while an earlier will cannot be published is refused, not tried for ever", async () => {
  const bench = new Bench();
  await bench.open("killed").arm("client", createWill());
  await using wills = bench.open("node");
  bench.alive.delete("killed");
  bench.fails = true;
  assert.deepEqual(await wills.meet("client", false), { isGone: false });
  await assert.rejects(wills.arm("client", createWill()), { code: "log_unavailable" });
  assert.equal(bench.tries, 2);
  assert.equal(await bench.countKept(), 1);
  bench.fails = false;
  await (await wills.arm("client", createWill()))?.disarm();
  assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0]);
});

for (const outage of [undefined, "before", "after"] as const) {
  Deno.test(`A will that was removed for a client that is not connected after all is published (outage: ${outage})`, async () => {
    for (const arms of [true, false]) {
      const bench = new Bench();
      await using wills = bench.open("node");
      await (await wills.arm("client", createWill(0.01)))?.fire(0.01);
      const { removed } = await wills.meet("client", true);
      assert.ok(removed !== undefined);
      const { draft } = createWill();
      const next = { delay: 0, draft: { ...draft, channel: "next", idempotencyKey: "next" } };
      const armed = arms ? await wills.arm("client", next) : undefined;
      bench.state.outage = outage;
      await armed?.disarm();
      await wills.putBack("client", removed);
      await wills.retry();
      bench.state.outage = undefined;
      await wills.retry();
      await bench.nextPublished();
      await wills[Symbol.asyncDispose]();
      assert.deepEqual(bench.published.map(({ channel }) => channel), ["gone"]);
      assert.equal(await bench.countKept(), 0);
    }
  });
}

for (const outage of ["before", "after"] as const) {
  Deno.test(`A client whose will or return an outage refused leaves the earlier will alone (${outage} the write)`, async () => {
    const bench = new Bench();
    await using wills = bench.open("node");
    await (await wills.arm("client", createWill(0.01)))?.fire(0.01);
    bench.state.beforeDelete = () => {
      bench.state.outage = outage;
      return Promise.resolve();
    };
    await assert.rejects(wills.meet("client", true), { code: "log_unavailable" });
    await assert.rejects(wills.arm("other", createWill()), { code: "log_unavailable" });
    bench.state.outage = undefined;
    await wills.retry();
    await bench.nextPublished();
    await wills[Symbol.asyncDispose]();
    assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0]);
  });
}

Deno.test("A will that was removed is put back if the engine fails before the client is let in", async () => {
  const bench = new Bench();
  await using wills = bench.open("node");
  await (await wills.arm("client", createWill(0.02)))?.fire(0.02);
  const { state } = bench;
  const remove = state.delete;
  state.delete = async (key, revision) => {
    const isRemoved = await remove.call(state, key, revision);
    state.outage = "before";
    return isRemoved;
  };
  await assert.rejects(wills.meet("client", true), { code: "log_unavailable" });
  state.delete = remove;
  state.outage = undefined;
  await wills.retry();
  while (bench.published.length < 1) await bench.nextTried();
  await wills[Symbol.asyncDispose]();
  assert.deepEqual([bench.published.length, await bench.countKept()], [1, 0]);
});

Deno.test("A will that was removed is not put back over that of a successor", async () => {
  const bench = new Bench();
  await using wills = bench.open("node");
  await using other = bench.open("other");
  await (await wills.arm("client", createWill(60)))?.fire(60);
  const { removed } = await wills.meet("client", true);
  assert.ok(removed !== undefined);
  const next = { delay: 0, draft: { ...createWill().draft, channel: "next", idempotencyKey: "next" } };
  const armed = await other.arm("client", next);
  await wills.putBack("client", removed);
  await armed?.fire(0);
  assert.deepEqual(bench.published.map(({ channel }) => channel), ["next"]);
  assert.equal(await bench.countKept(), 0);
});

Deno.test("A will that could not be published is not forgotten over the next one, which could not be kept", async () => {
  const bench = new Bench();
  await using wills = bench.open("node");
  const armed = await wills.arm("client", createWill());
  bench.fails = true;
  await armed?.fire(0);
  bench.state.outage = "before";
  const { draft } = createWill();
  await assert.rejects(wills.arm("client", { delay: 0, draft: { ...draft, idempotencyKey: "next" } }), {
    code: "log_unavailable",
  });
  bench.state.outage = undefined;
  bench.fails = false;
  await wills.retry();
  assert.deepEqual(bench.published, [draft]);
  assert.equal(await bench.countKept(), 0);
});
