/** Encodes WebSocket frames for the node listener, once for all sockets that get them. */
import { Buffer } from "node:buffer";
import type { Frame } from "../../core/socket.ts";

/** First bytes of an unfragmented frame (RFC 6455 section 5.2): FIN and the opcode. */
const FINAL_TEXT = 0x81;
const FINAL_BINARY = 0x82;

/** Longest payloads whose length fits into 7 bits, and into 16. */
const LONGEST_IN_7_BITS = 125;
const LONGEST_IN_16_BITS = 65_535;

const UTF8 = new TextEncoder();

// The hub hands the same list of frames to one socket of a channel after the other: the last one serves them all.
let lastFrames: readonly Frame[] = [];
let lastJoined: Buffer = Buffer.alloc(0);
let lastKept: Buffer | undefined;

/** Encodes frames, in order, into one buffer. Encodes a list that comes again and again only once. */
export function joinFrames(frames: readonly Frame[]): Buffer {
  if (frames === lastFrames) return lastJoined;
  lastKept = undefined;
  lastJoined = encodeFrames(frames);
  lastFrames = frames;
  return lastJoined;
}

/**
 * The same in memory of its own, for what has to wait: a small buffer is part of a slab, which costs a microsecond less
 * than memory of its own, and would keep all of it alive.
 */
export function keepFrames(frames: readonly Frame[]): Buffer {
  const joined = joinFrames(frames);
  if (joined.byteLength === joined.buffer.byteLength) return joined;
  if (lastKept === undefined) {
    lastKept = Buffer.allocUnsafeSlow(joined.byteLength);
    lastKept.set(joined);
  }
  return lastKept;
}

function encodeFrames(frames: readonly Frame[]): Buffer {
  let size = 0;
  for (const { byteLength } of frames) size += headerLength(byteLength) + byteLength;
  const bytes = Buffer.allocUnsafe(size);
  let offset = 0;
  for (const frame of frames) offset = writeFrame(frame, bytes, offset);
  return bytes;
}

function headerLength(payloadLength: number): number {
  if (payloadLength <= LONGEST_IN_7_BITS) return 2;
  return payloadLength <= LONGEST_IN_16_BITS ? 4 : 10;
}

/** Writes one unmasked frame; returns where the next one starts. */
function writeFrame({ data, byteLength }: Frame, bytes: Buffer, offset: number): number {
  bytes[offset++] = typeof data === "string" ? FINAL_TEXT : FINAL_BINARY;
  if (byteLength <= LONGEST_IN_7_BITS) bytes[offset++] = byteLength;
  else if (byteLength <= LONGEST_IN_16_BITS) {
    bytes[offset++] = 126;
    offset = bytes.writeUInt16BE(byteLength, offset);
  } else {
    bytes[offset++] = 127;
    offset = bytes.writeUInt32BE(Math.floor(byteLength / 2 ** 32), offset);
    offset = bytes.writeUInt32BE(byteLength % 2 ** 32, offset);
  }
  if (typeof data === "string") UTF8.encodeInto(data, bytes.subarray(offset));
  else bytes.set(data, offset);
  return offset + byteLength;
}
