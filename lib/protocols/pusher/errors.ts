/**
 * Close codes of the Pusher protocol, which tell a client whether to come back, and which of them tells of our errors.
 */
import type { ErrorCode } from "../../core/errors.ts";

/** 4000 to 4099: do not reconnect; 4100 to 4199: reconnect after a second or more; 4200 to 4299: reconnect at once. */
export const CLOSE = {
  noSuchApp: 4001,
  disabled: 4003,
  noSuchPath: 4005,
  badVersion: 4006,
  unsupportedVersion: 4007,
  noVersion: 4008,
  unauthorized: 4009,
  overCapacity: 4100,
  reconnect: 4200,
  noPong: 4201,
} as const;

/** The error of a client event that is refused; the connection stays. */
export const CLIENT_EVENT_REFUSED = 4301;

/** What a connection is closed with that one of our errors ends. */
export const CLOSE_CODES: Readonly<Record<ErrorCode, number>> = {
  bad_channel: CLOSE.unauthorized,
  bad_body: CLOSE.unauthorized,
  bad_option: CLOSE.unauthorized,
  too_far_ahead: CLOSE.unauthorized,
  bad_host: CLOSE.unauthorized,
  bad_handshake: CLOSE.unauthorized,
  wrong_version: CLOSE.badVersion,
  wrong_host: CLOSE.unauthorized,
  bad_frame: CLOSE.reconnect,
  bad_request: CLOSE.reconnect,
  no_credentials: CLOSE.unauthorized,
  token_expired: CLOSE.unauthorized,
  unauthorized: CLOSE.unauthorized,
  forbidden: CLOSE.unauthorized,
  origin_refused: CLOSE.unauthorized,
  no_such_client: CLOSE.reconnect,
  not_found: CLOSE.noSuchApp,
  presence_off: CLOSE.reconnect,
  history_off: CLOSE.reconnect,
  not_available: CLOSE.reconnect,
  method_not_found: CLOSE.reconnect,
  method_not_allowed: CLOSE.reconnect,
  id_taken: CLOSE.reconnect,
  key_reused: CLOSE.reconnect,
  already_subscribed: CLOSE.reconnect,
  too_many_channels: CLOSE.overCapacity,
  too_many_subscriptions: CLOSE.unauthorized,
  handshake_timeout: CLOSE.reconnect,
  idle: CLOSE.noPong,
  body_timeout: CLOSE.reconnect,
  headers_too_large: CLOSE.reconnect,
  history_gone: CLOSE.reconnect,
  too_large: CLOSE.unauthorized,
  name_too_long: CLOSE.unauthorized,
  unsupported_media: CLOSE.unauthorized,
  slow_subscriber: CLOSE.overCapacity,
  too_many_requests: CLOSE.overCapacity,
  too_many_scheduled: CLOSE.overCapacity,
  too_many_retained: CLOSE.overCapacity,
  share_used_up: CLOSE.overCapacity,
  too_many_keys: CLOSE.overCapacity,
  too_many_publishes: CLOSE.overCapacity,
  too_many_publishes_from_address: CLOSE.overCapacity,
  too_many_connections_from_address: CLOSE.overCapacity,
  too_many_connections: CLOSE.overCapacity,
  internal: CLOSE.reconnect,
  draining: CLOSE.reconnect,
  keys_unavailable: CLOSE.overCapacity,
  application_unavailable: CLOSE.overCapacity,
  log_unavailable: CLOSE.overCapacity,
  log_full: CLOSE.overCapacity,
};
