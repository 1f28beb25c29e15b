/** Reason codes are those that the packet may have which carries them: clients take others for malformed. */
import assert from "node:assert/strict";
import { toConnectReason, toDisconnectReason, toReason } from "../../../lib/protocols/mqtt/reasons.ts";

Deno.test("DISCONNECT has only reasons that it may have (MQTT 5.0 section 3.14.2.1)", () => {
  const reasons = {
    token_expired: 0xa0,
    application_unavailable: 0x89,
    keys_unavailable: 0x89,
    log_unavailable: 0x89,
    id_taken: 0x80,
    draining: 0x8b,
    slow_subscriber: 0x97,
    share_used_up: 0x97,
    idle: 0x8d,
    internal: 0x80,
  } as const;
  for (const [code, reason] of Object.entries(reasons)) {
    assert.equal(toDisconnectReason(code as keyof typeof reasons), reason, code);
  }
});

Deno.test("CONNACK says that a token has expired, or that the server is unavailable (section 3.2.2.2)", () => {
  assert.deepEqual([toReason("token_expired"), toReason("keys_unavailable")], [0x87, 0x88]);
});

Deno.test("CONNACK has only reasons that it may have, and such that clients try again after (section 3.2.2.2)", () => {
  const reasons = {
    token_expired: 0x87,
    keys_unavailable: 0x88,
    draining: 0x88,
    handshake_timeout: 0x88,
    too_many_connections: 0x89,
    too_many_requests: 0x97,
    share_used_up: 0x97,
    id_taken: 0x85,
    internal: 0x80,
  } as const;
  for (const [code, reason] of Object.entries(reasons)) {
    assert.equal(toConnectReason(toReason(code as keyof typeof reasons)), reason, code);
  }
  assert.equal(toConnectReason(0x8e), 0x89, "taken over");
});
