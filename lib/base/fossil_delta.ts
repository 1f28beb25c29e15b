/**
 * Writes the difference between two byte strings in Fossil's delta format
 * (https://fossil-scm.org/home/doc/trunk/www/delta_format.wiki), which clients apply to what they have.
 */

/** Bytes of the blocks of the source that are looked for in the target. */
const BLOCK = 16;
/** Blocks with the same hash that are tried: more of them is repetitive data, in which any will do. */
const MAX_CANDIDATES = 16;
/** Bytes by which a copy must be shorter than what it stands for: as many as it costs to cut a literal in two. */
const MIN_GAIN = 3;

/** The digits of the format's numbers, of six bits each. */
const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";

/** A piece of the target that stands in the source, too. */
interface Copy {
  /** Where it begins and ends in the target. */
  start: number;
  end: number;
  /** Where it begins in the source. */
  from: number;
}

const ASCII = new TextEncoder();

/**
 * Makes a delta that turns the source into the target. Takes time in proportion to their sizes.
 *
 * @param isText whether both are UTF-8 and the delta shall be so, too: no character is cut then
 */
export function createDelta(source: Uint8Array, target: Uint8Array, isText = false): Uint8Array<ArrayBuffer> {
  const copies = findCopies(source, target).map((copy) => isText ? keepCharacters(copy, target) : copy)
    .filter(isWorthwhile);
  return writeDelta(copies, target);
}

/** What most updates leave as it was, the beginning and the end, is found without a search. */
function findCopies(source: Uint8Array, target: Uint8Array): readonly Copy[] {
  const shorter = Math.min(source.length, target.length);
  let prefix = 0;
  while (prefix < shorter && source[prefix] === target[prefix]) prefix++;
  let suffix = 0;
  const rest = shorter - prefix;
  while (suffix < rest && source[source.length - 1 - suffix] === target[target.length - 1 - suffix]) suffix++;
  const end = target.length - suffix;
  return [
    { start: 0, end: prefix, from: 0 },
    ...searchBlocks(source, target, prefix, end),
    { start: end, end: target.length, from: source.length - suffix },
  ];
}

/** Finds pieces of the source in a range of the target, by a hash that rolls over it. */
function searchBlocks(source: Uint8Array, target: Uint8Array, start: number, end: number): Copy[] {
  const copies: Copy[] = [];
  if (end - start < BLOCK || source.length < BLOCK) return copies;
  const index = new BlockIndex(source);
  let literal = start;
  let at = start;
  let hash = hashBlock(target, at);
  while (at + BLOCK <= end) {
    const copy = index.find(hash, target, at, literal, end);
    if (copy !== undefined) {
      copies.push(copy);
      literal = at = copy.end;
      if (at + BLOCK <= end) hash = hashBlock(target, at);
    } else {
      hash = rollHash(hash, target[at]!, target[at + BLOCK] ?? 0);
      at++;
    }
  }
  return copies;
}

/** The blocks of a source by their hashes. */
class BlockIndex {
  readonly #source: Uint8Array;
  readonly #mask: number;
  /** The first block of each bucket, and the next one in the bucket of each block; by number from 1. */
  readonly #first: Int32Array;
  readonly #next: Int32Array;

  constructor(source: Uint8Array) {
    this.#source = source;
    const count = Math.floor(source.length / BLOCK);
    const size = 1 << Math.ceil(Math.log2(count + 1));
    this.#mask = size - 1;
    this.#first = new Int32Array(size);
    this.#next = new Int32Array(count + 1);
    for (let block = count; block >= 1; block--) {
      const bucket = this.#bucketOf(hashBlock(source, (block - 1) * BLOCK));
      this.#next[block] = this.#first[bucket]!;
      this.#first[bucket] = block;
    }
  }

  #bucketOf(hash: number): number {
    return (hash ^ (hash >>> 15)) & this.#mask;
  }

  /** The longest of the pieces around the blocks that the target may have at a place, between a start and an end. */
  find(hash: number, target: Uint8Array, at: number, start: number, end: number): Copy | undefined {
    const source = this.#source;
    let best: Copy | undefined;
    let block = this.#first[this.#bucketOf(hash)]!;
    for (let tried = 0; block !== 0 && tried < MAX_CANDIDATES; tried++, block = this.#next[block]!) {
      const from = (block - 1) * BLOCK;
      let after = 0;
      while (
        at + after < end && from + after < source.length && target[at + after] === source[from + after]
      ) {
        after++;
      }
      if (after < BLOCK) continue;
      let before = 0;
      while (at - before > start && from > before && target[at - before - 1] === source[from - before - 1]) {
        before++;
      }
      if (best === undefined || after + before > best.end - best.start) {
        best = { start: at - before, end: at + after, from: from - before };
      }
    }
    return best;
  }
}

const FACTOR = 0x01000193;
/** What the first byte of a block has been multiplied by. */
const LEADING = Array.from({ length: BLOCK - 1 }).reduce<number>((power) => Math.imul(power, FACTOR), 1);

function hashBlock(bytes: Uint8Array, at: number): number {
  let hash = 0;
  for (let i = 0; i < BLOCK; i++) hash = (Math.imul(hash, FACTOR) + bytes[at + i]!) | 0;
  return hash;
}

/** The hash of the block that begins one byte later. */
function rollHash(hash: number, gone: number, come: number): number {
  return (Math.imul(hash - Math.imul(gone, LEADING), FACTOR) + come) | 0;
}

/** A copy without the parts of characters at its ends, which go with their characters. */
function keepCharacters({ start, end, from }: Copy, target: Uint8Array): Copy {
  let [first, last] = [start, end];
  while (first < last && isContinuation(target[first])) first++;
  while (last > first && isContinuation(target[last])) last--;
  return { start: first, end: last, from: from + first - start };
}

function isContinuation(byte: number | undefined): boolean {
  return byte !== undefined && (byte & 0xc0) === 0x80;
}

function isWorthwhile({ start, end, from }: Copy): boolean {
  const length = end - start;
  return length > 0 && length >= encodeNumber(length).length + encodeNumber(from).length + 2 + MIN_GAIN;
}

function writeDelta(copies: readonly Copy[], target: Uint8Array): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [ASCII.encode(`${encodeNumber(target.length)}\n`)];
  let at = 0;
  const writeLiteral = (end: number) => {
    if (end > at) parts.push(ASCII.encode(`${encodeNumber(end - at)}:`), target.subarray(at, end));
  };
  for (const { start, end, from } of copies) {
    writeLiteral(start);
    parts.push(ASCII.encode(`${encodeNumber(end - start)}@${encodeNumber(from)},`));
    at = end;
  }
  writeLiteral(target.length);
  parts.push(ASCII.encode(`${encodeNumber(sumWords(target))};`));
  const delta = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    delta.set(part, offset);
    offset += part.length;
  }
  return delta;
}

function encodeNumber(value: number): string {
  let text = "";
  do {
    text = DIGITS[value % 64] + text;
    value = Math.floor(value / 64);
  } while (value > 0);
  return text;
}

/** The sum of all words of 32 bits, the bytes of the last one filled up with zeros. */
function sumWords(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum = (sum + (bytes[i]! << (24 - 8 * (i % 4)))) | 0;
  return sum >>> 0;
}
