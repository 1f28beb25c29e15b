/** Long lists in slices: encoding and sorting them, so that others go in between. Short ones take one turn, as ever. */
import { SliceClock } from "./slices.ts";

/** Items, and characters or bytes of what is made of them, between two looks at the clock. */
const ITEMS = 64;
const LENGTH = 32 * 1024;
/** Items that are sorted at once. */
const RUN = 1_024;

/**
 * Encodes each item, in slices.
 *
 * @param items may change meanwhile, as a Map may while it is gone through
 * @returns what was made of each, in order
 */
export async function encodeInSlices<T, E extends { readonly length: number }>(
  items: Iterable<T>,
  encode: (item: T) => E,
): Promise<E[]> {
  const clock = new SliceClock(1);
  const all: E[] = [];
  let count = 0;
  let length = 0;
  for (const item of items) {
    // Before the item, not after it: what ends with it must not wait for others.
    if (count >= ITEMS || length >= LENGTH) {
      count = length = 0;
      if (clock.isOver) await clock.next();
    }
    const encoded = encode(item);
    all.push(encoded);
    count++;
    length += encoded.length;
  }
  return all;
}

/** Sorts in slices: runs of a few, which are then merged. Equal items stay in order. @returns another array */
export async function sortInSlices<T>(items: readonly T[], compare: (a: T, b: T) => number): Promise<T[]> {
  const clock = new SliceClock(1);
  let runs: T[][] = [];
  for (let i = 0; i < items.length || i === 0; i += RUN) {
    if (i > 0 && clock.isOver) await clock.next();
    runs.push(items.slice(i, i + RUN).sort(compare));
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let i = 0; i < runs.length; i += 2) {
      merged.push(await merge(runs[i]!, runs[i + 1] ?? [], compare, clock));
    }
    runs = merged;
  }
  return runs[0]!;
}

async function merge<T>(
  a: readonly T[],
  b: readonly T[],
  compare: (a: T, b: T) => number,
  clock: SliceClock,
): Promise<T[]> {
  const all: T[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length;) {
    all.push(j >= b.length || (i < a.length && compare(a[i]!, b[j]!) <= 0) ? a[i++]! : b[j++]!);
    if (all.length % ITEMS === 0 && clock.isOver) await clock.next();
  }
  return all;
}
