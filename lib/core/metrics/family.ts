/** Everything that is measured, under its name and with its meaning: `/metrics` and OpenTelemetry report it. */
import { DURATION_BOUNDS, type Histogram } from "../../base/histogram.ts";
import type { Metrics } from "./metrics.ts";

/** One metric in the way of Prometheus: base units, a counter's name ends in `_total`. */
export type MetricFamily =
  & { readonly name: string; readonly help: string }
  & (
    | { readonly kind: "counter" | "gauge"; readonly samples: readonly MetricSample[] }
    /** Of durations: the histogram is in milliseconds, as a report it is in seconds. */
    | { readonly kind: "histogram"; readonly histogram: Histogram }
  );

export interface MetricSample {
  /** Values come from a fixed few: protocols, reasons. Never the name of a channel or client. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What there is to report now. */
export function listFamilies(metrics: Metrics): readonly MetricFamily[] {
  const counter = (name: string, help: string, value: number): MetricFamily => (
    { name, help, kind: "counter", samples: [{ labels: {}, value }] }
  );
  const connections = [...metrics.connections];
  return [
    counter(
      "raindrops_published_messages_total",
      "Messages taken from publishers",
      metrics.publishedMessages,
    ),
    counter("raindrops_published_bytes_total", "Bytes of their payloads", metrics.publishedBytes),
    counter(
      "raindrops_delivered_messages_total",
      "Messages handed to sockets and streams as they came in, one for each message and reader",
      metrics.deliveredMessages,
    ),
    counter("raindrops_delivered_bytes_total", "Bytes of their frames", metrics.deliveredBytes),
    {
      name: "raindrops_delivery_latency_seconds",
      help: "Time from a publish until every reader's socket has the message",
      kind: "histogram",
      histogram: metrics.latency,
    },
    {
      name: "raindrops_log_commit_seconds",
      help: "Time the engine took to store what it stores at once",
      kind: "histogram",
      histogram: metrics.commit,
    },
    {
      name: "raindrops_event_loop_lag_seconds",
      help: "By how much timers come late",
      kind: "histogram",
      histogram: metrics.lag,
    },
    {
      name: "raindrops_connections",
      help: "Clients that are connected, by protocol",
      kind: "gauge",
      samples: connections.map(([protocol, { open }]) => ({ labels: { protocol }, value: open })),
    },
    {
      name: "raindrops_connections_opened_total",
      help: "Clients that have connected, by protocol",
      kind: "counter",
      samples: connections.map(([protocol, { opened }]) => ({ labels: { protocol }, value: opened })),
    },
    {
      name: "raindrops_refusals_total",
      help: "What was refused or went wrong, by reason",
      kind: "counter",
      samples: Array.from(metrics.refusals, ([reason, value]) => ({ labels: { reason }, value })),
    },
    counter(
      "raindrops_slow_readers_total",
      "Clients that were cut off because they did not keep up",
      metrics.slowReaders,
    ),
    ...metrics.gauges.flatMap(({ name, help, kind, labels = {}, read }): MetricFamily[] => {
      const value = read();
      return value === undefined ? [] : [{ name, help, kind, samples: [{ labels, value }] }];
    }),
  ];
}

/** A histogram in seconds, as reports have it: each bucket, labelled `le`, counts everything up to its bound. */
export function flattenHistogram({ counts, sum }: Histogram): {
  readonly buckets: readonly MetricSample[];
  readonly sum: number;
  readonly count: number;
} {
  let count = 0;
  const buckets = counts.map((inBucket, i) => {
    const bound = DURATION_BOUNDS[i];
    count += inBucket;
    return { labels: { le: bound === undefined ? "+Inf" : String(bound / 1_000) }, value: count };
  });
  return { buckets, sum: sum / 1_000, count };
}
