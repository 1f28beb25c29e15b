/** CORS headers, which let pages of allowed origins read responses. `front_door.ts` adds them. */
import { CHANNEL_METHODS, NO_SNIFFING } from "./problem.ts";

/** What responses for pages of every allowed origin have. Clients may send cookies, which the server ignores. */
const FIELDS = {
  ...NO_SNIFFING,
  "access-control-allow-credentials": "true",
  "access-control-allow-methods": CHANNEL_METHODS,
  "access-control-expose-headers": "allow, retry-after, www-authenticate",
  "access-control-allow-headers": "authorization, content-type, idempotency-key, last-event-id, x-api-key",
  "access-control-max-age": "600",
};

/** Adds the headers that let a page of an allowed origin read the response (the Fetch standard, "CORS protocol"). */
export function withCors(response: Response, origin: string): Response {
  const headers = new Headers(response.headers);
  headers.set("access-control-allow-origin", origin);
  headers.append("vary", "origin");
  for (const [name, value] of Object.entries(FIELDS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}

type Fields = Readonly<Record<string, string>>;

// Pages of one origin publish again and again, and the headers of all receipts are one object.
let last: { readonly fields: Fields; readonly origin: string; readonly result: Fields } | undefined;

/** The same for headers of a response that is still to be made, with names in lower case. */
export function withCorsFields(fields: Fields, origin: string): Fields {
  if (last?.fields !== fields || last.origin !== origin) {
    const vary = fields.vary === undefined ? "origin" : `${fields.vary}, origin`;
    last = {
      fields,
      origin,
      result: { ...fields, "access-control-allow-origin": origin, vary, ...FIELDS },
    };
  }
  return last.result;
}
