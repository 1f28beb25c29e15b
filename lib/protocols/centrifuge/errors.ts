/** The codes of the Centrifuge protocol, and which of them tells a client of each of our errors. */
import { ApplicationError, type ErrorCode, type MessagingError } from "../../core/errors.ts";
import type { End, ReplyError } from "./codec.ts";

/** Errors a command is answered with. */
const ERRORS = {
  internal: { code: 100, message: "internal server error", temporary: true },
  unauthorized: { code: 101, message: "unauthorized" },
  unknownChannel: { code: 102, message: "unknown channel" },
  permissionDenied: { code: 103, message: "permission denied" },
  methodNotFound: { code: 104, message: "method not found" },
  alreadySubscribed: { code: 105, message: "already subscribed" },
  limitExceeded: { code: 106, message: "limit exceeded" },
  badRequest: { code: 107, message: "bad request" },
  notAvailable: { code: 108, message: "not available" },
  tokenExpired: { code: 109, message: "token expired" },
  tooManyRequests: { code: 111, message: "too many requests", temporary: true },
  unrecoverablePosition: { code: 112, message: "unrecoverable position" },
} as const satisfies Record<string, ReplyError>;

/** Reasons a connection is ended for. Up to 3499, and from 4000 to 4499, the client comes back. */
const DISCONNECTS = {
  /** The close code of WebSockets for it (RFC 6455 section 7.4.1), which clients tell as their limit. */
  messageSizeLimit: { code: 1009, reason: "message size limit" },
  shutdown: { code: 3001, reason: "shutdown" },
  serverError: { code: 3004, reason: "internal server error" },
  expired: { code: 3005, reason: "connection expired" },
  slow: { code: 3008, reason: "slow" },
  noPong: { code: 3012, reason: "no pong" },
  tooManyRequests: { code: 3013, reason: "too many requests" },
  invalidToken: { code: 3500, reason: "invalid token" },
  badRequest: { code: 3501, reason: "bad request" },
  stale: { code: 3502, reason: "stale" },
  connectionLimit: { code: 3504, reason: "connection limit" },
  channelLimit: { code: 3505, reason: "channel limit" },
  permissionDenied: { code: 3507, reason: "permission denied" },
  notAvailable: { code: 3508, reason: "not available" },
} as const satisfies Record<string, End>;

/** Reasons a subscription is ended for. From 2500 on the client subscribes again. */
export const UNSUBSCRIBES = {
  server: { code: 2000, reason: "server unsubscribe" },
  expired: { code: 2501, reason: "subscription expired" },
  invalidated: { code: 2502, reason: "state invalidated" },
} as const satisfies Record<string, End>;

/** How a client is told of one of our errors. */
interface Telling {
  /** What answers the command that failed. */
  readonly reply: ReplyError;
  /** What ends the connection, where the error ends it. */
  readonly end: End;
  /** Whether a command that fails so ends the connection instead of being answered. */
  readonly isFatal?: true;
}

const BAD_REQUEST: Telling = { reply: ERRORS.badRequest, end: DISCONNECTS.badRequest };
const DENIED: Telling = { reply: ERRORS.permissionDenied, end: DISCONNECTS.permissionDenied };
const UNAVAILABLE: Telling = { reply: ERRORS.notAvailable, end: DISCONNECTS.notAvailable };
const INTERNAL: Telling = { reply: ERRORS.internal, end: DISCONNECTS.serverError };
const TOO_MANY: Telling = { reply: ERRORS.tooManyRequests, end: DISCONNECTS.tooManyRequests };
const TOO_MANY_CONNECTIONS: Telling = { reply: ERRORS.limitExceeded, end: DISCONNECTS.connectionLimit };

