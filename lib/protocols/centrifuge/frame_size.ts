/** How large frames and bodies of commands may be. Transports and sessions ask before they read one, codecs meanwhile. */
import { utf8Length } from "../../base/utf8.ts";
import { MessagingError } from "../../core/errors.ts";

/** Most bytes of a frame beside the data of its commands: names, tokens, filters, which cost more to read than data. */
export const MAX_COMMAND_BYTES = 65_536;

/** Most bytes that a byte of text takes in JSON: a control character as `\u0001`. In JSON within JSON it has one more. */
const BYTES_PER_ESCAPE = 6;

/** Largest frame or body of commands, in bytes: one message of the largest size, however JSON writes it. */
export function findMaxFrameBytes(maxMessageBytes: number): number {
  return BYTES_PER_ESCAPE * maxMessageBytes + MAX_COMMAND_BYTES;
}

/** Largest body of `POST /emulation`, in bytes: the same in a JSON string, and what stands beside it. */
export function findMaxEmulationBytes(maxMessageBytes: number): number {
  return (BYTES_PER_ESCAPE + 1) * maxMessageBytes + BYTES_PER_ESCAPE * MAX_COMMAND_BYTES + 1_024;
}

/** Frames of the largest size that may come before connect is answered: what they hold is kept until then. */
const EARLY_FRAMES = 2;

/** @throws {MessagingError} `too_large` for a frame that is larger than one message and what stands beside it */
export function checkFrameSize(frame: string | Uint8Array, maxMessageBytes: number): void {
  measureFrame(frame, findMaxFrameBytes(maxMessageBytes));
}

/** Counts what comes before connect is answered. */
export class EarlyFrames {
  readonly #maxFrameBytes: number;
  #bytes = 0;

  constructor(maxMessageBytes: number) {
    this.#maxFrameBytes = findMaxFrameBytes(maxMessageBytes);
  }

  /** @throws {MessagingError} `too_large` for one frame, `bad_frame` for more of them than a client has reason to send */
  add(frame: string | Uint8Array): void {
    this.#bytes += measureFrame(frame, this.#maxFrameBytes);
    if (this.#bytes > EARLY_FRAMES * this.#maxFrameBytes) {
      throw new MessagingError("bad_frame", "Too much at once before the answer to connect");
    }
  }
}

function measureFrame(frame: string | Uint8Array, limit: number): number {
  // No text has fewer bytes than characters.
  const size = typeof frame !== "string" || frame.length > limit ? frame.length : utf8Length(frame);
  if (size <= limit) return size;
  throw new MessagingError("too_large", `The commands have more than ${limit} bytes: send them one by one`);
}
