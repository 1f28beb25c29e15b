/**
 * Pusher's signatures: HMAC-SHA256 in lower-case hexadecimal digits with an app's secret, compared in constant time
 * (https://pusher.com/docs/channels/library_auth_reference/auth-signatures/ and .../rest-api/#authentication).
 */
import { Buffer } from "node:buffer";
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { App } from "./apps.ts";

/** Seconds by which the clocks of a server and ours may differ. */
const MAX_SKEW_SECONDS = 600;
/** The length of a signature. */
const SIGNATURE_DIGITS = 64;

/** Signs a text with the secret of an app. */
export function sign(secret: string, text: string | Uint8Array): string {
  return createHmac("sha256", secret).update(text).digest("hex");
}

/** Whether `auth`, `key:signature`, signs a text for an app. */
export function isSigned(app: App, auth: string, text: string): boolean {
  // What cannot be one is not worth a hash.
  return auth.length === app.key.length + 1 + SIGNATURE_DIGITS &&
    isEqual(auth, `${app.key}:${sign(app.secret, text)}`);
}

/** Compares to the end: the time tells nothing of the expected text but its length, which is no secret. */
function isEqual(given: string, expected: string): boolean {
  const [givenBytes, expectedBytes] = [Buffer.from(given), Buffer.from(expected)];
  return givenBytes.length === expectedBytes.length && timingSafeEqual(givenBytes, expectedBytes);
}

/**
 * Why a request to the HTTP API is not signed by the app; undefined if it is.
 *
 * @param now in milliseconds since 1970
 */
export function findSignatureFault(
  app: App,
  { method, url }: Pick<Request, "method" | "url">,
  body: Uint8Array,
  now: number,
): string | undefined {
  const { pathname, searchParams } = new URL(url);
  const query = new Map([...searchParams].map(([name, value]) => [name.toLowerCase(), value]));
  for (const name of ["auth_key", "auth_timestamp", "auth_version", "auth_signature"]) {
    if (!query.has(name)) return `The query parameter ${name} is missing`;
  }
  if (!isEqual(query.get("auth_key") ?? "", app.key)) return "auth_key is not the key of this app";
  if (query.get("auth_version") !== "1.0") return "auth_version must be 1.0";
  const timestamp = Number(query.get("auth_timestamp"));
  if (!(Math.abs(now / 1_000 - timestamp) <= MAX_SKEW_SECONDS)) {
    return `auth_timestamp is not within ${MAX_SKEW_SECONDS} seconds of the server's time`;
  }
  if (body.byteLength > 0 || query.has("body_md5")) {
    const md5 = createHash("md5").update(body).digest("hex");
    if (!isEqual(query.get("body_md5") ?? "", md5)) return "body_md5 is not the MD5 of the body";
  }
  const parameters = [...query].filter(([name]) => name !== "auth_signature")
    .sort(([a], [b]) => a < b ? -1 : 1)
    .map(([name, value]) => `${name}=${value}`).join("&");
  const expected = sign(app.secret, `${method}\n${pathname}\n${parameters}`);
  return isEqual(query.get("auth_signature") ?? "", expected) ? undefined : "auth_signature does not match";
}
