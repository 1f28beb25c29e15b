/** What a node tells others about itself. */
import type { ClientRegistry } from "./client_registry.ts";
import type { NodeSummary } from "./cluster/codec.ts";
import type { FanOut } from "./fan_out.ts";
import type { NodeIdentity } from "./hub_options.ts";
import type { Metrics } from "./metrics/metrics.ts";

interface Summarized {
  readonly identity: NodeIdentity;
  readonly clients: ClientRegistry;
  readonly fanOut: FanOut;
  readonly metrics: Metrics;
}

/** Sums up a node as it is now. */
export function summarize({ identity, clients, fanOut, metrics }: Summarized): NodeSummary {
  const { name, version, startedAt, process } = identity;
  return {
    name,
    version,
    ...(process === undefined ? {} : { process }),
    startedAt,
    clients: clients.size,
    users: clients.userCount,
    subscriptions: fanOut.subscriptionCount,
    channels: fanOut.channelCount,
    published: metrics.publishedMessages,
    delivered: metrics.deliveredMessages,
  };
}
