/** A process with workers is one node to its operator: puts the nodes that are its threads together. */
import type { NodeSummary } from "./codec.ts";

/** A node as seen by another one. */
export interface NodeInfo extends NodeSummary {
  readonly node: string;
  /** Whether it is this node. */
  readonly self: boolean;
  /** Milliseconds since it was last heard. */
  readonly silent: number;
}

/**
 * One row for each process, in the order of their first nodes. The node of the engine's thread, whose id is that of the
 * process, counts what was published and delivered for all of them; clients and subscriptions are the threads' own.
 */
export function mergeProcesses(nodes: readonly NodeInfo[]): readonly NodeInfo[] {
  const processes = new Map<string, NodeInfo>();
  for (const info of nodes) {
    const id = info.process ?? info.node;
    const { process: _, ...others } = info;
    const known = processes.get(id);
    processes.set(id, known === undefined ? { ...others, node: id } : merge(known, info));
  }
  // Counted by the thread of the engine for all.
  for (const { node, process, published, delivered } of nodes) {
    const merged = processes.get(node);
    if (process === node && merged !== undefined) processes.set(node, { ...merged, published, delivered });
  }
  return [...processes.values()];
}

function merge(one: NodeInfo, other: NodeInfo): NodeInfo {
  return {
    ...one,
    self: one.self || other.self,
    silent: Math.min(one.silent, other.silent),
    startedAt: Math.min(one.startedAt, other.startedAt),
    clients: one.clients + other.clients,
    users: one.users + other.users,
    subscriptions: one.subscriptions + other.subscriptions,
    channels: one.channels + other.channels,
    published: one.published + other.published,
    delivered: one.delivered + other.delivered,
  };
}
