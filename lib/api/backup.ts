/** `GET /api/backup`: a copy of the log's file, for operators. `app.ts` routes to it after checking the key. */
import type { Pass } from "../auth/pass.ts";
import { SliceClock } from "../base/slices.ts";
import { MessagingError } from "../core/errors.ts";
import type { Log, LogBackup, LogInsight } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";
import type { ApiContext } from "./context.ts";

/** Streams a copy of all messages acknowledged so far. */
export async function handleBackup(
  request: Request,
  log: Log & Partial<LogBackup>,
  logger: Logger,
): Promise<Response> {
  // Not HEAD, which would start a copy that is never read.
  if (request.method !== "GET") throw new MessagingError("method_not_allowed", "A backup is made with GET");
  if (log.openBackup === undefined) {
    throw new MessagingError("not_found", "This engine has no file to copy: --engine sqlite:PATH has");
  }
  const { size, stream } = await log.openBackup();
  logger.write("info", "backup begun", { bytes: size });
  return new Response(stream, {
    headers: {
      "content-type": "application/vnd.sqlite3",
      "content-length": String(size),
      "cache-control": "no-store",
    },
  });
}

/**
 * Refuses a copy that would hold what the caller may not read: channels that a protocol keeps private take a key, even
 * where nobody is asked for one.
 *
 * @throws {MessagingError} `forbidden`, saying which channel it is
 */
export async function demandWhole(
  pass: Pass,
  log: Partial<LogInsight>,
  scheduler: ApiContext["scheduler"],
): Promise<void> {
  if (pass.hasKey) return;
  const clock = new SliceClock();
  for (const { channel } of log.listStored?.() ?? []) {
    pass.demand("subscribe", channel);
    if (clock.isOver) await clock.next();
  }
  for (const { channel } of scheduler.list()) pass.demand("subscribe", channel);
}
