/** Numbers that are read when somebody asks for the metrics. `app.ts` adds them. */
import type { Hub } from "../core/hub.ts";
import type { Gauge } from "../core/metrics/metrics.ts";
import { createProcessGauges } from "./process_gauges.ts";

/** What a node tells of its hub and its process. */
export function createGauges(hub: Hub): readonly Gauge[] {
  const gauge = (name: string, help: string, read: () => number): Gauge => ({
    name,
    help,
    kind: "gauge",
    ofProcess: true,
    read,
  });
  return [
    gauge("raindrops_channels", "Channels, lists and patterns with a subscriber", () => hub.groupCount),
    gauge("raindrops_subscriptions", "Subscriptions of clients", () => hub.subscriptionCount),
    gauge("raindrops_nodes", "Nodes that share the engine and are alive", () => hub.nodes().length),
    ...createProcessGauges(hub.identity),
  ];
}
