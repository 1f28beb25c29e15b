/** Files of JSON: what is read, and where they are wrong. */
import assert from "node:assert/strict";
import { parseJsonFile } from "../../lib/base/json_file.ts";

Deno.test("parseJsonFile() reads JSON, with a byte order mark too", () => {
  assert.deepEqual(parseJsonFile(' [{"a": [1, null]}]\n'), [{ a: [1, null] }]);
  assert.deepEqual(parseJsonFile('\uFEFF"x"'), "x");
});

const WRONG: readonly [text: string, message: string][] = [
  ["", "the file is empty"],
  [" \r\n\t", "the file is empty"],
  ["\uFEFF", "the file is empty"],
  ['[\n  { "channels": "a", "allow": ["subscribe"] },\n]', "line 3, column 1: leave out the comma before it"],
  ['[{ "allow": ["subscribe",] }]', "line 1, column 26: leave out the comma before it"],
  ['[{ "channels": "a" }', "line 1, column 21: it ends too early"],
  ['[\n{ "channels": "a\n" }]', "line 2, column 17"],
  ['{\r\n  "a": 1\r\n  "b": 2\r\n}', "line 3, column 3"],
  ["[\n  // nothing\n]", "line 2, column 3: JSON has no comments"],
  ["# nothing\n[]", "line 1, column 1: JSON has no comments"],
  ["['hush']", "line 1, column 2: JSON takes double quotes alone"],
  ["[1] hush", "line 1, column 5"],
];

for (const [text, message] of WRONG) {
  Deno.test(`parseJsonFile() says where ${JSON.stringify(text)} is wrong`, () => {
    const expected = text.trim() === "" ? message : `it is not JSON at ${message}`;
    assert.throws(() => parseJsonFile(text), { name: "SyntaxError", message: expected });
  });
}

Deno.test("parseJsonFile() refuses what is nested too deeply", () => {
  assert.throws(() => parseJsonFile("[".repeat(2_000) + "]".repeat(2_000)), /Nested too deeply/);
});
