/** Answers requests that failed: counts and logs each refusal once, and tells the client no more than it may know. */
import { toMessagingError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import { createProblem } from "./problem.ts";

/** Answers a request that failed with an error, from an address. */
export type Refuse = (error: unknown, request: Request, address: string) => Response;

/** Makes the function that answers failed requests. */
export function createRefuse(metrics: Metrics, logger: Logger): Refuse {
  return (error, request, address) => {
    const known = toMessagingError(error);
    const { code, message, cause } = known;
    metrics.refused(code, { what: describeRequest(request), message, address });
    if (code === "internal") {
      const reason = cause instanceof Error ? cause.stack : String(cause);
      logger.write("error", "request failed", { reason });
    } else logger.write("warn", "request refused", { code, reason: message });
    return createProblem(known);
  };
}

/** Method and path of a request; never its query, which may hold a token. */
function describeRequest({ method, url }: Request): string {
  // What the Host header says may be no host.
  return URL.canParse(url) ? `${method} ${new URL(url).pathname}` : method;
}
