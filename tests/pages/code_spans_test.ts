/** Code in texts of the channel page: what is found, and that no text takes long. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { findCode, type Span } from "../../static/code_spans.ts";

/** What counts as code, in one expression: right for short texts, and slow for some long ones. */
const CODE =
  /(?:^|\n)```[^\S\n]*([\w+#.-]*)[^\S\n]*\n([\s\S]*?)\n?```[^\S\n]*(?=\n|$)|(?<!`)`([^`\n]+)`(?!`)/g;

function findSlowly(text: string): Span[] {
  const spans: Span[] = [];
  let end = 0;
  for (const match of text.matchAll(CODE)) {
    const [whole, language = "", block = "", inline] = match;
    const before = text.slice(end, match.index);
    if (before !== "") spans.push({ kind: "text", text: before });
    end = match.index + whole.length;
    if (inline !== undefined) spans.push({ kind: "inline", text: inline });
    else {
      spans.push({ kind: "block", text: block, language });
      if (text[end] === "\n") end++;
    }
  }
  if (end < text.length) spans.push({ kind: "text", text: text.slice(end) });
  return spans;
}

Deno.test("code is found between backticks, with its language", () => {
  assert.deepEqual(findCode("see `a`:\n```ts\nlet a;\n\n```\nok"), [
    { kind: "text", text: "see " },
    { kind: "inline", text: "a" },
    { kind: "text", text: ":" },
    { kind: "block", text: "let a;\n", language: "ts" },
    { kind: "text", text: "ok" },
  ]);
  assert.deepEqual(findCode("```\nno end"), [{ kind: "text", text: "```\nno end" }]);
});

Deno.test("what is found is what one expression finds", () => {
  const piece = fc.constantFrom("\n", "\n", "```", "```", "`", " ", "a", "ts", "\r", "b c");
  const text = fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(""));
  fc.assert(fc.property(text, (text) => assert.deepEqual(findCode(text), findSlowly(text))), {
    numRuns: 5_000,
  });
});

Deno.test("no text of the size of a message takes long", () => {
  const size = 1_000_000;
  const hostile = ["\n```a\n", "\n```a", "`a", "```", "\n``` ", " ", "`", "\n", "```\n`a`", "http://,"];
  for (const start of ["", "\n```", "```\n```", "`"]) {
    for (const part of hostile) {
      const text = start + part.repeat(size / part.length) + "x";
      const begun = performance.now();
      findCode(text);
      const took = performance.now() - begun;
      assert.ok(took < 2_000, `${JSON.stringify(start)} and ${JSON.stringify(part)}: ${took} ms`);
    }
  }
});
