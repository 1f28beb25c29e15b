/**
 * The Centrifuge client protocol independent of its encoding: commands, replies, pushes, and one
 * table of their fields that the JSON and the Protobuf codec share. Sessions hold a {@linkcode Codec}.
 */
import type { Payload } from "../../core/message.ts";
import type { FilterNode } from "../../core/tag_filter.ts";

/** What a frame or body holds: text for JSON, bytes for Protobuf. */
export type FrameData = string | Uint8Array<ArrayBuffer>;

/**
 * Translates between frames and messages. Pure: no state, no I/O. Every `decode` throws a `SyntaxError` with a
 * short reason, and nothing else, for what the protocol does not allow; every `encode` is total. The size of a frame is
 * the caller's to bound; `decode` bounds what of it is not data.
 */
export interface Codec {
  readonly name: "json" | "protobuf";
  /** Reads the commands of one frame or body, in order; at least one. All of them are good, or none is returned. */
  decode(frame: string | Uint8Array): readonly Command[];
  /** Writes replies into one frame, which streams may follow with the next. */
  encode(replies: readonly Reply[]): FrameData;
  /**
   * Encodes the lists and maps of a result, which may be long, in slices: to write the reply with this same result is
   * short work then. `encode` writes the same bytes without it.
   */
  prepare<K extends keyof Results>(kind: K, result: Results[K]): Promise<void>;
  /** Reads the bare connect request of a unidirectional transport. */
  decodeUniRequest(frame: string | Uint8Array): ConnectRequest;
  /** Writes bare pushes for a unidirectional transport. */
  encodeUni(pushes: readonly UniPush[]): FrameData;
  /** Reads the body of `POST /emulation`. */
  decodeEmulation(body: string | Uint8Array): EmulationRequest;
}

/** Where a stream of publications is. */
export interface StreamPosition {
  readonly offset: number;
  readonly epoch: string;
}

/** Requests have all their fields: what a client left out is 0, false, "", undefined or empty. */
export interface ConnectRequest {
  readonly token: string;
  readonly data: Payload | undefined;
  /** Subscriptions to recover, by channel; their `channel` is empty. */
  readonly subs: ReadonlyMap<string, SubscribeRequest>;
  readonly name: string;
  readonly version: string;
  readonly headers: ReadonlyMap<string, string>;
}

export interface SubscribeRequest {
  readonly channel: string;
  readonly token: string;
  readonly recover: boolean;
  readonly epoch: string;
  readonly offset: number;
  readonly data: Payload | undefined;
  readonly positioned: boolean;
  readonly recoverable: boolean;
  readonly joinLeave: boolean;
  /** The kind of delta asked for, such as `fossil`. */
  readonly delta: string;
  /** Which publications it wants, by their tags. */
  readonly tagsFilter: FilterNode | undefined;
  /** Bits; 2 asks for an error where there is no recovery. */
  readonly flag: number;
  /** 0 is a stream of publications, 1 a map; others are presence as maps, and polls. */
  readonly type: number;
  /** Of a map: 2 asks for a page of its state, 1 for what followed, 0 for what comes. */
  readonly phase: number;
  /** From where a page of the state goes on; empty for the first. */
  readonly cursor: string;
  /** Most keys of a page; 0 for as many as the server likes. */
  readonly limit: number;
}

export interface ChannelRequest {
  readonly channel: string;
}

export interface PublishRequest {
  readonly channel: string;
  readonly data: Payload | undefined;
  /** 0 publishes to a stream, 1 to a map. */
  readonly type: number;
  /** The key of the map. */
  readonly key: string;
  /** Whether the key is removed. */
  readonly removed: boolean;
}

export interface HistoryRequest {
  readonly channel: string;
  /** 0 asks for the position alone, a negative one for as many as there are. */
  readonly limit: number;
  readonly since: StreamPosition | undefined;
  readonly reverse: boolean;
}

export interface SendRequest {
  readonly data: Payload | undefined;
}

export interface CallRequest {
  readonly data: Payload | undefined;
  readonly method: string;
}

export interface RefreshRequest {
  readonly token: string;
}

export interface SubRefreshRequest {
  readonly channel: string;
  readonly token: string;
  /** 0 refreshes the token; others are about polls. */
  readonly type: number;
}

/** A request or result without fields. */
export type Nothing = Readonly<Record<string, never>>;

/** The request of each kind of command. */
export interface Requests {
  readonly connect: ConnectRequest;
  readonly subscribe: SubscribeRequest;
  readonly unsubscribe: ChannelRequest;
  readonly publish: PublishRequest;
  readonly presence: ChannelRequest;
  readonly presence_stats: ChannelRequest;
  readonly history: HistoryRequest;
  readonly ping: Nothing;
  readonly send: SendRequest;
  readonly rpc: CallRequest;
  readonly refresh: RefreshRequest;
  readonly sub_refresh: SubRefreshRequest;
}

/**
 * A message from a client. Ids are above 0, but that of `send` may be, and that of a pong is, 0. Channels are not
 * empty.
 */
export type Command =
  | {
    readonly [K in keyof Requests]: { readonly id: number; readonly kind: K; readonly request: Requests[K] };
  }[
    keyof Requests
  ]
  /** The empty command: the answer to the server's ping. */
  | { readonly id: 0; readonly kind: "pong" };

export interface EmulationRequest {
  readonly session: string;
  readonly node: string;
  /** A frame of commands. */
  readonly data: string | Uint8Array;
}

/** A client as others see it. */
export interface ClientInfo {
  readonly user: string;
  readonly client: string;
  /** JSON text without newlines. */
  readonly connInfo?: string | undefined;
  /** JSON text without newlines. */
  readonly chanInfo?: string | undefined;
}

