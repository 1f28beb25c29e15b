/**
 * Reports to OpenTelemetry what Deno cannot know by itself: the metrics as instruments, and a span for each publish.
 * `app.ts` asks for it at start; where Deno runs without OTEL_DENO there is none, and nothing of it is loaded.
 */
import type { Attributes, BatchObservableResult, Meter, Observable, Span } from "@opentelemetry/api";
import { toMessagingError } from "../core/errors.ts";
import type { PublishTracer } from "../core/hub.ts";
import { flattenHistogram, listFamilies, type MetricSample } from "../core/metrics/family.ts";
import type { Metrics } from "../core/metrics/metrics.ts";

/** What it is called in reports. */
const SCOPE = "raindrops";

/** Where the runtime registers its OpenTelemetry: there is something only if it was started with OTEL_DENO=true. */
const REGISTRY = Symbol.for("opentelemetry.js.api.1");

export interface Telemetry {
  /** Reports all metrics there are by now, from now on. */
  reportMetrics(): void;
  /** Makes each publish a span, with the request it came by as its parent. */
  readonly tracePublish: PublishTracer;
}

/** Undefined where nobody asked for reports. */
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

/** The metrics under the names they have for Prometheus; a histogram as the counters of its buckets, sum and count. */
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
