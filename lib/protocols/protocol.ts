/**
 * The Protocol port: what every protocol is given, and what it gives back. `mod.ts` lists the protocols, `app.ts` opens
 * them. A new protocol is a folder beside this file and one line in `registry.ts`.
 */
import type { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import type { Pass } from "../auth/pass.ts";
import type { Client } from "../core/client.ts";
import { changeInfo } from "../core/client_info.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import { MessagingError, toMessagingError } from "../core/errors.ts";
import { Deadline } from "../base/deadline.ts";
import type { Hub } from "../core/hub.ts";
import type { LogState } from "../core/log.ts";
import type { Limits } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { ProtocolWebhook } from "../core/protocol_webhook.ts";
import type { OutboxLimits } from "../core/outbox.ts";
import type { Rules } from "../core/rules.ts";
import type { Scheduler } from "../core/schedule/scheduler.ts";
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
  /**
   * Answers a request that can be nobody else's, before it is routed; undefined for any other. Most requests of a busy
   * server are such, and routing costs as much as storing. It throws and rejects as routes do.
   */
  direct?(request: Request, peer: Peer): Promise<Response> | undefined;
  /** Its own webhooks, which `lib/hooks` sends. */
  readonly webhooks?: readonly ProtocolWebhook[];
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
  /** Whether such ports are shared with other threads or nodes of this machine. */
  readonly reusePort?: boolean;
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
  /** Publishes messages later. */
  readonly scheduler: Scheduler;
  /** Reads a text file that a setting names. Rejects with a SyntaxError that says why it cannot be read. */
  readonly readSettingFile: (flag: string, path: string) => Promise<string>;
  readonly settings: Settings;
}

/**
 * Ends a client with `token_expired` when its time is up. One that the application let in goes on for as long as the
 * application then says, which its callout `refresh` asks.
 *
 * @param takesInfo whether an `info` that the application answers becomes that of the client
 * @returns cancels that
 */
export function watchExpiry(
  { gate, hub, cluster }: Pick<Services, "gate" | "hub" | "cluster">,
  pass: Pass,
  client: Client,
  takesInfo = true,
): () => void {
  if (pass.expires === 0) return cancelNothing;
  const deadline = new Deadline();
  let current = pass;
  let isCancelled = false;
  const wait = () => deadline.set(current.expires * 1_000, expire);
  const expire = () => {
    if (!current.isIdentified) {
      return client.end(new MessagingError("token_expired", "The token has expired"));
    }
    renew().catch((error) => {
      if (!isCancelled) client.end(toMessagingError(error));
    });
  };
  const renew = async () => {
    const renewed = await gate.renewByApplication(current);
    if (isCancelled) return;
    // An answer in the past would ask again at once, and again.
    if (renewed.expires !== 0 && renewed.expires * 1_000 <= Date.now()) {
      throw new MessagingError("token_expired", "The connection has expired: connect again");
    }
    current = renewed;
    if (takesInfo && renewed.info !== undefined) changeInfo(hub, cluster, client, renewed.info);
    if (renewed.expires !== 0) wait();
  };
  wait();
  return () => {
    isCancelled = true;
    deadline.clear();
  };
}

function cancelNothing(): void {}
