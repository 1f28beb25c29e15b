/** Merges the messages of several channels by sequence, for the reader of the JetStream engine. */
import type { JetStreamChannel, Place } from "./channel.ts";

/** A channel, and how many of its messages to skip. */
type Source = readonly [JetStreamChannel, number];

/** The first messages by sequence, starting at an index in each channel. */
export function mergeFirst(sources: readonly Source[], limit: number): Place[] {
  return merge(sources, limit, ([channel, i]) => channel.sequenceAt(i), ([channel, i]) => i < channel.length);
}

/** The last messages by sequence, oldest first. */
export function mergeLast(channels: readonly JetStreamChannel[], limit: number): Place[] {
  const sources = channels.map((channel): Source => [channel, 0]);
  const at = ([channel, i]: Source) => channel.length - 1 - i;
  const rank = (source: Source) => -source[0].sequenceAt(at(source));
  return merge(sources, limit, rank, ([channel, i]) => i < channel.length, at).reverse();
}

/** Takes from the source with the lowest rank until the limit is reached, using a binary heap. */
function merge(
  sources: readonly Source[],
  limit: number,
  rank: (source: Source) => number,
  hasMore: (source: Source) => boolean,
  at: (source: Source) => number = ([, i]) => i,
): Place[] {
  const heap = sources.filter(hasMore).map((source) => ({ source, rank: rank(source) }));
  for (let i = (heap.length >> 1) - 1; i >= 0; i--) sink(heap, i);
  const places: Place[] = [];
  while (places.length < limit && heap.length > 0) {
    const [channel, i] = heap[0]!.source;
    places.push(channel.placeAt(at(heap[0]!.source)));
    const next: Source = [channel, i + 1];
    if (hasMore(next)) heap[0] = { source: next, rank: rank(next) };
    else {
      const last = heap.pop()!;
      if (heap.length === 0) break;
      heap[0] = last;
    }
    sink(heap, 0);
  }
  return places;
}

/** Sifts an element of a heap down. */
function sink(heap: { readonly rank: number }[], start: number): void {
  for (let i = start;;) {
    let lowest = i;
    for (const child of [2 * i + 1, 2 * i + 2]) {
      if (child < heap.length && heap[child]!.rank < heap[lowest]!.rank) lowest = child;
    }
    if (lowest === i) return;
    [heap[i], heap[lowest]] = [heap[lowest]!, heap[i]!];
    i = lowest;
  }
}
