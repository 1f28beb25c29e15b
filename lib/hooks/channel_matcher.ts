/** Tells which channels a webhook is about, for every message that is stored: what it found is remembered. */
import { matchesSelector, type Selector } from "../core/channel.ts";

/** Channels whose answer is remembered. */
const MAX_REMEMBERED = 1_000;

/** @returns whether a channel is one of those that are selected */
export function createMatcher(selector: Selector): (channel: string) => boolean {
  if (selector.hides === undefined && selector.patterns.some(isAll)) return () => true;
  const known = new Map<string, boolean>();
  return (channel) => {
    let matches = known.get(channel);
    if (matches === undefined) {
      if (known.size >= MAX_REMEMBERED) known.clear();
      known.set(channel, matches = matchesSelector(selector, channel));
    }
    return matches;
  };
}

function isAll(pattern: readonly string[]): boolean {
  return pattern.length === 1 && pattern[0] === "**";
}
