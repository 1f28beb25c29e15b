/** Errors as HTTP responses: `application/problem+json` (RFC 9457). */
import { MessagingError, toMessagingError } from "../core/errors.ts";

/** Methods that a channel's URL accepts. */
export const CHANNEL_METHODS = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/** Keeps browsers from taking what a client wrote for a page or a script. */
export const NO_SNIFFING = { "x-content-type-options": "nosniff" } as const;

/** Default of Retry-After, in seconds. */
const RETRY_AFTER_SECONDS = 1;

/** The media type of problems. */
export const PROBLEM_TYPE = "application/problem+json";

/** Whether a browser navigates: what programs and the scripts of pages fetch accepts anything, or data. */
export function asksForPage({ method, headers }: Request): boolean {
  return (method === "GET" || method === "HEAD") && !headers.has("upgrade") &&
    (headers.get("accept") ?? "").includes("text/html");
}

/** The response to a request that failed. Errors not meant for clients become a 500 without details. */
export function createProblem(error: unknown, allow: string = CHANNEL_METHODS): Response {
  const { code, status, title, message, retry, retryAfter = RETRY_AFTER_SECONDS } = toMessagingError(error);
  const headers = new Headers({
    "content-type": PROBLEM_TYPE,
    "cache-control": "no-store",
    ...NO_SNIFFING,
  });
  if (status === 401) headers.set("www-authenticate", "Bearer");
  if (status === 405) headers.set("allow", allow);
  if (status === 426) headers.set("sec-websocket-version", "13");
  if (retry && status !== 500) headers.set("retry-after", String(retryAfter));
  const body = { type: `urn:raindrops:${code}`, title, status, detail: message };
  return new Response(JSON.stringify(body) + "\n", { status, headers });
}

/** Runs a parser, and turns its SyntaxError into an error with the given code for the client. */
export function parseOr<T>(code: "bad_channel" | "bad_option" | "bad_body", parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof SyntaxError) throw new MessagingError(code, cause.message, { cause });
    throw cause;
  }
}
