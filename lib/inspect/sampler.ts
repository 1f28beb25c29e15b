/** Samples the metrics every second and keeps the last minutes, for the plots of the inspector. */
import { estimatePercentile, type Histogram } from "../base/histogram.ts";
import type { Hub } from "../core/hub.ts";
import type { Metrics } from "../core/metrics/metrics.ts";

const PERIOD_MILLISECONDS = 1_000;
const KEPT_SAMPLES = 300;

/** One second of this node. Rates are per second, durations in milliseconds, undefined where nothing was measured. */
export interface Sample {
  /** Milliseconds since 1970. */
  readonly time: number;
  readonly connections: number;
  readonly subscriptions: number;
  readonly channels: number;
  readonly published: number;
  readonly delivered: number;
  readonly publishedBytes: number;
  readonly deliveredBytes: number;
  readonly refused: number;
  readonly latency: Percentiles | undefined;
  readonly commit: Percentiles | undefined;
  readonly lag: Percentiles | undefined;
  /** Bytes. */
  readonly memory: number;
  readonly heap: number;
  /** CPU use as a fraction of one core. */
  readonly cpu: number;
}

export interface Percentiles {
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
}

/** Cumulative counters at one moment. */
interface Totals {
  readonly time: number;
  readonly published: number;
  readonly delivered: number;
  readonly publishedBytes: number;
  readonly deliveredBytes: number;
  readonly refused: number;
  readonly cpu: number;
  readonly latency: readonly number[];
  readonly commit: readonly number[];
  readonly lag: readonly number[];
}

export class Sampler implements Disposable {
  readonly #hub: Hub;
  readonly #readCpuSeconds: () => number;
  readonly #metrics: Metrics;
  readonly #samples: Sample[] = [];
  readonly #listeners = new Set<(sample: Sample) => void>();
  readonly #timer: ReturnType<typeof setInterval>;
  #before: Totals;

  constructor(hub: Hub, readCpuSeconds: () => number) {
    this.#readCpuSeconds = readCpuSeconds;
    this.#hub = hub;
    this.#metrics = hub.metrics;
    this.#before = this.#total();
    this.#timer = setInterval(() => this.take(), PERIOD_MILLISECONDS);
  }

  /** The samples of the last minutes, oldest first. */
  get samples(): readonly Sample[] {
    return this.#samples;
  }

  /** Calls back with each sample from now on, until the returned function is called. */
  listen(onSample: (sample: Sample) => void): () => void {
    this.#listeners.add(onSample);
    return () => this.#listeners.delete(onSample);
  }

  /** Takes a sample now. Called by the timer. */
  take(): void {
    const [before, now] = [this.#before, this.#total()];
    this.#before = now;
    const seconds = Math.max(0.001, (now.time - before.time) / 1_000);
    const rate = (
      name: "published" | "delivered" | "publishedBytes" | "deliveredBytes" | "refused" | "cpu",
    ) => (now[name] - before[name]) / seconds;
    const percentiles = (name: "latency" | "commit" | "lag") => toPercentiles(before[name], now[name]);
    const { rss, heapUsed } = Deno.memoryUsage();
    const sample: Sample = {
      time: Date.now(),
      connections: this.#hub.clientCount,
      subscriptions: this.#hub.subscriptionCount,
      channels: this.#hub.groupCount,
      published: rate("published"),
      delivered: rate("delivered"),
      publishedBytes: rate("publishedBytes"),
      deliveredBytes: rate("deliveredBytes"),
      refused: rate("refused"),
      latency: percentiles("latency"),
      commit: percentiles("commit"),
      lag: percentiles("lag"),
      memory: rss,
      heap: heapUsed,
      cpu: rate("cpu"),
    };
    if (this.#samples.push(sample) > KEPT_SAMPLES) this.#samples.shift();
    for (const listener of this.#listeners) listener(sample);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }

  #total(): Totals {
    const metrics = this.#metrics;
    const copy = ({ counts }: Histogram) => [...counts];
    return {
      time: performance.now(),
      published: metrics.publishedMessages,
      delivered: metrics.deliveredMessages,
      publishedBytes: metrics.publishedBytes,
      deliveredBytes: metrics.deliveredBytes,
      refused: metrics.lastRefusal,
      cpu: this.#readCpuSeconds(),
      latency: copy(metrics.latency),
      commit: copy(metrics.commit),
      lag: copy(metrics.lag),
    };
  }
}

function toPercentiles(before: readonly number[], now: readonly number[]): Percentiles | undefined {
  const counts = now.map((count, i) => count - (before[i] ?? 0));
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((fraction) => estimatePercentile(counts, fraction));
  return p50 === undefined || p90 === undefined || p99 === undefined ? undefined : { p50, p90, p99 };
}
