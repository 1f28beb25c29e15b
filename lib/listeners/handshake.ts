/** Checks the opening handshake of a WebSocket, for all listeners. */
import { MessagingError } from "../core/errors.ts";

/** A name in a list of HTTP (RFC 9110 section 5.6.2). */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

/** @throws {MessagingError} `bad_handshake` or `wrong_version`, as of RFC 6455 sections 4.2.1 and 4.4 */
export function checkHandshake({ method, headers }: Request): void {
  const refuse = (detail: string) => new MessagingError("bad_handshake", detail);
  if (method !== "GET") throw refuse("A WebSocket handshake is a GET");
  const connection = headers.get("connection")?.toLowerCase().split(",").map((token) => token.trim());
  if (!connection?.includes("upgrade")) {
    throw refuse('A WebSocket handshake needs "Connection: Upgrade": a proxy in between has to pass it on');
  }
  if (headers.get("sec-websocket-version") !== "13") {
    throw new MessagingError(
      "wrong_version",
      'Only version 13 of the WebSocket protocol is spoken here: send "Sec-WebSocket-Version: 13"',
    );
  }
  const key = headers.get("sec-websocket-key") ?? "";
  if (!/^[A-Za-z0-9+/]{22}==$/.test(key)) {
    throw refuse("Sec-WebSocket-Key must be 16 bytes in base64, random ones for each handshake");
  }
  const offered = headers.get("sec-websocket-protocol");
  if (offered !== null && !isListOfNames(offered)) {
    throw refuse(
      'Sec-WebSocket-Protocol must be a list of different names, such as "a, b", without other signs or spaces ' +
        "in a name: leave the header out to ask for no subprotocol",
    );
  }
  // What is meant as a body would be read as frames.
  if (headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0") {
    throw refuse("A WebSocket handshake has no body: send messages as frames once it is answered");
  }
}

/** Empty elements of a list count as none (RFC 9110 section 5.6.1.2). */
function isListOfNames(list: string): boolean {
  const names = list.split(",").map((name) => name.trim()).filter((name) => name !== "");
  return names.length > 0 && new Set(names).size === names.length && names.every((name) => TOKEN.test(name));
}