/** What a publication carries to those who agreed on deltas: everything, or the difference from the one before. */
export type DeltaData =
  | { readonly kind: "whole"; readonly payload: Payload }
  /** The difference between the data as this codec writes it; for JSON clients it must be UTF-8. */
  | { readonly kind: "delta"; readonly bytes: Uint8Array };

export interface Publication {
  readonly data: Payload | DeltaData;
  readonly info?: ClientInfo | undefined;
  readonly offset?: number | undefined;
  readonly tags?: ReadonlyMap<string, string> | undefined;
  /** True with data of kind `delta`. */
  readonly delta?: boolean | undefined;
  /** Milliseconds since 1970. */
  readonly time?: number | undefined;
  /** The channel it was published to, where it came by a subscription to many. */
  readonly channel?: string | undefined;
  /** The key that it sets in the channel's map. */
  readonly key?: string | undefined;
  /** True where the key is removed. */
  readonly removed?: boolean | undefined;
}

/** Results and pushes may leave out any field that is 0, false or empty. */
export interface ConnectResult {
  readonly client: string;
  readonly version?: string | undefined;
  readonly expires?: boolean | undefined;
  /** Seconds. */
  readonly ttl?: number | undefined;
  readonly data?: Payload | undefined;
  readonly subs?: ReadonlyMap<string, SubscribeResult> | undefined;
  /** Seconds. */
  readonly ping?: number | undefined;
  readonly pong?: boolean | undefined;
  readonly session?: string | undefined;
  readonly node?: string | undefined;
  /** Milliseconds since 1970. */
  readonly time?: number | undefined;
}

export interface SubscribeResult {
  readonly expires?: boolean | undefined;
  readonly ttl?: number | undefined;
  readonly recoverable?: boolean | undefined;
  readonly epoch?: string | undefined;
  readonly publications?: readonly Publication[] | undefined;
  readonly recovered?: boolean | undefined;
  readonly offset?: number | undefined;
  readonly positioned?: boolean | undefined;
  readonly data?: Payload | undefined;
  readonly wasRecovering?: boolean | undefined;
  readonly delta?: boolean | undefined;
  /** What was subscribed to: 1 for a map. */
  readonly type?: number | undefined;
  /** Of a map: 2 or 1 while it is being caught up with, see the request. */
  readonly phase?: number | undefined;
  /** Where the next page of the state starts; empty on the last page. */
  readonly cursor?: string | undefined;
  /** Keys of the map, each with its value. */
  readonly state?: readonly Publication[] | undefined;
}

export interface PresenceResult {
  /** By client id. */
  readonly presence: ReadonlyMap<string, ClientInfo>;
}

export interface PresenceStatsResult {
  readonly numClients: number;
  readonly numUsers: number;
}

export interface HistoryResult {
  readonly publications: readonly Publication[];
  readonly epoch: string;
  readonly offset: number;
}

export interface CallResult {
  readonly data?: Payload | undefined;
}

export interface RefreshResult {
  readonly client?: string | undefined;
  readonly version?: string | undefined;
  readonly expires?: boolean | undefined;
  readonly ttl?: number | undefined;
}

export interface SubRefreshResult {
  readonly expires?: boolean | undefined;
  readonly ttl?: number | undefined;
}

/** The result of each kind of command; `send` has none. */
export interface Results {
  readonly connect: ConnectResult;
  readonly subscribe: SubscribeResult;
  readonly unsubscribe: Nothing;
  readonly publish: Nothing;
  readonly presence: PresenceResult;
  readonly presence_stats: PresenceStatsResult;
  readonly history: HistoryResult;
  readonly ping: Nothing;
  readonly rpc: CallResult;
  readonly refresh: RefreshResult;
  readonly sub_refresh: SubRefreshResult;
}

/** A failed command's answer. */
export interface ReplyError {
  readonly code: number;
  readonly message: string;
  readonly temporary?: boolean | undefined;
}

/** A message from the server: the answer to a command, or a push or ping of its own accord. */
export type Reply =
  | { readonly [K in keyof Results]: { readonly id: number; readonly kind: K; readonly result: Results[K] } }[
    keyof Results
  ]
  | { readonly id: number; readonly kind: "error"; readonly error: ReplyError }
  | { readonly kind: "push"; readonly push: Push }
  | ServerPing;

/** The empty reply, which clients answer with a pong. */
export interface ServerPing {
  readonly kind: "server_ping";
}

/** What is pushed about a channel. */
export interface ChannelPushes {
  readonly pub: Publication;
  readonly join: { readonly info: ClientInfo };
  readonly leave: { readonly info: ClientInfo };
  readonly unsubscribe: End;
  readonly subscribe: ServerSubscription;
}

/** What is pushed about the connection. */
export interface ConnectionPushes {
  readonly message: { readonly data: Payload };
  /** Only on unidirectional transports: the answer to their request. */
  readonly connect: ConnectResult;
  readonly disconnect: End;
  readonly refresh: SubRefreshResult;
}

/** Why a subscription or connection ends. */
export interface End {
  readonly code: number;
  readonly reason: string;
}

/** A subscription the server made for the client. */
export interface ServerSubscription {
  readonly recoverable?: boolean | undefined;
  readonly epoch?: string | undefined;
  readonly offset?: number | undefined;
  readonly positioned?: boolean | undefined;
  readonly data?: Payload | undefined;
}

export type Push =
  | {
    readonly [K in keyof ChannelPushes]: {
      readonly kind: K;
      readonly channel: string;
      readonly content: ChannelPushes[K];
    };
  }[keyof ChannelPushes]
  | {
    readonly [K in keyof ConnectionPushes]: { readonly kind: K; readonly content: ConnectionPushes[K] };
  }[keyof ConnectionPushes];

/** What the server sends on unidirectional transports. */
export type UniPush = Push | ServerPing;
