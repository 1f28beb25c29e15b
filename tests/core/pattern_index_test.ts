/** The trie of pattern readers, measured against the plain definition of a match. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { matchesSelector, parsePattern, selectPatterns } from "../../lib/core/channel.ts";
import { PatternIndex } from "../../lib/core/pattern_index.ts";

const arbitrarySegment = fc.constantFrom("a", "b", "c");
const arbitraryChannel = fc.array(arbitrarySegment, { minLength: 1, maxLength: 4 }).map((s) => s.join("/"));
const arbitraryPattern = fc.tuple(
  fc.array(fc.oneof(arbitrarySegment, fc.constant("*")), { maxLength: 4 }),
  fc.boolean(),
).filter(([segments, deep]) => deep || segments.length > 0)
  .map(([segments, deep]) => (deep ? [...segments, "**"] : segments).join("/"));

Deno.test("PatternIndex.match() agrees with matchesSelector() on any patterns", () => {
  fc.assert(fc.property(
    fc.array(arbitraryPattern, { maxLength: 12 }),
    fc.array(arbitraryPattern, { maxLength: 6 }),
    fc.array(arbitraryChannel, { minLength: 1, maxLength: 6 }),
    (added, removed, channels) => {
      const index = new PatternIndex<string>();
      for (const pattern of added) index.add(parsePattern(pattern), pattern);
      for (const pattern of removed) index.delete(parsePattern(pattern), pattern);
      const left = new Set(added.filter((pattern) => !removed.includes(pattern)));
      assert.equal(index.size, left.size);
      for (const channel of channels) {
        const expected = [...left].filter((pattern) => matchesSelector(selectPatterns([pattern]), channel));
        assert.deepEqual([...index.match(channel)].sort(), expected.sort(), channel);
      }
    },
  ));
});

Deno.test("PatternIndex.match() finds a value once, however many of its patterns match", () => {
  const index = new PatternIndex<string>();
  for (const pattern of ["a", "*", "**"]) index.add([pattern], "value");
  assert.deepEqual([...index.match("a")], ["value"]);
  assert.equal(index.size, 3);
});

Deno.test("PatternIndex.delete() removes one value and leaves the others of the pattern", () => {
  const index = new PatternIndex<string>();
  index.add(["a", "*"], "one");
  index.add(["a", "*"], "two");
  index.add(["a", "*"], "two");
  assert.equal(index.size, 2);
  index.delete(["a", "*"], "one");
  index.delete(["a", "*"], "one");
  index.delete(["b", "c"], "two");
  index.delete(["a"], "two");
  assert.deepEqual([...index.match("a/b")], ["two"]);
  assert.equal(index.size, 1);
  index.delete(["a", "*"], "two");
  assert.equal(index.size, 0);
  assert.deepEqual([...index.match("a/b")], []);
});

Deno.test("PatternIndex.matches() tells whether match() finds anything", () => {
  fc.assert(
    fc.property(fc.array(arbitraryPattern, { maxLength: 6 }), arbitraryChannel, (patterns, channel) => {
      const index = new PatternIndex<string>();
      for (const pattern of patterns) index.add(parsePattern(pattern), pattern);
      assert.equal(index.matches(channel), index.match(channel).size > 0);
    }),
  );
});
