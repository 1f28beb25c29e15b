/** CORS headers, which let pages of allowed origins read responses. `app.ts` adds them. */
import { CHANNEL_METHODS } from "./problem.ts";

/** Adds the headers that let a page of an allowed origin read the response (the Fetch standard, "CORS protocol"). */
export function withCors(response: Response, origin: string): Response {
  const headers = new Headers(response.headers);
  headers.set("access-control-allow-origin", origin);
  headers.append("vary", "origin");
  // Clients may send cookies, which the server ignores.
  headers.set("access-control-allow-credentials", "true");
  headers.set("access-control-allow-methods", CHANNEL_METHODS);
  headers.set("access-control-expose-headers", "allow, retry-after, www-authenticate");
  headers.set(
    "access-control-allow-headers",
    "authorization, content-type, idempotency-key, last-event-id, x-api-key",
  );
  headers.set("access-control-max-age", "600");
  return new Response(response.body, { status: response.status, headers });
}
