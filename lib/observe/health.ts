/** `GET /healthz` and `/readyz`: whether the process lives, and whether it can do its work. `app.ts` routes to them. */
import { MessagingError } from "../core/errors.ts";
import type { Hub } from "../core/hub.ts";
import type { LogInsight } from "../core/log.ts";

/** Answers 200 as long as anything is answered. */
export function handleHealth(): Response {
  return createAnswer("alive");
}

/** Answers that messages are taken. */
export function handleReady(): Response {
  return createAnswer("ready");
}

/** Why no messages are taken; undefined while they are. */
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
