/**
 * The inspector's view of what the server does by itself: webhooks and scheduled messages, and the buttons to steer
 * them.
 */
import type { Hono } from "hono";
import type { Gate } from "../auth/gate.ts";
import { selectPatterns } from "../core/channel.ts";
import { MessagingError } from "../core/errors.ts";
import type { Cursor } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import { formatTime } from "../core/message.ts";
import { describeMissing } from "../core/schedule/admission.ts";
import type { Scheduler } from "../core/schedule/scheduler.ts";
import { parseSince } from "../core/since.ts";
import { parseOr } from "../http/problem.ts";

/** The webhooks, as far as the inspector steers them. */
export interface WebhookDesk {
  /** How each fares, as the node knows it that sends. */
  ask(): Promise<readonly object[]>;
  pause(name: string, paused: boolean): Promise<void>;
  resend(name: string, after: Cursor): Promise<{ readonly epoch: string; readonly sequence: number }>;
}

export interface WorkSources {
  readonly gate: Gate;
  readonly logger: Logger;
  readonly scheduler: Pick<Scheduler, "list" | "find" | "cancel">;
  /** Undefined where the configuration has none. */
  readonly webhooks: () => WebhookDesk | undefined;
}

const MAX_ROWS = 100;

/** The middleware of the routes lets operators in alone. */
export function addWorkRoutes(routes: Hono, { gate, logger, scheduler, webhooks }: WorkSources): void {
  const demandDesk = () => {
    const desk = webhooks();
    if (desk !== undefined) return desk;
    throw new MessagingError("not_found", "There are no webhooks here: name some in the file of --hooks");
  };
  routes.get("/webhooks", async (c) => c.json({ webhooks: await webhooks()?.ask() ?? [] }));
  routes.post("/pause", async (c) => {
    const { name = "", paused = "true" } = c.req.query();
    if (paused !== "true" && paused !== "false") {
      throw new MessagingError("bad_option", "paused must be true or false");
    }
    await demandDesk().pause(name, paused === "true");
    logger.write("info", paused === "true" ? "webhook paused by operator" : "webhook resumed by operator", {
      hook: name,
    });
    return c.json({ name, paused: paused === "true" });
  });
  routes.post("/resend", async (c) => {
    const { name = "", from = "" } = c.req.query();
    const after = parseOr("bad_option", () => parseSince(from, selectPatterns(["**"]), Date.now()));
    const { epoch, sequence } = await demandDesk().resend(name, after);
    logger.write("info", "webhook told to send again by operator", { hook: name, from });
    return c.json({ name, after: `${epoch}-${sequence}` });
  });
  // Channels that a protocol keeps private are shown for a key alone, even where nobody is asked for one.
  routes.get("/scheduled", async (c) => {
    const pass = await gate.admit(c.req.raw);
    const items = scheduler.list().filter(({ channel }) => pass.may("subscribe", channel));
    const rows = items.slice(0, MAX_ROWS)
      .map(({ id, channel, due, bytes, failure }) => ({ id, channel, at: formatTime(due), bytes, failure }));
    return c.json({ rows, total: items.length });
  });
  routes.post("/cancel", async (c) => {
    const id = c.req.query("id") ?? "";
    const entry = await scheduler.find(id);
    if (entry === undefined) throw describeMissing();
    (await gate.admit(c.req.raw)).demand("subscribe", entry.draft.channel);
    await scheduler.cancel(id);
    logger.write("info", "scheduled message cancelled by operator", { id, channel: entry.draft.channel });
    return c.json({ id });
  });
}
