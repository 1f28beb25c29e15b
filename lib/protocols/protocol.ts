/**
 * The Protocol port: what every protocol is given, and what it gives back. `mod.ts` lists the protocols, `app.ts` opens
 * them. A new protocol is a folder beside this file and one line in `registry.ts`.
 */
import type { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import type { Client } from "../core/client.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import { MessagingError } from "../core/errors.ts";
import { Deadline } from "../base/deadline.ts";
import type { Hub } from "../core/hub.ts";
import type { LogState } from "../core/log.ts";
import type { Limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { OutboxLimits } from "../core/outbox.ts";
import type { Rules } from "../core/rules.ts";
import type { Peer } from "../core/socket.ts";
import type { BodyLimits } from "../http/body.ts";
import type { Connections } from "../http/connections.ts";

/** What handlers find in hono's `c.env`. */
export type Env = { Bindings: { readonly peer: Peer } };

/** A way to talk to Raindrops: the URLs it answers, and how it ends. Disposing it frees what it opened. */
export interface Protocol extends AsyncDisposable {
  /**
   * Mounted at `/`, before the channels' own URLs. The first segment of every path here is on the list of reserved
   * names in `core/channel.ts`.
   */
  readonly routes: Hono<Env>;
  /** The server drains: ends the sessions of which the hub does not know. The hub ends its clients itself. */
  drain?(): void;
}

/** Opens a protocol; undefined when the settings leave it switched off. */
export type OpenProtocol<Settings = ProtocolSettings> = (
  services: Services<Settings>,
) => Protocol | undefined | Promise<Protocol | undefined>;

/** What every protocol reads of the configuration. Settings of its own are rows in its folder. */
export interface ProtocolSettings extends BodyLimits {
  /** Largest message a client may send, in bytes. */
  readonly maxMessageBytes: number;
  /** Channels one connection may be on. */
  readonly maxSubscriptions: number;
  /** Seconds between keep-alives on an otherwise silent stream. */
  readonly keepAlive: number;
  /** The address that the server listens on, for protocols with a port of their own; this machine if left out. */
  readonly host?: string;
  /** Files with the certificate and its key, in PEM, for such ports. */
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

/** The pages, as far as protocols show them. */
export interface PageSource {
  /** Whether a path is a page or a part of one, and never a channel. */
  owns(pathname: string): boolean;
  /** @throws {MessagingError} `not_found` */
  fetch(request: Request): Promise<Response>;
}

/** What every protocol works with. */
export interface Services<Settings = ProtocolSettings> {
  readonly hub: Hub;
  readonly gate: Gate;
  readonly rules: Rules;
  readonly limits: Limits;
  readonly connections: Connections;
  readonly logger: Logger;
  /** The other nodes, where there may be any. */
  readonly cluster: Cluster | undefined;
  readonly outboxLimits: OutboxLimits;
  readonly pages: PageSource;
  /** What services remember across restarts; kept in memory where the engine keeps nothing but messages. */
  readonly state: LogState;
  readonly settings: Settings;
}

/**
 * Ends a client when its token expires.
 *
 * @param expires in seconds since 1970; 0 for never
 * @returns cancels that
 */
export function endAtExpiry(expires: number, client: Client): () => void {
  if (expires === 0) return cancelNothing;
  const deadline = new Deadline();
  deadline.set(
    expires * 1_000,
    () => client.end(new MessagingError("token_expired", "The token has expired")),
  );
  return () => deadline.clear();
}

function cancelNothing(): void {}
