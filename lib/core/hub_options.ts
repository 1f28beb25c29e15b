/** What a hub is made with, and what publishing comes to. */
import type { Cluster } from "./cluster/cluster.ts";
import type { NodeSummary } from "./cluster/codec.ts";
import type { Log, Receipt } from "./log.ts";
import type { Logger } from "./logger.ts";
import type { ChannelMaps } from "./maps/maps.ts";
import type { Draft } from "./message.ts";
import type { Metrics } from "./metrics/metrics.ts";
import type { Rules } from "./rules.ts";

export interface HubOptions {
  readonly log: Log;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Largest payload, in bytes. */
  readonly maxMessageBytes: number;
  /** Longest channel name, in characters; by default the limit of the grammar. */
  readonly maxChannelLength?: number;
  /** Where the hub counts; by default in metrics of its own. */
  readonly metrics?: Metrics;
  /** Traces each publish, if telemetry is on. */
  readonly tracePublish?: PublishTracer | undefined;
  /** The identity of this node. */
  readonly identity?: NodeIdentity;
  /** The maps of its channels; by default kept in memory alone. */
  readonly maps?: ChannelMaps;
  /** The other nodes; undefined for a log that has one node only. */
  readonly cluster?: Cluster | undefined;
}

/**
 * Keeps the retained message of each channel. Of all that is published it is asked for those alone that are to be
 * retained.
 */
export interface Retainer {
  /**
   * Has a message stored, and keeps it.
   *
   * @param append has the log store it
   * @returns what `append` does, once the message is kept
   * @throws {MessagingError} `too_many_retained` or `share_used_up`, and what `append` rejects with
   */
  retain(draft: Draft, append: () => Promise<Receipt>): Promise<Receipt>;
}

/** Identifies a node: one run of one process. */
export interface NodeIdentity extends Pick<NodeSummary, "name" | "version" | "startedAt" | "process"> {
  /** The id of this run, unique among all runs. */
  readonly node: string;
}

/** Runs a publish and returns its result. */
export type PublishTracer = (draft: Draft, publish: () => Promise<Published>) => Promise<Published>;

/** The log's receipt, and the number of sockets that the message was offered to. */
export interface Published extends Receipt {
  readonly subscribers: number;
}
