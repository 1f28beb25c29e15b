/** The channels that a read of the SQLite engine is about, as its queries need them. */
import type { SqliteChannel } from "./channel.ts";

/** A selection of more channels than this may be looked for among all rows. */
const MANY_CHANNELS = 64;

export interface SqliteSelection {
  readonly channels: readonly SqliteChannel[];
  readonly byId: ReadonlyMap<number, SqliteChannel>;
  /** Their ids as JSON, of which the database makes a table for each query. */
  readonly ids: string;
  /** Whether they are so many of all channels that rows are rather looked through here than by the database. */
  readonly isDense: boolean;
}

/** Descriptions of lists of channels, as they were when they had the length of now: a list may grow, but never shrinks. */
const described = new WeakMap<readonly SqliteChannel[], SqliteSelection>();

/**
 * @param channels may grow later
 * @param all how many channels the engine has
 */
export function describeSelection(channels: readonly SqliteChannel[], all: number): SqliteSelection {
  let selection = described.get(channels);
  if (selection?.channels.length !== channels.length) {
    selection = {
      channels: [...channels],
      byId: new Map(channels.map((channel) => [channel.id, channel])),
      ids: JSON.stringify(channels.map(({ id }) => id)),
      isDense: channels.length > MANY_CHANNELS && channels.length * 4 > all,
    };
    described.set(channels, selection);
  }
  return selection;
}
