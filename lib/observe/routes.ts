/** What monitors ask for, while the server drains too: `/healthz`, `/readyz`, `/metrics`. `app.ts` mounts it. */
import { type Env as HonoEnv, Hono } from "hono";
import type { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import type { LogInsight } from "../core/log.ts";
import type { Metrics } from "../core/metrics/metrics.ts";
import { describeUnready, handleHealth, handleReady } from "./health.ts";
import { handleMetrics } from "./metrics_page.ts";

export interface WatchOptions {
  readonly hub: Hub;
  readonly log: Partial<LogInsight>;
  readonly metrics: Metrics;
  readonly gate: {
    /** @throws {MessagingError} for who is no operator */
    demandOperator(request: Request, what: string): void;
  };
  /** The answer that tells of an error. */
  createProblem(error: MessagingError): Response;
}

/** Routes of their own, not a middleware before the others: hono calls a lone handler without composing any. */
export function createWatchRoutes<Env extends HonoEnv>(options: WatchOptions): Hono<Env> {
  const { hub, log, metrics } = options;
  const routes = new Hono<Env>();
  routes.get("/healthz", () => handleHealth());
  routes.get("/readyz", () => {
    const reason = describeUnready(hub, log);
    return reason === undefined ? handleReady() : options.createProblem(reason);
  });
  routes.get("/metrics", (c) => {
    options.gate.demandOperator(c.req.raw, "/metrics");
    return handleMetrics(metrics);
  });
  return routes;
}
