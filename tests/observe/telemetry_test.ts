/** OpenTelemetry: the real server, started as its operator would, reports to a collector of the test's. */
import assert from "node:assert/strict";
import { startServer } from "../server_process.ts";

interface Attribute {
  readonly key: string;
  readonly value: { readonly stringValue?: string };
}

interface Span {
  readonly name: string;
  readonly spanId: string;
  readonly parentSpanId: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code: number; readonly message: string };
}

interface Metric {
  readonly name: string;
  readonly sum?: { readonly dataPoints: readonly DataPoint[] };
  readonly gauge?: { readonly dataPoints: readonly DataPoint[] };
}

interface DataPoint {
  readonly asDouble: number;
  readonly attributes: readonly Attribute[];
}

/** Takes reports by OTLP over HTTP, in JSON. */
class Collector implements AsyncDisposable {
  readonly spans: Span[] = [];
  /** The newest report of each. */
  readonly metrics = new Map<string, Metric>();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #waiting: { readonly isDone: () => boolean; readonly resolve: () => void }[] = [];

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
      this.#take(await request.json());
      for (const { isDone, resolve } of this.#waiting) if (isDone()) resolve();
      return Response.json({});
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** Resolves when the reports so far are as they should be. */
  until(isDone: () => boolean): Promise<void> {
    return new Promise((resolve) => this.#waiting.push({ isDone, resolve }));
  }

  /** The newest value of a metric, of the point with all of the labels. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const metric = this.metrics.get(name);
    const points = (metric?.sum ?? metric?.gauge)?.dataPoints ?? [];
    return points.find(({ attributes }) =>
      Object.entries(labels).every(([key, value]) => read(attributes, key) === value)
    )?.asDouble;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }

  // deno-lint-ignore no-explicit-any -- as OTLP nests it
  #take({ resourceSpans = [], resourceMetrics = [] }: any): void {
    // deno-lint-ignore no-explicit-any
    const scopes = (list: any[], key: string) => list.flatMap((resource) => resource[key]);
    for (const { spans } of scopes(resourceSpans, "scopeSpans")) this.spans.push(...spans);
    for (const { metrics } of scopes(resourceMetrics, "scopeMetrics")) {
      for (const metric of metrics) this.metrics.set(metric.name, metric);
    }
  }
}

function read(attributes: readonly Attribute[], key: string): string | undefined {
  return attributes.find((attribute) => attribute.key === key)?.value.stringValue;
}

Deno.test("With OTEL_DENO=true the server reports its metrics, and a span for each publish", async () => {
  await using collector = new Collector();
  await using server = await startServer({
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_METRIC_EXPORT_INTERVAL: "200",
      OTEL_BSP_SCHEDULE_DELAY: "100",
    },
  });
  const post = async (path: string, body: string) => {
    const response = await fetch(server.url + path, { method: "POST", body });
    await response.body?.cancel();
    return response.status;
  };
  assert.equal(await post("/news", "it rains"), 200);
  assert.equal(await post("/@nobody", "hi"), 404);
  const publishes = () => collector.spans.filter(({ name }) => name === "publish");
  await collector.until(() =>
    publishes().length === 2 && collector.spans.filter(({ name }) => name.startsWith("POST")).length === 2 &&
    collector.value("raindrops_refusals_total", { reason: "no_such_client" }) === 1
  );

  const [published, refused] = publishes();
  assert.equal(read(published!.attributes, "messaging.destination.name"), "news");
  assert.ok(
    collector.spans.some(({ spanId }) => spanId === published!.parentSpanId),
    "it belongs to a request",
  );
  assert.equal(published!.status.code, 0);
  assert.equal(read(refused!.attributes, "error.type"), "no_such_client");
  assert.deepEqual([refused!.status.code, /nobody/.test(refused!.status.message)], [2, true]);

  assert.equal(collector.value("raindrops_published_messages_total"), 1);
  assert.equal(collector.value("raindrops_delivery_latency_seconds_count"), 1);
  assert.equal(collector.value("raindrops_delivery_latency_seconds_bucket", { le: "+Inf" }), 1);
  assert.equal(collector.value("raindrops_channels"), 0);
});
