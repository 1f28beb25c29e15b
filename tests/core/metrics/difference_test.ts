/** The metrics of several threads as those of one process: everything is counted once, and connections end with a thread. */
import assert from "node:assert/strict";
import { listFamilies } from "../../../lib/core/metrics/family.ts";
import { MetricsDifference, MetricsShare } from "../../../lib/core/metrics/difference.ts";
import { type Gauge, Metrics } from "../../../lib/core/metrics/metrics.ts";

function createGauge(value: number, options: Partial<Gauge> = {}): Gauge {
  return { name: "raindrops_things", help: "Things", kind: "gauge", read: () => value, ...options };
}

/** A thread with metrics of its own, and what the process has of it. */
function createThread(process: Metrics) {
  const metrics = new Metrics();
  const difference = new MetricsDifference(metrics);
  const share = new MetricsShare(process);
  // As a port would.
  return { metrics, share, report: () => share.add(structuredClone(difference.take())) };
}

function read(metrics: Metrics, name: string, labels: object = {}): number | undefined {
  const family = listFamilies(metrics).find((family) => family.name === name);
  assert.ok(family !== undefined && family.kind !== "histogram");
  return family.samples.find((sample) => JSON.stringify(sample.labels) === JSON.stringify(labels))?.value;
}

Deno.test("MetricsShare adds what each thread counted, once, however often it reports", () => {
  const process = new Metrics();
  const threads = [createThread(process), createThread(process)] as const;
  process.publishedMessages += 5;
  for (const [i, { metrics, report }] of threads.entries()) {
    metrics.publishedMessages += 1 + i;
    metrics.latency.observe(0.5, 3);
    metrics.connected("websocket");
    metrics.connected("sse");
    metrics.disconnected("sse");
    metrics.refused("too_large", { what: `POST /${i}` });
    report();
    report();
    metrics.publishedMessages += 10;
    metrics.refused("forbidden", { what: "GET /secret" });
    metrics.refused("forbidden");
    report();
  }
  assert.equal(process.publishedMessages, 28);
  assert.equal(process.latency.count, 6);
  assert.ok(Math.abs(process.latency.sum - 3) < 1e-9);
  assert.deepEqual(Object.fromEntries(process.connections), {
    websocket: { opened: 2, open: 2 },
    sse: { opened: 2, open: 0 },
  });
  assert.deepEqual(Object.fromEntries(process.refusals), { too_large: 2, forbidden: 4 });
  assert.equal(process.lastRefusal, 6);
  assert.deepEqual(process.listRefusals(4).map(({ number, reason, what }) => [number, reason, what]), [
    [5, "forbidden", "GET /secret"],
    [6, "forbidden", undefined],
  ]);
});

Deno.test("MetricsShare numbers refusals that nobody kept the details of", () => {
  const process = new Metrics();
  const { metrics, report } = createThread(process);
  for (let i = 0; i < 1_000; i++) metrics.refused("too_large", { what: `POST /${i}` });
  report();
  assert.equal(process.lastRefusal, 1_000);
  assert.equal(process.listRefusals(999)[0]?.what, "POST /999");
});

Deno.test("MetricsShare forgets the connections and gauges of a thread that is gone, and keeps what it counted", () => {
  const process = new Metrics();
  const threads = [createThread(process), createThread(process)] as const;
  const shares = threads.map(({ share }) => share);
  process.addition = (gauge) => shares.reduce((sum, share) => sum + share.read(gauge), 0);
  process.addGauges(createGauge(1), createGauge(7, { name: "raindrops_nodes", ofProcess: true }));
  for (const { metrics, report } of threads) {
    metrics.addGauges(createGauge(20), createGauge(7, { name: "raindrops_nodes", ofProcess: true }));
    metrics.connected("websocket");
    metrics.publishedMessages++;
    report();
  }
  assert.equal(read(process, "raindrops_things"), 41);
  assert.equal(read(process, "raindrops_nodes"), 7);
  threads[0].share.leave();
  assert.equal(read(process, "raindrops_things"), 21);
  assert.equal(read(process, "raindrops_connections", { protocol: "websocket" }), 1);
  assert.equal(read(process, "raindrops_connections_opened_total", { protocol: "websocket" }), 2);
  assert.equal(read(process, "raindrops_published_messages_total"), 2);
});
