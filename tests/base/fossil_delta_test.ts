import assert from "node:assert/strict";
import fc from "fast-check";
// @ts-types="./fossil_delta.d.ts"
import * as fossil from "fossil-delta";
import { createDelta } from "../../lib/base/fossil_delta.ts";

const UTF8 = new TextEncoder();

function apply(source: Uint8Array, delta: Uint8Array): Uint8Array {
  return Uint8Array.from(fossil.applyDelta(source, delta));
}

/** Two byte strings that have pieces in common, moved, repeated and changed. */
function relatives(pieces: fc.Arbitrary<Uint8Array>): fc.Arbitrary<[Uint8Array, Uint8Array]> {
  return fc.array(pieces, { minLength: 1, maxLength: 8 }).chain((shared) => {
    const choice = fc.array(fc.oneof(fc.constantFrom(...shared), pieces), { maxLength: 12 });
    return fc.tuple(choice, choice).map(([a, b]): [Uint8Array, Uint8Array] => [join(a), join(b)]);
  });
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

Deno.test("createDelta() turns any bytes into any other, as the fossil-delta package applies it", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.tuple(fc.nat(255), fc.nat(200)).map(([byte, length]) => new Uint8Array(length).fill(byte)),
  );
  fc.assert(
    fc.property(relatives(bytes), ([source, target]) => {
      assert.deepEqual(apply(source, createDelta(source, target)), target);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("createDelta() of text is text, whatever its characters, and turns it into any other", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 60 }),
    fc.string({ unit: fc.constantFrom("д", "е", "日", "本", "🙂", "🙃", "a"), maxLength: 60 }),
  );
  const fatal = new TextDecoder("utf-8", { fatal: true });
  fc.assert(
    fc.property(relatives(text.map((value) => UTF8.encode(value.toWellFormed()))), ([source, target]) => {
      const delta = createDelta(source, target, true);
      assert.deepEqual(apply(source, UTF8.encode(fatal.decode(delta))), target);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("createDelta() finds what moved, and is no longer than the deltas of the fossil-delta package", () => {
  const words = Array.from({ length: 400 }, (_, i) => `{"id":${i},"name":"word ${i * 7919 % 1_000}"}`);
  const source = UTF8.encode(JSON.stringify(words));
  const moved = [...words.slice(200), "something new", ...words.slice(10, 190)];
  for (const other of [moved, words.toSpliced(100, 1), words.map((word, i) => i === 3 ? "changed" : word)]) {
    const target = UTF8.encode(JSON.stringify(other));
    const delta = createDelta(source, target, true);
    assert.deepEqual(apply(source, delta), target);
    const { length } = fossil.createDelta(source, target);
    assert(delta.length <= length + 8, `${delta.length} bytes where fossil-delta needs ${length}`);
    assert(delta.length < target.length / 10, `${delta.length} of ${target.length} bytes`);
  }
});

Deno.test("createDelta() takes no longer for repetitive data than in proportion to its size", () => {
  const source = new Uint8Array(256 * 1024).fill(97);
  const target = Uint8Array.from(source, (byte, i) => i % 1_000 === 999 ? 98 : byte);
  const start = performance.now();
  const delta = createDelta(source, target);
  const elapsed = performance.now() - start;
  assert.deepEqual(apply(source, delta), target);
  // Quadratic, it would take minutes.
  assert(elapsed < 5_000, `${elapsed} ms`);
});
