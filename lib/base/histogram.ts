/**
 * A histogram of durations with fixed bounds: cheap to update, precise enough for percentiles. `Metrics` holds them.
 */

/** Upper bounds of the buckets in milliseconds, each twice the one before: from 1/16 ms to 16 s. */
export const DURATION_BOUNDS: readonly number[] = Array.from({ length: 19 }, (_, i) => 2 ** (i - 4));

/** Counts durations by bucket. Counts only grow: the difference of two copies is what happened in between. */
export class Histogram {
  /** One count for each of {@linkcode DURATION_BOUNDS}, and one for longer durations. */
  readonly counts: number[] = Array(DURATION_BOUNDS.length + 1).fill(0);
  /** The sum of all durations, in milliseconds. */
  sum = 0;

  /** Counts a duration, `times` times. A negative one, from a clock that was set, counts as 0. */
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
 * Estimates a percentile, assuming that durations are spread evenly over a bucket. Durations beyond the last bound
 * count as that bound.
 *
 * @param counts as those of a Histogram, or the difference of two
 * @param fraction such as 0.99
 * @returns milliseconds, or undefined if nothing was counted
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
