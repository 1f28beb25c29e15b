/** Connections and rates by client, address and in all: each limit at its edge, whom it spares, and what is remembered. */
import assert from "node:assert/strict";
import { MessagingError } from "../../lib/core/errors.ts";
import { type LimitStates, LocalLimitStates } from "../../lib/core/limit_states.ts";
import { type Bound, Limits, type LimitSettings } from "../../lib/core/limits.ts";
import { createSharedLimitMemory, SharedLimitStates } from "../../lib/core/shared_limit_states.ts";

const NONE: Bound = { value: Infinity, sparesLoopback: false };
const exactly = (value: number): Bound => ({ value, sparesLoopback: false });
const HERE = "127.0.0.1";
const THERE = "192.0.2.1";

/** Limits of a process: of one thread, or of the second of two. Each test runs with both. */
type Open = (settings: Partial<LimitSettings>) => {
  readonly limits: Limits;
  readonly clock: { now: number };
  readonly states: LimitStates;
};

const UNLIMITED: LimitSettings = {
  maxConnections: Infinity,
  maxConnectionsPerAddress: NONE,
  maxPublishRate: NONE,
  maxPublishRatePerAddress: NONE,
  publishBurst: 1,
};

function createOpen(createStates: () => LimitStates): Open {
  return (settings) => {
    const clock = { now: 0 };
    const states = createStates();
    return { limits: new Limits({ ...UNLIMITED, ...settings }, () => clock.now, states), clock, states };
  };
}

/** What came of an attempt: "" or the code it was refused with. */
function attempt(run: () => unknown): string {
  try {
    run();
    return "";
  } catch (error) {
    assert.ok(error instanceof MessagingError);
    return error.code;
  }
}

