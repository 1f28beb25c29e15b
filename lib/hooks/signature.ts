/**
 * Signatures of webhooks by the Standard Webhooks specification, version 1
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 */

/** A secret, ready to sign with. */
export interface WebhookSecret {
  readonly key: CryptoKey;
  /** Bytes; the specification asks for 24 to 64. */
  readonly length: number;
}

const UTF8 = new TextEncoder();
const PREFIX = "whsec_";

/**
 * Reads a secret, `whsec_` and base64.
 *
 * @throws {SyntaxError} saying how to make one; it does not repeat the secret
 */
export async function parseSecret(text: string): Promise<WebhookSecret> {
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
  const key = await crypto.subtle.importKey("raw", bytes, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return { key, length: bytes.length };
}

/**
 * The value of `webhook-signature`: a signature for each secret, so that one can be replaced by another.
 *
 * @param timestamp in seconds since 1970
 */
export async function signWebhook(
  secrets: readonly WebhookSecret[],
  id: string,
  timestamp: number,
  body: string,
): Promise<string> {
  const content = UTF8.encode(`${id}.${timestamp}.${body}`);
  const signatures = await Promise.all(
    secrets.map(async ({ key }) => new Uint8Array(await crypto.subtle.sign("HMAC", key, content))),
  );
  return signatures.map((signature) => `v1,${signature.toBase64()}`).join(" ");
}
