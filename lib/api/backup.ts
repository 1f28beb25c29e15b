/** `GET /api/backup`: a copy of the log's file, for operators. `app.ts` routes to it after checking the key. */
import { MessagingError } from "../core/errors.ts";
import type { Log, LogBackup } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";

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
