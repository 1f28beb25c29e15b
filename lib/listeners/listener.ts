/** The Listener port: who owns the TCP port, and turns requests and upgrades into what the app understands. */
import type { Logger } from "../core/logger.ts";
import type { Peer } from "../core/socket.ts";
import type { Certificate } from "./certificate.ts";

export interface ListenOptions {
  readonly hostname: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Whether other processes that say so too may listen on the same port. */
  readonly reusePort?: boolean;
  /** Seconds of silence within which a WebSocket is pinged, and after which it is dropped. */
  readonly idleTimeout: number;
  /** Seconds there are to send the line and headers of a request. */
  readonly headerTimeout: number;
  /** Seconds there are to send a whole request, and to take some of an answer. */
  readonly bodyTimeout: number;
  /** WebSockets and streams at a time; 0 for no limit. */
  readonly maxConnections: number;
  /** Largest message a protocol takes, in bytes; far larger ones are not even collected. */
  readonly maxMessageBytes: number;
  /** What https and wss are served with; http and ws when left out. */
  readonly certificate?: Certificate | undefined;
  readonly logger: Logger;
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
