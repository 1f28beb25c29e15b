/**
 * Numbers messages so that whoever reads them, in whatever protocol, can tell that none is missing, none comes
 * twice, and all are in order: a mark and eight digits at the start of each payload.
 */

/** Stands nowhere else in what a server sends, but for the length of a frame, which no digits follow. */
const MARK = 0x23; // #
const DIGITS = 8;
const ZERO = 0x30;
const FILLER = 0x78; // x

/** Size of a payload, in bytes, where nothing else is asked for. */
export const PAYLOAD_SIZE = 64;

/** A numbered payload. */
export function createPayload(number: number, size: number): Uint8Array<ArrayBuffer> {
  const payload = new Uint8Array(size).fill(FILLER);
  payload[0] = MARK;
  for (let i = DIGITS; i > 0; i--) {
    payload[i] = ZERO + number % 10;
    number = Math.floor(number / 10);
  }
  return payload;
}

/**
 * Finds the numbers in what one connection gets, fed in pieces of any size. Numbers mostly come at the distance that
 * the last two had: looking there first spares walking through the frames and searching their payloads.
 */
export class NumberReader {
  readonly #onNumber: (number: number) => void;
  #distance = DIGITS + 1;
  #digits = 0;
  #number = 0;

  constructor(onNumber: (number: number) => void) {
    this.#onNumber = onNumber;
  }

  feed(bytes: Uint8Array<ArrayBuffer>, length: number): void {
    let at = 0;
    if (this.#digits > 0) at = this.#readDigits(bytes, 0, length);
    let last = at - DIGITS - 1;
    // Ends every search: behind the length are bytes of earlier pieces, or a megabyte of nothing.
    bytes[length] = MARK;
    while (at < length) {
      const guess = last + this.#distance;
      let mark = guess;
      if (guess >= length || guess < at || bytes[guess] !== MARK) {
        mark = bytes.indexOf(MARK, at);
        if (mark < 0 || mark >= length) return;
        this.#distance = mark - last;
      }
      last = mark;
      this.#digits = DIGITS;
      this.#number = 0;
      at = this.#readDigits(bytes, mark + 1, length);
    }
  }

  #readDigits(bytes: Uint8Array, at: number, length: number): number {
    const end = Math.min(at + this.#digits, length);
    let number = this.#number;
    this.#digits -= end - at;
    while (at < end) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) {
        this.#digits = 0;
        return at;
      }
      number = number * 10 + digit;
      at++;
    }
    this.#number = number;
    if (this.#digits === 0) this.#onNumber(number);
    return at;
  }
}

/** Makes sure that each number is its forerunner's plus 1. */
export class OrderCheck {
  #next: number;
  readonly #reader = new NumberReader((number) => {
    if (number !== this.#next) {
      const kind = number > this.#next ? "A gap" : "A duplicate, or out of order";
      throw new Error(`${kind}: message ${number} came where ${this.#next} was due`);
    }
    this.#next++;
  });

  /** @param first number of the first message that is expected */
  constructor(first = 1) {
    this.#next = first;
  }

  /** Number of the newest message. */
  get last(): number {
    return this.#next - 1;
  }

  /** @throws {Error} for a gap, a duplicate or a message out of order */
  feed(bytes: Uint8Array<ArrayBuffer>, length: number): void {
    this.#reader.feed(bytes, length);
  }
}
