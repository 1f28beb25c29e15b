/** The table of errors: every code has a status and a close code that mean what they should. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { cutReason, type ErrorCode, MessagingError, toMessagingError } from "../../lib/core/errors.ts";

/** Every code, with whether the client may try again. A code left out, or made up, does not compile. */
const CODES: Record<ErrorCode, boolean> = {
  bad_channel: false,
  bad_body: false,
  bad_option: false,
  too_far_ahead: false,
  too_many_scheduled: true,
  too_many_retained: true,
  share_used_up: true,
  too_many_keys: true,
  bad_host: false,
  bad_handshake: false,
  wrong_version: false,
  bad_frame: false,
  bad_request: false,
  no_credentials: false,
  token_expired: false,
  unauthorized: false,
  forbidden: false,
  origin_refused: false,
  no_such_client: false,
  not_found: false,
  presence_off: false,
  history_off: false,
  not_available: false,
  method_not_found: false,
  method_not_allowed: false,
  id_taken: true,
  already_subscribed: false,
  too_many_channels: false,
  too_many_subscriptions: false,
  name_too_long: false,
  too_many_requests: true,
  too_many_publishes: true,
  too_many_publishes_from_address: true,
  too_many_connections_from_address: true,
  too_many_connections: true,
  handshake_timeout: true,
  idle: true,
  body_timeout: true,
  headers_too_large: false,
  history_gone: false,
  too_large: false,
  key_reused: false,
  unsupported_media: false,
  wrong_host: false,
  slow_subscriber: true,
  internal: true,
  draining: true,
  keys_unavailable: true,
  log_unavailable: true,
  application_unavailable: true,
  log_full: true,
};

/** What browsers let a page see, and servers may send (RFC 6455 section 7.4). */
const SENDABLE = new Set([1000, 1001, 1008, 1009, 1011, 1012, 1013]);

for (const code of Object.keys(CODES) as ErrorCode[]) {
  Deno.test(`MessagingError ${code} has a sane status, close code and title`, () => {
    const error = new MessagingError(code, "what went wrong");
    assert.ok(error.status >= 400 && error.status <= 599);
    assert.ok(SENDABLE.has(error.close) || (error.close >= 4400 && error.close <= 4499), `${error.close}`);
    if (error.close >= 4000) assert.equal(error.close, 4000 + error.status);
    assert.equal(error.retry, CODES[code]);
    if (error.status >= 500) assert.ok(error.retry, "what is the server's fault may pass");
    if (error.retry) assert.ok(error.close < 4000, "clients take 44xx for final");
    assert.match(error.title, /^[A-Z][^.]*$/);
    assert.equal(error.name, "MessagingError");
    assert.equal(error.message, "what went wrong");
  });
}

Deno.test("toMessagingError() passes on what is meant for clients and hides the rest", () => {
  const known = new MessagingError("too_large", "64 KiB at most");
  assert.equal(toMessagingError(known), known);
  for (const secret of [new Error("password=x"), "password=x", undefined, null, { password: "x" }]) {
    const error = toMessagingError(secret);
    assert.equal(error.code, "internal");
    assert.doesNotMatch(error.message, /password/);
    assert.equal(error.cause, secret);
  }
});

Deno.test("cutReason() leaves what fits and cuts the rest to 123 bytes of whole characters", () => {
  const size = (text: string) => new TextEncoder().encode(text).length;
  assert.equal(cutReason(""), "");
  assert.equal(cutReason("x".repeat(123)), "x".repeat(123));
  assert.equal(cutReason("x".repeat(124)), "x".repeat(120) + "...");
  assert.equal(cutReason("é".repeat(62)), "é".repeat(60) + "...");
  assert.equal(cutReason("x" + "é".repeat(62)), "x" + "é".repeat(59) + "...");
  for (let shift = 0; shift < 4; shift++) {
    const cut = cutReason("x".repeat(shift) + "🌧".repeat(40));
    assert.equal(cut, "x".repeat(shift) + "🌧".repeat(shift === 0 ? 30 : 29) + "...");
  }
  fc.assert(fc.property(fc.string({ unit: "grapheme", maxLength: 200 }), (reason) => {
    const cut = cutReason(reason);
    assert.ok(size(cut) <= 123);
    assert.ok(
      size(reason) <= 123 ? cut === reason : reason.startsWith(cut.slice(0, -3)) && cut.endsWith("..."),
    );
  }));
});
