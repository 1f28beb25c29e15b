/**
 * The table of all errors that a client can get, each with its HTTP status, WebSocket close code, and whether a retry
 * may help. Protocols and APIs derive their own codes from it.
 */

interface ErrorKind {
  /** HTTP status (RFC 9110). */
  readonly status: number;
  /** WebSocket close code (RFC 6455 section 7.4; 4000 to 4999 are ours). */
  readonly close: number;
  /** Whether the client may reconnect, or repeat the request unchanged, and succeed. */
  readonly retry: boolean;
  /** Short title, the same for every occurrence (RFC 9457 section 3.1.3). */
  readonly title: string;
}

const KINDS = {
  bad_channel: { status: 400, close: 4400, retry: false, title: "Bad channel name" },
  bad_body: { status: 400, close: 4400, retry: false, title: "Bad body" },
  bad_option: { status: 400, close: 4400, retry: false, title: "Bad option" },
  too_far_ahead: { status: 400, close: 4400, retry: false, title: "Scheduled too far ahead" },
  bad_host: { status: 400, close: 4400, retry: false, title: "Bad Host header" },
  bad_handshake: { status: 400, close: 4400, retry: false, title: "Bad WebSocket handshake" },
  wrong_version: { status: 426, close: 4426, retry: false, title: "Wrong WebSocket version" },
  bad_frame: { status: 400, close: 4400, retry: false, title: "Bad frame" },
  bad_request: { status: 400, close: 4400, retry: false, title: "Bad request" },
  no_credentials: { status: 401, close: 4401, retry: false, title: "Credentials needed" },
  token_expired: { status: 401, close: 4401, retry: false, title: "Token expired" },
  unauthorized: { status: 401, close: 4401, retry: false, title: "Credentials needed" },
  forbidden: { status: 403, close: 4403, retry: false, title: "Permission denied" },
  origin_refused: { status: 403, close: 4403, retry: false, title: "Origin refused" },
  no_such_client: { status: 404, close: 4404, retry: false, title: "No such client" },
  not_found: { status: 404, close: 4404, retry: false, title: "Not found" },
  presence_off: { status: 404, close: 4404, retry: false, title: "Presence is off" },
  history_off: { status: 404, close: 4404, retry: false, title: "History is off" },
  not_available: { status: 404, close: 4404, retry: false, title: "Not available" },
  method_not_found: { status: 404, close: 4404, retry: false, title: "Method not found" },
  method_not_allowed: { status: 405, close: 4405, retry: false, title: "Method not allowed" },
  id_taken: { status: 409, close: 1013, retry: true, title: "Client id taken" },
  already_subscribed: { status: 409, close: 4409, retry: false, title: "Already subscribed" },
  too_many_channels: { status: 403, close: 4403, retry: false, title: "Too many channels" },
  too_many_subscriptions: { status: 400, close: 4400, retry: false, title: "Too many subscriptions" },
  handshake_timeout: { status: 408, close: 1013, retry: true, title: "Handshake too slow" },
  idle: { status: 408, close: 1001, retry: true, title: "No sign of life" },
  headers_too_large: { status: 431, close: 1009, retry: false, title: "Headers too large" },
  body_timeout: { status: 408, close: 1013, retry: true, title: "Too slow" },
  history_gone: { status: 410, close: 4410, retry: false, title: "History gone" },
  too_large: { status: 413, close: 1009, retry: false, title: "Too large" },
  name_too_long: { status: 414, close: 4414, retry: false, title: "Channel name too long" },
  key_reused: { status: 422, close: 4422, retry: false, title: "Idempotency key reused" },
  unsupported_media: { status: 415, close: 4415, retry: false, title: "Unsupported media type" },
  wrong_host: { status: 421, close: 4421, retry: false, title: "Wrong host" },
  slow_subscriber: { status: 429, close: 1013, retry: true, title: "Reading too slowly" },
  too_many_requests: { status: 429, close: 1013, retry: true, title: "Too many requests" },
  too_many_publishes: { status: 429, close: 1013, retry: true, title: "Publishing too fast" },
  too_many_publishes_from_address: {
    status: 429,
    close: 1013,
    retry: true,
    title: "Publishing too fast from one address",
  },
  too_many_connections_from_address: {
    status: 429,
    close: 1013,
    retry: true,
    title: "Too many connections from one address",
  },
  too_many_connections: { status: 503, close: 1013, retry: true, title: "Too many connections" },
  too_many_scheduled: { status: 503, close: 1013, retry: true, title: "Too many scheduled messages" },
  too_many_retained: { status: 503, close: 1013, retry: true, title: "Too many retained messages" },
  share_used_up: { status: 429, close: 1013, retry: true, title: "Share used up" },
  too_many_keys: { status: 507, close: 1013, retry: true, title: "Too many keys" },
  internal: { status: 500, close: 1011, retry: true, title: "Internal error" },
  draining: { status: 503, close: 1012, retry: true, title: "Restarting" },
  keys_unavailable: { status: 503, close: 1013, retry: true, title: "Keys unavailable" },
  application_unavailable: { status: 503, close: 1013, retry: true, title: "Application unavailable" },
  log_unavailable: { status: 503, close: 1013, retry: true, title: "Log unavailable" },
  log_full: { status: 507, close: 1013, retry: true, title: "Log full" },
} as const satisfies Record<string, ErrorKind>;

/** The name of one row of the table. */
export type ErrorCode = keyof typeof KINDS;

/** An error that a client may see. Its message says what failed, why, and what to do, and contains no secret. */
export class MessagingError extends Error {
  /** What went wrong, for programs. */
  readonly code: ErrorCode;
  /** Seconds after which a retry may help, where known. */
  readonly retryAfter: number | undefined;

  /** An error with its cause, if it has one. */
  constructor(
    code: ErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfter?: number } = {},
  ) {
    super(message, options);
    this.name = "MessagingError";
    this.code = code;
    this.retryAfter = options.retryAfter;
  }

  /** The status it has in HTTP. */
  get status(): number {
    return KINDS[this.code].status;
  }

  /** The code a WebSocket is closed with. */
  get close(): number {
    return KINDS[this.code].close;
  }

  /** Whether the same may succeed later. */
  get retry(): boolean {
    return KINDS[this.code].retry;
  }

  /** A few words that are the same for all errors of this code. */
  get title(): string {
    return KINDS[this.code].title;
  }
}

/** What an application said in its own words, for protocols that can carry them. */
export type ApplicationAnswer =
  | { readonly kind: "error"; readonly code: number; readonly message: string; readonly temporary: boolean }
  | { readonly kind: "disconnect"; readonly code: number; readonly reason: string };

/** The application refused. Protocols without room for its words say that permission is denied, with its message. */
export class ApplicationError extends MessagingError {
  readonly answer: ApplicationAnswer;

  constructor(answer: ApplicationAnswer) {
    super("forbidden", (answer.kind === "error" ? answer.message : answer.reason) || "permission denied");
    this.name = "ApplicationError";
    this.answer = answer;
  }
}

/** The error that a client gets for any error: itself if it is meant for clients, else `internal` without details. */
export function toMessagingError(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  return new MessagingError("internal", "Something went wrong on the server; its log says what", {
    cause: error,
  });
}

/** Truncates a close reason to 123 bytes of UTF-8, the most a close frame can carry (RFC 6455 section 5.5). */
export function cutReason(reason: string): string {
  const bytes = new TextEncoder().encode(reason);
  if (bytes.length <= 123) return reason;
  return new TextDecoder().decode(bytes.subarray(0, 120)).replace(/\uFFFD$/u, "") + "...";
}
