/** What every method of the HTTP API works with. */
import type { Gate } from "../auth/gate.ts";
import type { Cluster } from "../core/cluster/cluster.ts";
import type { Hub } from "../core/hub.ts";
import type { Logger } from "../core/logger.ts";
import type { BodyLimits } from "../http/body.ts";
import type { Fields } from "./fields.ts";
import type { Versions } from "./versions.ts";

export interface ApiContext extends BodyLimits {
  readonly hub: Hub;
  readonly gate: Gate;
  /** The versions that were published, shared by all calls. */
  readonly versions: Versions;
  /** The other nodes, where there may be any. */
  readonly cluster?: Cluster | undefined;
  readonly logger: Logger;
}

/**
 * Answers a request with its result as JSON text.
 *
 * @throws {ApiError} or {MessagingError} for what is answered with an error
 */
export type ApiMethod = (context: ApiContext, fields: Fields) => string | Promise<string>;
