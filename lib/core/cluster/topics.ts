/** The topics on which nodes tell each other of themselves, and what others tell for one that cannot any more. */
import type { Bus } from "./bus.ts";
import { encodeNodeMessage } from "./codec.ts";

/** The topic of all nodes, and the topic of one node. */
export const ALL_NODES = "nodes";
export const topicOf = (node: string): string => `node.${node}`;

/** Tells all nodes that one is gone which could not say so itself: a thread that died. */
export function announceGone(bus: Bus, node: string): void {
  bus.publish(ALL_NODES, encodeNodeMessage({ node, kind: "goodbye" }));
}
