/** Frames as bytes on the wire, against RFC 6455 section 5.2, and that they are made once. */
import assert from "node:assert/strict";
import { Frame } from "../../../lib/core/socket.ts";
import { joinFrames, keepFrames } from "../../../lib/listeners/node/frames.ts";

/** Payload lengths at the edges of the three forms, and the header each has as a text frame. */
const HEADERS: readonly (readonly [number, readonly number[]])[] = [
  [0, [0x81, 0]],
  [1, [0x81, 1]],
  [125, [0x81, 125]],
  [126, [0x81, 126, 0, 126]],
  [65_535, [0x81, 126, 0xff, 0xff]],
  [65_536, [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]],
  [16_777_217, [0x81, 127, 0, 0, 0, 0, 1, 0, 0, 1]],
];

Deno.test("joinFrames() writes each length in its shortest form, unmasked and final", () => {
  for (const [length, header] of HEADERS) {
    const bytes = joinFrames([new Frame("x".repeat(length))]);
    assert.deepEqual([...bytes.subarray(0, header.length)], header, `${length}`);
    assert.equal(bytes.length, header.length + length);
    assert.ok(bytes.subarray(header.length).every((byte) => byte === 0x78));
  }
});

Deno.test("joinFrames() joins text and bytes in order, text as UTF-8, half characters replaced", () => {
  const bytes = joinFrames([
    new Frame("\u00e9"),
    new Frame(Uint8Array.of(0, 255)),
    new Frame("\u{1f327}"),
    new Frame("\ud800"),
  ]);
  assert.deepEqual([...bytes], [
    ...[0x81, 2, 0xc3, 0xa9],
    ...[0x82, 2, 0, 255],
    ...[0x81, 4, 0xf0, 0x9f, 0x8c, 0xa7],
    ...[0x81, 3, 0xef, 0xbf, 0xbd],
  ]);
});

Deno.test("joinFrames() joins a list once, however many sockets get it", () => {
  const frames = [new Frame("it"), new Frame("rains")];
  assert.equal(joinFrames(frames), joinFrames(frames));
  assert.deepEqual(joinFrames([...frames]), joinFrames(frames));
});

Deno.test("keepFrames() gives what joinFrames() does, in memory of its own that all share who keep the list", () => {
  const frames = [new Frame("it"), new Frame("rains")];
  const kept = keepFrames(frames);
  assert.deepEqual(kept, joinFrames(frames));
  assert.equal(kept.buffer.byteLength, kept.byteLength);
  assert.equal(keepFrames(frames), kept);
  const large = [new Frame("x".repeat(100_000))];
  assert.equal(keepFrames(large), joinFrames(large), "large ones have memory of their own anyway");
});
