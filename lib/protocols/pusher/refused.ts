/**
 * Connections that are refused: the client is told why over its socket, as handshakes that fail make clients come back.
 */
import type { ErrorCode } from "../../core/errors.ts";
import { cutReason } from "../../core/errors.ts";
import type { Socket, SocketHandler } from "../../core/socket.ts";
import type { Hub } from "../../core/hub.ts";
import type { MountedApp } from "./apps.ts";
import { CLOSE } from "./errors.ts";
import { encodeError } from "./frames.ts";

/** Why a connection is refused: the close code, what the client is told, and what the refusal is counted as. */
export interface ConnectionRefusal {
  readonly code: number;
  readonly reason: string;
  readonly counts: ErrorCode;
}

/** The versions of the protocol that are spoken; 7 is the current one. */
const VERSIONS = [5, 6, 7];

/** What is wrong with the path of a connection: it is none of the protocol's. */
export const NO_SUCH_PATH: ConnectionRefusal = {
  code: CLOSE.noSuchPath,
  reason: "Path not found: connect to /app/KEY, with the key of the app",
  counts: "not_found",
};

/** What is wrong with a connection to a server that has no app. */
export const NO_APPS: ConnectionRefusal = {
  code: CLOSE.noSuchApp,
  reason: "No Pusher app is set up here: set RAINDROPS_PUSHER_APP=id:key:secret, or --pusher-apps",
  counts: "not_found",
};

/**
 * What is wrong with a connection to an app; undefined when it may be opened.
 *
 * @param version the query parameter `protocol`; null without one
 */
export function findRefusal(
  app: MountedApp | undefined,
  version: string | null,
): ConnectionRefusal | undefined {
  if (app === undefined) {
    return {
      code: CLOSE.noSuchApp,
      reason: "App does not exist: check the key and the host",
      counts: "not_found",
    };
  }
  if (!app.enabled) {
    return { code: CLOSE.disabled, reason: "The app is disabled", counts: "forbidden" };
  }
  // An empty parameter names no version either.
  if (version === null || version === "") {
    return {
      code: CLOSE.noVersion,
      reason: "No protocol version supplied: add protocol=7",
      counts: "wrong_version",
    };
  }
  if (!/^\d{1,3}$/.test(version)) {
    return { code: CLOSE.badVersion, reason: "Invalid version string format", counts: "wrong_version" };
  }
  if (VERSIONS.includes(Number(version))) return undefined;
  return {
    code: CLOSE.unsupportedVersion,
    reason: `Unsupported protocol version ${Number(version)}: use ${VERSIONS.join(", ")}`,
    counts: "wrong_version",
  };
}

/** A socket that is told why it is refused, and closed. */
export class RefusedSession implements SocketHandler {
  readonly #hub: Hub;
  readonly #refusal: ConnectionRefusal;
  readonly #address: string;

  constructor(hub: Hub, refusal: ConnectionRefusal, address: string) {
    this.#hub = hub;
    this.#refusal = refusal;
    this.#address = address;
  }

  open(socket: Socket): void {
    const { code, reason, counts } = this.#refusal;
    this.#hub.metrics.refused(counts, { what: "pusher", message: reason, address: this.#address });
    socket.send([encodeError(code, reason)]);
    socket.close(code, cutReason(reason));
  }

  message(): void {}

  close(): void {}
}