function testLimits(kind: string, open: Open): void {
  const test = (promise: string, body: () => void) => Deno.test(`${promise} (${kind})`, body);

  test("Limits.connect() holds to the number in all, and counts again what was released, once", () => {
    const { limits } = open({ maxConnections: 2 });
    const first = limits.connect(THERE);
    limits.connect(HERE);
    assert.equal(attempt(() => limits.connect("192.0.2.2")), "too_many_connections");
    first.release();
    first.release();
    assert.equal(limits.connections, 1);
    limits.connect(THERE);
    assert.equal(attempt(() => limits.connect(THERE)), "too_many_connections");
  });

  test("Limits.connect() holds to the number per address, and IPv6 addresses of one line are one", () => {
    const { limits } = open({ maxConnectionsPerAddress: exactly(2) });
    const first = limits.connect("2001:db8::1");
    limits.connect("2001:db8::2");
    assert.equal(attempt(() => limits.connect("2001:db8:0:0:ffff::3")), "too_many_connections_from_address");
    limits.connect("2001:db8:0:1::1");
    first.release();
    limits.connect("2001:db8::3");
    for (let i = 0; i < 2; i++) limits.connect(THERE);
    assert.equal(attempt(() => limits.connect(`::ffff:${THERE}`)), "too_many_connections_from_address");
    assert.equal(limits.connections, 5, "what was refused is not counted");
  });

  test("Limits spares this machine where a limit says so, and only there", () => {
    const spared = { value: 1, sparesLoopback: true };
    const { limits } = open({
      maxConnectionsPerAddress: spared,
      maxPublishRate: spared,
      maxPublishRatePerAddress: spared,
    });
    for (const address of [HERE, "::1", "::ffff:127.0.0.1"]) {
      for (let i = 0; i < 3; i++) {
        const connection = limits.connect(address);
        for (let j = 0; j < 3; j++) connection.countPublish();
        limits.countPublish(address, "ann");
      }
    }
    const connection = limits.connect(THERE);
    connection.countPublish();
    assert.equal(attempt(() => connection.countPublish()), "too_many_publishes");
    assert.equal(attempt(() => limits.connect(THERE)), "too_many_connections_from_address");
    const held = open({ maxConnectionsPerAddress: exactly(1) });
    held.limits.connect(HERE);
    assert.equal(attempt(() => held.limits.connect(HERE)), "too_many_connections_from_address");
  });

  test("Connection.countPublish() holds one client to its rate, each by itself, and says when to try again", () => {
    const { limits, clock } = open({ maxPublishRate: exactly(2), publishBurst: 2 });
    const [one, two] = [limits.connect(THERE), limits.connect(THERE)];
    for (let i = 0; i < 4; i++) one.countPublish();
    assert.throws(() => one.countPublish(), (error: unknown) => {
      assert.ok(error instanceof MessagingError);
      assert.equal(error.retryAfter, 1);
      assert.match(error.message, /More than 2 messages a second .*--max-publish-rate$/);
      return true;
    });
    two.countPublish();
    clock.now += 500;
    one.countPublish();
    assert.equal(attempt(() => one.countPublish()), "too_many_publishes");
  });

  test("Connection.countPublish() and Limits.countPublish() share the rate of an address", () => {
    const { limits } = open({ maxPublishRatePerAddress: exactly(3) });
    limits.connect(THERE).countPublish();
    limits.connect(THERE).countPublish();
    limits.countPublish(THERE, undefined);
    const third = limits.connect(THERE);
    assert.equal(attempt(() => third.countPublish()), "too_many_publishes_from_address");
    assert.equal(attempt(() => limits.countPublish(THERE, "ann")), "too_many_publishes_from_address");
    limits.countPublish("192.0.2.2", undefined);
  });

  test("Connection.countPublish() takes nothing of the client that its address is refused", () => {
    const { limits, clock } = open({ maxPublishRate: exactly(1), maxPublishRatePerAddress: exactly(2) });
    const connection = limits.connect(THERE);
    for (let i = 0; i < 2; i++) limits.countPublish(THERE, undefined);
    assert.equal(attempt(() => connection.countPublish()), "too_many_publishes_from_address");
    clock.now += 500;
    connection.countPublish();
  });

  test("Limits.countPublish() holds a user to the rate of a client, wherever from", () => {
    const { limits } = open({ maxPublishRate: exactly(1) });
    limits.countPublish(THERE, "ann");
    assert.equal(attempt(() => limits.countPublish("192.0.2.2", "ann")), "too_many_publishes");
    limits.countPublish(THERE, "bob");
    for (let i = 0; i < 9; i++) limits.countPublish(THERE, undefined);
  });

  test("Limits forgets who has left and not published for a while, and nobody else", () => {
    const { limits, clock, states } = open({
      maxConnectionsPerAddress: exactly(1),
      maxPublishRatePerAddress: exactly(1),
    });
    limits.connect(THERE);
    for (let i = 0; i < 10_000; i++) {
      const address = `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`;
      limits.connect(address).release();
      limits.countPublish(address, undefined);
      clock.now += 100;
      if (states instanceof LocalLimitStates) {
        assert.ok(states.size < 50, `${states.size} states are remembered after ${i} addresses`);
      }
    }
    assert.equal(attempt(() => limits.connect(THERE)), "too_many_connections_from_address");
    limits.countPublish("192.0.2.7", undefined);
    for (let i = 0; i < 50; i++) limits.connect(`192.0.2.${i + 100}`);
    assert.equal(
      attempt(() => limits.countPublish("192.0.2.7", undefined)),
      "too_many_publishes_from_address",
    );
  });
}

testLimits("one thread", createOpen(() => new LocalLimitStates()));
testLimits("shared by threads", createOpen(() => new SharedLimitStates(createSharedLimitMemory(2), 1)));

