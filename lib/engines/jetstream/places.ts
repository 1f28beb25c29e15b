/**
 * Finds which messages a page of the JetStream engine holds, of very many channels in slices. What is stored meanwhile is
 * left out: it comes after all others.
 */
import { SliceClock } from "../../base/slices.ts";
import type { JetStreamChannel, Place } from "./channel.ts";

/** Messages that are collected before those are dropped that do not fit into the page. */
const MAX_COLLECTED = 4_096;

/**
 * The first messages by sequence.
 *
 * @param findStart how many of the messages of a channel to skip
 * @param top the newest sequence that may be among them
 */
export async function findFirstPlaces(
  channels: readonly JetStreamChannel[],
  findStart: (channel: JetStreamChannel) => number,
  limit: number,
  top: number,
): Promise<Place[]> {
  if (limit === 0) return [];
  const clock = new SliceClock();
  let upTo = top;
  let found: Place[] = [];
  const trim = () => {
    found.sort(bySequence);
    if (found.length < limit) return;
    found = found.slice(0, limit);
    // What does not come into the page any more need not be looked at.
    upTo = found.at(-1)!.sequence;
  };
  // The list may grow.
  const { length } = channels;
  for (let c = 0; c < length; c++) {
    if (clock.isOver) await clock.next();
    const channel = channels[c]!;
    const first = findStart(channel);
    for (let i = first; i < Math.min(channel.length, first + limit) && channel.sequenceAt(i) <= upTo; i++) {
      found.push(channel.placeAt(i));
    }
    if (found.length > MAX_COLLECTED + 2 * limit) trim();
  }
  trim();
  return found;
}

/** The last messages by sequence, oldest first. @param top as above */
export async function findLastPlaces(
  channels: readonly JetStreamChannel[],
  limit: number,
  top: number,
): Promise<Place[]> {
  if (limit === 0) return [];
  const clock = new SliceClock();
  let floor = 0;
  let found: Place[] = [];
  const trim = () => {
    found.sort(bySequence);
    if (found.length < limit) return;
    found = found.slice(-limit);
    floor = found[0]!.sequence;
  };
  // Channels are in the order in which they came: most of the newest messages are at the end.
  for (let c = channels.length - 1; c >= 0; c--) {
    if (clock.isOver) await clock.next();
    const channel = channels[c]!;
    let count = 0;
    for (let i = channel.length - 1; i >= 0 && count < limit && channel.sequenceAt(i) > floor; i--) {
      if (channel.sequenceAt(i) > top) continue;
      found.push(channel.placeAt(i));
      count++;
    }
    if (found.length > MAX_COLLECTED + 2 * limit) trim();
  }
  trim();
  return found;
}

function bySequence(a: Place, b: Place): number {
  return a.sequence - b.sequence;
}
