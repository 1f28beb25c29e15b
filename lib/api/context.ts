/** The context that every method of the HTTP API gets. */
import type { Gate } from "../auth/gate.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import type { Hub } from "../core/hub.ts";
import type { Logger } from "../core/logger.ts";
import type { Scheduler } from "../core/schedule/scheduler.ts";
import type { BodyLimits } from "../http/body.ts";
import type { Fields } from "./fields.ts";
import type { Versions } from "./versions.ts";

export interface ApiContext extends BodyLimits {
  readonly hub: Hub;
  readonly gate: Gate;
  /** Whose idempotency keys a call brings; see `Pass.publisher`. */
  readonly publisher: string;
  /** The published versions, shared by all calls. */
  readonly versions: Versions;
  /** The other nodes; undefined for a log that has one node only. */
  readonly cluster?: Cluster | undefined;
  readonly logger: Logger;
  /** Publishes messages later. */
  readonly scheduler: Pick<Scheduler, "schedule" | "list" | "find" | "cancel">;
}

/**
 * Answers a request with its result as JSON text.
 *
 * @throws {ApiError | MessagingError} for a request that is answered with an error
 */
export type ApiMethod = (context: ApiContext, fields: Fields) => string | Promise<string>;
