/**
 * What the name of a variable is easily mistaken for. Deno's permission for `RAINDROPS_*` lets a program ask for names, not
 * list them: `server.ts` asks for these, so that a misspelt variable is refused rather than ignored.
 */

const PREFIX = "RAINDROPS_";

/**
 * The misspellings of some variables: with a letter left out, doubled or swapped with the next one; with a word in the
 * singular or plural, left out, or swapped with the next one; without the underscores between words; and with the prefix where the
 * variable has none.
 *
 * @param variables all that are known, none of which counts as a misspelling
 * @returns by misspelling, the variables that may be meant, of the nearest kind: prefix, letters, words
 */
export function listNearNames(variables: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const known = new Set(variables);
  const near = new Map<string, string[]>();
  for (const misspell of [misspellPrefix, misspellLetters, misspellWords]) {
    const found = new Map<string, string[]>();
    for (const variable of variables) {
      const name = variable.startsWith(PREFIX) ? variable.slice(PREFIX.length) : variable;
      for (const text of new Set(misspell(name))) {
        const misspelt = PREFIX + text;
        if (text === "" || near.has(misspelt) || known.has(misspelt)) continue;
        found.set(misspelt, [...found.get(misspelt) ?? [], variable]);
      }
    }
    for (const [misspelt, meant] of found) near.set(misspelt, meant);
  }
  return near;
}

/** Yields the name itself, which is one of a variable without the prefix. */
function* misspellPrefix(name: string): Generator<string> {
  yield name;
}

function* misspellLetters(name: string): Generator<string> {
  for (let i = 0; i < name.length; i++) {
    const [before, letter, after] = [name.slice(0, i), name[i]!, name.slice(i + 1)];
    yield before + after;
    yield before + letter + letter + after;
    yield before + after.slice(0, 1) + letter + after.slice(1);
  }
}

function* misspellWords(name: string): Generator<string> {
  const words = name.split("_");
  yield words.join("");
  for (const [i, word] of words.entries()) {
    const [before, after] = [words.slice(0, i), words.slice(i + 1)];
    const others = [...before, ...after];
    yield others.join("_");
    yield [...before, ...after.slice(0, 1), word, ...after.slice(1)].join("_");
    for (const form of otherNumbers(word)) yield [...before, form, ...after].join("_");
  }
}

/** The plural of a singular, the singular of a plural, as far as letters tell. */
function otherNumbers(word: string): string[] {
  if (word.endsWith("IES")) return [`${word.slice(0, -3)}Y`];
  if (word.endsWith("S")) return [word.slice(0, -1), word.slice(0, -2), `${word}ES`];
  return [`${word}S`, `${word.slice(0, -1)}IES`];
}
