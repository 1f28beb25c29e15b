/** Checks the opening handshake of a WebSocket, for all listeners. */
import { MessagingError } from "../core/errors.ts";

/** @throws {MessagingError} `bad_handshake` or `wrong_version`, as of RFC 6455 section 4.2.1 */
export function checkHandshake({ method, headers }: Request): void {
  const refuse = (detail: string) => new MessagingError("bad_handshake", detail);
  if (method !== "GET") throw refuse("A WebSocket handshake is a GET");
  const connection = headers.get("connection")?.toLowerCase().split(",").map((token) => token.trim());
  if (!connection?.includes("upgrade")) throw refuse('A WebSocket handshake needs "Connection: Upgrade"');
  if (headers.get("sec-websocket-version") !== "13") {
    throw new MessagingError("wrong_version", "Only version 13 of the WebSocket protocol is spoken here");
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) throw refuse("Sec-WebSocket-Key must be 16 bytes in base64");
}
