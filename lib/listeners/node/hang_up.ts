/** Ends a connection that has left HTTP, whatever its peer does: after a refused upgrade, or a violation of WebSocket. */
import type { Buffer } from "node:buffer";
import type { Duplex } from "node:stream";

/** How long, and how many bytes of, a peer's data is read after the end, so that a reset does not overtake the last bytes. */
const LINGER_MILLISECONDS = 1_000;
const LINGER_BYTES = 1024 * 1024;

/**
 * Ends a connection once what is queued has left, and destroys it after a second at the latest. What still arrives is
 * discarded: a connection that nobody reads would never see the end of its peer, and keep its descriptor.
 */
export function hangUp(connection: Duplex): void {
  if (connection.destroyed) return;
  connection.end();
  let left = LINGER_BYTES;
  connection.on("data", ({ length }: Buffer) => {
    left -= length;
    if (left < 0) connection.pause();
  });
  connection.resume();
  const timer = setTimeout(() => connection.destroy(), LINGER_MILLISECONDS);
  connection.once("close", () => clearTimeout(timer));
}
