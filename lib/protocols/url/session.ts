/** What the sessions on a channel's URL share, plain sockets and streams alike: what was asked for, and who asks. */
import type { Pass } from "../../auth/pass.ts";
import type { Selector } from "../../core/channel.ts";
import type { Connection } from "../../core/limits.ts";
import type { Cursor } from "../../core/log.ts";

/** A subscription that a URL, its query and its headers ask for, already admitted. */
export interface SessionRequest {
  readonly selector: Selector;
  readonly id: string;
  /** Whether the client chose its id and nobody vouches for it. */
  readonly choseId: boolean;
  readonly name: string | undefined;
  readonly pass: Pass;
  readonly connection: Connection;
  readonly since: Cursor | undefined;
  /** End after this many messages. */
  readonly limit: number | undefined;
}
