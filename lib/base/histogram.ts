/** A histogram of durations with fixed bounds: cheap to feed, and enough to tell percentiles. `Metrics` holds them. */

/** Upper bounds of the buckets in milliseconds, each twice the one before: from 1/16 ms to 16 s. */
export const DURATION_BOUNDS: readonly number[] = Array.from({ length: 19 }, (_, i) => 2 ** (i - 4));

/** How often which durations came up. Counts only grow: what happened in between is the difference of two copies. */
export class Histogram {
  /** One count for each of {@linkcode DURATION_BOUNDS}, and one for what is beyond them all. */
  readonly counts: number[] = Array(DURATION_BOUNDS.length + 1).fill(0);
  /** Of all durations, in milliseconds. */
  sum = 0;

  /** Counts a duration, `times` times over. Negative ones, from clocks that were set, count as none. */
  observe(milliseconds: number, times = 1): void {
    let bucket = 0;
    while (bucket < DURATION_BOUNDS.length && milliseconds > DURATION_BOUNDS[bucket]!) bucket++;
    this.counts[bucket]! += times;
    if (milliseconds > 0) this.sum += milliseconds * times;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}

/**
 * Estimates a percentile, as if the durations of a bucket lay evenly between its bounds. What is beyond all bounds
 * counts as the largest.
 *
 * @param counts as those of a Histogram, or the difference of two
 * @param fraction such as 0.99
 * @returns milliseconds, or undefined when nothing was counted
 */
export function estimatePercentile(counts: readonly number[], fraction: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  const wanted = fraction * total;
  let below = 0;
  for (const [bucket, bound] of DURATION_BOUNDS.entries()) {
    const count = counts[bucket] ?? 0;
    if (count > 0 && below + count >= wanted) {
      const start = DURATION_BOUNDS[bucket - 1] ?? 0;
      return start + (bound - start) * (wanted - below) / count;
    }
    below += count;
  }
  return DURATION_BOUNDS.at(-1);
}
