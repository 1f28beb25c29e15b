/**
 * Interest: which messages the hub of a worker thread wants to be told of. What nobody there waits for need not wake
 * the thread. The hub and the fan-out say what they want; an engine that can tell threads apart provides the port.
 */
import { directChannel, type Selector } from "./channel.ts";

/** Channels by name, or by patterns. */
export type Channels = Pick<Selector, "channel" | "patterns">;

/** All channels. */
export const ALL_CHANNELS: Channels = { channel: undefined, patterns: [["**"]] };

/**
 * What is wanted, counted: each `add` is undone by one `remove`, at the end of the turn of the event loop in which that is
 * called, so that nothing is missed between a subscription and another in its place.
 *
 * A message that is stored after `add` has returned is announced. One that nobody wants may be announced all the same.
 */
export interface Interest {
  /**
   * @returns the sequence after which every message of these channels is announced; 0 for all of them. Earlier ones may or
   * may not arrive: delivering them would leave holes.
   */
  add(channels: Channels): number;
  remove(channels: Channels): void;
}

/** For engines that announce everything anyway. */
export const NO_INTEREST: Interest = { add: () => 0, remove() {} };

/** Where the direct messages of a client come, by its id. */
export function ofDirect(client: string): Channels {
  return { channel: directChannel(client), patterns: [] };
}
