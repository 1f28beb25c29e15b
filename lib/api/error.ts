/**
 * The errors of the HTTP API: their codes, their HTTP status in transport mode, and the mapping from the server's
 * codes.
 */
import { type ErrorCode, toMessagingError } from "../core/errors.ts";

/**
 * The codes of Centrifugo that occur. 102 (unknown channel) and 113 (conflict) never do: every valid name is a channel.
 */
const KINDS = {
  internal: { code: 100, status: 500, counter: "internal" },
  permissionDenied: { code: 103, status: 403, counter: "forbidden" },
  limitExceeded: { code: 106, status: 400, counter: "too_large" },
  methodNotFound: { code: 104, status: 404, counter: "method_not_found" },
  badRequest: { code: 107, status: 400, counter: "bad_request" },
  notAvailable: { code: 108, status: 400, counter: "not_available" },
  unrecoverablePosition: { code: 112, status: 416, counter: "history_gone" },
} as const satisfies Record<
  string,
  { readonly code: number; readonly status: number; readonly counter: ErrorCode }
>;

type ApiErrorKind = keyof typeof KINDS;

/** An error for the caller of a method. The message names the field that is wrong. */
export class ApiError extends Error {
  readonly kind: ApiErrorKind;

  constructor(kind: ApiErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ApiError";
    this.kind = kind;
  }

  get code(): number {
    return KINDS[this.kind].code;
  }

  /** The code it is counted under. */
  get counter(): ErrorCode {
    return KINDS[this.kind].counter;
  }

  get status(): number {
    return KINDS[this.kind].status;
  }

  /** `{ code, message }` as JSON text. */
  toJson(): string {
    return JSON.stringify({ code: this.code, message: this.message });
  }
}

/** What each of the server's error codes is in this API: Centrifugo calls most of them internal. */
const KIND_OF: Readonly<Record<ErrorCode, ApiErrorKind>> = {
  bad_channel: "badRequest",
  bad_body: "badRequest",
  bad_option: "badRequest",
  too_far_ahead: "badRequest",
  bad_host: "internal",
  bad_handshake: "internal",
  bad_frame: "badRequest",
  bad_request: "badRequest",
  no_credentials: "internal",
  token_expired: "internal",
  not_available: "notAvailable",
  method_not_found: "methodNotFound",
  already_subscribed: "badRequest",
  handshake_timeout: "internal",
  idle: "internal",
  too_many_requests: "internal",
  wrong_version: "internal",
  unauthorized: "internal",
  forbidden: "permissionDenied",
  origin_refused: "internal",
  no_such_client: "internal",
  not_found: "internal",
  method_not_allowed: "internal",
  id_taken: "internal",
  too_many_channels: "notAvailable",
  presence_off: "notAvailable",
  history_off: "notAvailable",
  too_many_subscriptions: "internal",
  body_timeout: "internal",
  headers_too_large: "internal",
  history_gone: "internal",
  too_large: "badRequest",
  name_too_long: "badRequest",
  key_reused: "badRequest",
  unsupported_media: "internal",
  wrong_host: "internal",
  slow_subscriber: "internal",
  too_many_publishes: "internal",
  too_many_publishes_from_address: "internal",
  too_many_connections_from_address: "internal",
  too_many_connections: "internal",
  too_many_scheduled: "internal",
  too_many_retained: "internal",
  share_used_up: "internal",
  too_many_keys: "internal",
  internal: "internal",
  draining: "internal",
  keys_unavailable: "internal",
  application_unavailable: "internal",
  log_unavailable: "internal",
  log_full: "internal",
};

/** The error that a caller gets for any error: itself if it is meant for callers, else `internal` without details. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const known = toMessagingError(error);
  return new ApiError(KIND_OF[known.code], known.message, { cause: known.cause ?? error });
}