Deno.test("Limits of several threads count together, and take back what a dead one had", () => {
  const memory = createSharedLimitMemory(3);
  const clock = { now: 1_000 };
  const settings = {
    ...UNLIMITED,
    maxConnections: 6,
    maxConnectionsPerAddress: exactly(3),
    maxPublishRatePerAddress: exactly(2),
  };
  const threads = [0, 1, 2].map((thread) =>
    new Limits(settings, () => clock.now, new SharedLimitStates(memory, thread))
  );
  const [one, two, three] = threads as [Limits, Limits, Limits];
  const held = threads.map((limits) => limits.connect(THERE));
  for (const limits of threads) {
    assert.equal(limits.connections, 3);
    assert.equal(attempt(() => limits.connect(THERE)), "too_many_connections_from_address");
  }
  one.countPublish(THERE, undefined);
  held[1]!.countPublish();
  assert.equal(attempt(() => three.countPublish(THERE, undefined)), "too_many_publishes_from_address");
  clock.now += 500;
  three.countPublish(THERE, undefined);
  assert.equal(attempt(() => one.countPublish(THERE, undefined)), "too_many_publishes_from_address");
  for (let i = 0; i < 3; i++) two.connect(`192.0.2.${i + 10}`);
  assert.equal(attempt(() => three.connect("192.0.2.99")), "too_many_connections");
  assert.equal(one.connections, 6);

  SharedLimitStates.release(memory, 1);
  assert.equal(one.connections, 2, "what the second thread held is free");
  three.connect(THERE);
  assert.equal(attempt(() => one.connect(THERE)), "too_many_connections_from_address");
  held[0]!.release();
  one.connect(THERE);
  assert.equal(three.connections, 3);
});

Deno.test("Limits count a connection back once that a thread ends after it was given up", () => {
  const memory = createSharedLimitMemory(3);
  const settings = { ...UNLIMITED, maxConnections: 2, maxConnectionsPerAddress: exactly(2) };
  const open = (thread: number) => new Limits(settings, () => 0, new SharedLimitStates(memory, thread));
  const [one, stuck] = [open(1), open(2)];
  const late = stuck.connect(THERE);
  SharedLimitStates.release(memory, 2);
  late.release();
  assert.equal(one.connections, 0);
  one.connect(THERE);
  one.connect(THERE);
  assert.equal(attempt(() => one.connect(HERE)), "too_many_connections");
});

Deno.test("SharedLimitStates give a slot to another key only when nobody uses it", () => {
  const memory = createSharedLimitMemory(1);
  const states = new SharedLimitStates(memory, 0);
  const limits = new Limits(
    { ...UNLIMITED, maxConnectionsPerAddress: exactly(1) },
    () => 0,
    states,
  );
  // More addresses than there are slots, all of them with a state that was opened and left.
  const early = states.open("early", 0);
  for (let i = 0; i < 200_000; i++) states.open(`key ${i}`, 0);
  assert.ok(early.connect(1), "its slot is gone, and it has another");
  assert.equal(states.open("early", 0).connect(1), false);
  early.disconnect();
  assert.ok(states.open("early", 0).connect(1));
  const held = Array.from({ length: 60_000 }, (_, i) => `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`);
  for (const address of held) limits.connect(address);
  for (const address of held) {
    assert.equal(attempt(() => limits.connect(address)), "too_many_connections_from_address");
  }
});

Deno.test("SharedLimitStates stay exact when threads race", async () => {
  const memory = createSharedLimitMemory(4);
  const source = `
    import { SharedLimitStates } from ${
    JSON.stringify(new URL("../../lib/core/shared_limit_states.ts", import.meta.url).href)
  };
    self.onmessage = ({ data: { memory, thread, go } }) => {
      const states = new SharedLimitStates(memory, thread);
      Atomics.add(go, 0, 1);
      while (Atomics.load(go, 0) < 4);
      let won = 0;
      for (let i = 0; i < 20000; i++) {
        const state = states.open("key " + i % 50, 0);
        if (states.connect(1000) && state.connect(7)) won++;
        if (i % 3 === 0) { const other = states.open("other " + i % 50, 0); if (other.connect(5)) other.disconnect(); }
      }
      self.postMessage(won);
    };`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const go = new Int32Array(new SharedArrayBuffer(4));
  const workers = [0, 1, 2, 3].map(() => new Worker(url, { type: "module" }));
  const won = await Promise.all(workers.map((worker, thread) =>
    new Promise<number>((resolve) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.postMessage({ memory, thread, go });
    })
  ));
  for (const worker of workers) worker.terminate();
  URL.revokeObjectURL(url);
  assert.equal(won.reduce((all, count) => all + count), 50 * 7);
  const states = new SharedLimitStates(memory, 0);
  for (let i = 0; i < 50; i++) assert.ok(states.open(`other ${i}`, 0).connect(1), "all was given back");
});
