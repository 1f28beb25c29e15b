/** Errors as HTTP answers: `application/problem+json` (RFC 9457), whose detail says what to do. */
import { MessagingError, toMessagingError } from "../core/errors.ts";

/** Methods a channel's URL answers to. */
export const CHANNEL_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/** Seconds a client should wait before it repeats a request that may succeed later, where the error does not say. */
const RETRY_AFTER_SECONDS = 1;

/** The answer to a request that failed. Errors not meant for clients become a bland 500. */
export function createProblem(error: unknown, allow: string = CHANNEL_METHODS): Response {
  const { code, status, title, message, retry, retryAfter = RETRY_AFTER_SECONDS } = toMessagingError(error);
  const headers = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store" });
  if (status === 401) headers.set("www-authenticate", "Bearer");
  if (status === 405) headers.set("allow", allow);
  if (status === 426) headers.set("sec-websocket-version", "13");
  if (retry && status !== 500) headers.set("retry-after", String(retryAfter));
  const body = { type: `urn:raindrops:${code}`, title, status, detail: message };
  return new Response(JSON.stringify(body) + "\n", { status, headers });
}

/** Turns what a parser rejected into an error of the given kind for the client. */
export function parseOr<T>(code: "bad_channel" | "bad_option", parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new MessagingError(code, cause.message, { cause });
    throw cause;
  }
}
