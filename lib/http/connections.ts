/**
 * Opens WebSockets and streams: counts them against the limits until they end, by the address of the client, which may
 * be behind a proxy. Protocols open their connections here.
 */
import type { Connection, Limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import { isLoopbackAddress } from "../base/address.ts";
import { IDLE_CLOSE, type Peer, type Socket, type SocketHandler } from "../core/socket.ts";
import { findClientAddress, type ProxyTrust } from "./client_address.ts";

export interface ConnectionOptions {
  readonly limits: Limits;
  readonly proxies: ProxyTrust;
  readonly metrics: Metrics;
  readonly logger: Logger;
}

export class Connections {
  readonly #options: ConnectionOptions;
  #hasWarned = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** The peer of a request; behind trusted proxies, with the address of the client that called them. */
  findPeer(request: Request, peer: Peer): Peer {
    const { proxies } = this.#options;
    if (proxies.networks.length === 0) {
      this.#warnOfProxy(request, peer);
      return peer;
    }
    const address = findClientAddress(peer.address, request.headers, proxies);
    const { createResponse } = peer;
    return {
      address,
      upgrade: (handler, options) => peer.upgrade(handler, options),
      ...createResponse && { createResponse },
    };
  }

  /**
   * Answers a WebSocket handshake.
   *
   * @throws {MessagingError} `too_many_connections`, `too_many_connections_from_address`, or an error of the handshake
   */
  upgrade(
    peer: Peer,
    open: (connection: Connection) => SocketHandler,
    options: { readonly subprotocol?: string } = {},
  ): Response {
    return this.#count(
      peer,
      (connection) =>
        peer.upgrade(new CountedHandler(open(connection), connection, this.#options.metrics), options),
    );
  }

  /**
   * Opens a stream. The stream must release its connection when it ends.
   *
   * @throws {MessagingError} `too_many_connections` or `too_many_connections_from_address`
   */
  openStream(peer: Peer, open: (connection: Connection) => Response): Response {
    return this.#count(peer, open);
  }

  #count(peer: Peer, open: (connection: Connection) => Response): Response {
    const connection = this.#options.limits.connect(peer.address);
    try {
      return open(connection);
    } catch (error) {
      connection.release();
      throw error;
    }
  }

  /** Behind an unknown proxy on this machine, all clients would count as local and be exempt from limits by address. */
  #warnOfProxy({ headers }: Request, { address }: Peer): void {
    if (this.#hasWarned || !isLoopbackAddress(address)) return;
    // Not has(), for which the runtime lists all headers.
    if (headers.get("x-forwarded-for") === null && headers.get("forwarded") === null) return;
    this.#hasWarned = true;
    this.#options.logger.write(
      "warn",
      `A proxy at ${address} forwards requests: name it with --trusted-proxy ${address}, otherwise all its clients ` +
        "count as one client on this machine",
    );
  }
}

/** Counts a WebSocket's connection until it ends. A class, as closures would cost more memory per idle connection. */
class CountedHandler implements SocketHandler {
  readonly #handler: SocketHandler;
  readonly #connection: Connection;
  readonly #metrics: Metrics;

  constructor(handler: SocketHandler, connection: Connection, metrics: Metrics) {
    this.#handler = handler;
    this.#connection = connection;
    this.#metrics = metrics;
  }

  open(socket: Socket): void {
    this.#handler.open(socket);
  }

  message(data: string | Uint8Array<ArrayBuffer>): void {
    this.#handler.message(data);
  }

  close(code: number, reason: string): void {
    this.#connection.release();
    if (code === IDLE_CLOSE.code && reason === IDLE_CLOSE.reason) {
      this.#metrics.refused("idle", { message: "No answer to a ping", address: this.#connection.address });
    }
    this.#handler.close(code, reason);
  }
}
