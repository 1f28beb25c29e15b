/** Traffic: rates by channel, counted only while somebody holds it. */
import assert from "node:assert/strict";
import type { Message } from "../../../lib/core/message.ts";
import { Traffic } from "../../../lib/core/metrics/traffic.ts";
import { createMessage } from "../../fakes/message.ts";

/** A hub of which only what it announces matters, and a clock. */
class Bench {
  readonly observers = new Set<(messages: readonly Message[]) => void>();
  now = 0;
  readonly traffic = new Traffic({
    observe: (observer) => {
      this.observers.add(observer);
      return () => this.observers.delete(observer);
    },
  }, () => this.now);

  announce(...channels: string[]): void {
    const messages = channels.map((channel, i) => createMessage(String(i), { channel }));
    for (const observer of this.observers) observer(messages);
  }
}

Deno.test("Traffic tells the rate of each channel over the last two seconds, and its newest message", () => {
  const bench = new Bench();
  using held = { [Symbol.dispose]: bench.traffic.start() };
  void held;
  bench.announce("a", "b", "a", "a");
  assert.equal(bench.traffic.rate("a"), 0, "nothing is known before the time is over");
  bench.now = 2_000;
  assert.deepEqual([bench.traffic.rate("a"), bench.traffic.rate("b"), bench.traffic.rate("c")], [
    1.5,
    0.5,
    0,
  ]);
  assert.deepEqual(bench.traffic.last("a")?.payload, { kind: "text", text: "3" });
  bench.now = 4_000;
  assert.equal(bench.traffic.rate("a"), 0);
  bench.now = 6_000;
  assert.deepEqual([...bench.traffic.list()], [], "channels that went quiet are forgotten");
});

Deno.test("Traffic leaves the hub alone unless somebody holds it", () => {
  const bench = new Bench();
  assert.equal(bench.observers.size, 0);
  const [one, other] = [bench.traffic.start(), bench.traffic.start()];
  assert.equal(bench.observers.size, 1);
  bench.announce("a");
  one();
  one();
  assert.equal(bench.observers.size, 1);
  other();
  assert.equal(bench.observers.size, 0);
  assert.deepEqual([...bench.traffic.list()], []);
});

Deno.test("Traffic does not count messages to one client", () => {
  const bench = new Bench();
  bench.traffic.start();
  for (const observer of bench.observers) {
    observer([createMessage("secret", { channel: "@anna", to: "anna" })]);
  }
  assert.deepEqual([...bench.traffic.list()], []);
});
