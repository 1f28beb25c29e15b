/**
 * The Bus port: messages between the nodes that share a log. A log that spans machines provides one; the cluster uses
 * it.
 */

/** Topics that begin so are for the threads of one process, whatever the bus reaches: nothing on them is lost. */
export const PROCESS_TOPICS = "process.";

/**
 * Carries bytes between nodes by topic. It may lose messages without notice, and never duplicates them; messages of one
 * node on one topic arrive in order. A node may receive its own messages.
 */
export interface Bus {
  /** Whether this node can reach the others, as far as it knows. */
  readonly connected: boolean;
  /** Whether it reaches no further than the threads of this process. */
  readonly isLocal: boolean;
  /** Largest message, in bytes; Infinity where there is none, as within a process. */
  readonly maxBytes: number;
  /** Sends to all nodes that subscribed to the topic. Never throws: messages are lost while it is not connected. */
  publish(topic: string, bytes: Uint8Array): void;
  /**
   * Calls back for each message on a topic, a name of letters, digits, `-` and `.`.
   *
   * @param onMessage must not throw
   * @returns a function that ends the subscription
   */
  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void;
}
