/** The Protocol port: what a WebSocket protocol is given, and what it makes of it. `app.ts` brings them together. */
import type { Selector } from "../core/channel.ts";
import type { Hub } from "../core/hub.ts";
import type { Client } from "../core/client.ts";
import { Deadline } from "../base/deadline.ts";
import { MessagingError } from "../core/errors.ts";
import type { Connection } from "../core/limits.ts";
import type { Logger } from "../core/logger.ts";
import type { Cursor } from "../core/log.ts";
import type { OutboxLimits } from "../core/outbox.ts";
import type { SocketHandler } from "../core/socket.ts";

/** What every protocol works with. */
export interface ProtocolContext {
  readonly hub: Hub;
  readonly logger: Logger;
  readonly outboxLimits: OutboxLimits;
  /** Largest message a client may send, in bytes. */
  readonly maxMessageBytes: number;
  /** Seconds between signs of life on an otherwise silent stream. */
  readonly keepAlive: number;
}

/** What a reader asked for: by its URL, its query, its headers. */
export interface ReadRequest {
  readonly selector: Selector;
  readonly id: string;
  /** Whether it chose its id and nobody vouches for it. */
  readonly choseId: boolean;
  readonly name: string | undefined;
  readonly connection: Connection;
  readonly since: Cursor | undefined;
  /** Whom its token names, what that says of it as JSON text, and when it expires, in seconds since 1970. */
  readonly user?: string | undefined;
  readonly info?: string | undefined;
  readonly expires?: number;
  /** Why it may not do something on its channel, if it may not. */
  readonly deny?: (action: "publish" | "presence") => MessagingError | undefined;
  /** End after this many messages. */
  readonly limit: number | undefined;
}

/** A protocol spoken on WebSockets: one handler for each. */
export type OpenSession = (context: ProtocolContext, request: ReadRequest) => SocketHandler;

/** A protocol spoken on response bodies. The signal fires when the client goes away. */
export type OpenStream = (context: ProtocolContext, request: ReadRequest) => Response;

/**
 * Ends a client when its token expires.
 *
 * @param expires in seconds since 1970; 0 for never
 * @returns stops waiting for that
 */
export function endAtExpiry(expires: number, client: Client): () => void {
  if (expires === 0) return forgetNothing;
  const deadline = new Deadline();
  const end = () => client.end(new MessagingError("unauthorized", "The token has expired"));
  deadline.set(expires * 1_000, end);
  return () => deadline.clear();
}

function forgetNothing(): void {}
