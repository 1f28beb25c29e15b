/** The length of text as UTF-8, which limits are counted in. */
import { Buffer } from "node:buffer";

/**
 * Bytes a string takes as UTF-8, without encoding it. Half of a surrogate pair takes three, those of U+FFFD.
 *
 * Counted natively: code in JavaScript takes 0.3 ms for 64 KiB of text beyond ASCII, this 0.01 ms, and to look at all
 * messages of a page of a mebibyte must not hold up others.
 */
export function utf8Length(text: string): number {
  return Buffer.byteLength(text);
}
