/** The colours of pages in the style sheet: each is there once, by day and by night, and can be read in both. */
import assert from "node:assert/strict";

const CSS = await Deno.readTextFile(new URL("../../static/style/colours.css", import.meta.url));

/** The colours by name, as pairs for the day and the night. */
function readColours(): ReadonlyMap<string, readonly [string, string]> {
  const hex = "#[0-9a-f]{6}";
  const found = CSS.matchAll(
    new RegExp(`^  --([\\w-]+): (?:light-dark\\((${hex}), (${hex})\\)|(${hex}));$`, "gm"),
  );
  return new Map([...found].map(([, name, day, night, both]) => [name!, [day ?? both!, night ?? both!]]));
}

/** The contrast of two colours (WCAG 2.2, relative luminance), from 1 to 21. */
function contrast(a: string, b: string): number {
  const luminance = (colour: string) => {
    const [red, green, blue] = [1, 3, 5].map((at) => {
      const share = parseInt(colour.slice(at, at + 2), 16) / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red! + 0.7152 * green! + 0.0722 * blue!;
  };
  const [low = 0, high = 0] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
}

Deno.test("Every colour is defined once, for the day and the night", () => {
  const colours = readColours();
  assert(colours.size > 10);
  const definitions = [...CSS.matchAll(/^ *(--[\w-]+):/gm)].map(([, name]) => name);
  assert.deepEqual(definitions.filter((name, i) => definitions.indexOf(name) !== i), []);
  // None is written in another way, which would not be judged below.
  assert.equal(CSS.split("\n").filter((line) => line.includes("#")).length, colours.size);
});

Deno.test("What is written can be read on what it is written on, by day and by night", () => {
  const colours = readColours();
  const grounds = ["sky", "paper", "own"];
  const pairs = [
    ...["ink", "soft", "rain", "good", "bad"].flatMap((text) =>
      grounds.map((ground) => [text, ground, 4.5] as const)
    ),
    ["on-coat", "coat", 4.5],
    // Borders of controls and lines of plots (WCAG 2.2, 1.4.11).
    ...["edge", "plot-2"].map((line) => [line, "paper", 3] as const),
  ] as const;
  for (const [text, ground, least] of pairs) {
    for (const [i, time] of ["day", "night"].entries()) {
      const found = contrast(colours.get(text)![i]!, colours.get(ground)![i]!);
      assert(found >= least, `--${text} on --${ground} by ${time}: ${found.toFixed(2)}`);
    }
  }
});
