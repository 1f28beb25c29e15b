/** What the JetStream engine is made with. */
import type { Logger } from "../../core/logger.ts";
import type { Metrics } from "../../core/metrics/metrics.ts";
import type { Rules } from "../../core/rules.ts";
import type { Schedule } from "../../base/turn.ts";
import type { LinkOptions, NatsCredentials } from "./link.ts";
import type { JetStreamUrl } from "./url.ts";

export interface JetStreamEngineOptions extends JetStreamUrl {
  readonly credentials?: NatsCredentials;
  readonly rules: Rules;
  readonly logger: Logger;
  /** Receives the time from sending each record to its return. */
  readonly metrics?: Metrics | undefined;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  readonly schedule?: Schedule;
  /** How to reach a server; over TCP by default. */
  readonly connect?: NonNullable<LinkOptions["connect"]>;
  /** How long removed messages stay on the server, in milliseconds. */
  readonly grace?: number;
  /** The size of the cache of recent messages, in bytes of payload. */
  readonly cachedBytes?: number;
  /** The limit on channels; a message that would create one more is refused. No limit by default. */
  readonly maxChannels?: number;
  /** How long after its newest message an empty channel is forgotten, in milliseconds; a day by default. */
  readonly forgetAfter?: number;
}
