/** Turns samples into what a plot draws, and keeps lines from going through seconds of which nothing is known. */

/** Samples come every second; where none came for so long, nothing is known. */
const GAP_MILLISECONDS = 2_500;

/** The moments in seconds, then the values of each line; null where nothing is known. */
export type PlotData = [number[], ...(number | null)[][]];

/** Puts samples into columns, with a null for each line between two samples that are far from each other. */
export function alignSamples<Sample extends { readonly time: number }>(
  samples: readonly Sample[],
  lines: readonly ((sample: Sample) => number | undefined)[],
): PlotData {
  const times: number[] = [];
  const values = lines.map((): (number | null)[] => []);
  for (const [i, sample] of samples.entries()) {
    const before = samples[i - 1]?.time ?? sample.time;
    if (sample.time - before > GAP_MILLISECONDS) {
      times.push((before + sample.time) / 2_000);
      for (const line of values) line.push(null);
    }
    times.push(sample.time / 1_000);
    for (const [j, value] of lines.entries()) values[j]?.push(value(sample) ?? null);
  }
  return [times, ...values];
}

/** The places of values that no line goes through, as nothing is known beside them: they are drawn as points. */
export function findLonely(values: ArrayLike<number | null | undefined>): number[] {
  const isKnown = (i: number) => values[i] !== undefined && values[i] !== null;
  return Array.from(values, (_, i) => i).filter((i) => isKnown(i) && !isKnown(i - 1) && !isKnown(i + 1));
}
