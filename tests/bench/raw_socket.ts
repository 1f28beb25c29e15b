/** Just enough of a WebSocket client (RFC 6455): the handshake, and frames to be sent. */
import { encodeHead, RawConnection } from "./raw_connection.ts";

/** Any key will do: who answers is known. */
const KEY = "cmFpbmRyb3BzIGJlbmNoIQ==";
/** Bytes before the payload of a short frame: flags, length, mask. */
const CLIENT_HEADER = 6;
/** Bytes before the payload of a short frame from the server, which is not masked. */
export const SERVER_HEADER = 2;

/** Opens a WebSocket on a path; what comes behind the handshake is read from the connection. */
export async function openRawSocket(port: number, path: string, bufferSize?: number): Promise<RawConnection> {
  const connection = await RawConnection.open(port, bufferSize);
  const headers = {
    host: "127.0.0.1",
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": 13,
    "sec-websocket-key": KEY,
  };
  connection.send(encodeHead(`GET ${path} HTTP/1.1`, headers));
  const head = await connection.readHead();
  if (head.startsWith("HTTP/1.1 101")) return connection;
  connection[Symbol.dispose]();
  throw new Error(`GET ${path} did not answer with a WebSocket: ${head}`);
}

/** Text frames of one size, one behind the other, each payload written by `write`. */
export function encodeFrames(
  count: number,
  size: number,
  write: (payload: Uint8Array, index: number) => void,
): Uint8Array {
  if (size > 125) throw new RangeError(`A payload of ${size} bytes does not fit into a short frame`);
  const bytes = new Uint8Array(count * (CLIENT_HEADER + size));
  for (let i = 0; i < count; i++) {
    const start = i * (CLIENT_HEADER + size);
    bytes[start] = 0x81;
    // Masked, as clients must, with a mask of zeros, which leaves the payload as it is.
    bytes[start + 1] = 0x80 | size;
    write(bytes.subarray(start + CLIENT_HEADER, start + CLIENT_HEADER + size), i);
  }
  return bytes;
}
