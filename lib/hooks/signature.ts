/**
 * Signatures of webhooks by the Standard Webhooks specification, version 1
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 */

import { createHmac } from "node:crypto";

/** A secret, ready to sign with. */
export interface WebhookSecret {
  /** The specification asks for 24 to 64 bytes. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const PREFIX = "whsec_";

/**
 * Reads a secret, `whsec_` and base64.
 *
 * @throws {SyntaxError} saying how to make one; it does not repeat the secret
 */
export function parseSecret(text: string): WebhookSecret {
  let bytes;
  try {
    bytes = text.startsWith(PREFIX) ? Uint8Array.fromBase64(text.slice(PREFIX.length)) : undefined;
  } catch {
    // Refused below.
  }
  if (bytes === undefined || bytes.length === 0) {
    throw new SyntaxError(
      'a secret must be "whsec_" and base64: make one with echo "whsec_$(openssl rand -base64 32)"',
    );
  }
  return { bytes };
}

/**
 * The value of `webhook-signature`: a signature for each secret, so that one can be replaced by another.
 *
 * @param timestamp in seconds since 1970
 */
export function signWebhook(
  secrets: readonly WebhookSecret[],
  id: string,
  timestamp: number,
  body: string | Uint8Array,
): string {
  const head = `${id}.${timestamp}.`;
  return secrets.map(({ bytes }) =>
    `v1,${createHmac("sha256", bytes).update(head).update(body).digest("base64")}`
  ).join(" ");
}

/** The headers that sign a request which is sent now: with the time of each attempt, as targets refuse old ones. */
export function createSignatureHeaders(
  secrets: readonly WebhookSecret[],
  id: string,
  body: string | Uint8Array,
): Readonly<Record<string, string>> {
  const timestamp = Math.floor(Date.now() / 1_000);
  return {
    "webhook-id": id,
    "webhook-timestamp": String(timestamp),
    "webhook-signature": signWebhook(secrets, id, timestamp, body),
  };
}
