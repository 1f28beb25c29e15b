/** Push subscriptions: as browsers send them, and as the engine keeps them. Routes and the store use it. */
import { ECDH } from "node:crypto";
import { MessagingError } from "../core/errors.ts";
import { isOfService, type PushService } from "./services.ts";

/** One browser that gets the messages of one channel. */
export interface Subscription {
  /** The URL of the push service, which is a secret of the browser: whoever knows it may send there. */
  readonly endpoint: string;
  /** The browser's public key, an uncompressed point of P-256, in base64url (RFC 8291 section 2.1). */
  readonly p256dh: string;
  /** The browser's secret, 16 bytes in base64url (RFC 8291 section 3.2). */
  readonly auth: string;
  /** Whom the token named that subscribed; left out without one. */
  readonly user?: string;
  /** Whose share it counts for, as `Shares.ownerOf` says. */
  readonly owner?: string;
  /** When that token expires, in seconds since 1970; left out for never. */
  readonly expires?: number;
  /** Whether an API key, or the application, let it in: neither is asked again. */
  readonly vouched?: true;
}

/** The longest URL of a push service that is taken; those of today have 200 to 500 characters. */
const MAX_ENDPOINT_LENGTH = 700;
const KEY_BYTES = 65;
const AUTH_BYTES = 16;

/**
 * Reads the JSON of a `PushSubscription`, as `JSON.stringify` makes it in a browser.
 *
 * @throws {MessagingError} `bad_body`, or `forbidden` for a service that is not named in the configuration
 */
export function parseSubscription(
  text: string,
  services: readonly PushService[],
): Pick<Subscription, "endpoint" | "p256dh" | "auth"> {
  const { endpoint, keys } = parseObject(text);
  const { p256dh, auth } = isRecord(keys) ? keys : {};
  const url = typeof endpoint === "string" && endpoint.length <= MAX_ENDPOINT_LENGTH
    ? URL.parse(endpoint)
    : null;
  if (url === null) {
    throw badBody(`"endpoint" must be a URL of at most ${MAX_ENDPOINT_LENGTH} characters`);
  }
  if (!isOfService(url, services)) {
    throw new MessagingError(
      "forbidden",
      `Nothing is pushed to ${url.host}: the services are ${
        services.map((service) => service.text).join(", ")
      }`,
    );
  }
  const [point, secret] = [decode(p256dh), decode(auth)];
  if (point?.byteLength !== KEY_BYTES || !isOnCurve(point)) {
    throw badBody('"keys.p256dh" must be a public key of P-256 in base64url');
  }
  if (secret?.byteLength !== AUTH_BYTES) throw badBody('"keys.auth" must be 16 bytes in base64url');
  return { endpoint: url.href, p256dh: encode(point), auth: encode(secret) };
}

/**
 * Reads the JSON that names a subscription to be removed.
 *
 * @throws {MessagingError} `bad_body`
 */
export function parseEndpoint(text: string): string {
  const { endpoint } = parseObject(text);
  const url = typeof endpoint === "string" ? URL.parse(endpoint) : null;
  if (url === null) throw badBody('"endpoint" must be the URL of the subscription');
  return url.href;
}

function parseObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw badBody("it is not JSON");
  }
  if (!isRecord(value)) throw badBody("it is not an object");
  return value;
}

function badBody(what: string): MessagingError {
  return new MessagingError(
    "bad_body",
    `The body must be the JSON of a PushSubscription, {"endpoint":"...","keys":{"p256dh":"...","auth":"..."}}: ${what}`,
  );
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Libraries write base64url with padding and without, and some plain base64. */
function decode(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (typeof value !== "string" || value.length > 100) return undefined;
  const text = value.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  try {
    return Uint8Array.fromBase64(text, { alphabet: "base64url" });
  } catch {
    return undefined;
  }
}

function encode(bytes: Uint8Array): string {
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}

/** Deno's `importKey` takes any 65 bytes. */
function isOnCurve(point: Uint8Array): boolean {
  try {
    ECDH.convertKey(point, "prime256v1");
    return true;
  } catch {
    return false;
  }
}
