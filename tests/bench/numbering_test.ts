import assert from "node:assert/strict";
import { createPayload, NumberReader, OrderCheck } from "./numbering.ts";

/** Payloads with something in front of and behind each, one behind the other. */
function encodeStream(numbers: readonly number[], sizes: readonly number[]): Uint8Array<ArrayBuffer> {
  const decoder = new TextDecoder();
  const text = numbers.map((number, i) =>
    `{"offset":${number},"data":"${decoder.decode(createPayload(number, sizes[i % sizes.length]!))}"}\n`
  );
  return new TextEncoder().encode(text.join(""));
}

function readPieces(bytes: Uint8Array<ArrayBuffer>, pieceSize: number): readonly number[] {
  const found: number[] = [];
  const reader = new NumberReader((number) => found.push(number));
  for (let i = 0; i < bytes.length; i += pieceSize) {
    // With room behind the piece, and what an earlier one left there, as the generator's buffer has.
    const piece = new Uint8Array(pieceSize + 32).fill(0x23);
    const part = bytes.subarray(i, i + pieceSize);
    piece.set(part);
    reader.feed(piece, part.length);
  }
  return found;
}

Deno.test("NumberReader finds every number, whatever the pieces and sizes", () => {
  const numbers = Array.from({ length: 120 }, (_, i) => i + 8);
  for (const sizes of [[64], [9], [64, 1_024], [300, 20, 20, 150]]) {
    const bytes = encodeStream(numbers, sizes);
    for (const pieceSize of [1, 7, 66, 1_000, bytes.length]) {
      assert.deepEqual(readPieces(bytes, pieceSize), numbers, `sizes ${sizes}, pieces of ${pieceSize}`);
    }
  }
});

Deno.test("NumberReader passes over marks that no digits follow, such as a frame's length", () => {
  const text = new TextEncoder().encode("#x##1#12345#1234567##00000007####00000008#");
  for (const pieceSize of [1, 3, text.length]) assert.deepEqual(readPieces(text, pieceSize), [7, 8]);
});

Deno.test("OrderCheck refuses gaps, duplicates and the wrong order", () => {
  const feed = (numbers: readonly number[]) => {
    const bytes = encodeStream(numbers, [64]);
    const check = new OrderCheck();
    check.feed(bytes, bytes.length);
    return check.last;
  };
  assert.equal(feed([1, 2, 3]), 3);
  assert.throws(() => feed([1, 3]), /A gap: message 3 came where 2 was due/);
  assert.throws(() => feed([1, 1]), /duplicate/);
  assert.throws(() => feed([1, 2, 1]), /out of order/);
});
