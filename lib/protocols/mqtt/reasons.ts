/** Reason codes of MQTT 5.0 (section 2.4), and which of them tells a client of each of our errors. */
import type { ErrorCode } from "../../core/errors.ts";

export const REASONS = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscription: 0x11,
  unspecified: 0x80,
  malformed: 0x81,
  protocolError: 0x82,
  implementationError: 0x83,
  badVersion: 0x84,
  badClientId: 0x85,
  badCredentials: 0x86,
  notAuthorized: 0x87,
  unavailable: 0x88,
  serverBusy: 0x89,
  shuttingDown: 0x8b,
  badAuthMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  takenOver: 0x8e,
  badFilter: 0x8f,
  badTopic: 0x90,
  idInUse: 0x91,
  idNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  badAlias: 0x94,
  tooLarge: 0x95,
  rateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrative: 0x98,
  badPayload: 0x99,
  maximumConnectTime: 0xa0,
} as const;

const { badTopic, implementationError, malformed, notAuthorized, protocolError, unspecified } = REASONS;

/** Total, so that a new error cannot be forgotten. */
const REASON_OF: Readonly<Record<ErrorCode, number>> = {
  bad_channel: badTopic,
  bad_body: REASONS.badPayload,
  bad_option: implementationError,
  too_far_ahead: implementationError,
  bad_host: unspecified,
  bad_handshake: unspecified,
  wrong_version: unspecified,
  wrong_host: unspecified,
  bad_frame: malformed,
  bad_request: protocolError,
  no_credentials: notAuthorized,
  token_expired: notAuthorized,
  unauthorized: notAuthorized,
  forbidden: notAuthorized,
  origin_refused: notAuthorized,
  no_such_client: unspecified,
  not_found: unspecified,
  presence_off: implementationError,
  history_off: implementationError,
  not_available: implementationError,
  method_not_found: implementationError,
  method_not_allowed: implementationError,
  id_taken: REASONS.badClientId,
  already_subscribed: implementationError,
  too_many_channels: REASONS.quotaExceeded,
  too_many_subscriptions: REASONS.quotaExceeded,
  handshake_timeout: REASONS.keepAliveTimeout,
  idle: REASONS.keepAliveTimeout,
  body_timeout: unspecified,
  headers_too_large: unspecified,
  history_gone: unspecified,
  key_reused: implementationError,
  application_unavailable: REASONS.unavailable,
  too_large: REASONS.tooLarge,
  name_too_long: badTopic,
  unsupported_media: REASONS.badPayload,
  slow_subscriber: REASONS.quotaExceeded,
  too_many_requests: REASONS.rateTooHigh,
  too_many_scheduled: REASONS.quotaExceeded,
  too_many_retained: REASONS.quotaExceeded,
  share_used_up: REASONS.quotaExceeded,
  too_many_keys: REASONS.quotaExceeded,
  too_many_publishes: REASONS.rateTooHigh,
  too_many_publishes_from_address: REASONS.rateTooHigh,
  too_many_connections_from_address: REASONS.quotaExceeded,
  too_many_connections: REASONS.serverBusy,
  internal: unspecified,
  draining: REASONS.shuttingDown,
  keys_unavailable: REASONS.unavailable,
  log_unavailable: REASONS.unavailable,
  log_full: REASONS.quotaExceeded,
};

/** The reason code of an error. */
export function toReason(code: ErrorCode): number {
  return REASON_OF[code];
}

/** Reasons of ours that DISCONNECT may not have (section 3.14.2.1): clients take it for malformed. */
const NOT_IN_DISCONNECT: ReadonlySet<number> = new Set([0x84, 0x85, 0x86, 0x88, 0x91, 0x92]);

/** The reason code of DISCONNECT for an error that ends a connection. */
export function toDisconnectReason(code: ErrorCode): number {
  if (code === "token_expired") return REASONS.maximumConnectTime;
  const reason = toReason(code);
  if (reason === REASONS.unavailable) return REASONS.serverBusy;
  return NOT_IN_DISCONNECT.has(reason) ? REASONS.unspecified : reason;
}

/** Reasons with which CONNACK may refuse a client (section 3.2.2.2): clients take others for malformed. */
const CONNECT_REASONS: ReadonlySet<number> = new Set([
  0x80,
  0x81,
  0x82,
  0x83,
  0x84,
  0x85,
  0x86,
  0x87,
  0x88,
  0x89,
  0x8a,
  0x8c,
  0x90,
  0x95,
  0x97,
  0x99,
  0x9a,
  0x9b,
  0x9c,
  0x9d,
  0x9f,
]);

/**
 * The reason code of CONNACK for a reason to refuse a client, or to end its connection. Who may try again is told
 * 0x88 or 0x89: clients give up after many others.
 */
export function toConnectReason(reason: number): number {
  switch (reason) {
    case REASONS.takenOver:
      return REASONS.serverBusy;
    case REASONS.shuttingDown:
    case REASONS.keepAliveTimeout:
      return REASONS.unavailable;
    case REASONS.rateTooHigh:
      return REASONS.quotaExceeded;
    default:
      return CONNECT_REASONS.has(reason) ? reason : unspecified;
  }
}

/** Reasons with which PUBACK and PUBREC may refuse a message (sections 3.4.2.1 and 3.5.2.1). */
const PUBLISH_REASONS: ReadonlySet<number> = new Set([0x80, 0x83, 0x87, 0x90, 0x97, 0x99]);

/** The reason code for a message that is refused. */
export function toPublishReason(code: ErrorCode): number {
  const reason = toReason(code);
  if (reason === REASONS.rateTooHigh || reason === REASONS.tooLarge) return REASONS.quotaExceeded;
  return PUBLISH_REASONS.has(reason) ? reason : REASONS.unspecified;
}

/** Reasons with which SUBACK may refuse a subscription (section 3.9.3): clients end the connection at another one. */
const SUBSCRIBE_REASONS: ReadonlySet<number> = new Set([
  0x80,
  0x83,
  0x87,
  0x8f,
  0x91,
  0x97,
  0x9e,
  0xa1,
  0xa2,
]);

/** The reason code for a subscription that is refused. */
export function toSubscribeReason(code: ErrorCode): number {
  const reason = toReason(code);
  return SUBSCRIBE_REASONS.has(reason) ? reason : REASONS.unspecified;
}

/** The return code of CONNACK for 3.1.1 clients (section 3.2.2.3). */
export function toReturnCode(reason: number): number {
  switch (reason) {
    case REASONS.badVersion:
      return 1;
    case REASONS.badClientId:
      return 2;
    case REASONS.badCredentials:
      return 4;
    case REASONS.notAuthorized:
      return 5;
    default:
      return 3;
  }
}
