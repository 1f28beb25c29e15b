/** What a thread has counted since it was last asked: workers send it to the thread that answers for the process. */
import { COUNTERS, type Gauge, HISTOGRAMS, type Metrics, type MetricsDelta } from "./metrics.ts";

/** The metrics of another thread, as that thread sends them. */
export interface MetricsReport {
  readonly delta: MetricsDelta;
  /** The values of its gauges, by name and labels. */
  readonly gauges: readonly (readonly [key: string, value: number])[];
}

/** Remembers what it has taken of the metrics of its own thread. */
export class MetricsDifference {
  readonly #metrics: Metrics;
  #before: MetricsDelta;
  #refusal = 0;

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
    this.#before = NOTHING;
  }

  /** What was counted since the last call. */
  take(): MetricsReport {
    const metrics = this.#metrics;
    const before = this.#before;
    const now = this.#before = copy(metrics);
    const recent = metrics.listRefusals(this.#refusal);
    this.#refusal = metrics.lastRefusal;
    return {
      delta: { ...subtract(now, before), recent },
      gauges: metrics.gauges.filter(({ ofProcess }) => !ofProcess)
        .flatMap((gauge) => {
          const value = gauge.read();
          return value === undefined ? [] : [[keyOf(gauge), value] as const];
        }),
    };
  }
}

/** Adds the reports of one thread to the metrics of the process, until the thread is gone. */
export class MetricsShare {
  readonly #metrics: Metrics;
  readonly #open = new Map<string, number>();
  #gauges: ReadonlyMap<string, number> = new Map();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  add({ delta, gauges }: MetricsReport): void {
    this.#metrics.absorb(delta);
    for (const [protocol, { open }] of delta.connections) {
      this.#open.set(protocol, (this.#open.get(protocol) ?? 0) + open);
    }
    this.#gauges = new Map(gauges);
  }

  /** The last value of a gauge. */
  read(gauge: Gauge): number {
    return this.#gauges.get(keyOf(gauge)) ?? 0;
  }

  /** The thread is gone, and its connections with it; what it has counted stays counted. */
  leave(): void {
    const connections = Array.from(
      this.#open,
      ([protocol, open]) => [protocol, { opened: 0, open: -open }] as const,
    );
    this.#metrics.absorb({ ...NOTHING, connections });
    this.#open.clear();
    this.#gauges = new Map();
  }
}

const NOTHING: MetricsDelta = {
  counters: { publishedMessages: 0, publishedBytes: 0, deliveredMessages: 0, deliveredBytes: 0 },
  histograms: {
    latency: { counts: [], sum: 0 },
    commit: { counts: [], sum: 0 },
    lag: { counts: [], sum: 0 },
  },
  connections: [],
  refusals: [],
  recent: [],
};

function copy(metrics: Metrics): MetricsDelta {
  return structuredClone({
    counters: tabulate(COUNTERS, (name) => metrics[name]),
    histograms: tabulate(HISTOGRAMS, (name) => ({ counts: metrics[name].counts, sum: metrics[name].sum })),
    connections: [...metrics.connections],
    refusals: [...metrics.refusals],
    recent: [],
  });
}

function subtract(now: MetricsDelta, before: MetricsDelta): MetricsDelta {
  const opened = new Map(before.connections);
  const refused = new Map(before.refusals);
  return {
    counters: tabulate(COUNTERS, (name) => now.counters[name] - before.counters[name]),
    histograms: tabulate(HISTOGRAMS, (name) => {
      const [{ counts, sum }, earlier] = [now.histograms[name], before.histograms[name]];
      return { counts: counts.map((count, i) => count - (earlier.counts[i] ?? 0)), sum: sum - earlier.sum };
    }),
    connections: now.connections.map(([protocol, count]) => {
      const earlier = opened.get(protocol) ?? { opened: 0, open: 0 };
      return [protocol, { opened: count.opened - earlier.opened, open: count.open - earlier.open }] as const;
    }),
    refusals: now.refusals.map(([reason, count]) => [reason, count - (refused.get(reason) ?? 0)] as const),
    recent: [],
  };
}

function tabulate<Name extends string, Value>(
  names: readonly Name[],
  describe: (name: Name) => Value,
): Record<Name, Value> {
  return Object.fromEntries(names.map((name) => [name, describe(name)])) as Record<Name, Value>;
}

function keyOf({ name, labels = {} }: Gauge): string {
  return `${name} ${JSON.stringify(labels)}`;
}
