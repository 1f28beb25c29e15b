/**
 * Catches what no handler has caught: no client may end a thread with an exception. Every thread installs it at start.
 */
import type { Logger } from "../core/logger.ts";
import type { Metrics } from "../core/metrics/metrics.ts";

/** Logs and counts exceptions and rejections that nobody handles, also those raised inside the runtime. */
export function catchUnexpected(logger: Logger, metrics: Metrics): void {
  const report = (what: string, error: unknown) => {
    const isError = error instanceof Error;
    logger.write("error", what, { reason: isError ? error.stack ?? error.message : String(error) });
    metrics.refused("internal", { what, message: isError ? error.message : String(error) });
  };
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    report("unexpected error", event.error ?? event.message);
  });
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    report("unexpected rejection", event.reason);
  });
}
