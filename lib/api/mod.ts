/** What operators call over HTTP: `POST /api/<method>` and `GET /api/backup`. `app.ts` mounts it. */
import { Hono } from "hono";
import type { Log, LogBackup } from "../core/log.ts";
import { answerCommands, type ApiContext, handleApi, Versions } from "./api.ts";
import { demandWhole, handleBackup } from "./backup.ts";

/** The routes below `/api`, to be mounted at `/`. */
export function createApiRoutes(
  options: Omit<ApiContext, "versions" | "publisher"> & { readonly log: Log & Partial<LogBackup> },
): Hono {
  const { log, ...services } = options;
  const context = { ...services, versions: new Versions() };
  // The commands of other nodes publish nothing.
  if (context.cluster !== undefined) answerCommands({ ...context, publisher: "" }, context.cluster);
  const routes = new Hono();
  routes.get("/api/backup", async (c) => {
    const pass = context.gate.demandOperator(c.req.raw, "/api/backup");
    await demandWhole(pass, log, context.scheduler);
    return await handleBackup(c.req.raw, log, context.logger);
  });
  routes.all("/api/*", (c) => handleApi(c.req.raw, context));
  return routes;
}
