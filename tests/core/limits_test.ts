/** Connections and rates by client, address and in all: each limit at its edge, whom it spares, and what is remembered. */
import assert from "node:assert/strict";
import { MessagingError } from "../../lib/core/errors.ts";
import { type Bound, Limits, type LimitSettings } from "../../lib/core/limits.ts";

const NONE: Bound = { value: Infinity, sparesLoopback: false };
const exactly = (value: number): Bound => ({ value, sparesLoopback: false });
const HERE = "127.0.0.1";
const THERE = "192.0.2.1";

function open(settings: Partial<LimitSettings>) {
  const clock = { now: 0 };
  const limits = new Limits({
    maxConnections: Infinity,
    maxConnectionsPerAddress: NONE,
    maxPublishRate: NONE,
    maxPublishRatePerAddress: NONE,
    publishBurst: 1,
    ...settings,
  }, () => clock.now);
  return { limits, clock };
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

Deno.test("Limits.connect() holds to the number in all, and counts again what was released, once", () => {
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

Deno.test("Limits.connect() holds to the number per address, and IPv6 addresses of one line are one", () => {
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

Deno.test("Limits spares this machine where a limit says so, and only there", () => {
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

Deno.test("Connection.countPublish() holds one client to its rate, each by itself, and says when to try again", () => {
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

Deno.test("Connection.countPublish() and Limits.countPublish() share the rate of an address", () => {
  const { limits } = open({ maxPublishRatePerAddress: exactly(3) });
  limits.connect(THERE).countPublish();
  limits.connect(THERE).countPublish();
  limits.countPublish(THERE, undefined);
  const third = limits.connect(THERE);
  assert.equal(attempt(() => third.countPublish()), "too_many_publishes_from_address");
  assert.equal(attempt(() => limits.countPublish(THERE, "ann")), "too_many_publishes_from_address");
  limits.countPublish("192.0.2.2", undefined);
});

Deno.test("Connection.countPublish() takes nothing of the client that its address is refused", () => {
  const { limits, clock } = open({ maxPublishRate: exactly(1), maxPublishRatePerAddress: exactly(2) });
  const connection = limits.connect(THERE);
  for (let i = 0; i < 2; i++) limits.countPublish(THERE, undefined);
  assert.equal(attempt(() => connection.countPublish()), "too_many_publishes_from_address");
  clock.now += 500;
  connection.countPublish();
});

Deno.test("Limits.countPublish() holds a user to the rate of a client, wherever from", () => {
  const { limits } = open({ maxPublishRate: exactly(1) });
  limits.countPublish(THERE, "ann");
  assert.equal(attempt(() => limits.countPublish("192.0.2.2", "ann")), "too_many_publishes");
  limits.countPublish(THERE, "bob");
  for (let i = 0; i < 9; i++) limits.countPublish(THERE, undefined);
});

Deno.test("Limits forgets who has left and not published for a while, and nobody else", () => {
  const { limits, clock } = open({
    maxConnectionsPerAddress: exactly(1),
    maxPublishRatePerAddress: exactly(1),
  });
  limits.connect(THERE);
  for (let i = 0; i < 10_000; i++) {
    const address = `10.${i >> 16 & 255}.${i >> 8 & 255}.${i & 255}`;
    limits.connect(address).release();
    limits.countPublish(address, undefined);
    clock.now += 100;
    assert.ok(limits.stateCount < 50, `${limits.stateCount} states are remembered after ${i} addresses`);
  }
  assert.equal(attempt(() => limits.connect(THERE)), "too_many_connections_from_address");
  limits.countPublish("192.0.2.7", undefined);
  for (let i = 0; i < 50; i++) limits.connect(`192.0.2.${i + 100}`);
  assert.equal(attempt(() => limits.countPublish("192.0.2.7", undefined)), "too_many_publishes_from_address");
});
