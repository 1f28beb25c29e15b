/** The name that somebody has probably meant by a misspelt one, for messages. */

/** How many letters of a name may be wrong: one of three. */
const LETTERS_PER_MISTAKE = 3;

/** Longer ones are no misspelling of any name, and comparing them would take long. */
const MAX_LENGTH = 64;

/**
 * The nearest of the names: one with a few letters too many, missing, wrong or swapped, or of which the name is the
 * beginning. Undefined when none is near.
 */
export function findNearest(name: string, names: Iterable<string>): string | undefined {
  if (name.length > MAX_LENGTH) return undefined;
  let nearest: string | undefined;
  let least = Math.max(1, Math.floor(name.length / LETTERS_PER_MISTAKE)) + 1;
  for (const known of names) {
    const distance = measureDistance(name.toLowerCase(), known.toLowerCase());
    if (distance < least) [nearest, least] = [known, distance];
  }
  return nearest;
}

/** Letters to add, drop, change or swap with their neighbour, until one is the other. */
function measureDistance(from: string, to: string): number {
  let before: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, i) => i);
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (isSwap) row[j] = Math.min(row[j]!, before[j - 2]! + 1);
    }
    [before, last] = [last, row];
  }
  return last[to.length]!;
}
