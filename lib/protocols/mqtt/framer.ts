/** Cuts the bytes of a connection into MQTT packets, within bounds. Connections push whatever arrives. */

/** What is wrong with a stream of packets: the connection must end. */
export class FramingError extends Error {
  /** Reason code of DISCONNECT. */
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(message);
    this.name = "FramingError";
    this.reason = reason;
  }
}

/** Bytes of the longest fixed header (MQTT 5.0 section 2.1.4). */
const MAX_HEADER_BYTES = 5;

const NONE = new Uint8Array();

export class PacketFramer {
  readonly #maxPacketBytes: number;
  // What has arrived and is not taken, from one index to the other. An object for each packet that waits, or for each
  // piece in which it arrived, would take a hundred times the memory of its bytes.
  #bytes: Uint8Array<ArrayBuffer> = NONE;
  #start = 0;
  #end = 0;

  /** @param maxPacketBytes counts the fixed header too */
  constructor(maxPacketBytes: number) {
    this.#maxPacketBytes = maxPacketBytes;
  }

  /** Bytes that have arrived and are not taken. */
  get waitingBytes(): number {
    return this.#end - this.#start;
  }

  /** Adds bytes, which may hold parts of a packet or several. They are the framer's from then on. */
  push(bytes: Uint8Array<ArrayBuffer>): void {
    const waiting = this.waitingBytes;
    if (waiting === 0) {
      this.#reset(bytes);
      return;
    }
    if (this.#end + bytes.byteLength > this.#bytes.byteLength) {
      // Twice as large as needed: pieces of a byte would else take quadratic time.
      const larger = new Uint8Array((waiting + bytes.byteLength) * 2);
      larger.set(this.#bytes.subarray(this.#start, this.#end));
      this.#bytes = larger;
      this.#start = 0;
      this.#end = waiting;
    }
    this.#bytes.set(bytes, this.#end);
    this.#end += bytes.byteLength;
  }

  /**
   * Takes the next packet; undefined if it has not arrived as a whole.
   *
   * @throws {FramingError} for a length that is malformed or beyond the limit, before its packet has arrived
   */
  next(): Uint8Array<ArrayBuffer> | undefined {
    const start = this.#start;
    const head = this.#bytes.subarray(start, Math.min(start + MAX_HEADER_BYTES, this.#end));
    const size = readPacketSize(head, this.#maxPacketBytes);
    if (size === undefined || start + size > this.#end) {
      // The beginning of a packet must not keep the packets before it in memory.
      if (start > 0) this.#reset(this.#bytes.slice(start, this.#end));
      return undefined;
    }
    const packet = this.#bytes.subarray(start, this.#start = start + size);
    if (this.#start === this.#end) this.clear();
    return packet;
  }

  /** Drops what has arrived. */
  clear(): void {
    this.#reset(NONE);
  }

  #reset(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#start = 0;
    this.#end = bytes.byteLength;
  }
}

/**
 * Reads the size of a packet with its fixed header.
 *
 * @returns undefined if the header has not arrived
 * @throws {FramingError}
 */
function readPacketSize(head: Uint8Array, limit: number): number | undefined {
  let length = 0;
  for (let i = 1; i < MAX_HEADER_BYTES; i++) {
    const byte = head[i];
    if (byte === undefined) return undefined;
    length += (byte & 0x7f) * 128 ** (i - 1);
    if (byte < 0x80) {
      const size = 1 + i + length;
      if (size > limit) throw new FramingError(0x95, `A packet of ${size} bytes; the limit is ${limit}`);
      return size;
    }
  }
  throw new FramingError(0x81, "A packet whose length has more than four bytes");
}
