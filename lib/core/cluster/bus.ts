/**
 * The Bus port: how the nodes that share a log talk to each other beside it. A log that spans machines offers one,
 * the cluster speaks on it.
 */

/**
 * Carries bytes between nodes by topic. It may lose messages, also in silence, and never doubles them; what one node
 * publishes on one topic arrives in order. A node may hear its own messages.
 */
export interface Bus {
  /** Whether this node reaches the others, as far as it knows. */
  readonly connected: boolean;
  /** Largest message, in bytes. */
  readonly maxBytes: number;
  /** Sends to all that subscribed to the topic. Never throws: while it is not connected, messages are lost. */
  publish(topic: string, bytes: Uint8Array): void;
  /**
   * Calls back for each message of a topic, which is of letters, digits, `-` and `.`.
   *
   * @param onMessage must not throw
   * @returns ends the subscription
   */
  subscribe(topic: string, onMessage: (bytes: Uint8Array) => void): () => void;
}
