/** Cuts the bytes of a connection into MQTT packets, within bounds. Connections feed it whatever arrives. */

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

export class PacketFramer {
  readonly #maxPacketBytes: number;
  readonly #onPacket: (packet: Uint8Array<ArrayBuffer>) => boolean;
  #pending: Uint8Array<ArrayBuffer>[] = [];
  #pendingBytes = 0;

  /**
   * @param maxPacketBytes counts the fixed header too
   * @param onPacket takes one whole packet; returns false to stop, and the rest is dropped
   */
  constructor(maxPacketBytes: number, onPacket: (packet: Uint8Array<ArrayBuffer>) => boolean) {
    this.#maxPacketBytes = maxPacketBytes;
    this.#onPacket = onPacket;
  }

  /**
   * Takes bytes, which may hold parts of a packet or several.
   *
   * @throws {FramingError} for a length that is malformed or beyond the limit, before its packet has arrived
   */
  feed(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#pendingBytes > 0) {
      // The pieces are joined only once the packet is complete: joining at each piece would take quadratic time.
      this.#pending.push(bytes);
      this.#pendingBytes += bytes.byteLength;
      const head = this.#peek();
      const size = readPacketSize(head, this.#maxPacketBytes);
      if (size === undefined || this.#pendingBytes < size) return;
      bytes = join(this.#pending, this.#pendingBytes);
      this.#pending = [];
      this.#pendingBytes = 0;
    }
    let start = 0;
    while (start < bytes.byteLength) {
      const size = readPacketSize(bytes.subarray(start, start + MAX_HEADER_BYTES), this.#maxPacketBytes);
      if (size === undefined || start + size > bytes.byteLength) break;
      const packet = bytes.subarray(start, start += size);
      if (!this.#onPacket(packet)) return;
    }
    if (start < bytes.byteLength) {
      this.#pending = [bytes.slice(start)];
      this.#pendingBytes = bytes.byteLength - start;
    }
  }

  /** The first bytes of what is pending, enough for a fixed header. */
  #peek(): Uint8Array {
    const first = this.#pending[0];
    if (first !== undefined && first.byteLength >= MAX_HEADER_BYTES) {
      return first.subarray(0, MAX_HEADER_BYTES);
    }
    const head = new Uint8Array(Math.min(MAX_HEADER_BYTES, this.#pendingBytes));
    let at = 0;
    for (const piece of this.#pending) {
      if (at === head.byteLength) break;
      const part = piece.subarray(0, head.byteLength - at);
      head.set(part, at);
      at += part.byteLength;
    }
    return head;
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

function join(pieces: readonly Uint8Array<ArrayBuffer>[], size: number): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.byteLength;
  }
  return joined;
}
