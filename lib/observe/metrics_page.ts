/** `GET /metrics`: all metrics in the text format of Prometheus. `app.ts` routes to it. */
import type { Histogram } from "../base/histogram.ts";
import {
  flattenHistogram,
  listFamilies,
  type MetricFamily,
  type MetricSample,
} from "../core/metrics/family.ts";
import type { Metrics } from "../core/metrics/metrics.ts";

/** https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format */
const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export async function handleMetrics(metrics: Metrics): Promise<Response> {
  await metrics.refresh();
  return new Response(renderFamilies(listFamilies(metrics)), {
    headers: { "content-type": CONTENT_TYPE, "cache-control": "no-store" },
  });
}

/** The families as text, with help and type. */
function renderFamilies(families: readonly MetricFamily[]): string {
  return families.map((family) => {
    const { name, help, kind } = family;
    const lines = family.kind === "histogram"
      ? renderHistogram(name, family.histogram)
      : renderSamples(name, family.samples);
    return `# HELP ${name} ${help}\n# TYPE ${name} ${kind}\n${lines}`;
  }).join("");
}

function renderHistogram(name: string, histogram: Histogram): string {
  const { buckets, sum, count } = flattenHistogram(histogram);
  return `${renderSamples(`${name}_bucket`, buckets)}${name}_sum ${sum}\n${name}_count ${count}\n`;
}

function renderSamples(name: string, samples: readonly MetricSample[]): string {
  return samples.map(({ labels, value }) => `${name}${renderLabels(labels)} ${value}\n`).join("");
}

function renderLabels(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