const TELLINGS: Readonly<Record<ErrorCode, Telling>> = {
  bad_channel: BAD_REQUEST,
  bad_body: BAD_REQUEST,
  bad_option: BAD_REQUEST,
  too_far_ahead: BAD_REQUEST,
  bad_host: BAD_REQUEST,
  bad_handshake: BAD_REQUEST,
  wrong_version: BAD_REQUEST,
  wrong_host: BAD_REQUEST,
  bad_frame: { ...BAD_REQUEST, isFatal: true },
  bad_request: BAD_REQUEST,
  body_timeout: BAD_REQUEST,
  headers_too_large: BAD_REQUEST,
  key_reused: BAD_REQUEST,
  unsupported_media: BAD_REQUEST,
  name_too_long: BAD_REQUEST,
  no_credentials: { reply: ERRORS.unauthorized, end: DISCONNECTS.badRequest, isFatal: true },
  unauthorized: { reply: ERRORS.unauthorized, end: DISCONNECTS.invalidToken, isFatal: true },
  token_expired: { reply: ERRORS.tokenExpired, end: DISCONNECTS.expired },
  forbidden: DENIED,
  origin_refused: DENIED,
  no_such_client: UNAVAILABLE,
  not_found: { reply: ERRORS.unknownChannel, end: DISCONNECTS.badRequest },
  presence_off: UNAVAILABLE,
  history_off: UNAVAILABLE,
  not_available: UNAVAILABLE,
  method_not_found: { reply: ERRORS.methodNotFound, end: DISCONNECTS.badRequest },
  method_not_allowed: { reply: ERRORS.methodNotFound, end: DISCONNECTS.badRequest },
  id_taken: INTERNAL,
  already_subscribed: { reply: ERRORS.alreadySubscribed, end: DISCONNECTS.badRequest },
  too_many_channels: { reply: ERRORS.limitExceeded, end: DISCONNECTS.channelLimit },
  too_many_subscriptions: { reply: ERRORS.limitExceeded, end: DISCONNECTS.channelLimit },
  handshake_timeout: { reply: ERRORS.badRequest, end: DISCONNECTS.stale, isFatal: true },
  idle: { reply: ERRORS.internal, end: DISCONNECTS.noPong },
  history_gone: { reply: ERRORS.unrecoverablePosition, end: DISCONNECTS.serverError },
  too_large: { reply: ERRORS.limitExceeded, end: DISCONNECTS.messageSizeLimit },
  slow_subscriber: { reply: ERRORS.internal, end: DISCONNECTS.slow },
  too_many_requests: TOO_MANY,
  too_many_scheduled: TOO_MANY,
  too_many_retained: TOO_MANY,
  share_used_up: TOO_MANY,
  too_many_keys: { reply: ERRORS.limitExceeded, end: DISCONNECTS.badRequest },
  too_many_publishes: TOO_MANY,
  too_many_publishes_from_address: TOO_MANY,
  too_many_connections: TOO_MANY_CONNECTIONS,
  too_many_connections_from_address: TOO_MANY_CONNECTIONS,
  internal: INTERNAL,
  draining: { reply: ERRORS.internal, end: DISCONNECTS.shutdown, isFatal: true },
  keys_unavailable: INTERNAL,
  application_unavailable: INTERNAL,
  log_unavailable: INTERNAL,
  log_full: INTERNAL,
};

/** What answers a command that failed with one of our errors. Its message is made for clients. */
export function toReplyError(error: MessagingError): ReplyError {
  if (error instanceof ApplicationError && error.answer.kind === "error") {
    const { code, message, temporary } = error.answer;
    return { code, message, ...(temporary ? { temporary } : {}) };
  }
  return { ...TELLINGS[error.code].reply, message: error.message };
}

/** What ends a connection that one of our errors ends. */
export function toDisconnect(error: MessagingError): End {
  if (error instanceof ApplicationError && error.answer.kind === "disconnect") {
    const { code, reason } = error.answer;
    return { code, reason };
  }
  return TELLINGS[error.code].end;
}

/** Whether a command that fails with one of our errors ends the connection instead of being answered. */
export function isFatal(error: MessagingError): boolean {
  if (error instanceof ApplicationError) return error.answer.kind === "disconnect";
  return TELLINGS[error.code].isFatal === true;
}

/** What Protobuf clients have room for, and longer than anybody waits. */
const MAX_TTL_SECONDS = 2 ** 31 - 1;

/** The fields that tell a client when it must refresh. */
export function toExpiry(expires: number): { readonly expires?: boolean; readonly ttl?: number } {
  if (expires === 0) return {};
  return {
    expires: true,
    ttl: Math.min(Math.max(1, Math.ceil(expires - Date.now() / 1_000)), MAX_TTL_SECONDS),
  };
}
