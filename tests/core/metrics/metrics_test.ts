/** Metrics: counts by reason and protocol, and the refusals that are kept for whoever looks. */
import assert from "node:assert/strict";
import { Metrics, RECENT_REFUSALS } from "../../../lib/core/metrics/metrics.ts";

Deno.test("Metrics.refused() counts by reason and keeps the newest, oldest first", () => {
  const metrics = new Metrics();
  metrics.refused("forbidden", { what: "POST /news", message: "no", client: "c", address: "127.0.0.1" });
  metrics.refused("slow_subscriber");
  metrics.refused("forbidden");
  assert.deepEqual([...metrics.refusals], [["forbidden", 2], ["slow_subscriber", 1]]);
  assert.equal(metrics.slowSubscribers, 1);
  const [first, ...others] = metrics.listRefusals();
  const { time, ...rest } = first!;
  assert.ok(Math.abs(Date.now() - time) < 60_000);
  assert.deepEqual(rest, {
    number: 1,
    reason: "forbidden",
    what: "POST /news",
    message: "no",
    client: "c",
    address: "127.0.0.1",
  });
  assert.deepEqual(others.map(({ number }) => number), [2, 3]);
  assert.deepEqual(metrics.listRefusals(2).map(({ number }) => number), [3]);
});

Deno.test("Metrics.refused() keeps a bounded number of bounded texts", () => {
  const metrics = new Metrics();
  const count = RECENT_REFUSALS + 10;
  for (let i = 0; i < count; i++) {
    metrics.refused("too_large", { what: "x".repeat(10_000), message: "y".repeat(10_000) });
  }
  const kept = metrics.listRefusals();
  assert.deepEqual([kept.length, kept[0]?.number, kept.at(-1)?.number], [RECENT_REFUSALS, 11, count]);
  assert.ok(kept.every(({ what, message }) => (what + message!).length <= 1_000));
  assert.equal(metrics.refusals.get("too_large"), count);
});

Deno.test("Metrics counts the connections of each protocol that there are, and that there were", () => {
  const metrics = new Metrics();
  for (const protocol of ["plain", "plain", "sse"]) metrics.connected(protocol);
  metrics.disconnected("plain");
  assert.deepEqual(Object.fromEntries(metrics.connections), {
    plain: { opened: 2, open: 1 },
    sse: { opened: 1, open: 1 },
  });
});
