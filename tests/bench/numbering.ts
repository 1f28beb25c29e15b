/**
 * Numbers messages so that whoever reads them, in whatever protocol, can tell that none is missing, none comes
 * twice, and all are in order: a mark and eight digits at the start of each payload.
 */

/** Stands nowhere else in what the server sends. */
const MARK = 0x23; // #
const DIGITS = 8;
const ZERO = 0x30;
const FILLER = 0x78; // x

/** Size of the payloads, in bytes. */
export const PAYLOAD_SIZE = 64;

/** Writes a numbered payload. */
export function writePayload(payload: Uint8Array, number: number): void {
  payload.fill(FILLER);
  payload[0] = MARK;
  for (let i = DIGITS; i > 0; i--) {
    payload[i] = ZERO + number % 10;
    number = Math.floor(number / 10);
  }
}

/** A numbered payload as text. */
export function createPayload(number: number): string {
  const payload = new Uint8Array(PAYLOAD_SIZE);
  writePayload(payload, number);
  return new TextDecoder().decode(payload);
}

/** Finds the numbers in what one reader gets, and makes sure that each is its forerunner's plus 1. */
export class OrderCheck {
  #next: number;
  #digits = 0;
  #number = 0;

  /** @param first number of the first message that is expected */
  constructor(first: number) {
    this.#next = first;
  }

  /** Number of the newest message. */
  get last(): number {
    return this.#next - 1;
  }

  /** @throws {Error} for a gap, a duplicate or a message out of order */
  feed(bytes: Uint8Array): void {
    let i = 0;
    while (true) {
      if (this.#digits === 0) {
        i = bytes.indexOf(MARK, i) + 1;
        if (i === 0) return;
        this.#digits = DIGITS;
        this.#number = 0;
      }
      while (this.#digits > 0) {
        if (i === bytes.length) return;
        this.#number = this.#number * 10 + bytes[i++]! - ZERO;
        this.#digits--;
      }
      if (this.#number !== this.#next) {
        const kind = this.#number > this.#next ? "A gap" : "A duplicate, or out of order";
        throw new Error(`${kind}: message ${this.#number} came where ${this.#next} was due`);
      }
      this.#next++;
    }
  }
}
