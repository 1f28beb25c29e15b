/** The codes of the Centrifuge protocol, and which of them tells a client of one of our errors. */
import { parseChannel } from "../../core/channel.ts";
import type { ErrorCode, MessagingError } from "../../core/errors.ts";
import type { End, ReplyError } from "./codec.ts";

/** Errors a command is answered with. */
export const ERRORS = {
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
  expired: { code: 110, message: "expired" },
  tooManyRequests: { code: 111, message: "too many requests", temporary: true },
  unrecoverablePosition: { code: 112, message: "unrecoverable position" },
} as const satisfies Record<string, ReplyError>;

/** Reasons a connection is ended for. Up to 3499, and from 4000 to 4499, the client comes back. */
export const DISCONNECTS = {
  shutdown: { code: 3001, reason: "shutdown" },
  serverError: { code: 3004, reason: "internal server error" },
  expired: { code: 3005, reason: "connection expired" },
  slow: { code: 3008, reason: "slow" },
  noPong: { code: 3012, reason: "no pong" },
  invalidToken: { code: 3500, reason: "invalid token" },
  badRequest: { code: 3501, reason: "bad request" },
  stale: { code: 3502, reason: "stale" },
  forced: { code: 3503, reason: "force disconnect" },
  channelLimit: { code: 3505, reason: "channel limit" },
} as const satisfies Record<string, End>;

/** Reasons a subscription is ended for. From 2500 on the client subscribes again. */
export const UNSUBSCRIBES = {
  server: { code: 2000, reason: "server unsubscribe" },
  expired: { code: 2501, reason: "subscription expired" },
} as const satisfies Record<string, End>;

/** Under what a refusal is counted, by the code of its error or disconnect: in the words of `core/errors.ts`. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [100, "internal"],
  [101, "unauthorized"],
  [102, "not_found"],
  [103, "forbidden"],
  [104, "not_found"],
  [105, "bad_request"],
  [106, "too_large"],
  [107, "bad_request"],
  [108, "not_available"],
  [109, "unauthorized"],
  [110, "unauthorized"],
  [111, "too_many_requests"],
  [112, "history_gone"],
  [3001, "draining"],
  [3004, "internal"],
  [3005, "unauthorized"],
  [3008, "slow_subscriber"],
  [3012, "no_pong"],
  [3500, "unauthorized"],
  [3501, "bad_request"],
  [3502, "stale"],
  [3505, "too_many_subscriptions"],
]);

/** Under what a refusal is counted. Undefined for a code that an operator chose: that is no refusal of ours. */
export function toReason(code: number): string | undefined {
  return REASONS.get(code);
}

const BY_CODE: { readonly [K in ErrorCode]?: ReplyError } = {
  bad_channel: ERRORS.badRequest,
  bad_body: ERRORS.badRequest,
  bad_option: ERRORS.badRequest,
  no_such_client: ERRORS.notAvailable,
  name_too_long: ERRORS.badRequest,
  too_large: ERRORS.limitExceeded,
  too_many_subscriptions: ERRORS.limitExceeded,
  too_many_channels: ERRORS.limitExceeded,
  too_many_publishes: ERRORS.tooManyRequests,
  too_many_publishes_from_address: ERRORS.tooManyRequests,
  draining: ERRORS.internal,
  log_unavailable: ERRORS.internal,
  log_full: ERRORS.internal,
};

/** What answers a command that failed with one of our errors. Its message is made for clients. */
export function toReplyError(error: MessagingError): ReplyError {
  const known = BY_CODE[error.code];
  return known === undefined ? ERRORS.internal : { ...known, message: error.message };
}

/** What ends a connection that one of our errors ends. */
export function toDisconnect(error: MessagingError): End {
  switch (error.code) {
    case "draining":
      return DISCONNECTS.shutdown;
    case "slow_subscriber":
      return DISCONNECTS.slow;
    default:
      return DISCONNECTS.serverError;
  }
}

/** The error of a command, thrown to be answered. */
export class CommandError extends Error {
  readonly reply: ReplyError;

  constructor(reply: ReplyError, message: string = reply.message) {
    super(message);
    this.reply = { ...reply, message };
  }
}

/** Ends the connection instead of answering a command. */
export class DisconnectError extends Error {
  readonly end: End;

  constructor(end: End) {
    super(end.reason);
    this.end = end;
  }
}

/** What Protobuf clients have room for, and more than anybody waits. */
const MAX_TTL_SECONDS = 2 ** 31 - 1;

/** The fields that tell a client when it must refresh. */
export function toExpiry(expires: number): { readonly expires?: boolean; readonly ttl?: number } {
  if (expires === 0) return {};
  return {
    expires: true,
    ttl: Math.min(Math.max(1, Math.ceil(expires - Date.now() / 1_000)), MAX_TTL_SECONDS),
  };
}

/** @throws {CommandError} 107 for a name outside the grammar */
export function parseChannelOrThrow(channel: string): string {
  try {
    return parseChannel(channel);
  } catch (error) {
    throw new CommandError(ERRORS.badRequest, error instanceof Error ? error.message : undefined);
  }
}
