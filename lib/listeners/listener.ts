/** The Listener port: owns the TCP port, and turns HTTP requests and upgrades into calls of the app. */
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import type { Peer } from "../core/socket.ts";
import type { Certificate } from "./certificate.ts";

export interface ListenOptions {
  readonly hostname: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Whether other listeners with the same setting may share the port. */
  readonly reusePort?: boolean;
  /** Seconds of silence after which a WebSocket is dropped; it is pinged before. */
  readonly idleTimeout: number;
  /** Seconds in which the request line and headers must arrive. */
  readonly headerTimeout: number;
  /** Seconds in which a whole request must arrive, and for which a client may read nothing of a response. */
  readonly bodyTimeout: number;
  /** Most WebSockets and streams; 0 for no limit. */
  readonly maxConnections: number;
  /** Largest message that protocols accept, in bytes; the listener drops far larger ones before they are complete. */
  readonly maxMessageBytes: number;
  /** Serves https and wss with this certificate; http and ws if left out. */
  readonly certificate?: Certificate | undefined;
  readonly logger: Logger;
  /** Counts what a listener refuses before a request reaches the app. */
  readonly metrics?: Pick<Metrics, "refused"> | undefined;
}

/** A listening server. */
export interface Listener {
  readonly hostname: string;
  readonly port: number;
  /** Stops listening and waits until all requests have ended, but no longer than the deadline. */
  close(deadlineMilliseconds: number): Promise<void>;
}

/** Answers a request; never rejects. */
export type Fetch = (request: Request, peer: Peer) => Promise<Response>;

/**
 * Starts to listen and hands every request to `fetch`.
 *
 * @throws {Deno.errors.AddrInUse} when the port is taken
 */
export type Listen = (options: ListenOptions, fetch: Fetch) => Promise<Listener>;
