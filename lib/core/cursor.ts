/** Recognises cursors that an engine cannot have given. All engines call it before they read. */
import type { Cursor } from "./log.ts";

/** How far a time may be ahead of ours, in milliseconds: clocks of clients are never quite the same. */
const CLOCK_SKEW_MILLISECONDS = 10_000;

/** Where an engine and the channel that is read stand. */
export interface EngineTop {
  readonly epoch: string;
  readonly sequence: number;
  /** The channel's newest offset; 0 when several channels are read. */
  readonly offset: number;
  /** The engine's clock, or the time of its newest message if that is later. */
  readonly time: number;
}

/**
 * Whether a cursor is of another epoch, or beyond everything this engine has assigned. Whoever has it knows messages
 * that this engine does not: what is stored here has to be read from the beginning.
 */
export function isForeignCursor(after: Cursor, top: EngineTop): boolean {
  switch (after.kind) {
    case "earliest":
    case "latest":
      return false;
    case "id":
      return after.epoch !== top.epoch || Math.max(after.sequence, after.told?.upTo ?? 0) > top.sequence;
    case "offset":
      return (after.epoch ?? top.epoch) !== top.epoch || after.offset > top.offset;
    case "time":
      return after.time > top.time + CLOCK_SKEW_MILLISECONDS;
  }
}
