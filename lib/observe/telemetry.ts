/**
 * Reports to OpenTelemetry what Deno does not report itself: the metrics, and a span for each publish. `app.ts` opens
 * it at start; without OTEL_DENO it is off, and its package is not loaded.
 */
import type { Attributes, BatchObservableResult, Meter, Observable, Span } from "@opentelemetry/api";
import { toMessagingError } from "../core/errors.ts";
import type { PublishTracer } from "../core/hub.ts";
import { flattenHistogram, listFamilies, type MetricSample } from "../core/metrics/family.ts";
import type { Metrics } from "../core/metrics/metrics.ts";

/** The instrumentation scope in reports. */
const SCOPE = "raindrops";

/** The global where the runtime registers OpenTelemetry if it was started with OTEL_DENO=true. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

export interface Telemetry {
  /** Starts to report all metrics registered so far. */
  reportMetrics(): void;
  /** Records a span for each publish, a child of the span of its request. */
  readonly tracePublish: PublishTracer;
}

/** Opens telemetry; undefined if it is off. */
export async function openTelemetry(metrics: Metrics): Promise<Telemetry | undefined> {
  if (!(REGISTRY in globalThis)) return undefined;
  const api = await import("@opentelemetry/api");
  const tracer = api.trace.getTracer(SCOPE);
  return {
    reportMetrics: () => report(api.metrics.getMeter(SCOPE), metrics),
    tracePublish: (draft, publish) => {
      const options = { kind: api.SpanKind.PRODUCER, attributes: describe(draft.channel) };
      return tracer.startActiveSpan("publish", options, async (span) => {
        try {
          return await publish();
        } catch (error) {
          fail(span, api.SpanStatusCode.ERROR, error);
          throw error;
        } finally {
          span.end();
        }
      });
    },
  };
}

/** https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ */
function describe(channel: string): Attributes {
  return {
    "messaging.system": SCOPE,
    "messaging.operation.name": "publish",
    "messaging.operation.type": "send",
    "messaging.destination.name": channel,
  };
}

function fail(span: Span, code: number, error: unknown): void {
  const { code: type, message } = toMessagingError(error);
  span.setAttribute("error.type", type);
  span.setStatus({ code, message });
}

/** Reports the metrics under their Prometheus names; a histogram as counters of its buckets, sum and count. */
function report(meter: Meter, metrics: Metrics): void {
  const instruments = new Map<string, Observable>();
  for (const { name, help: description, kind } of listFamilies(metrics)) {
    const options = { description };
    const counters = kind === "histogram" ? ["_bucket", "_sum", "_count"] : kind === "counter" ? [""] : [];
    for (const suffix of counters) {
      instruments.set(name + suffix, meter.createObservableCounter(name + suffix, options));
    }
    if (kind === "gauge") instruments.set(name, meter.createObservableGauge(name, options));
  }
  meter.addBatchObservableCallback((result) => observe(result, instruments, metrics), [
    ...instruments.values(),
  ]);
}

function observe(
  result: BatchObservableResult,
  instruments: ReadonlyMap<string, Observable>,
  metrics: Metrics,
): void {
  const observeAll = (name: string, samples: readonly MetricSample[]) => {
    const instrument = instruments.get(name);
    for (const { labels, value } of samples) {
      if (instrument !== undefined) result.observe(instrument, value, labels);
    }
  };
  for (const family of listFamilies(metrics)) {
    const { name } = family;
    if (family.kind !== "histogram") observeAll(name, family.samples);
    else {
      const { buckets, sum, count } = flattenHistogram(family.histogram);
      observeAll(`${name}_bucket`, buckets);
      observeAll(`${name}_sum`, [{ labels: {}, value: sum }]);
      observeAll(`${name}_count`, [{ labels: {}, value: count }]);
    }
  }
}
