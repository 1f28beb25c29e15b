/** What the node listener makes of the handshakes of WebSockets, which `ws` answers. */
import type { IncomingMessage } from "node:http";
// @ts-types="./ws.d.ts"
import type { Handshake } from "ws";
import { MessagingError } from "../../core/errors.ts";
import type { SocketHandler } from "../../core/socket.ts";
import { checkHandshake } from "../handshake.ts";

/** A handshake that the app has accepted. */
export interface Upgrade {
  readonly handler: SocketHandler;
  readonly subprotocol: string | undefined;
}

/** The plain requests that are answered with a response are never handshakes. */
export function refusePlainUpgrade(): never {
  throw new MessagingError("bad_handshake", "A WebSocket handshake is a GET");
}

/** Refuses a request that `node:http` does not take for a handshake: it lacks a header, or is of an older HTTP. */
export function refuseUpgrade(request: Request): never {
  checkHandshake(request);
  throw new MessagingError(
    "bad_handshake",
    "A WebSocket handshake is HTTP/1.1: a proxy in between has to speak it, as nginx does after proxy_http_version 1.1",
  );
}

/** The response to a handshake that was accepted, which `ws` writes. */
export const UPGRADED = new Response(null, { status: 101 });

/** What `ws` reads of a request. It agrees to the first subprotocol, so that it gets only the one that was chosen. */
export function readHandshake({ headers }: Request, { subprotocol }: Upgrade): Handshake {
  const read = (name: string) => headers.get(name) ?? undefined;
  return {
    method: "GET",
    headers: {
      upgrade: read("upgrade"),
      "sec-websocket-key": read("sec-websocket-key"),
      "sec-websocket-version": read("sec-websocket-version"),
      "sec-websocket-protocol": subprotocol,
    },
  };
}

/** Whether a request asks for a WebSocket in a way in which it can get one. */
export function isWebSocket({ method, headers, httpVersion }: IncomingMessage): boolean {
  return method === "GET" && httpVersion === "1.1" && headers.upgrade?.toLowerCase() === "websocket";
}
