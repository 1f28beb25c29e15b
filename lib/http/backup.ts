/** `GET /api/backup`: a copy of the log's file, for operators. `app.ts` routes to it. */
import type { ApiKeys } from "../auth/api_keys.ts";
import { MessagingError } from "../core/errors.ts";
import type { Log, LogBackup } from "../core/log.ts";
import type { Logger } from "../core/logger.ts";

export interface BackupContext {
  readonly log: Log & Partial<LogBackup>;
  readonly keys: ApiKeys;
  readonly logger: Logger;
}

/** Streams a copy with every message that was acknowledged by now. */
export async function handleBackup(request: Request, context: BackupContext): Promise<Response> {
  const { log, keys, logger } = context;
  // A HEAD would begin a copy that nobody takes.
  if (request.method !== "GET") throw new MessagingError("method_not_allowed", "A backup is taken by GET");
  const decision = keys.check(request.headers);
  if (!decision.allowed) throw new MessagingError("unauthorized", decision.message);
  if (log.openBackup === undefined) {
    throw new MessagingError("not_found", "This log has no file to copy: --log sqlite:PATH has");
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
