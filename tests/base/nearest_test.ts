/** The nearest of some names: what a misspelt one probably meant. */
import assert from "node:assert/strict";
import { findNearest } from "../../lib/base/nearest.ts";

const NAMES = ["port", "host", "engine", "origins", "max-body-bytes", "max-message-bytes"];

const MEANT: readonly [string, string | undefined][] = [
  ["prot", "port"],
  ["por", "port"],
  ["Port", "port"],
  ["ports", "port"],
  ["hots", "host"],
  ["egnine", "engine"],
  ["orgins", "origins"],
  ["max-mesage-byte", "max-message-bytes"],
  ["max-body-byte", "max-body-bytes"],
  ["colour", undefined],
  ["x", undefined],
  ["", undefined],
  ["max-body-bytes".repeat(1_000), undefined],
];

for (const [name, meant] of MEANT) {
  Deno.test(`findNearest() takes ${JSON.stringify(name.slice(0, 40))} for ${meant ?? "none"}`, () => {
    assert.equal(findNearest(name, NAMES), meant);
  });
}
