/**
 * `GET /healthz` and `/readyz`: whether the process is alive, and whether it accepts messages. `app.ts` routes to them.
 */
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import type { LogInsight } from "../core/log.ts";

/** Always answers 200. */
export function handleHealth(): Response {
  return createAnswer("alive");
}

/** Answers 200: messages are accepted. */
export function handleReady(): Response {
  return createAnswer("ready");
}

/** Why messages are not accepted; undefined while they are. */
export function describeUnready(hub: Hub, log: Partial<LogInsight>): MessagingError | undefined {
  if (hub.draining) return new MessagingError("draining", "The server is restarting");
  const reason = log.checkReady?.();
  return reason === undefined ? undefined : new MessagingError("log_unavailable", reason);
}

function createAnswer(text: string): Response {
  return new Response(`${text}\n`, {
    headers: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" },
  });
}
