/**
 * The Callouts port: an application that is asked who somebody is and what they may do. `hooks/` implements it; the
 * gate alone asks it.
 */
import type { Payload } from "../core/message.ts";
import type { Tags } from "../core/tags.ts";
import type { ConnectionClaims } from "./claims.ts";

/** What can be left to the application, channel by channel. */
export type AskedAction = "subscribe" | "publish";

/** Who asks, as the application is told. */
export interface Caller {
  /** Those headers of the request that the configuration names. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the client is connected by, such as `websocket`; `http` for single requests. */
  readonly transport: string;
  /** The id of the client. */
  readonly client: string;
}

/** Who a client is, and what only the server knows of it. */
export interface Asker {
  readonly user: string;
  /** The `meta` of its claims, JSON. */
  readonly meta?: Payload | undefined;
  /** The `labels` of its claims, a JSON object. */
  readonly labels?: Payload | undefined;
}

/** What a client says of itself when it connects. */
export interface Introduction {
  readonly data?: Payload | undefined;
  readonly name?: string | undefined;
  readonly version?: string | undefined;
}

/** Who somebody is, and what they get with the connection. */
export interface Identified {
  readonly claims: ConnectionClaims;
  readonly data: Payload | undefined;
}

/** A subscription that the application allows. */
export interface AllowedSubscription {
  /** JSON text that others on the channel see. */
  readonly info?: string | undefined;
  /** Payload that the client gets with the subscription. */
  readonly data?: Payload | undefined;
  /** When it ends, in seconds since 1970; 0 for never. */
  readonly expires?: number;
}

/** A message as the application lets it pass. */
export interface AllowedPublish {
  readonly payload: Payload;
  readonly ephemeral?: boolean;
  readonly tags?: Tags | undefined;
}

/**
 * Asks the application. All methods throw a MessagingError: `forbidden` with what the application said, or
 * `application_unavailable` when it does not answer and the rule for that is to refuse.
 */
export interface Callouts {
  /** Whether the application says who somebody is. */
  readonly identifies: boolean;
  /** The headers that are passed on. */
  pickHeaders(headers: Headers): Readonly<Record<string, string>>;
  /** Whether the application decides about a channel. */
  decides(action: AskedAction, channel: string): boolean;
  /** Whether it decides about some channel that a pattern matches. */
  decidesWithin(action: AskedAction, pattern: readonly string[]): boolean;
  /** Who it is; undefined for somebody unknown who is let in because the application is away. */
  connect(caller: Caller, introduction: Introduction): Promise<Identified | undefined>;
  subscribe(
    caller: Caller,
    request: Asker & {
      readonly channel: string;
      readonly token: string;
      readonly data?: Payload | undefined;
    },
  ): Promise<AllowedSubscription>;
  publish(
    caller: Caller,
    request: Asker & { readonly channel: string; readonly payload: Payload },
  ): Promise<AllowedPublish>;
  /** Whether it is asked when a subscription that it allowed has expired. */
  readonly renewsSubscriptions: boolean;
  /**
   * When a subscription that has expired expires next, in seconds since 1970, 0 for never; undefined when it is to end.
   */
  subRefresh(caller: Caller, request: Asker & { readonly channel: string }): Promise<number | undefined>;
  /** The time and info of a connection that has expired; undefined when it is to end. */
  refresh(
    caller: Caller,
    claims: ConnectionClaims,
  ): Promise<Pick<ConnectionClaims, "expires" | "info"> | undefined>;
  /** The answer to a call of a client. */
  rpc(
    caller: Caller,
    request: Asker & { readonly method: string; readonly data?: Payload | undefined },
  ): Promise<Payload | undefined>;
}
