/** Lists all metrics with their names and help texts. `/metrics` and OpenTelemetry report them. */
import { DURATION_BOUNDS, type Histogram } from "../../base/histogram.ts";
import type { Metrics } from "./metrics.ts";

/** One metric by the conventions of Prometheus: base units, and names of counters end in `_total`. */
export type MetricFamily =
  & { readonly name: string; readonly help: string }
  & (
    | { readonly kind: "counter" | "gauge"; readonly samples: readonly MetricSample[] }
    /** Durations: milliseconds in the histogram, seconds in reports. */
    | { readonly kind: "histogram"; readonly histogram: Histogram }
  );

export interface MetricSample {
  /** Label values come from small fixed sets, such as protocols. Never the name of a channel or client. */
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The current values of all metrics. */
export function listFamilies(metrics: Metrics): readonly MetricFamily[] {
  const counter = (name: string, help: string, value: number): MetricFamily => (
    { name, help, kind: "counter", samples: [{ labels: {}, value }] }
  );
  const connections = [...metrics.connections];
  return [
    counter(
      "raindrops_published_messages_total",
      "Messages accepted from publishers",
      metrics.publishedMessages,
    ),
    counter(
      "raindrops_published_bytes_total",
      "Bytes of the payloads of accepted messages",
      metrics.publishedBytes,
    ),
    counter(
      "raindrops_delivered_messages_total",
      "Live messages sent to subscribers, counted once per message and subscriber",
      metrics.deliveredMessages,
    ),
    counter(
      "raindrops_delivered_bytes_total",
      "Bytes of the frames of live messages sent to subscribers",
      metrics.deliveredBytes,
    ),
    {
      name: "raindrops_delivery_latency_seconds",
      help: "Time from a publish until all subscribers' sockets have the message",
      kind: "histogram",
      histogram: metrics.latency,
    },
    {
      name: "raindrops_log_commit_seconds",
      help: "Time the engine took to commit a batch of messages",
      kind: "histogram",
      histogram: metrics.commit,
    },
    {
      name: "raindrops_event_loop_lag_seconds",
      help: "Delay of timers behind their due time",
      kind: "histogram",
      histogram: metrics.lag,
    },
    {
      name: "raindrops_connections",
      help: "Connected clients, by protocol",
      kind: "gauge",
      samples: connections.map(([protocol, { open }]) => ({ labels: { protocol }, value: open })),
    },
    {
      name: "raindrops_connections_opened_total",
      help: "Clients that have connected since the start, by protocol",
      kind: "counter",
      samples: connections.map(([protocol, { opened }]) => ({ labels: { protocol }, value: opened })),
    },
    {
      name: "raindrops_refusals_total",
      help: "Requests and connections that were refused or failed, by reason",
      kind: "counter",
      samples: Array.from(metrics.refusals, ([reason, value]) => ({ labels: { reason }, value })),
    },
    counter(
      "raindrops_slow_subscribers_total",
      "Clients that were disconnected because they did not keep up",
      metrics.slowSubscribers,
    ),
    ...metrics.gauges.flatMap((gauge): MetricFamily[] => {
      const { name, help, kind, labels = {}, ofProcess = false } = gauge;
      const own = gauge.read();
      if (own === undefined) return [];
      const value = own + (ofProcess ? 0 : metrics.addition(gauge));
      return [{ name, help, kind, samples: [{ labels, value }] }];
    }),
  ];
}

/** A histogram in seconds, with cumulative buckets labelled `le`, as reports need it. */
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
